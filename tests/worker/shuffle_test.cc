// Orders of samples as arithmetic: permutations that are permutations, blends that keep shares.
#include "worker/shuffle.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <vector>

namespace birkhoff {
namespace {

std::vector<int64_t> Order(int64_t size, uint64_t key) {
  const Permutation permutation(size, key);
  std::vector<int64_t> order;
  for (int64_t i = 0; i < size; ++i) order.push_back(permutation(i));
  return order;
}

TEST(PermutationTest, VisitsEveryElementOnce) {
  for (const int64_t size : {1, 2, 3, 4, 5, 16, 17, 255, 1000, 4097}) {
    for (const uint64_t key : {uint64_t{0}, uint64_t{1}, ~uint64_t{0}}) {
      std::vector<int> seen(static_cast<size_t>(size), 0);
      for (const int64_t at : Order(size, key)) ++seen.at(static_cast<size_t>(at));
      for (const int count : seen) ASSERT_EQ(count, 1) << size << " " << key;
    }
  }
}

TEST(PermutationTest, DependsOnTheKeyAndKeepsItsBits) {
  EXPECT_EQ(Order(1000, 7), Order(1000, 7));
  EXPECT_NE(Order(1000, 7), Order(1000, 8));
  const int64_t large = int64_t{1} << 40;
  EXPECT_EQ(Permutation(large, 3)(12345), Permutation(large, 3)(12345));
  EXPECT_LT(Permutation(large, 3)(large - 1), large);
}

// Neighbours must not stay neighbours: the mean distance of random places is a third of the size.
TEST(PermutationTest, Mixes) {
  constexpr int64_t kSize = 10000;
  const std::vector<int64_t> order = Order(kSize, 42);
  double distance = 0.0;
  for (size_t i = 1; i < order.size(); ++i) {
    distance += static_cast<double>(std::abs(order[i] - order[i - 1]));
  }
  distance /= kSize - 1;
  EXPECT_NEAR(distance, kSize / 3.0, 0.03 * kSize);
}

TEST(BlendTest, KeepsEverySourceNearItsShareAtEveryMoment) {
  const std::vector<double> weights = {0.5, 3.0, 1.0, 0.25, 0.25};
  const Blend blend(weights);
  std::vector<int64_t> served(weights.size(), 0);
  for (int64_t sample = 0; sample < 20000; ++sample) {
    const Blend::Pick pick = blend(sample);
    const size_t source = static_cast<size_t>(pick.source);
    ASSERT_EQ(pick.index, served.at(source)) << "sample " << sample;  // no gap, no repeat
    ++served[source];
    for (size_t i = 0; i < weights.size(); ++i) {
      const double share = static_cast<double>(sample + 1) * weights[i] / 5.0;
      ASSERT_NEAR(static_cast<double>(served[i]), share, 3.0) << "source " << i;  // 3 levels
    }
  }
}

TEST(BlendTest, OneSourceServesAll) {
  const Blend blend({0.3});
  for (const int64_t sample : {0, 1, 1000000}) {
    EXPECT_EQ(blend(sample).source, 0);
    EXPECT_EQ(blend(sample).index, sample);
  }
}

TEST(BlendTest, ServesEvenTheSmallestShare) {
  const Blend blend({1.0, 1e-12});  // rounds to nothing, but was asked for
  const int64_t many = int64_t{1} << 40;
  const int64_t served = blend(many).source == 1 ? blend(many).index : many - blend(many).index;
  EXPECT_GT(served, 0);
}

}  // namespace
}  // namespace birkhoff
