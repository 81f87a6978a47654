// Calls but attention's share one workspace, so the largest need counts.  Sizes and block counts are
// those of the kernels, written down once more: nothing in core may include them.
#include "core/spec/workspace.h"

#include <algorithm>

#include "core/base/alignment.h"
#include "core/base/rounding.h"
#include "core/spec/model.h"

namespace birkhoff {
namespace {

constexpr int64_t kKernelBlock = 64;  // CPU: tokens that a boundary kernel takes at a time
constexpr int64_t kKernelLanes = 8;   // of them, those that Sinkhorn takes at a time
constexpr int64_t kFloat = sizeof(float);

// A GPU's kernels.
constexpr int64_t kHeadRows = 2048;           // logits of so many tokens fill it
constexpr int64_t kProductBytes = 32 << 20;   // what cuBLASLt asks for on Hopper
constexpr int64_t kLibraryAlignment = 256;    // of workspaces; a plan places tensors by 64 bytes
constexpr int64_t kSequencePadding = 128;     // attention's tiles
constexpr int64_t kAttentionSlack = 1 << 20;  // alignment and row terms of cuDNN's plans
constexpr int64_t kRowTerms = 4;              // floats per head and token
constexpr int64_t kBoundaryBlocks = 1024;     // of the backward pass, at most
constexpr int64_t kBoundaryChunk = 128;       // tokens of each, at least
constexpr int64_t kMappingBlock = 8;          // tokens whose gradients of bias are one partial sum
constexpr int64_t kNormChunk = 16384;         // elements of one partial norm
constexpr int64_t kPartialNormBytes = 16;     // GradientNorm, kernels/adamw.h
constexpr int64_t kGainBlocks = 256;          // partial sums of gains, at most
constexpr int64_t kMostStreams = 8;           // beside them a matrix

int64_t CpuBoundaryBytes(const ModelSpec& model, const WorkspaceRequest& request) {
  const int64_t n = NumStreams(model);
  const int64_t elements =
      kKernelBlock * (model.hidden_size + n + 2 * n + n * n + NumSavedLogits(model)) +
      2 * n * model.residual.sinkhorn_iterations * kKernelLanes;
  return elements * SizeOf(ScalarType(request.precision));
}

int64_t CpuAttentionBytes(const WorkspaceRequest& request) {
  const int64_t sequence = std::min<int64_t>(request.sequence_length, request.tokens);
  return 2 * std::min(kKernelBlock, sequence) * sequence * SizeOf(ScalarType(request.precision));
}

// Coefficients and their gradients by token, then partial sums of the gradients of parameters.
int64_t GpuBoundaryBytes(const ModelSpec& model, const WorkspaceRequest& request) {
  const int64_t n = NumStreams(model), width = model.hidden_size;
  const int64_t logits = NumSavedLogits(model), residual = NumResidualLogits(model);
  // The backward pass takes the tokens in chunks, each with partial sums of its own.
  const int64_t channels_of_block = n <= 4 ? 64 : 32;
  const int64_t chunks = std::clamp<int64_t>(
      CeilDivide(request.tokens, kBoundaryChunk), 1,
      std::max<int64_t>(1, kBoundaryBlocks / CeilDivide(width, channels_of_block)));
  // Floats of a token, of a partial sum of biases, of a partial sum of projections.
  const int64_t of_token = 2 * n + n * n + logits + n + 4;
  const int64_t bias = 3 + 2 * n + std::max(residual, n * n);
  const int64_t projection = n * width * (2 * n + residual) + (2 + n) * width;
  return kFloat * (request.tokens * of_token + CeilDivide(request.tokens, kMappingBlock) * bias +
                   chunks * (projection + width)) +
         kAttentionSlack;
}

// Deterministic sums of dQ hold a square of scores, others an accumulator in fp32; grouped queries
// add the gradients of keys and values by query head.
int64_t GpuAttentionBytes(const ModelSpec& model, const WorkspaceRequest& request) {
  const int64_t heads = model.num_attention_heads, width = HeadDim(model);
  const int64_t length = std::min<int64_t>(request.sequence_length, request.tokens);
  if (length == 0) return kAttentionSlack;
  const int64_t padded = RoundUp(length, kSequencePadding);
  const bool grouped = model.num_key_value_heads < model.num_attention_heads;
  int64_t of_row = kFloat * (width + kRowTerms) + (grouped ? 2 * kFloat * width : 0);
  if (request.deterministic && request.precision == Precision::kBf16) {
    of_row += padded * SizeOf(DType::kBfloat16);
  }
  return request.tokens / length * heads * padded * of_row + kAttentionSlack;
}

}  // namespace

int64_t WorkspaceBytes(const ModelSpec& model, const WorkspaceRequest& request) {
  if (request.processor == Processor::kCpu) return CpuBoundaryBytes(model, request);
  // Losses of HeadRows take less than products.
  return Aligned(std::max(kProductBytes, GpuBoundaryBytes(model, request))) + kLibraryAlignment;
}

int64_t AttentionWorkspaceBytes(const ModelSpec& model, const WorkspaceRequest& request) {
  if (request.processor == Processor::kCpu) return CpuAttentionBytes(request);
  return Aligned(GpuAttentionBytes(model, request)) + kLibraryAlignment;
}

int64_t MeasuresWorkspaceBytes(Processor processor) {
  if (processor == Processor::kCpu) return 0;
  return kGainBlocks * int64_t{sizeof(double)} * (4 + kMostStreams * kMostStreams);
}

int64_t NormWorkspaceBytes(Processor processor, int64_t, int64_t elements) {
  if (processor == Processor::kCpu) return 0;
  return Aligned(CeilDivide(elements, kNormChunk) * kPartialNormBytes) + kLibraryAlignment;
}

int64_t HeadRows(const WorkspaceRequest& request) {
  return request.processor == Processor::kCuda ? std::min(kHeadRows, request.tokens)
                                               : request.tokens;
}

}  // namespace birkhoff
