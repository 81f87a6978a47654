// The boundary by kernels that the caller chooses: for tests and measurements.  The calls of ops.h
// take the path that boundary_config.h names.
#pragma once

#include "absl/status/status.h"
#include "kernels/boundary.h"
#include "kernels/cuda/boundary_config.h"
#include "kernels/cuda/ops.h"

namespace birkhoff::cuda {

// T: float, bf16.  By either path within the contract; the bits of a path's recompute are those of its
// forward.  A single pass that cannot do the problem streams: ToString(ConfigOf(...)) says why.
template <typename T>
absl::Status BoundaryForward(const BoundaryForwardArgs<T>& args, StreamHandle stream,
                             BoundaryPath path);
template <typename T>
absl::Status BoundaryRecompute(const BoundaryRecomputeArgs<T>& args, StreamHandle stream,
                               BoundaryPath path);
template <typename T>
absl::Status BoundaryBackward(const BoundaryBackwardArgs<T>& args, StreamHandle stream,
                              BoundaryPath path);

}  // namespace birkhoff::cuda
