// Which kernels of the GPU make a boundary: a pure function, so it is tested without one.
#include "kernels/cuda/boundary_config.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/cuda/mixed_forward.h"

namespace birkhoff::cuda {
namespace {

BoundaryDesc Desc(BoundaryPass pass, int64_t channels, int streams = 4) {
  return {.pass = pass, .shape = {.streams = streams, .tokens = 16384, .channels = channels}};
}
std::string Text(const BoundaryDesc& desc, BoundaryPath path = BoundaryPath::kSinglePass) {
  return ToString(ConfigOf(desc, path, /*most_partials=*/25));
}

constexpr BoundaryPass kForward = BoundaryPass::kForward, kBackward = BoundaryPass::kBackward;

TEST(BoundaryConfig, ChoosesTheSinglePassUnlessToldOtherwise) {
  EXPECT_EQ(Text(Desc(kForward, 2560), BoundaryPath::kChosen), Text(Desc(kForward, 2560)));
  EXPECT_EQ(Text(Desc(kForward, 2560), BoundaryPath::kStreaming), "streaming");
}

TEST(BoundaryConfig, PrintsTheShapesThatPayMost) {
  EXPECT_EQ(Text(Desc(kForward, 2560)),
            "single pass: cluster 8, 10 + 4 warps, 2 tiles of 16 tokens, 221568 bytes shared");
  EXPECT_EQ(Text(Desc(kForward, 2048)),
            "single pass: cluster 8, 8 + 4 warps, 2 tiles of 16 tokens, 181376 bytes shared");
  EXPECT_EQ(Text(Desc(kBackward, 2560)),
            "single pass: cluster 8, 8 + 4 warps, 3 tiles of 8 tokens, 232064 bytes shared");
  EXPECT_EQ(Text(Desc(kBackward, 2048)),
            "single pass: cluster 8, 8 + 4 warps, 3 tiles of 8 tokens, 188800 bytes shared");
  EXPECT_EQ(Text(Desc(kForward, 8192)),
            "single pass: cluster 16, 16 + 2 warps, 1 tiles of 16 tokens, 231504 bytes shared");
}

TEST(BoundaryConfig, SaysWhyItStreams) {
  const auto why = [](BoundaryDesc desc) { return Text(desc); };
  BoundaryDesc desc = Desc(kForward, 100);
  EXPECT_EQ(why(desc), "streaming: C=100; need C % 8 == 0");
  EXPECT_EQ(why(Desc(kForward, 2560, 8)), "streaming: n=8; need n <= 4");
  EXPECT_EQ(why(Desc(kForward, 2560, 1)), "streaming: n=1; need n >= 2, or a plain residual");
  EXPECT_EQ(why(Desc(kForward, 12288)), "streaming: C=12288; need C <= 8192");
  EXPECT_EQ(why(Desc(kBackward, 8192)), "streaming: C=8192; need C <= 5120");
  EXPECT_EQ(why(Desc(BoundaryPass::kRecompute, 2560)), "streaming: recompute is one pass as it is");
  desc = Desc(kForward, 2560);
  desc.dtype = DType::kFloat32;
  EXPECT_EQ(why(desc), "streaming: streams in fp32; need bf16");
  desc = Desc(kForward, 2560);
  desc.compute_capability = 80;
  EXPECT_EQ(why(desc), "streaming: compute capability 80; need 90");
  desc = Desc(kBackward, 2560);
  desc.compute_capability = 100;
  EXPECT_EQ(why(desc), "streaming: compute capability 100; need 90");
  desc = Desc(kForward, 2560);
  desc.aligned = false;
  EXPECT_EQ(why(desc), "streaming: a row is not aligned; need 16 bytes");
  desc = Desc(kForward, 2560);
  desc.sink = BoundarySink::kHead;
  EXPECT_EQ(why(desc), "streaming: no sub-layer above; need one");
  desc = Desc(kBackward, 2560);
  desc.shape.kind = BoundaryKind::kHc;
  EXPECT_EQ(why(desc), "streaming: backward of another kind; need mhc");
  desc = Desc(kBackward, 2560);
  desc.shape.mapping = MappingKind::kPermutations;
  EXPECT_EQ(why(desc), "streaming: backward of permutations; need sinkhorn");
  desc.shape.mapping = MappingKind::kRetention;  // phi has no columns for its logits
  EXPECT_EQ(why(desc), "streaming: mapping retention; need sinkhorn");
  desc = Desc(kBackward, 2560);
  desc.shape.sinkhorn_iterations = 25;
  EXPECT_EQ(why(desc), "streaming: sinkhorn_iterations=25; need n times as many <= 96");
}

TEST(BoundaryConfig, CoversTheChannelsWithinWhatABlockMayHave) {
  for (const BoundaryPass pass : {kForward, kBackward}) {
    for (const int streams : {2, 3, 4}) {
      for (int64_t channels = 8; channels <= 8192; channels += 8) {
        const BoundaryConfig config =
            ConfigOf(Desc(pass, channels, streams), BoundaryPath::kSinglePass, 25);
        if (pass == kForward || channels <= (streams == 4 ? 4096 : 5120)) {
          ASSERT_TRUE(config.single_pass) << channels << ": " << ToString(config);
        }
        if (!config.single_pass) continue;
        const SinglePassGeometry& geometry = config.geometry;
        ASSERT_LE(config.shared_bytes, kMostSharedBytes);
        ASSERT_EQ(config.mixed, pass == kForward && channels <= 5120) << channels;
        if (pass == kForward) {
          ASSERT_GE(geometry.cluster * geometry.warps * kWarpChannels, channels);
          ASSERT_LE(geometry.warps, config.mixed ? kUsualWarps : kMostWarps);
          const int service = config.mixed ? kMixedServiceWarps : kServiceWarps;
          ASSERT_EQ(config.threads, (geometry.warps + service) * 32);
        } else {
          ASSERT_GE(geometry.cluster * geometry.boxes * kBoxChannels, channels);
          ASSERT_GE(geometry.boxes, kFewestBoxes);
          ASSERT_LE(geometry.boxes, kMostBoxes);
          ASSERT_EQ(config.threads, (kBackwardWarps + kBackwardServiceWarps) * 32);
        }
        ASSERT_EQ(config.tile_tokens % 8, 0);
      }
    }
  }
}

TEST(BoundaryConfig, MergesOnTensorCoresWhateverThePassAndTheSink) {
  for (const int64_t channels : {8, 100, 2560, 5120, 5128, 12288}) {
    for (const DType dtype : {DType::kBfloat16, DType::kFloat32}) {
      BoundaryDesc desc = Desc(kForward, channels);
      desc.dtype = dtype;
      const bool mixed = ConfigOf(desc, BoundaryPath::kChosen).mixed;
      EXPECT_EQ(mixed, channels % 8 == 0 && channels <= 5120 && dtype == DType::kBfloat16);
      for (const BoundaryPass pass : {kForward, BoundaryPass::kRecompute, kBackward}) {
        for (const auto sink :
             {BoundarySink::kSubLayer, BoundarySink::kHead, BoundarySink::kNone}) {
          desc.pass = pass;
          desc.sink = sink;
          EXPECT_EQ(MergeConfig(desc, BoundaryPath::kChosen).mixed, mixed) << channels;
          EXPECT_FALSE(MergeConfig(desc, BoundaryPath::kStreaming).mixed);
        }
      }
    }
  }
  BoundaryDesc desc = Desc(kForward, 2560);
  desc.shape.mapping = MappingKind::kPermutations;  // 32 columns
  EXPECT_FALSE(ConfigOf(desc, BoundaryPath::kSinglePass).mixed);
  desc.shape.mapping = MappingKind::kIdentity;
  EXPECT_TRUE(ConfigOf(desc, BoundaryPath::kSinglePass).mixed);
  desc.shape.kind = BoundaryKind::kHc;
  EXPECT_FALSE(ConfigOf(desc, BoundaryPath::kSinglePass).mixed);
}

TEST(BoundaryConfig, MakesNoMoreClustersThanTilesOrPartialSums) {
  BoundaryDesc desc = Desc(kForward, 2560);
  desc.shape.tokens = 33;  // three tiles
  EXPECT_EQ(ConfigOf(desc, BoundaryPath::kSinglePass).most_clusters, 3);
  EXPECT_EQ(ConfigOf(Desc(kBackward, 2560), BoundaryPath::kSinglePass, 7).most_clusters, 7);
}

}  // namespace
}  // namespace birkhoff::cuda
