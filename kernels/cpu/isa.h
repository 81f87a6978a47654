// One source, three sets of instructions: OnBestIsa(work) runs `work` as compiled for the
// processor at hand.
//
// Work is a lambda, and everything that it calls and whose source is seen is compiled into it
// (flatten), three times, by one compiler call: no file has flags of its own, so no function of a
// library is ever compiled for instructions that a processor may lack.
//
// The bits are the same for all three: elementwise arithmetic is IEEE's, products and sums are not
// contracted (-ffp-contract=off), and sums run in lanes of a fixed number (lanes.h).  Where a
// compiler does not inline (clang, without optimisation), work runs slower and gives the same.
#pragma once

#include <type_traits>

#include "kernels/cpu/paths.h"

namespace birkhoff::cpu {

#if defined(__clang__)
#define BIRKHOFF_AVX512 "avx512f,avx512bw,avx512dq,avx512vl"
#else
#define BIRKHOFF_AVX512 "avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512"
#endif

template <typename Work>
__attribute__((target(BIRKHOFF_AVX512), flatten)) void RunAvx512(const Work& work) {
  work();
}
template <typename Work>
__attribute__((target("avx2"), flatten)) void RunAvx2(const Work& work) {
  work();
}
#undef BIRKHOFF_AVX512

// T: the type that work computes in.  double is the reference, compiled as everything else.
template <typename T, typename Work>
void OnBestIsa(const Work& work) {
  if constexpr (std::is_same_v<T, float>) {
    const Isa isa = ThisProcess().isa;
    if (isa == Isa::kAvx512) return RunAvx512(work);
    if (isa == Isa::kAvx2) return RunAvx2(work);
  }
  work();
}

}  // namespace birkhoff::cpu
