// From the plain structures of boundary_c.h to the arguments of the kernels, and what a processor
// must give to stand behind them.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/dtype.h"
#include "kernels/boundary.h"
#include "kernels/boundary_c.h"

namespace birkhoff {

// Enumerations that there are.
inline absl::Status CheckCodes(const birkhoff_boundary_problem& problem) {
  const auto check = [](const char* what, int code, int most) {
    if (code >= 0 && code <= most) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("boundary: ", what, "=", code, "; need 0 to ", most));
  };
  for (const absl::Status& status :
       {check("kind", problem.kind, int(BoundaryKind::kMhc)),
        check("mapping", problem.mapping, int(kMappings.size()) - 1),
        check("sink", problem.sink, int(BoundarySink::kNone)),
        check("contract", problem.contract, int(StreamContract::kSum)),
        check("source", problem.source, int(BoundarySource::kMerge))}) {
    if (!status.ok()) return status;
  }
  if (BoundarySource(problem.source) != BoundarySource::kEmbed) return absl::OkStatus();
  return absl::InvalidArgumentError("boundary: source=0, an embedding; need 1 or 2");
}

inline BoundaryShape ShapeOf(const birkhoff_boundary_problem& problem) {
  return {.kind = BoundaryKind(problem.kind),
          .mapping = MappingKind(problem.mapping),
          .sinkhorn_iterations = problem.sinkhorn_iterations,
          .streams = problem.streams,
          .tokens = problem.tokens,
          .channels = problem.channels,
          .mix_eps = problem.mix_eps,
          .norm_eps = problem.norm_eps};
}

template <typename To>
void Assign(const To*& to, const void* from) {
  to = static_cast<const To*>(from);
}
template <typename To>
void Assign(To*& to, void* from) {
  to = static_cast<To*>(from);
}

// What the two passes have alike, under the same names.
template <typename Args, typename From>
Args SharedArgsOf(const From& from) {
  Args args;
  args.shape = ShapeOf(from.problem);
  args.sink = BoundarySink(from.problem.sink);
  args.contract = StreamContract(from.problem.contract);
  Assign(args.x, from.x);
  Assign(args.parameters.projection, from.projection);
  Assign(args.parameters.alpha, from.alpha);
  Assign(args.parameters.bias, from.bias);
  Assign(args.parameters.gamma, from.gamma);
  Assign(args.coefficients, from.coefficients);
  Assign(args.logits, from.logits);
  Assign(args.contracted, from.contracted);
  Assign(args.norm_inv_rms, from.norm_inv_rms);
  return args;
}

template <typename T>
BoundaryForwardArgs<T> ArgsOf(const birkhoff_boundary_forward_args& from) {
  auto args = SharedArgsOf<BoundaryForwardArgs<T>>(from);
  args.source.kind = BoundarySource(from.problem.source);
  Assign(args.source.x, from.source_x);
  Assign(args.source.y, from.source_y);
  Assign(args.source.coefficients, from.source_coefficients);
  Assign(args.norm_out, from.norm_out);
  return args;
}

template <typename T>
BoundaryBackwardArgs<T> ArgsOf(const birkhoff_boundary_backward_args& from) {
  auto args = SharedArgsOf<BoundaryBackwardArgs<T>>(from);
  args.source = BoundarySource(from.problem.source);
  args.equal_streams = from.equal_streams != 0;
  Assign(args.dx_above, from.dx_above);
  Assign(args.y, from.y);
  Assign(args.dnorm, from.dnorm);
  Assign(args.gradients.projection, from.dprojection);
  Assign(args.gradients.alpha, from.dalpha);
  Assign(args.gradients.bias, from.dbias);
  Assign(args.gradients.gamma, from.dgamma);
  Assign(args.dx, from.dx);
  Assign(args.coefficients_below, from.coefficients_below);
  Assign(args.dy_below, from.dy_below);
  args.workspace = from.workspace;
  return args;
}

// Calls call(T{}) or call(U{}), as the problem names its dtype.
template <typename T, typename U, typename Call>
absl::Status ForDType(const birkhoff_boundary_problem& problem, const Call& call) {
  if (absl::Status status = CheckCodes(problem); !status.ok()) return status;
  const DType dtype{problem.dtype};
  if (dtype == kDTypeOf<T>) return call(T{});
  if (dtype == kDTypeOf<U>) return call(U{});
  return absl::UnimplementedError(absl::StrCat("boundary: dtype=", problem.dtype, "; need ",
                                               int(kDTypeOf<T>), " or ", int(kDTypeOf<U>)));
}

// Whether a shape can be at all.
template <typename T>
absl::Status CheckShape(BoundaryShape shape) {
  BoundaryForwardArgs<T> nothing;  // without tokens the shape alone is looked at
  shape.tokens = 0;
  nothing.shape = shape;
  return Validate(nothing);
}

// A processor's side: cpu/boundary_c.cc and cuda/boundary_c.cc, of which a library has one.
namespace boundary_c {
absl::Status Size(const birkhoff_boundary_problem& problem, int64_t* workspace_bytes);
absl::Status Forward(const birkhoff_boundary_forward_args& args, void* stream);
absl::Status Backward(const birkhoff_boundary_backward_args& args, void* stream);
}  // namespace boundary_c

}  // namespace birkhoff
