// The residual mappings on a GPU against the reference in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/kernels/cuda/boundary_cuda_fixture.h"

namespace birkhoff {
namespace {

// kFloat of every entry of a row of H_res, which lies in [0, 1] and is rounded once.
constexpr double kEntry = 1.01 * kFloat;

struct Mapped {
  std::vector<float> matrices, dlogits;
};

// Tokens three numbers further apart than need be; what lies between must stay untouched.
constexpr int64_t kGap = 3;

template <typename T>
std::vector<T> Spread(const std::vector<T>& rows, int64_t columns) {
  const int64_t tokens = columns == 0 ? 0 : int64_t(rows.size()) / columns;
  std::vector<T> spread(size_t(tokens * (columns + kGap)), T(-7));
  for (int64_t i = 0; i < tokens * columns; ++i) {
    spread[size_t(i / columns * (columns + kGap) + i % columns)] = rows[size_t(i)];
  }
  return spread;
}
std::vector<float> Gather(const std::vector<float>& spread, int64_t columns) {
  std::vector<float> rows;
  for (size_t i = 0; i < spread.size(); ++i) {
    if (int64_t(i) % (columns + kGap) < columns) {
      rows.push_back(spread[i]);
    } else {
      EXPECT_EQ(spread[i], -7.0f) << "written between two tokens";
    }
  }
  return rows;
}

Mapped MapOnDevice(const MixShape& shape, int64_t tokens, const std::vector<float>& logits,
                   const std::vector<float>& dmatrices, bool in_place) {
  const int64_t columns = NumMixLogits(shape), entries = shape.streams * shape.streams;
  const DeviceBuffer<float> in(Spread(logits, columns));
  const DeviceBuffer<float> dmatrix(Spread(dmatrices, entries));
  const DeviceBuffer<float> out(std::vector<float>(size_t(tokens * (entries + kGap)), -7.0f));
  const DeviceBuffer<float> separate(std::vector<float>(size_t(in.size()), -7.0f));
  const DeviceBuffer<float> workspace(MixWorkspaceElements(shape));
  absl::Status status = cuda::MixForward({.shape = shape,
                                          .tokens = tokens,
                                          .logits = in.data(),
                                          .logits_stride = columns + kGap,
                                          .matrices = out.data(),
                                          .matrices_stride = entries + kGap},
                                         nullptr);
  EXPECT_TRUE(status.ok()) << status;
  const DeviceBuffer<float>& dlogits = in_place ? in : separate;
  status = cuda::MixBackward({.shape = shape,
                              .tokens = tokens,
                              .logits = in.data(),
                              .logits_stride = columns + kGap,
                              .dmatrices = dmatrix.data(),
                              .dmatrices_stride = entries + kGap,
                              .dlogits = dlogits.data(),
                              .workspace = workspace.data()},
                             nullptr);
  EXPECT_TRUE(status.ok()) << status;
  return {Gather(out.ToHost(), entries), Gather(dlogits.ToHost(), columns)};
}

struct Reference {
  std::vector<double> matrices, dlogits;
};

Reference MapReference(const MixShape& shape, int64_t tokens, const std::vector<float>& logits,
                       const std::vector<float>& dmatrices) {
  const int64_t columns = NumMixLogits(shape), entries = shape.streams * shape.streams;
  const std::vector<double> in = Doubles(logits), dmatrix = Doubles(dmatrices);
  Reference out = {std::vector<double>(size_t(tokens * entries)), std::vector<double>(in.size())};
  std::vector<double> workspace(size_t(MixWorkspaceElements(shape)));
  absl::Status status = cpu::MixForward<double>({.shape = shape,
                                                 .tokens = tokens,
                                                 .logits = in.data(),
                                                 .logits_stride = columns,
                                                 .matrices = out.matrices.data(),
                                                 .matrices_stride = entries});
  EXPECT_TRUE(status.ok()) << status;
  status = cpu::MixBackward<double>({.shape = shape,
                                     .tokens = tokens,
                                     .logits = in.data(),
                                     .logits_stride = columns,
                                     .dmatrices = dmatrix.data(),
                                     .dmatrices_stride = entries,
                                     .dlogits = out.dlogits.data(),
                                     .workspace = workspace.data()});
  EXPECT_TRUE(status.ok()) << status;
  return out;
}

// Every gradient to a part of the largest of its token: of dH, by which the flows that cancel are
// measured.  The kernel subtracts in double and rounds once, so that part is 1.01 * 2^-24 of the
// gradient and, for what logarithms of the size of the logits leave, 1e-11 of dH.
void CheckSinkhorn(int streams, int iterations, double logit_scale, double gradient_scale) {
  const MixShape shape = {
      .mapping = MappingKind::kSinkhorn, .streams = streams, .sinkhorn_iterations = iterations};
  const int64_t tokens = iterations > 100 ? 5 : 130, entries = streams * streams;
  const std::vector<float> logits = Normal<float>(tokens * entries, 31, logit_scale);
  const std::vector<float> dmatrices = Normal<float>(tokens * entries, 32, gradient_scale);
  const Mapped got = MapOnDevice(shape, tokens, logits, dmatrices, false);
  const Reference want = MapReference(shape, tokens, logits, dmatrices);
  std::ostringstream where;
  where << "n " << streams << " iterations " << iterations << " logits " << logit_scale
        << " gradients " << gradient_scale;
  std::ostringstream group;
  group << "sinkhorn, logits of scale " << logit_scale;
  ExpectWithin(group.str() + ": H_res", where.str(), got.matrices, want.matrices,
               [](size_t) { return kEntry; });
  ExpectWithin(group.str() + ": dlogits", where.str(), got.dlogits, want.dlogits, [&](size_t i) {
    double largest = 0.0;
    for (size_t k = i / size_t(entries) * size_t(entries), end = k + size_t(entries); k < end;
         ++k) {
      largest = std::max(largest, std::abs(double(dmatrices[k])));
    }
    return 1.01 * kFloat * std::abs(want.dlogits[i]) + 1e-11 * largest * iterations;
  });
  for (const float value : got.dlogits) ASSERT_TRUE(std::isfinite(value)) << where.str();
  const double largest = LargestAbs(want.dlogits);
  if (largest > 0.0) {
    NoteGroup("sinkhorn: dlogits (of the largest entry)", RelativeError(got.dlogits, want.dlogits),
              kGradientBar);
  }
  const Mapped again = MapOnDevice(shape, tokens, logits, dmatrices, true);
  ExpectSameBits("matrices of " + where.str(), again.matrices, got.matrices);
  ExpectSameBits("dlogits in place of " + where.str(), again.dlogits, got.dlogits);
}

TEST(MappingCuda, SinkhornMatchesTheReferenceUpToPermutations) {
  for (const int streams : {1, 2, 3, 4, 5, 6, 7, 8}) {
    for (const int iterations : {1, 5, 20, 50}) {
      for (const double logit_scale : {1.0, 10.0, 40.0, 120.0}) {
        CheckSinkhorn(streams, iterations, logit_scale, 1.0);
      }
    }
  }
}

TEST(MappingCuda, SinkhornTakesGradientsOfAnyScale) {
  for (const int iterations : {5, 20, 50}) {
    for (const double logit_scale : {1.0, 30.0, 120.0}) {
      for (const double gradient_scale : {1e-6, 1e-3, 1e3, 1e6}) {
        CheckSinkhorn(4, iterations, logit_scale, gradient_scale);
      }
    }
  }
}

TEST(MappingCuda, SinkhornTakesAThousandIterations) {
  for (const double logit_scale : {1.0, 120.0}) CheckSinkhorn(4, 1000, logit_scale, 1.0);
}

TEST(MappingCuda, SinkhornOfHugeLogitsHasRowsThatSumToOne) {
  const MixShape shape = {.mapping = MappingKind::kSinkhorn, .streams = 4};
  const int64_t tokens = 64;
  const std::vector<float> logits = Normal<float>(tokens * 16, 33, 1e4);
  const Mapped got =
      MapOnDevice(shape, tokens, logits, std::vector<float>(size_t(tokens * 16), 1.0f), false);
  for (size_t row = 0; row < size_t(tokens * 4); ++row) {
    double sum = 0.0;
    for (size_t j = 0; j < 4; ++j) sum += double(got.matrices[row * 4 + j]);
    EXPECT_NEAR(sum, 1.0, 4 * kFloat);
  }
  for (const float value : got.dlogits) ASSERT_TRUE(std::isfinite(value));
}

TEST(MappingCuda, ANaNStaysInItsToken) {
  const MixShape shape = {.mapping = MappingKind::kSinkhorn, .streams = 4};
  std::vector<float> logits = Normal<float>(3 * 16, 34);
  logits[16 + 5] = std::numeric_limits<float>::quiet_NaN();
  const Mapped got = MapOnDevice(shape, 3, logits, std::vector<float>(3 * 16, 1.0f), false);
  for (size_t i = 0; i < got.matrices.size(); ++i) {
    EXPECT_EQ(std::isnan(got.matrices[i]), i / 16 == 1) << i;
  }
}

TEST(MappingCuda, PermutationsMatchTheReference) {
  for (const int streams : {1, 2, 3, 4}) {
    for (const double scale : {1.0, 10.0, 120.0}) {
      const MixShape shape = {.mapping = MappingKind::kPermutations, .streams = streams};
      const int64_t tokens = 130, entries = streams * streams;
      const int64_t columns = NumMixLogits(shape);
      const std::vector<float> logits = Normal<float>(tokens * columns, 35, scale);
      const std::vector<float> dmatrices = Normal<float>(tokens * entries, 36);
      const Mapped got = MapOnDevice(shape, tokens, logits, dmatrices, false);
      const Reference want = MapReference(shape, tokens, logits, dmatrices);
      // Weights, of n! terms that sum to 1: the sum, expf and its argument (a difference of logits,
      // exact to half a unit of a number below 87, where expf has not vanished), the division.
      const double weight = (double(columns) + 4 + 87) * kFloat;
      ExpectWithin("permutations: H_res", std::to_string(streams), got.matrices, want.matrices,
                   [&](size_t) { return 2 * weight; });
      const double largest = LargestAbs(dmatrices) * streams;
      ExpectWithin("permutations: dlogits", std::to_string(streams), got.dlogits, want.dlogits,
                   [&](size_t) { return 4 * weight * largest; });
      const Mapped again = MapOnDevice(shape, tokens, logits, dmatrices, true);
      ExpectSameBits("permutations in place", again.dlogits, got.dlogits);
    }
  }
}

// Those that every lane makes for itself, and Sinkhorn on biases.  Of numbers up to 1: a hundred
// roundings of up to three units each, forty divisions among them.
TEST(MappingCuda, TheOthersMatchTheReference) {
  for (const MappingKind mapping : {MappingKind::kDeepSeek, MappingKind::kRetention,
                                    MappingKind::kGatedResidual, MappingKind::kStatic}) {
    for (const int streams : {1, 2, 3, 4, 8}) {
      const MixShape shape = {.mapping = mapping, .streams = streams};
      const std::string name = absl::StrCat(TraitsOf(mapping).name, " ", streams);
      const int64_t tokens = 130, entries = streams * streams;
      const std::vector<float> logits = Normal<float>(tokens * NumMixLogits(shape), 39);
      const std::vector<float> dmatrices = Normal<float>(tokens * entries, 40);
      const Mapped got = MapOnDevice(shape, tokens, logits, dmatrices, false);
      const Reference want = MapReference(shape, tokens, logits, dmatrices);
      const double bound = 300 * kFloat, largest = LargestAbs(dmatrices) * streams;
      ExpectWithin("H_res", name, got.matrices, want.matrices, [&](size_t) { return bound; });
      ExpectWithin("dlogits", name, got.dlogits, want.dlogits,
                   [&](size_t) { return bound * largest; });
      const Mapped again = MapOnDevice(shape, tokens, logits, dmatrices, true);
      ExpectSameBits(name + " in place", again.dlogits, got.dlogits);
    }
  }
}

TEST(MappingCuda, UnconstrainedAndIdentityAreExact) {
  for (const int streams : {1, 3, 4, 8}) {
    const int64_t tokens = 70, entries = streams * streams;
    const std::vector<float> logits = Normal<float>(tokens * entries, 37);
    const std::vector<float> dmatrices = Normal<float>(tokens * entries, 38);
    const MixShape free = {.mapping = MappingKind::kUnconstrained, .streams = streams};
    const Mapped got = MapOnDevice(free, tokens, logits, dmatrices, false);
    ExpectSameBits("free", got.matrices, logits);
    ExpectSameBits("free backward", got.dlogits, dmatrices);
    const MixShape identity = {.mapping = MappingKind::kIdentity, .streams = streams};
    const Mapped fixed = MapOnDevice(identity, tokens, {}, dmatrices, false);
    for (int64_t i = 0; i < tokens * entries; ++i) {
      EXPECT_EQ(fixed.matrices[size_t(i)], i / streams % streams == i % streams ? 1.0f : 0.0f);
    }
  }
}

TEST(MappingCuda, RefusesWhatTheContractRefuses) {
  EXPECT_EQ(cuda::MixForward({.shape = {.streams = 9}}, nullptr).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(cuda::MixForward({.logits_stride = 16, .matrices_stride = 16}, nullptr).ok());
}

}  // namespace
}  // namespace birkhoff
