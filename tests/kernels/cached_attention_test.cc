// Attention over a cache against attention over the whole sequence, and what it refuses.
#include "kernels/cached_attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/attention.h"
#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

struct Case {
  int heads, kv_heads, head_dim;
  int64_t past, tokens;
};

// The last `tokens` rows of attention over a whole sequence, of fused rows.
template <typename T>
std::vector<T> Whole(const Case& c, const std::vector<T>& qkv, int64_t stride) {
  const int64_t all = c.past + c.tokens, width = int64_t{c.heads} * c.head_dim;
  const std::vector<int32_t> starts = {0, static_cast<int32_t>(all)};
  const AttentionShape shape = {.tokens = all,
                                .heads = c.heads,
                                .kv_heads = c.kv_heads,
                                .head_dim = c.head_dim,
                                .num_sequences = 1,
                                .sequence_starts = starts.data(),
                                .qkv_stride = stride};
  std::vector<T> out(size_t(all * width)), lse(size_t(all * c.heads));
  std::vector<T> workspace(size_t(cpu::AttentionWorkspaceElements(shape)));
  EXPECT_TRUE(cpu::AttentionForward<T>({.shape = shape,
                                        .q = qkv.data(),
                                        .k = qkv.data() + width,
                                        .v = qkv.data() + width + c.kv_heads * c.head_dim,
                                        .out = out.data(),
                                        .lse = lse.data(),
                                        .workspace = workspace.data()})
                  .ok());
  return {out.begin() + c.past * width, out.end()};
}

template <typename T>
double ErrorOf(const Case& c) {
  const int64_t all = c.past + c.tokens, width = int64_t{c.heads} * c.head_dim;
  const int64_t kv_width = int64_t{c.kv_heads} * c.head_dim, stride = width + 2 * kv_width;
  const std::vector<T> qkv = Normal<T>(all * stride, /*seed=*/31);
  std::vector<T> out(size_t(c.tokens * width), T(-7));
  std::vector<T> workspace(size_t(all), std::numeric_limits<T>::quiet_NaN());
  EXPECT_TRUE(cpu::CachedAttention<T>({.tokens = c.tokens,
                                       .past = c.past,
                                       .heads = c.heads,
                                       .kv_heads = c.kv_heads,
                                       .head_dim = c.head_dim,
                                       .q = qkv.data() + c.past * stride,
                                       .q_stride = stride,
                                       .k = qkv.data() + width,
                                       .v = qkv.data() + width + kv_width,
                                       .kv_stride = stride,
                                       .out = out.data(),
                                       .workspace = workspace.data()})
                  .ok());
  return RelativeError(out, Whole(c, qkv, stride));
}

TEST(CachedAttention, GivesTheLastRowsOfAttentionOverAll) {
  for (const Case& c : {Case{1, 1, 1, 0, 1}, Case{4, 2, 8, 17, 1}, Case{6, 1, 5, 3, 4},
                        Case{2, 2, 64, 200, 1}, Case{3, 3, 16, 0, 7}}) {
    // Both sum exponentials and values over up to N tokens, in other orders: N roundings each.
    const double terms = 4.0 * double(c.past + c.tokens + c.head_dim);
    EXPECT_LE(ErrorOf<double>(c), terms * 0x1p-53) << c.past << " " << c.head_dim;
    EXPECT_LE(ErrorOf<float>(c), terms * 0x1p-24) << c.past << " " << c.head_dim;
  }
}

TEST(CachedAttention, RefusesWhatItCannotAttendTo) {
  const CachedAttentionArgs<float> good = {.tokens = 1,
                                           .past = 3,
                                           .heads = 4,
                                           .kv_heads = 2,
                                           .head_dim = 8,
                                           .q_stride = 32,
                                           .kv_stride = 16};
  const auto refused = [&](auto change, const char* words) {
    CachedAttentionArgs<float> args = good;
    change(args);
    ExpectRefused(cpu::CachedAttention(args), words);
  };
  refused([](auto& a) { a.past = -1; }, "cached attention: tokens=1 past=-1; need neither below 0");
  refused([](auto& a) { a.kv_heads = 3; },
          "cached attention: heads=4 kv_heads=3; need kv_heads >= 1 that divides heads");
  refused([](auto& a) { a.head_dim = 0; }, "cached attention: head_dim=0; need head_dim >= 1");
  refused([](auto& a) { a.kv_stride = 15; },
          "cached attention: q_stride=32 kv_stride=15; need at least heads * head_dim and kv_heads "
          "* head_dim");
  refused([](auto&) {}, "cached attention: q is null; need a buffer");
}

}  // namespace
}  // namespace birkhoff
