// Attention of the GPU against the CPU's in double, in both types, on both paths: cuDNN and the
// plain kernels.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/rounding.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/sdpa.h"
#include "tests/kernels/cuda/attention_reference.h"
#include "tests/kernels/cuda/check_line.h"
#include "tests/kernels/cuda/device_buffer.h"
#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

template <typename T>
constexpr double kUnit = 0x1p-24;
template <>
constexpr double kUnit<bf16> = 0x1p-8;

struct Case {
  int heads = 4, kv_heads = 2, head_dim = 64;
  std::vector<int32_t> lengths;

  std::string ToString() const {
    return absl::StrCat("heads ", heads, "/", kv_heads, " D ", head_dim, " lengths ",
                        absl::StrJoin(lengths, ","));
  }
};

std::vector<int32_t> StartsOf(const Case& c) {
  std::vector<int32_t> starts = {0};
  for (const int32_t length : c.lengths) starts.push_back(starts.back() + length);
  return starts;
}

AttentionShape ShapeOf(const Case& c, const std::vector<int32_t>& starts) {
  return {.tokens = starts.back(),
          .heads = c.heads,
          .kv_heads = c.kv_heads,
          .head_dim = c.head_dim,
          .num_sequences = int(c.lengths.size()),
          .sequence_starts = starts.data(),
          .qkv_stride = (c.heads + 2 * c.kv_heads) * c.head_dim};
}

std::vector<double> ToDouble(const std::vector<float>& values) {
  return std::vector<double>(values.begin(), values.end());
}

// What both passes left in the GPU's memory.
template <typename T>
struct Outcome {
  std::vector<T> out, dqkv;
  std::vector<float> lse;

  bool SameBits(const Outcome& other) const {
    return std::memcmp(out.data(), other.out.data(), out.size() * sizeof(T)) == 0 &&
           std::memcmp(dqkv.data(), other.dqkv.data(), dqkv.size() * sizeof(T)) == 0 &&
           std::memcmp(lse.data(), other.lse.data(), lse.size() * sizeof(float)) == 0;
  }
};

// A call's buffers; the workspace is as long as the library says, between guard bands.
template <typename T>
class Attention {
 public:
  Attention(const Case& c, cuda::AttentionLibrary<T>& library)
      : library_(library),
        starts_(StartsOf(c)),
        shape_(ShapeOf(c, starts_)),
        host_qkv_(Narrow<T>(Normal<float>(shape_.tokens * shape_.qkv_stride, 11))),
        host_dout_(Narrow<T>(Normal<float>(shape_.tokens * c.heads * c.head_dim, 12))),
        qkv_(host_qkv_),
        dout_(host_dout_),
        workspace_(library.WorkspaceBytes(shape_)) {}

  AttentionInputs inputs() const {
    return {shape_, ToDouble(Widen(host_qkv_)), ToDouble(Widen(host_dout_))};
  }

  Outcome<T> Run() {
    const int64_t keys = int64_t{shape_.heads} * shape_.head_dim;
    const int64_t values = keys + int64_t{shape_.kv_heads} * shape_.head_dim;
    const DeviceBuffer<T> out(dout_.size()), dqkv(qkv_.size());
    const DeviceBuffer<float> lse(shape_.heads * shape_.tokens);
    absl::Status status = library_.Forward({.shape = shape_,
                                            .q = qkv_.data(),
                                            .k = qkv_.data() + keys,
                                            .v = qkv_.data() + values,
                                            .out = out.data(),
                                            .lse = lse.data(),
                                            .workspace = workspace_.data()},
                                           nullptr);
    EXPECT_TRUE(status.ok()) << status;
    status = library_.Backward({.shape = shape_,
                                .q = qkv_.data(),
                                .k = qkv_.data() + keys,
                                .v = qkv_.data() + values,
                                .out = out.data(),
                                .lse = lse.data(),
                                .dout = dout_.data(),
                                .dq = dqkv.data(),
                                .dk = dqkv.data() + keys,
                                .dv = dqkv.data() + values,
                                .workspace = workspace_.data()},
                               nullptr);
    EXPECT_TRUE(status.ok()) << status;
    workspace_.ToHost();
    return {out.ToHost(), dqkv.ToHost(), lse.ToHost()};
  }

 private:
  cuda::AttentionLibrary<T>& library_;
  const std::vector<int32_t> starts_;
  const AttentionShape shape_;
  const std::vector<T> host_qkv_, host_dout_;
  const DeviceBuffer<T> qkv_, dout_;
  const DeviceBuffer<unsigned char> workspace_;
};

// The worst error of `got`, in units of its bound.
template <typename T>
double Worst(const std::vector<T>& got, const std::vector<double>& want,
             const std::vector<double>& bound) {
  const std::vector<float> values = Widen(got);
  double worst = 0.0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double error = std::abs(double(values[i]) - want[i]);
    Raise(worst, error == 0.0 ? 0.0 : error / bound[i]);
  }
  return worst;
}

template <typename T>
class AttentionCuda : public testing::Test {
 protected:
  static std::unique_ptr<cuda::AttentionLibrary<T>> NewLibrary(bool deterministic) {
    auto library = cuda::AttentionLibrary<T>::New(deterministic);
    EXPECT_TRUE(library.ok()) << library.status();
    return *std::move(library);
  }

  // Both passes against the reference; with `repeats`, again for the same bits.
  void Check(const Case& c, cuda::AttentionLibrary<T>& library, int repeats) {
    Attention<T> attention(c, library);
    const Outcome<T> got = attention.Run();
    const AttentionInputs in = attention.inputs();
    const AttentionResults want = Reference(in);
    const AttentionBounds bounds(in, want, kUnit<T>);
    const std::string name =
        absl::StrCat("attention ", DTypeName(kDTypeOf<T>), " ", c.ToString(), " ");
    CheckLine(name + "out", Worst(got.out, want.out, bounds.bounds().out), 1.0);
    CheckLine(name + "lse", Worst(got.lse, want.lse, bounds.bounds().lse), 1.0);
    CheckLine(name + "dqkv", Worst(got.dqkv, want.dqkv, bounds.bounds().dqkv), 1.0);
    for (int i = 0; i < repeats; ++i) {
      EXPECT_TRUE(got.SameBits(attention.Run())) << name << "repeat " << i;
    }
  }
};

using AllTypes = testing::Types<float, bf16>;
TYPED_TEST_SUITE(AttentionCuda, AllTypes);

TYPED_TEST(AttentionCuda, FollowsTheReferenceAtEveryLengthAndHeadDim) {
  const auto library = this->NewLibrary(/*deterministic=*/true);
  for (const int head_dim : {4, 16, 64, 128}) {
    for (const int32_t length : {1, 7, 64, 128, 300}) {
      if (SmallSweep() && length > 7) continue;
      this->Check({.head_dim = head_dim, .lengths = {length}}, *library, 2);
    }
  }
}

TYPED_TEST(AttentionCuda, TakesAnyHeadDim) {
  const auto library = this->NewLibrary(true);
  for (const int head_dim : {1, 20, 33, 96, 160, 256}) {
    this->Check({.heads = 2, .kv_heads = 1, .head_dim = head_dim, .lengths = {70}}, *library, 1);
  }
}

TYPED_TEST(AttentionCuda, GroupsQueryHeads) {
  const auto library = this->NewLibrary(true);
  for (const int kv_heads : {1, 2, 4, 8}) {
    this->Check({.heads = 8, .kv_heads = kv_heads, .lengths = {130}}, *library, 2);
  }
}

TYPED_TEST(AttentionCuda, KeepsSequencesApart) {
  const auto library = this->NewLibrary(true);
  this->Check({.lengths = {128, 128, 128}}, *library, 2);
  this->Check({.lengths = {64, 300, 300, 1, 0, 7, 100}}, *library, 2);
  this->Check({.heads = 2, .kv_heads = 2, .head_dim = 16, .lengths = {3, 3, 3, 40, 1, 1}}, *library,
              2);
  this->Check({.head_dim = 128, .lengths = {256, 256}}, *library, 2);
}

TYPED_TEST(AttentionCuda, IsRightWhereTheOrderOfSumsIsFree) {
  const auto library = this->NewLibrary(/*deterministic=*/false);
  this->Check({.lengths = {300}}, *library, 0);
  this->Check({.head_dim = 128, .lengths = {128, 128}}, *library, 0);
}

TYPED_TEST(AttentionCuda, DoesNothingWithoutTokens) {
  const auto library = this->NewLibrary(true);
  Attention<TypeParam> attention({.lengths = {0, 0}}, *library);
  EXPECT_TRUE(attention.Run().out.empty());
}

TYPED_TEST(AttentionCuda, RefusesWrongArguments) {
  const auto library = this->NewLibrary(true);
  const AttentionShape shape = {.heads = 1, .kv_heads = 1, .head_dim = 257, .qkv_stride = 771};
  ExpectRefused(library->Forward({.shape = shape}, nullptr),
                "attention forward: head_dim=257; need at most 256 on a GPU");
}

// What a plan sets aside for attention in bf16: the square of scores of a part, and rows of all
// tokens: lse twice, the gradient of q in float, those of k and v for every query head.
int64_t SetAside(const Case& c, bool deterministic) {
  const int64_t length = c.lengths[0], heads = c.heads, sequences = int64_t(c.lengths.size());
  const int64_t fitting = std::max<int64_t>((int64_t{1} << 30) / (2 * heads * length * length), 1);
  const int64_t square = 2 * heads * RoundUp(length, 64) * RoundUp(length, 128);
  const int64_t rows = sequences * heads * length * (8 + 8 * c.head_dim);
  return (deterministic ? std::min(fitting, sequences) * square : 0) + rows + (1 << 20);
}

TEST(AttentionCudaWorkspace, IsNoMoreThanPlansSetAside) {
  const std::vector<Case> cases = {
      {.heads = 16, .kv_heads = 16, .head_dim = 128, .lengths = {4096, 4096, 4096, 4096}},
      {.heads = 20, .kv_heads = 4, .head_dim = 128, .lengths = {2048, 2048, 2048}},
      {.heads = 12, .kv_heads = 12, .head_dim = 64, .lengths = {1000}},
      {.heads = 4, .kv_heads = 2, .head_dim = 32, .lengths = {256, 256}}};
  for (const bool deterministic : {true, false}) {
    auto library = cuda::AttentionLibrary<bf16>::New(deterministic);
    ASSERT_OK(library.status());
    for (const Case& c : cases) {
      const std::vector<int32_t> starts = StartsOf(c);
      CheckLine(absl::StrCat("attention workspace MB, ", deterministic ? "" : "not ",
                             "deterministic, ", c.ToString()),
                double((*library)->WorkspaceBytes(ShapeOf(c, starts))) * 1e-6,
                double(SetAside(c, deterministic)) * 1e-6);
    }
  }
}

// |a - b| / |b|, of whole vectors.
double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0.0, size = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
    size += double(b[i]) * b[i];
  }
  return std::sqrt(difference / size);
}

// Three sequences whose squares of scores do not fit together go in two parts; what the parts leave
// behind is compared with the way that needs no square.
TEST(AttentionCudaParts, GiveWhatOneCallGives) {
  const Case c = {.heads = 64, .kv_heads = 8, .head_dim = 64, .lengths = {2048, 2048, 2048}};
  auto in_parts = cuda::AttentionLibrary<bf16>::New(/*deterministic=*/true);
  auto at_once = cuda::AttentionLibrary<bf16>::New(/*deterministic=*/false);
  ASSERT_OK(in_parts.status());
  ASSERT_OK(at_once.status());
  const Outcome<bf16> got = Attention<bf16>(c, **in_parts).Run();
  const Outcome<bf16> want = Attention<bf16>(c, **at_once).Run();
  // Both round each result once, from sums that differ by far less.
  CheckLine("attention bf16 in parts, out", Distance(Widen(got.out), Widen(want.out)), 0x1p-7);
  CheckLine("attention bf16 in parts, lse", Distance(got.lse, want.lse), 0x1p-16);
  CheckLine("attention bf16 in parts, dqkv", Distance(Widen(got.dqkv), Widen(want.dqkv)), 0x1p-7);
}

}  // namespace
}  // namespace birkhoff
