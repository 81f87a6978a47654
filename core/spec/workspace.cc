#include "core/spec/workspace.h"

#include <algorithm>

#include "core/spec/model.h"

namespace birkhoff {
namespace {

constexpr int64_t kKernelBlock = 64;  // CPU: tokens that a boundary kernel takes at a time
constexpr int64_t kKernelLanes = 8;   // of them, those that Sinkhorn takes at a time
constexpr int64_t kGpuHeadRows = 2048;

int64_t LogitColumns(const ModelSpec& model) {
  const int64_t n = NumStreams(model);
  if (model.residual.kind == ResidualKind::kHc) return n * (n + 3);
  return 2 * n + NumResidualLogits(model) + 1;
}

int64_t CpuBytes(const ModelSpec& model, const WorkspaceRequest& request) {
  const int64_t n = NumStreams(model);
  const int64_t sequence = std::min<int64_t>(request.sequence_length, request.tokens);
  const int64_t attention = 2 * std::min(kKernelBlock, sequence) * sequence;
  const int64_t boundary =
      kKernelBlock * (model.hidden_size + n + 2 * n + n * n + LogitColumns(model)) +
      2 * n * model.residual.sinkhorn_iterations * kKernelLanes;
  return std::max(attention, boundary) * SizeOf(ScalarType(request.precision));
}

}  // namespace

int64_t WorkspaceBytes(const ModelSpec& model, const WorkspaceRequest& request) {
  return CpuBytes(model, request);
}

int64_t NormWorkspaceBytes(Processor, int64_t, int64_t) { return 0; }

int64_t HeadRows(const WorkspaceRequest& request) {
  return request.processor == Processor::kCuda ? std::min(kGpuHeadRows, request.tokens)
                                               : request.tokens;
}

}  // namespace birkhoff
