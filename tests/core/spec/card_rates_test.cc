// The lines of a card file that planning reads.
#include "core/spec/card_rates.h"

#include "absl/strings/str_replace.h"
#include "core/spec/resolve.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;

CardRates Two() {
  const ShapeTimes times = {.first = {1, 2, 3, 4},
                            .attention = {5, 6, 7, 8},
                            .feed_forward = {9, 10, 11, 12},
                            .head = {int64_t{1} << 40, 13, 0, 0},
                            .norm_ns = 0.00125,
                            .update_ns = 1.0 / 3.0};
  return {.card = "NVIDIA H200, driver 580", .by_shape = {{"a shape", times}, {"another", {}}}};
}

TEST(CardRates, TextComesBackAsItWas) {
  const std::string text = CardRatesToText(Two());
  const auto back = CardRatesFromText(text + "product: of others\n");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(CardRatesToText(*back), text);
  CardRates want = Two();
  EXPECT_EQ(back->card, want.card);
  EXPECT_EQ(back->by_shape.at("a shape").head, want.by_shape.at("a shape").head);
  EXPECT_NEAR(back->by_shape.at("a shape").update_ns, 1.0 / 3.0, 1e-9);
}

TEST(CardRates, WhatIsNoneIsNamed) {
  const std::string text = CardRatesToText(Two());
  EXPECT_THAT(std::string(CardRatesFromText("birkhoff card 2\n").status().message()),
              HasSubstr("'birkhoff card 1'"));
  for (const auto& [from, to] : {std::pair("attention 5", "attenti0n 5"),
                                 {"attention 5", "attention -5"},
                                 {"7 8\n", "7\n"},
                                 {"7 8\n", "7 8 9\n"},
                                 {"step: 0.00125", "step: fast"},
                                 {"shape: a shape", "figure: none"}}) {
    const auto parsed = CardRatesFromText(absl::StrReplaceAll(text, {{from, to}}));
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << to;
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr("no line of a card file: "));
  }
}

TEST(CardRates, AShapeIsAllThatTimesDependOnButTheDepth) {
  JobSpec spec;
  const Numerics numerics = {Processor::kCuda, Precision::kBf16, false};
  const std::string key = ShapeKey(spec, numerics);
  EXPECT_EQ(key, "mhc sinkhorn n=4 it=20 C=128 heads=4/4 F=384 V=0, 2 x 128 tokens, bf16 on cuda");
  spec.model.num_hidden_layers = 60;
  spec.training.global_batch_size = 64;
  EXPECT_EQ(ShapeKey(spec, numerics), key);
  spec.model.residual.kind = ResidualKind::kResidual;
  EXPECT_EQ(ShapeKey(spec, {}),
            "residual C=128 heads=4/4 F=384 V=0, 2 x 128 tokens, fp32 on cpu, "
            "deterministic");
}

}  // namespace
}  // namespace birkhoff
