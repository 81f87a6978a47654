// c = beta c: what is left of a matrix product over nothing.
#include <algorithm>

#include "kernels/cuda/device/scalar.cuh"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/status.h"

namespace birkhoff::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 4096;  // a few waves on any GPU; each thread takes several elements

// Threads stride over the elements.  grid: up to kMaxBlocks; one pass over c.
template <typename Out>
__global__ __launch_bounds__(kThreads) void ScaleRowsKernel(Out* c, int64_t count, int64_t columns,
                                                            int64_t stride, float beta) {
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count;
       i += int64_t{gridDim.x} * kThreads) {
    Out& element = c[i / columns * stride + i % columns];
    element = Store<Out>(beta == 0.0f ? 0.0f : beta * Load(element));
  }
}

}  // namespace

template <typename Out>
absl::Status ScaleRows(Out* c, int64_t rows, int64_t columns, int64_t stride, double beta,
                       StreamHandle stream) {
  const int64_t count = rows * columns;
  if (count == 0 || beta == 1.0) return absl::OkStatus();
  const int64_t blocks = std::min((count + kThreads - 1) / kThreads, kMaxBlocks);
  ScaleRowsKernel<<<unsigned(blocks), kThreads, 0, stream>>>(c, count, columns, stride,
                                                             float(beta));
  return LaunchStatus("ScaleRowsKernel");
}

template absl::Status ScaleRows(float*, int64_t, int64_t, int64_t, double, StreamHandle);
template absl::Status ScaleRows(bf16*, int64_t, int64_t, int64_t, double, StreamHandle);

}  // namespace birkhoff::cuda
