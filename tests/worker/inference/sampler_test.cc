// Which token comes next, by temperature, top-k and top-p.
#include "worker/inference/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "core/base/exit_status.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<int32_t> Draw(const SamplingOptions& options, const std::vector<float>& logits,
                          int count) {
  Sampler sampler(options);
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back(sampler.Next(logits).value());
  return tokens;
}

std::set<int32_t> Seen(const SamplingOptions& options, const std::vector<float>& logits) {
  const std::vector<int32_t> tokens = Draw(options, logits, 2000);
  return {tokens.begin(), tokens.end()};
}

TEST(Sampler, TakesTheLikeliestAtTemperatureZero) {
  EXPECT_THAT(Draw({.temperature = 0.0}, {1.0f, 3.0f, 3.0f, -9.0f}, 3), ElementsAre(1, 1, 1));
}

TEST(Sampler, SharesFollowTheSoftmax) {
  const std::vector<float> logits = {0.0f, 1.0f, 2.0f, -1.0f};
  for (const double temperature : {0.5, 1.0, 2.0}) {
    constexpr int kDraws = 20'000;
    std::map<int32_t, int> counts;
    for (const int32_t token : Draw({.temperature = temperature}, logits, kDraws)) ++counts[token];
    double sum = 0.0;
    for (const float logit : logits) sum += std::exp(logit / temperature);
    for (size_t token = 0; token < logits.size(); ++token) {
      const double share = std::exp(logits[token] / temperature) / sum;
      // Five standard deviations.
      EXPECT_NEAR(counts[int32_t(token)], kDraws * share,
                  5.0 * std::sqrt(kDraws * share * (1.0 - share)))
          << token << " at " << temperature;
    }
  }
}

TEST(Sampler, TopKKeepsTheLikeliestWithTheSmallerNumberFirst) {
  const std::vector<float> logits = {1.0f, 2.0f, 1.0f, 1.5f};
  EXPECT_THAT(Seen({.temperature = 1.0, .top_k = 1}, logits), ElementsAre(1));
  EXPECT_THAT(Seen({.temperature = 1.0, .top_k = 3}, logits), ElementsAre(0, 1, 3));
  EXPECT_THAT(Seen({.temperature = 1.0, .top_k = 99}, logits), ElementsAre(0, 1, 2, 3));
}

TEST(Sampler, TopPKeepsTheFewestThatHoldTheShare) {
  // Shares 0.5, 0.3, 0.15, 0.05.
  std::vector<float> logits;
  for (const double share : {0.15, 0.5, 0.05, 0.3}) logits.push_back(float(std::log(share)));
  EXPECT_THAT(Seen({.temperature = 1.0, .top_p = 0.49}, logits), ElementsAre(1));
  EXPECT_THAT(Seen({.temperature = 1.0, .top_p = 0.6}, logits), ElementsAre(1, 3));
  EXPECT_THAT(Seen({.temperature = 1.0, .top_p = 0.9}, logits), ElementsAre(0, 1, 3));
  EXPECT_THAT(Seen({.temperature = 1.0, .top_k = 2, .top_p = 0.99}, logits), ElementsAre(1, 3));
}

TEST(Sampler, TheSameSeedDrawsTheSame) {
  const std::vector<float> logits(50, 0.0f);
  const std::vector<int32_t> first = Draw({.seed = 9}, logits, 40);
  EXPECT_EQ(Draw({.seed = 9}, logits, 40), first);
  EXPECT_NE(Draw({.seed = 10}, logits, 40), first);
}

TEST(Sampler, ATinyTemperatureIsTheLikeliest) {
  EXPECT_THAT(Seen({.temperature = 1e-300}, {1.0f, 1.5f, 0.0f}), ElementsAre(1));
}

TEST(Sampler, RefusesLogitsThatAreNoNumbers) {
  Sampler sampler({});
  const absl::Status status =
      sampler.Next(std::vector<float>{0.0f, std::numeric_limits<float>::quiet_NaN()}).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("gives token 1 the logit nan"));
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kNumerics);
}

TEST(Sampler, OptionsThatAreNotAllowedAreNamed) {
  EXPECT_TRUE(Validate(SamplingOptions{}).ok());
  EXPECT_TRUE(Validate(SamplingOptions{.temperature = 0.0}).ok());
  const auto words = [](const SamplingOptions& options) {
    return std::string(Validate(options).message());
  };
  EXPECT_EQ(words({.temperature = -1.0}),
            "--temperature: -1 is not allowed; need 0 (the likeliest token) or more");
  EXPECT_THAT(words({.temperature = std::nan("")}), HasSubstr("--temperature: nan"));
  EXPECT_THAT(words({.temperature = INFINITY}), HasSubstr("--temperature: inf"));
  EXPECT_THAT(words({.top_k = -1}), HasSubstr("--top-k: -1 is not allowed"));
  EXPECT_THAT(words({.top_p = 0.0}), HasSubstr("--top-p: 0 is not allowed"));
  EXPECT_THAT(words({.top_p = 1.5}), HasSubstr("--top-p: 1.5 is not allowed"));
}

}  // namespace
}  // namespace birkhoff
