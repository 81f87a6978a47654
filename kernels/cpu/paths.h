// Which ways the CPU backend takes on a processor: instructions of its own loops, and the library
// of its products.  Both follow from the processor's features by a fixed rule, never from a timing:
// what a machine computes does not depend on what else it does.
//
// The instructions change no bit (docs/decisions/0030).  The library of float products does, as
// any two libraries do; products of double, the reference, always go to OpenBLAS.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/isa.h"

namespace birkhoff::cpu {

enum class ProductLibrary { kOpenBlas, kOneDnn };

struct Paths {
  Isa isa = Isa::kBaseline;
  ProductLibrary products = ProductLibrary::kOpenBlas;
  friend bool operator==(Paths, Paths) = default;
};

// The rule for a processor with `best`: its best instructions, and oneDNN from AVX2 on, where its
// kernels are.  A name ("baseline", "avx2", "avx512"; "onednn", "openblas") that is not empty takes
// the place of the rule's choice.  Errors: INVALID_ARGUMENT no such name, or more than `best`.
absl::StatusOr<Paths> ChoosePaths(Isa best, absl::string_view isa, absl::string_view products);

// Of this process, by its processor and the environment's BIRKHOFF_CPU_ISA and
// BIRKHOFF_CPU_PRODUCTS, which are read once.  Errors: as ChoosePaths, with the variable's name;
// kernels then take the rule's choice.
absl::Status CheckEnvironment();
Paths ThisProcess();

// For tests and benchmarks that compare paths: what ThisProcess gives from here on.  Nothing may
// run meanwhile; this processor must have them.
void SetPaths(Paths paths);

// "avx512 loops; products: oneDNN 2.6.3 (float), OpenBLAS 0.3.21 Haswell (double)".
std::string Describe(Paths paths);

}  // namespace birkhoff::cpu
