// Attention in double by the CPU's kernels, and how far a sum in float may lie from it: bounds
// follow each rounding, none is tuned.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/attention.h"
#include "tests/kernels/tensors.h"

namespace birkhoff {

// One fused row [heads + 2 kv_heads, D] per token.
struct AttentionInputs {
  AttentionShape shape;  // its starts are the caller's
  std::vector<double> qkv, dout;

  int64_t key_offset() const { return int64_t{shape.heads} * shape.head_dim; }
  int64_t value_offset() const { return key_offset() + int64_t{shape.kv_heads} * shape.head_dim; }
};

struct AttentionResults {
  std::vector<double> out, lse, dqkv;
};

inline AttentionResults Reference(const AttentionInputs& in) {
  const AttentionShape& shape = in.shape;
  AttentionResults result = {std::vector<double>(in.dout.size()),
                             std::vector<double>(size_t(shape.heads * shape.tokens)),
                             std::vector<double>(in.qkv.size())};
  std::vector<double> workspace(size_t(cpu::AttentionWorkspaceElements(shape)) + 1);
  const double *k = in.qkv.data() + in.key_offset(), *v = in.qkv.data() + in.value_offset();
  EXPECT_TRUE(cpu::AttentionForward<double>({.shape = shape,
                                             .q = in.qkv.data(),
                                             .k = k,
                                             .v = v,
                                             .out = result.out.data(),
                                             .lse = result.lse.data(),
                                             .workspace = workspace.data()})
                  .ok());
  EXPECT_TRUE(cpu::AttentionBackward<double>({.shape = shape,
                                              .q = in.qkv.data(),
                                              .k = k,
                                              .v = v,
                                              .out = result.out.data(),
                                              .lse = result.lse.data(),
                                              .dout = in.dout.data(),
                                              .dq = result.dqkv.data(),
                                              .dk = result.dqkv.data() + in.key_offset(),
                                              .dv = result.dqkv.data() + in.value_offset(),
                                              .workspace = workspace.data()})
                  .ok());
  return result;
}

// Bounds of errors, element by element.  `unit` is a rounding to T: of stored results, and of
// probabilities and their gradients as operands of the second products.
class AttentionBounds {
 public:
  AttentionBounds(const AttentionInputs& in, const AttentionResults& want, double unit)
      : in_(in), want_(want), unit_(unit), D_(in.shape.head_dim) {
    bounds_ = {std::vector<double>(want.out.size()), std::vector<double>(want.lse.size()),
               std::vector<double>(want.dqkv.size())};
    for (int s = 0; s < in.shape.num_sequences; ++s) {
      for (int head = 0; head < in.shape.heads; ++head) {
        AddHead(head, in.shape.sequence_starts[s], in.shape.sequence_starts[s + 1]);
      }
    }
    for (size_t i = 0; i < want.dqkv.size(); ++i) bounds_.dqkv[i] += unit * std::abs(want.dqkv[i]);
  }
  const AttentionResults& bounds() const { return bounds_; }

 private:
  static constexpr double kSum = 0x1p-23;  // of float; tensor cores may cut instead of rounding

  struct Dots {
    double value, magnitude;
  };
  Dots Dot(const double* a, const double* b) const {
    Dots dots = {0.0, 0.0};
    for (int64_t d = 0; d < D_; ++d) {
      dots.value += a[d] * b[d];
      dots.magnitude += std::abs(a[d] * b[d]);
    }
    return dots;
  }
  const double* Query(int64_t token, int head) const {
    return &in_.qkv[size_t(token * in_.shape.qkv_stride + head * D_)];
  }
  // Offset of a head's key in a row; its value lies kv_heads * D behind.
  int64_t KeyAt(int64_t token, int head) const {
    const int group = in_.shape.heads / in_.shape.kv_heads;
    return token * in_.shape.qkv_stride + in_.key_offset() + head / group * D_;
  }
  int64_t values_behind() const { return in_.value_offset() - in_.key_offset(); }

  void AddHead(int head, int64_t start, int64_t end) {
    for (int64_t query = start; query < end; ++query) AddQuery(head, start, query);
  }

  void AddQuery(int head, int64_t start, int64_t query) {
    const int64_t keys = query - start + 1, tokens = in_.shape.tokens;
    const double scale = 1.0 / std::sqrt(double(D_));
    const double lse = want_.lse[size_t(head * tokens + query)];
    const int64_t row = (query * in_.shape.heads + head) * D_;
    const double *q = Query(query, head), *dout = &in_.dout[size_t(row)];
    std::vector<double> weights;
    double score_error = 0.0;
    for (int64_t key = start; key <= query; ++key) {
      const Dots score = Dot(q, &in_.qkv[size_t(KeyAt(key, head))]);
      weights.push_back(std::exp(score.value * scale - lse));
      score_error =
          std::max(score_error, kSum * (double(D_ + 2) * scale * score.magnitude +
                                        2 * (std::abs(score.value * scale) + std::abs(lse))));
    }
    // Of a probability, relative: its score, lse, and a few units of exp and log.
    const double weight_error = 2 * score_error + double(keys + 8) * kSum;
    bounds_.lse[size_t(head * tokens + query)] =
        score_error + double(keys + 8) * kSum + kSum * std::abs(lse);
    AddOut(head, start, row, weights, weight_error);
    AddGradients(head, start, query, dout, row, weights, weight_error);
  }

  void AddOut(int head, int64_t start, int64_t row, const std::vector<double>& weights,
              double weight_error) {
    const double relative = unit_ + weight_error + 2.0 * double(weights.size()) * kSum;
    for (int64_t d = 0; d < D_; ++d) {
      double magnitude = 0.0;
      for (size_t j = 0; j < weights.size(); ++j) {
        const int64_t value = KeyAt(start + int64_t(j), head) + values_behind() + d;
        magnitude += weights[j] * std::abs(in_.qkv[size_t(value)]);
      }
      bounds_.out[size_t(row + d)] =
          relative * magnitude + unit_ * std::abs(want_.out[size_t(row + d)]);
    }
  }

  void AddGradients(int head, int64_t start, int64_t query, const double* dout, int64_t row,
                    const std::vector<double>& weights, double weight_error) {
    const double scale = 1.0 / std::sqrt(double(D_));
    const int group = in_.shape.heads / in_.shape.kv_heads;
    const double sums = group * double(in_.shape.tokens) * kSum;  // of a sum over queries
    const Dots delta = Dot(dout, &want_.out[size_t(row)]);
    double delta_error = double(D_ + 2) * kSum * delta.magnitude;
    for (int64_t d = 0; d < D_; ++d) {
      delta_error += std::abs(dout[d]) * bounds_.out[size_t(row + d)];
    }
    const double* q = Query(query, head);
    for (size_t j = 0; j < weights.size(); ++j) {
      const int64_t key = KeyAt(start + int64_t(j), head), value = key + values_behind();
      const Dots dweight = Dot(dout, &in_.qkv[size_t(value)]);
      const double distance = std::abs(dweight.value - delta.value);
      // Rounded once as an operand, once more where heads of a group are added up from T.
      const double dscore_error =
          weights[j] * ((weight_error + 2 * unit_ + sums) * distance + delta_error +
                        double(D_ + 2) * kSum * dweight.magnitude);
      for (int64_t d = 0; d < D_; ++d) {
        bounds_.dqkv[size_t(query * in_.shape.qkv_stride + head * D_ + d)] +=
            scale * std::abs(in_.qkv[size_t(key + d)]) * dscore_error;
        bounds_.dqkv[size_t(key + d)] += scale * std::abs(q[d]) * dscore_error;
        bounds_.dqkv[size_t(value + d)] +=
            std::abs(dout[d]) * weights[j] * (2 * unit_ + weight_error + sums);
      }
    }
  }

  const AttentionInputs& in_;
  const AttentionResults& want_;
  const double unit_;
  const int64_t D_;
  AttentionResults bounds_;
};

}  // namespace birkhoff
