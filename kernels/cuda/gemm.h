// Matrix products of the GPU through cuBLASLt.
//
// The algorithm of a call is the one that was chosen for its types, shape, strides and alignment,
// or the first that cuBLASLt's heuristics name: never the fastest of a trial in the same process,
// so the bits do not depend on the load of the machine.  Algorithms that split k over blocks and
// add up afterwards are left out.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/ops.h"
#include "kernels/gemm_choices.h"
#include "kernels/matmul.h"

namespace birkhoff::cuda {

// Of the GPU that is current when it is made.  Thread-safe.
class GemmLibrary {
 public:
  static constexpr int64_t kWorkspaceBytes = 32 << 20;  // what cuBLAS itself takes on Hopper

  // `search`: the first call of a product that is not among the choices tries cuBLASLt's
  // candidates on its operands, waits for them, and adds the fastest to the choices.
  static absl::StatusOr<std::unique_ptr<GemmLibrary>> New(const GemmChoices& choices, bool search);
  ~GemmLibrary();

  // T, Out: float, float; bf16, bf16; bf16, float.  Sums are in float, without TF32; the workspace
  // is kWorkspaceBytes long.
  template <typename T, typename Out>
  absl::Status Gemm(const GemmArgs<T, Out>& args, StreamHandle stream);

  GemmChoices choices() const;

 private:
  class Impl;
  explicit GemmLibrary(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

// c [rows, columns] = beta c, `stride` elements between rows; beta = 0: c is not read.
template <typename Out>
absl::Status ScaleRows(Out* c, int64_t rows, int64_t columns, int64_t stride, double beta,
                       StreamHandle stream);

}  // namespace birkhoff::cuda
