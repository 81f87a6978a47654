// Enums of the spec become those of the kernels, fields are copied by name.
#include "worker/transformer/connection.h"

namespace birkhoff {
namespace {

BoundaryKind KindOf(ResidualKind kind) {
  switch (kind) {
    case ResidualKind::kResidual:
      return BoundaryKind::kResidual;
    case ResidualKind::kHc:
      return BoundaryKind::kHc;
    case ResidualKind::kMhc:
      return BoundaryKind::kMhc;
  }
  return BoundaryKind::kMhc;
}

}  // namespace

BoundaryShape BoundaryShapeOf(const ModelSpec& model, int64_t tokens) {
  return {.kind = KindOf(model.residual.kind),
          .mapping = model.residual.mapping,
          .sinkhorn_iterations = model.residual.sinkhorn_iterations,
          .streams = NumStreams(model),
          .tokens = tokens,
          .channels = model.hidden_size,
          .mix_eps = model.residual.norm_eps,
          .norm_eps = model.rms_norm_eps};
}

StreamExpand ExpandOf(const ModelSpec& model) {
  return model.residual.expand == ExpandKind::kCopy ? StreamExpand::kCopy : StreamExpand::kOneHot;
}

StreamContract ContractOf(const ModelSpec& model) {
  return model.residual.contract == ContractKind::kMean ? StreamContract::kMean
                                                        : StreamContract::kSum;
}

AttentionShape AttentionShapeOf(const ModelSpec& model, const MicrobatchShape& batch) {
  const int head_dim = HeadDim(model);
  return {
      .tokens = batch.tokens,
      .heads = model.num_attention_heads,
      .kv_heads = model.num_key_value_heads,
      .head_dim = head_dim,
      .num_sequences = batch.num_sequences,
      .sequence_starts = batch.sequence_starts,
      .qkv_stride = int64_t{model.num_attention_heads + 2 * model.num_key_value_heads} * head_dim};
}

}  // namespace birkhoff
