// One copy kernel for both directions: a thread is an element of the packed run, and finds its
// place among all tokens.
#include "kernels/cuda/attention_lse.h"

#include "kernels/cuda/status.h"

namespace birkhoff::cuda {
namespace {

constexpr int kThreads = 256;

// One thread per element, in the packed order.  grid: elements / kThreads.
template <bool kPack>
__global__ void MoveLseKernel(const float* from, float* to, int64_t tokens, int heads,
                              SequenceRun run) {
  const int64_t packed = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (packed >= run.count * heads * run.length) return;
  const int64_t position = packed % run.length, row = packed / run.length;
  const int64_t head = row % heads, sequence = row / heads;
  const int64_t loose = head * tokens + run.start + sequence * run.length + position;
  if (kPack) {
    to[packed] = from[loose];
  } else {
    to[loose] = from[packed];
  }
}

template <bool kPack>
absl::Status MoveLse(const float* from, float* to, int64_t tokens, int heads,
                     const SequenceRun& run, StreamHandle stream) {
  const int64_t blocks = (run.count * heads * run.length + kThreads - 1) / kThreads;
  MoveLseKernel<kPack><<<unsigned(blocks), kThreads, 0, stream>>>(from, to, tokens, heads, run);
  return LaunchStatus("MoveLseKernel");
}

}  // namespace

absl::Status PackLse(const float* lse, float* packed, int64_t tokens, int heads,
                     const SequenceRun& run, StreamHandle stream) {
  return MoveLse<true>(lse, packed, tokens, heads, run, stream);
}

absl::Status UnpackLse(const float* packed, float* lse, int64_t tokens, int heads,
                       const SequenceRun& run, StreamHandle stream) {
  return MoveLse<false>(packed, lse, tokens, heads, run, stream);
}

}  // namespace birkhoff::cuda
