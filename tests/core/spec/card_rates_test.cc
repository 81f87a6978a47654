// The lines of a card file that planning reads.
#include "core/spec/card_rates.h"

#include <set>
#include <string>
#include <utility>

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
                                 {"step: 0.00125", "step: -0.00125"},
                                 {"step: 0.00125", "step: nan"},
                                 {"step: 0.00125", "step: inf"},
                                 {"step: 0.00125", "step: 1e999"},
                                 {"step: 0.00125 ", "step: "},
                                 {"step: 0.00125", "step: 1 1"},
                                 {"time: head 1", "time: tail 1"},
                                 {"time: head ", "time: "},
                                 {"7 8\n", "7 8.5\n"},
                                 {"7 8\n", "7 99999999999999999999\n"},
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

TEST(CardRates, TextIsTheFormatOfItsHeader) {
  EXPECT_EQ(CardRatesToText(Two()),
            "birkhoff card 1\n"
            "card: NVIDIA H200, driver 580\n"
            "shape: a shape\n"
            "time: first 1 2 3 4\n"
            "time: attention 5 6 7 8\n"
            "time: feed-forward 9 10 11 12\n"
            "time: head 1099511627776 13 0 0\n"
            "step: 0.00125 0.333333333\n"
            "shape: another\n"
            "time: first 0 0 0 0\n"
            "time: attention 0 0 0 0\n"
            "time: feed-forward 0 0 0 0\n"
            "time: head 0 0 0 0\n"
            "step: 0 0\n");
}

TEST(CardRates, ACardWithoutShapesIsOne) {
  const auto empty = CardRatesFromText("birkhoff card 1\n");
  ASSERT_TRUE(empty.ok());
  EXPECT_EQ(*empty, CardRates{});
  EXPECT_FALSE(CardRatesFromText("").ok());
  EXPECT_FALSE(CardRatesFromText("\nbirkhoff card 1\n").ok());
  EXPECT_FALSE(CardRatesFromText("birkhoff card 10\n").ok());
}

// Whatever a unit's times depend on makes another key, and what only places or counts does not.
TEST(CardRates, EveryFieldThatCountsIsInTheKey) {
  struct Change {
    const char* what;
    void (*make)(JobSpec&);
    const char* piece;  // of the key, in place of the default's
  };
  const Change changes[] = {
      {"kind", [](JobSpec& s) { s.model.residual.kind = ResidualKind::kHc; }, "hc n=4 C="},
      {"streams", [](JobSpec& s) { s.model.residual.streams = 2; }, "mhc sinkhorn n=2 it=20 "},
      {"mapping", [](JobSpec& s) { s.model.residual.mapping = MappingKind::kIdentity; },
       "mhc identity n=4 C="},
      {"iterations", [](JobSpec& s) { s.model.residual.sinkhorn_iterations = 7; }, " it=7 "},
      {"expand", [](JobSpec& s) { s.model.residual.expand = ExpandKind::kOneHot; }, " one-hot C="},
      {"pre", [](JobSpec& s) { s.model.residual.learn_pre = false; }, " fixed-pre C="},
      {"post", [](JobSpec& s) { s.model.residual.learn_post = false; }, " fixed-post C="},
      {"res", [](JobSpec& s) { s.model.residual.learn_res = false; }, " fixed-res C="},
      {"width", [](JobSpec& s) { s.model.hidden_size = 256; }, " C=256 "},
      {"heads", [](JobSpec& s) { s.model.num_attention_heads = 8; }, " heads=8/4 "},
      {"keys", [](JobSpec& s) { s.model.num_key_value_heads = 2; }, " heads=4/2 "},
      {"inner", [](JobSpec& s) { s.model.intermediate_size = 512; }, " F=512 "},
      {"vocabulary", [](JobSpec& s) { s.model.vocab_size = 257; }, " V=257,"},
      {"tied", [](JobSpec& s) { s.model.tie_embeddings = true; }, " V=0 tied,"},
      {"micro-batch", [](JobSpec& s) { s.training.micro_batch_size = 3; }, ", 3 x 128 tokens"},
      {"length", [](JobSpec& s) { s.training.sequence_length = 64; }, ", 2 x 64 tokens"},
  };
  const std::string usual = ShapeKey(JobSpec(), {});
  std::set<std::string> keys = {usual};
  for (const Change& change : changes) {
    JobSpec spec;
    change.make(spec);
    const std::string key = ShapeKey(spec, {});
    EXPECT_THAT(key, HasSubstr(change.piece)) << change.what;
    EXPECT_TRUE(keys.insert(key).second) << change.what;
  }
  EXPECT_TRUE(keys.insert(ShapeKey(JobSpec(), {Processor::kCuda, Precision::kFp32, true})).second);
  EXPECT_TRUE(keys.insert(ShapeKey(JobSpec(), {Processor::kCpu, Precision::kBf16, true})).second);
  EXPECT_TRUE(keys.insert(ShapeKey(JobSpec(), {Processor::kCpu, Precision::kFp32, false})).second);
}

}  // namespace
}  // namespace birkhoff
