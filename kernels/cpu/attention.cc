// Causal attention on the CPU: per sequence and head, a block of queries against all keys that it
// may see.  The backward pass forms the probabilities again from q, k and lse.
#include "kernels/attention.h"

#include <algorithm>
#include <cmath>

#include "core/base/status_macros.h"
#include "kernels/cpu/blas.h"
#include "kernels/cpu/dot.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/team.h"

namespace birkhoff {
namespace cpu {
namespace {

constexpr int64_t kQueryBlock = 64;

// Queries [first, end) of a sequence that starts at token `start`; they see keys [start, end).
struct QueryBlock {
  int head;
  int64_t start, first, end;
  int64_t queries() const { return end - first; }
  int64_t keys() const { return end - start; }
};

// work(QueryBlock) over sequences, heads and blocks.  A task is a sequence and a head of keys, with
// all heads of queries that read it: who adds to the gradients of keys and values is one thread.
template <typename Work>
void ForQueryBlocks(const AttentionShape& shape, Work&& work) {
  const int group = shape.heads / shape.kv_heads;
  ShareOut(int64_t{shape.num_sequences} * shape.kv_heads, [&](int64_t task) {
    const int64_t s = task / shape.kv_heads;
    const int first_head = int(task % shape.kv_heads) * group;
    const int64_t start = shape.sequence_starts[s], end = shape.sequence_starts[s + 1];
    for (int head = first_head; head < first_head + group; ++head) {
      for (int64_t first = start; first < end; first += kQueryBlock) {
        work(QueryBlock{head, start, first, std::min(first + kQueryBlock, end)});
      }
    }
  });
}

// Where the rows of a block start: its queries in q and in [tokens, heads, D], its keys in k and v.
struct BlockOffsets {
  BlockOffsets(const AttentionShape& shape, const QueryBlock& block)
      : query(block.first * shape.qkv_stride + int64_t{block.head} * shape.head_dim),
        key(block.start * shape.qkv_stride +
            int64_t{block.head / (shape.heads / shape.kv_heads)} * shape.head_dim),
        out((block.first * shape.heads + block.head) * shape.head_dim),
        lse(block.head * shape.tokens + block.first) {}
  int64_t query, key, out, lse;
};

double ScoreScale(const AttentionShape& shape) { return 1.0 / std::sqrt(double(shape.head_dim)); }

// scores [queries, keys] = scale q k^T.
template <typename T>
void Scores(const AttentionShape& shape, const QueryBlock& block, const T* q, const T* k,
            T* scores) {
  const BlockOffsets at(shape, block);
  Multiply({block.queries(), block.keys(), shape.head_dim}, T(ScoreScale(shape)),
           {q + at.query, shape.qkv_stride}, {k + at.key, shape.qkv_stride, Transpose::kYes}, T(0),
           scores, block.keys());
}

// In place over the first `visible` of `keys` scores, zeros behind; returns log sum exp.
template <typename T>
T SoftmaxRow(int64_t visible, int64_t keys, T* row) {
  const T largest = Largest(row, visible);
  ExpOfRow(largest, visible, row);
  const T sum = Total(row, visible), inverse = T(1) / sum;
  for (int64_t j = 0; j < visible; ++j) row[j] *= inverse;
  std::fill(row + visible, row + keys, T(0));
  return largest + std::log(sum);
}

template <typename T>
void ForwardBlock(const AttentionForwardArgs<T>& args, const QueryBlock& block) {
  const AttentionShape& shape = args.shape;
  const BlockOffsets at(shape, block);
  T* scores = TaskWorkspace<T>(args.workspace, AttentionWorkspaceElements(shape));
  // Probabilities, in the place of the scores.
  Scores(shape, block, args.q, args.k, scores);
  OnBestIsa<T>([&] {
    for (int64_t i = 0; i < block.queries(); ++i) {
      const int64_t visible = block.first - block.start + i + 1;
      args.lse[at.lse + i] = SoftmaxRow(visible, block.keys(), scores + i * block.keys());
    }
  });
  // out = probabilities v.
  Multiply({block.queries(), shape.head_dim, block.keys()}, T(1), {scores, block.keys()},
           {args.v + at.key, shape.qkv_stride}, T(0), args.out + at.out,
           int64_t{shape.heads} * shape.head_dim);
}

// scores -> probabilities, dprobabilities -> dscores, in place; row i sees `visible` keys.
template <typename T>
void BackwardRow(int64_t visible, int64_t keys, T lse, T* row, T* drow) {
  ExpOfRow(lse, visible, row);
  std::fill(row + visible, row + keys, T(0));
  const T mean = Dot(row, drow, visible);
  for (int64_t j = 0; j < visible; ++j) drow[j] = row[j] * (drow[j] - mean);
  std::fill(drow + visible, drow + keys, T(0));
}

template <typename T>
void BackwardBlock(const AttentionBackwardArgs<T>& args, const QueryBlock& block) {
  constexpr Transpose kYes = Transpose::kYes;
  const AttentionShape& shape = args.shape;
  const BlockOffsets at(shape, block);
  const int64_t queries = block.queries(), keys = block.keys(), D = shape.head_dim;
  const int64_t stride = shape.qkv_stride, out_stride = shape.heads * D;
  T* scores = TaskWorkspace<T>(args.workspace, AttentionWorkspaceElements(shape));
  T* dscores = scores + queries * keys;
  const T scale = T(ScoreScale(shape));
  // Scores again, and the gradient of the probabilities: dout v^T.
  Scores(shape, block, args.q, args.k, scores);
  Multiply({queries, keys, D}, T(1), {args.dout + at.out, out_stride},
           {args.v + at.key, stride, kYes}, T(0), dscores, keys);
  // Through the softmax, row by row.
  OnBestIsa<T>([&] {
    for (int64_t i = 0; i < queries; ++i) {
      BackwardRow(block.first - block.start + i + 1, keys, args.lse[at.lse + i], scores + i * keys,
                  dscores + i * keys);
    }
  });
  // dq = scale dscores k; dk += scale dscores^T q; dv += probabilities^T dout.
  Multiply({queries, D, keys}, scale, {dscores, keys}, {args.k + at.key, stride}, T(0),
           args.dq + at.query, stride);
  Multiply({keys, D, queries}, scale, {dscores, keys, kYes}, {args.q + at.query, stride}, T(1),
           args.dk + at.key, stride);
  Multiply({keys, D, queries}, T(1), {scores, keys, kYes}, {args.dout + at.out, out_stride}, T(1),
           args.dv + at.key, stride);
}

}  // namespace

template <typename T>
absl::Status AttentionForward(const AttentionForwardArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  ForQueryBlocks(args.shape, [&](const QueryBlock& block) { ForwardBlock(args, block); });
  return absl::OkStatus();
}

template <typename T>
absl::Status AttentionBackward(const AttentionBackwardArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  // Keys and values collect from several query blocks and heads.
  const int64_t columns = int64_t{args.shape.kv_heads} * args.shape.head_dim;
  for (int64_t t = 0; t < args.shape.tokens; ++t) {
    std::fill_n(args.dk + t * args.shape.qkv_stride, columns, T(0));
    std::fill_n(args.dv + t * args.shape.qkv_stride, columns, T(0));
  }
  ForQueryBlocks(args.shape, [&](const QueryBlock& block) { BackwardBlock(args, block); });
  return absl::OkStatus();
}

int64_t AttentionWorkspaceElements(const AttentionShape& shape) {
  int64_t longest = 0;
  for (int s = 0; s < shape.num_sequences; ++s) {
    longest = std::max<int64_t>(longest, shape.sequence_starts[s + 1] - shape.sequence_starts[s]);
  }
  return 2 * std::min(kQueryBlock, longest) * longest;
}

template absl::Status AttentionForward(const AttentionForwardArgs<float>&);
template absl::Status AttentionForward(const AttentionForwardArgs<double>&);
template absl::Status AttentionBackward(const AttentionBackwardArgs<float>&);
template absl::Status AttentionBackward(const AttentionBackwardArgs<double>&);

}  // namespace cpu

}  // namespace birkhoff
