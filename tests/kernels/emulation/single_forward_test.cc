// The single-pass forward kernel, run on the CPU, against the reference in double: what the GPU's
// tests check there, without a GPU.
#include "tests/kernels/emulation/gpu.h"
// The emulation comes first.
#include <gtest/gtest.h>

#include "kernels/boundary.h"
#include "kernels/cuda/device/single_forward.cuh"
#include "tests/kernels/emulation/boundary_inputs.h"

namespace birkhoff {
namespace {

using emulation::BoundaryProblem;

struct Outputs {
  std::vector<bf16> x, norm_out;
  std::vector<float> logits, norm_inv_rms, prefix;
};

template <int N, int kTiles, bool kPerRow, bool kMerge, typename Fixed>
Outputs Run(const BoundaryProblem& p, const cuda::SinglePassGeometry& geometry, bool late_copies,
            int clusters = 2) {
  const BoundaryShape& shape = p.shape;
  Outputs out;
  const int64_t rows = shape.tokens * N * shape.channels;
  out.x = kMerge ? std::vector<bf16>(size_t(rows)) : p.x;
  out.norm_out.resize(size_t(shape.tokens * shape.channels));
  out.logits.resize(size_t(shape.tokens * LogitsPerToken(shape)));
  out.norm_inv_rms.resize(size_t(shape.tokens));
  out.prefix.resize(size_t(shape.tokens * N * N));
  cuda::SingleForwardArgs args;
  args.tokens = shape.tokens;
  args.channels = int(shape.channels);
  args.columns = kPerRow ? N + 2 : int(BiasElements(shape));
  args.mix_eps = float(shape.mix_eps);
  args.norm_eps = float(shape.norm_eps);
  args.geometry = geometry;
  if (kMerge) {
    args.x_below = p.x.data();
    args.y = p.y.data();
    args.coefficients_below = kTiles == 0 ? nullptr : p.coefficients_below.data();
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
  const cuda::ForwardSizes sizes(geometry, {N, kTiles, kPerRow});
  emulation::Launch({clusters * geometry.cluster, geometry.cluster,
                     (geometry.warps + cuda::kServiceWarps) * 32, sizes.total},
                    late_copies, [&](unsigned char* shared) {
                      cuda::SingleForward<N, kTiles, kPerRow, kMerge, Fixed>(args, shared).Run();
                    });
  return out;
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
  const Outputs early = Run<N, kTiles, kPerRow, kMerge, Fixed>(p, geometry, false, 1);
  EXPECT_TRUE(emulation::SameBits(out.x, early.x));
  EXPECT_TRUE(emulation::SameBits(out.norm_out, early.norm_out));
  EXPECT_TRUE(emulation::SameBits(out.logits, early.logits));

  const emulation::ForwardReference want = p.Forward(kMerge);
  EXPECT_TRUE(emulation::SameBits(out.x, want.x_rounded)) << "X is merged in fp32";
  if (kTiles > 0) {
    EXPECT_LE(RelativeError(out.logits, want.logits), 1e-3);
  }
  EXPECT_LE(RelativeError(out.norm_inv_rms, want.norm_inv_rms), 3e-4);
  EXPECT_LE(RelativeError(Widen(out.norm_out), want.norm_out), 6e-3);
  if (kMerge) {
    EXPECT_LE(RelativeError(out.prefix, want.prefix), 1e-6);
  }
}

constexpr BoundaryKind kMhc = BoundaryKind::kMhc, kHc = BoundaryKind::kHc;
constexpr MappingKind kSinkhorn = MappingKind::kSinkhorn;

TEST(SingleForward, MatchesTheReferenceAtFourStreams) {
  Check<4, 3, false, true>(kMhc, kSinkhorn, 37, 128, {2, 2, 2});
  Check<4, 3, false, true>(kMhc, kSinkhorn, 35, 256, {8, 1, 1});
  Check<4, 3, false, false>(kMhc, kSinkhorn, 16, 72, {1, 3, 1});
}

TEST(SingleForward, MatchesTheReferenceAtTheShapeThatPaysMost) {
  Check<4, 3, false, true, cuda::FixedGeometry<8, 10, 2>>(kMhc, kSinkhorn, 37, 2560, {8, 10, 2});
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
  }
}

}  // namespace
}  // namespace birkhoff
