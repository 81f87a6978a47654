// The kernels of a GPU behind boundary_c.h.
#include "kernels/boundary_c_args.h"
#include "kernels/cuda/ops.h"

namespace birkhoff::boundary_c {

absl::Status Size(const birkhoff_boundary_problem& problem, int64_t* workspace_bytes) {
  return ForDType<float, bf16>(problem, [&](auto type) {
    const BoundaryShape shape = ShapeOf(problem);
    absl::Status status = CheckShape<decltype(type)>(shape);
    if (status.ok()) *workspace_bytes = cuda::BoundaryWorkspaceBytes(shape);
    return status;
  });
}

absl::Status Forward(const birkhoff_boundary_forward_args& args, void* stream) {
  return ForDType<float, bf16>(args.problem, [&](auto type) {
    return cuda::BoundaryForward(ArgsOf<decltype(type)>(args),
                                 static_cast<cuda::StreamHandle>(stream));
  });
}

absl::Status Backward(const birkhoff_boundary_backward_args& args, void* stream) {
  return ForDType<float, bf16>(args.problem, [&](auto type) {
    return cuda::BoundaryBackward(ArgsOf<decltype(type)>(args),
                                  static_cast<cuda::StreamHandle>(stream));
  });
}

}  // namespace birkhoff::boundary_c
