// The CPU behind boundary_c.h.
#include "kernels/boundary_c_args.h"

namespace birkhoff::boundary_c {

absl::Status Size(const birkhoff_boundary_problem& problem, int64_t* workspace_bytes) {
  return ForDType<float, double>(problem, [&](auto type) {
    const BoundaryShape shape = ShapeOf(problem);
    absl::Status status = CheckShape<decltype(type)>(shape);
    if (status.ok()) {
      *workspace_bytes = cpu::BoundaryWorkspaceElements(shape) * int64_t{sizeof(type)};
    }
    return status;
  });
}

absl::Status Forward(const birkhoff_boundary_forward_args& args, void*) {
  return ForDType<float, double>(
      args.problem, [&](auto type) { return cpu::BoundaryForward(ArgsOf<decltype(type)>(args)); });
}

absl::Status Backward(const birkhoff_boundary_backward_args& args, void*) {
  return ForDType<float, double>(
      args.problem, [&](auto type) { return cpu::BoundaryBackward(ArgsOf<decltype(type)>(args)); });
}

}  // namespace birkhoff::boundary_c
