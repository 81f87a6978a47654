// What kernels use beside their operands, and how many rows of logits a head holds at a time: the
// sizes that planner, checker and worker share.  A backend says what it needs (kernels/backend.h);
// the worker refuses to start where that is more than stands here.
#pragma once

#include <cstdint>

#include "core/base/dtype.h"
#include "core/spec/job_spec.h"
#include "core/spec/precision.h"

namespace birkhoff {

struct WorkspaceRequest {
  Processor processor = Processor::kCpu;
  Precision precision = Precision::kFp32;
  bool deterministic = true;
  int64_t tokens = 0;  // capacity of a micro-batch, whole sequences of:
  int sequence_length = 0;
};

// Shared by the calls of one compute stream: products, boundaries, cross entropy.
int64_t WorkspaceBytes(const ModelSpec& model, const WorkspaceRequest& request);
// Of attention, forward or backward.
int64_t AttentionWorkspaceBytes(const ModelSpec& model, const WorkspaceRequest& request);
// Of gains and mixing, which may run beside them; 0: none is needed.
int64_t MeasuresWorkspaceBytes(Processor processor);
// Of the norm over `num_parameters` parameters of `elements` elements.
int64_t NormWorkspaceBytes(Processor processor, int64_t num_parameters, int64_t elements);
// Rows of logits that a head forms at a time.
int64_t HeadRows(const WorkspaceRequest& request);

}  // namespace birkhoff
