// The single-pass forward kernels, run on the CPU, against the reference in double: what the GPU's
// tests check there, without a GPU.
#include "tests/kernels/emulation/gpu.h"
// The emulation comes first.
#include <gtest/gtest.h>

#include "kernels/boundary.h"
#include "kernels/cuda/device/mixed_forward.cuh"
#include "kernels/cuda/device/mixed_source.cuh"
#include "kernels/cuda/device/single_forward.cuh"
#include "tests/kernels/emulation/boundary_inputs.h"

namespace birkhoff {
namespace {

using emulation::BoundaryProblem;

struct Outputs {
  std::vector<bf16> x, norm_out;
  std::vector<float> logits, norm_inv_rms, prefix;
};

template <bool kMerge>
Outputs NewOutputs(const BoundaryProblem& p) {
  const BoundaryShape& shape = p.shape;
  const int n = shape.streams;
  Outputs out;
  out.x = kMerge ? std::vector<bf16>(size_t(shape.tokens * n * shape.channels)) : p.x;
  out.norm_out.resize(size_t(shape.tokens * shape.channels));
  out.logits.resize(size_t(shape.tokens * LogitsPerToken(shape)));
  out.norm_inv_rms.resize(size_t(shape.tokens));
  out.prefix.resize(size_t(shape.tokens * n * n));
  return out;
}

template <bool kMerge>
cuda::SingleForwardArgs ArgsOf(const BoundaryProblem& p, const cuda::SinglePassGeometry& geometry,
                               Outputs& out) {
  const BoundaryShape& shape = p.shape;
  cuda::SingleForwardArgs args;
  args.tokens = shape.tokens;
  args.channels = int(shape.channels);
  args.columns = shape.kind == BoundaryKind::kHc ? shape.streams + 2 : int(DynamicColumns(shape));
  args.mix_eps = float(shape.mix_eps);
  args.norm_eps = float(shape.norm_eps);
  args.geometry = geometry;
  if (kMerge) {
    args.x_below = p.x.data();
    args.y = p.y.data();
    args.coefficients_below =
        shape.kind == BoundaryKind::kResidual ? nullptr : p.coefficients_below.data();
    args.prefix_below = p.matrices.data();
  }
  args.x = out.x.data();
  args.prefix = out.prefix.data();
  args.projection = p.weights.projection.data();
  args.alpha = p.weights.alpha.data();
  args.bias = p.weights.bias.data();
  args.gamma = p.weights.gamma.data();
  args.logits = out.logits.data();
  args.norm_out = out.norm_out.data();
  args.norm_inv_rms = out.norm_inv_rms.data();
  return args;
}

// in_place: X over X below.
template <int N, int kTiles, bool kPerRow, bool kMerge, typename Fixed>
Outputs Run(const BoundaryProblem& p, const cuda::SinglePassGeometry& geometry, bool late_copies,
            int clusters = 2, bool in_place = false) {
  Outputs out = NewOutputs<kMerge>(p);
  if (in_place) out.x = p.x;
  cuda::SingleForwardArgs args = ArgsOf<kMerge>(p, geometry, out);
  if (kMerge && in_place) args.x_below = args.x;
  const cuda::ForwardSizes sizes(geometry, {N, kTiles, kPerRow});
  emulation::Launch({clusters * geometry.cluster, geometry.cluster,
                     (geometry.warps + cuda::kServiceWarps) * 32, sizes.total},
                    late_copies, [&](unsigned char* shared) {
                      cuda::SingleForward<N, kTiles, kPerRow, kMerge, Fixed>(args, shared).Run();
                    });
  return out;
}

// The kernel that merges on the tensor cores.
template <int N, int kTiles, bool kMerge, typename Fixed>
Outputs RunMixed(const BoundaryProblem& p, const cuda::SinglePassGeometry& geometry,
                 bool late_copies, int clusters = 2, bool in_place = false) {
  Outputs out = NewOutputs<kMerge>(p);
  if (in_place) out.x = p.x;
  cuda::MixedForwardArgs args;
  args.usual = ArgsOf<kMerge>(p, geometry, out);
  const int64_t tokens = p.shape.tokens;
  const int channels = int(p.shape.channels);
  for (int odd = 0; odd < cuda::MixShapeOfStreams(N).half; ++odd) {
    const auto some = [&](const std::vector<bf16>& rows) {
      return cuda::EmulatedMap(cuda::BoxedStreams(rows.data(), tokens, N, channels, odd));
    };
    args.from[odd] = some(kMerge && !in_place ? p.x : out.x);
    args.x[odd] = some(out.x);
  }
  args.y = cuda::EmulatedMap({p.y.data(), tokens, 1, channels, cuda::kForwardTileTokens});
  args.norm_out =
      cuda::EmulatedMap({out.norm_out.data(), tokens, 1, channels, cuda::kForwardTileTokens});
  const cuda::MixedSizes sizes(geometry, {N, kTiles, false});
  emulation::Launch({clusters * geometry.cluster, geometry.cluster,
                     (geometry.warps + cuda::kMixedServiceWarps) * 32, sizes.total},
                    late_copies, [&](unsigned char* shared) {
                      cuda::MixedForward<N, kTiles, kMerge, Fixed>(args, shared).Run();
                    });
  return out;
}

// Everything but X against what the reference makes of the kernel's own.
void CheckBehindX(const BoundaryProblem& p, const Outputs& out, bool merge) {
  const emulation::ForwardReference want = p.ForwardOf(out.x);
  if (!want.logits.empty()) {
    EXPECT_LE(RelativeError(out.logits, want.logits), 1e-3);
  }
  EXPECT_LE(RelativeError(out.norm_inv_rms, want.norm_inv_rms), 3e-4);
  EXPECT_LE(RelativeError(Widen(out.norm_out), want.norm_out), 6e-3);
  if (merge) {
    EXPECT_LE(RelativeError(out.prefix, want.prefix), 1e-6);
  }
}
void ExpectSame(const Outputs& a, const Outputs& b) {
  EXPECT_TRUE(emulation::SameBits(a.x, b.x));
  EXPECT_TRUE(emulation::SameBits(a.norm_out, b.norm_out));
  EXPECT_TRUE(emulation::SameBits(a.logits, b.logits));
  EXPECT_TRUE(emulation::SameBits(a.norm_inv_rms, b.norm_inv_rms));
}

template <int N, int kTiles, bool kPerRow, bool kMerge,
          typename Fixed = cuda::AnyGeometry<cuda::kUsualWarps>>
void Check(BoundaryKind kind, MappingKind mapping, int64_t tokens, int64_t channels,
           const cuda::SinglePassGeometry& geometry, double scale = 1.0) {
  BoundaryProblem p(kind, mapping, N, tokens, channels, scale);
  SCOPED_TRACE(testing::Message() << "n " << N << " tokens " << tokens << " C " << channels
                                  << " cluster " << geometry.cluster << " warps " << geometry.warps
                                  << " stages " << geometry.stages);
  const Outputs out = Run<N, kTiles, kPerRow, kMerge, Fixed>(p, geometry, true);
  ExpectSame(out, Run<N, kTiles, kPerRow, kMerge, Fixed>(p, geometry, false, 1, /*in_place=*/true));
  EXPECT_TRUE(emulation::SameBits(out.x, kMerge ? p.MergeInFloat() : p.x)) << "merged in fp32";
  CheckBehindX(p, out, kMerge);
}

// X of the exact merge, to a rounding, and to two bf16 of every coefficient.
void CheckX(const BoundaryProblem& p, const std::vector<bf16>& x) {
  std::vector<double> sizes;
  const std::vector<double> want = p.MergeExactly(sizes);
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_LE(std::abs(ToFloat(x[i]) - want[i]), std::abs(want[i]) * 0x1.01p-8 + sizes[i] * 0x1p-16)
        << "element " << i;
  }
}

// X and norm_out again, from what was saved.
template <int N>
Outputs Recompute(const BoundaryProblem& p, const std::vector<float>& coefficients,
                  const std::vector<float>& norm_inv_rms) {
  Outputs out = NewOutputs<true>(p);
  cuda::MixedSourceArgs args;
  args.tokens = p.shape.tokens;
  args.channels = int(p.shape.channels);
  args.x_below = p.x.data();
  args.y = p.y.data();
  args.coefficients_below = p.coefficients_below.data();
  args.x = out.x.data();
  args.norm_out = out.norm_out.data();
  args.coefficients = coefficients.data();
  args.norm_inv_rms = norm_inv_rms.data();
  args.gamma = p.weights.gamma.data();
  const int group = cuda::MixShapeOfStreams(N).group, warps = 3;
  emulation::Launch(
      {int((p.shape.tokens + group - 1) / group), 1, warps * 32, warps * cuda::MixedSourceBytes(N)},
      true, [&](unsigned char* shared) { cuda::MixedSource<N>(args, shared).Run(); });
  return out;
}
// H_pre as the kernel makes it, of its own logits; what else a token's coefficients are does not matter.
template <int N>
std::vector<float> CoefficientsOf(const BoundaryProblem& p, const std::vector<float>& logits) {
  std::vector<float> out(size_t(p.shape.tokens * CoefficientsPerToken(p.shape)), NAN);
  for (int64_t t = 0; t < p.shape.tokens; ++t) {
    for (int j = 0; j < N; ++j) {
      out[size_t(t * CoefficientsPerToken(p.shape) + j)] =
          cuda::MhcPre(p.weights.alpha[0], logits[size_t(t * LogitsPerToken(p.shape) + j)],
                       p.weights.bias[size_t(j)]);
    }
  }
  return out;
}

template <int N, int kTiles, typename Fixed = cuda::AnyGeometry<cuda::kUsualWarps>>
void CheckMixed(MappingKind mapping, int64_t tokens, int64_t channels, int cluster, int boxes,
                double scale = 1.0) {
  const BoundaryProblem p(BoundaryKind::kMhc, mapping, N, tokens, channels, scale);
  const cuda::SinglePassGeometry geometry = {cluster, 2 * boxes, cuda::kMixedStages};
  SCOPED_TRACE(testing::Message() << "n " << N << " tokens " << tokens << " C " << channels
                                  << " cluster " << cluster << " boxes " << boxes);
  const Outputs out = RunMixed<N, kTiles, true, Fixed>(p, geometry, true);
  ExpectSame(out, RunMixed<N, kTiles, true, Fixed>(p, geometry, false, 1, /*in_place=*/true));
  CheckX(p, out.x);
  CheckBehindX(p, out, true);

  const Outputs again = Recompute<N>(p, CoefficientsOf<N>(p, out.logits), out.norm_inv_rms);
  EXPECT_TRUE(emulation::SameBits(again.x, out.x)) << "recomputed";
  EXPECT_TRUE(emulation::SameBits(again.norm_out, out.norm_out)) << "recomputed";

  BoundaryProblem received = p;
  received.x = out.x;
  ExpectSame(out, RunMixed<N, kTiles, false, cuda::AnyGeometry<cuda::kUsualWarps>>(received,
                                                                                   geometry, true));
}

constexpr BoundaryKind kMhc = BoundaryKind::kMhc, kHc = BoundaryKind::kHc;
constexpr MappingKind kSinkhorn = MappingKind::kSinkhorn;

TEST(SingleForward, MatchesTheReferenceAtFourStreams) {
  Check<4, 3, false, true>(kMhc, kSinkhorn, 37, 128, {2, 2, 2});
  Check<4, 3, false, true>(kMhc, kSinkhorn, 35, 256, {8, 1, 1});
  Check<4, 3, false, false>(kMhc, kSinkhorn, 16, 72, {1, 3, 1});
}

TEST(SingleForward, MasksChannelsThatAreNotThere) {
  Check<4, 3, false, true>(kMhc, kSinkhorn, 5, 8, {1, 1, 2});
  Check<4, 3, false, true>(kMhc, kSinkhorn, 5, 88, {4, 1, 1});
  Check<4, 3, false, true>(kMhc, kSinkhorn, 50, 8, {16, 1, 1});
}

TEST(SingleForward, MatchesTheReferenceAtOtherStreams) {
  Check<2, 1, false, true>(kMhc, kSinkhorn, 19, 64, {2, 1, 2});
  Check<3, 2, false, true>(kMhc, kSinkhorn, 19, 64, {1, 2, 1});
}

TEST(SingleForward, MatchesTheReferenceOfOtherKinds) {
  Check<4, 1, false, true>(kMhc, MappingKind::kIdentity, 19, 64, {2, 1, 1});
  Check<4, 4, false, true>(kMhc, MappingKind::kPermutations, 19, 64, {2, 1, 1});
  Check<4, 1, true, true>(kHc, kSinkhorn, 19, 64, {2, 1, 2});
  Check<3, 1, true, false>(kHc, kSinkhorn, 19, 64, {2, 1, 1});
  Check<1, 0, false, true>(BoundaryKind::kResidual, kSinkhorn, 19, 64, {2, 1, 2});
}

TEST(SingleForward, TakesNumbersBeyondTheRangeOfFp16) {
  for (const double scale : {3e5, 1e9, 1e-6}) {
    Check<4, 3, false, true>(kMhc, kSinkhorn, 17, 64, {2, 1, 1}, scale);
    Check<4, 1, true, true>(kHc, kSinkhorn, 17, 64, {2, 1, 1}, scale);
  }
}

TEST(MixedForward, MatchesTheReferenceAtFourStreams) {
  CheckMixed<4, 3>(kSinkhorn, 37, 128, 2, 1);
  CheckMixed<4, 3>(kSinkhorn, 83, 192, 1, 3);
  CheckMixed<4, 1>(MappingKind::kIdentity, 19, 128, 1, 2);
}

TEST(MixedForward, MatchesTheReferenceAtOtherStreams) {
  CheckMixed<3, 2>(kSinkhorn, 53, 128, 2, 1);
  CheckMixed<3, 1>(MappingKind::kIdentity, 19, 192, 2, 2);
  CheckMixed<2, 1>(kSinkhorn, 53, 128, 2, 1);
  CheckMixed<2, 1>(MappingKind::kIdentity, 19, 192, 2, 2);
}

TEST(MixedForward, MatchesTheReferenceAtTheShapeThatPaysMost) {
  CheckMixed<4, 3, cuda::FixedGeometry<8, 10, cuda::kMixedStages>>(kSinkhorn, 75, 2560, 8, 5);
}

TEST(MixedForward, MasksChannelsThatAreNotThere) {
  CheckMixed<4, 3>(kSinkhorn, 5, 8, 1, 1);
  CheckMixed<4, 3>(kSinkhorn, 5, 200, 2, 2);
  CheckMixed<3, 2>(kSinkhorn, 5, 72, 4, 1);
  CheckMixed<2, 1>(kSinkhorn, 50, 72, 16, 1);
}

TEST(MixedForward, TakesNumbersBeyondTheRangeOfFp16) {
  for (const double scale : {3e5, 1e9, 1e-6}) {
    CheckMixed<4, 3>(kSinkhorn, 17, 64, 1, 1, scale);
    CheckMixed<3, 2>(kSinkhorn, 17, 64, 1, 1, scale);
    CheckMixed<2, 1>(kSinkhorn, 17, 64, 1, 1, scale);
  }
}

// A value that is not finite stays in its channel's group of tokens, and its tile.
TEST(MixedForward, LeavesTokensOfOtherGroupsFinite) {
  for (const float value : {NAN, INFINITY}) {
    BoundaryProblem p(kMhc, kSinkhorn, 3, 70, 64, 1.0);
    p.x[size_t(2 * 3 * 64 + 7)] = ToBf16(value);
    const Outputs out = RunMixed<3, 2, true, cuda::AnyGeometry<cuda::kUsualWarps>>(
        p, {1, 2, cuda::kMixedStages}, true, 1);
    for (size_t i = 0; i < out.norm_out.size(); ++i) {
      const bool finite = std::isfinite(ToFloat(out.norm_out[i]));
      EXPECT_EQ(finite, i / 64 >= 4) << i;
    }
  }
}

}  // namespace
}  // namespace birkhoff
