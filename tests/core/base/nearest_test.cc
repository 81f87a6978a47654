// Distances between words against the definition, and the word that somebody meant.
#include "core/base/nearest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/rng.h"

namespace birkhoff {
namespace {

struct Distance {
  const char* a;
  const char* b;
  int letters;
};

TEST(EditDistance, CountsLettersInsertedRemovedAndReplaced) {
  const Distance cases[] = {{"", "", 0},
                            {"a", "", 1},
                            {"", "abc", 3},
                            {"abc", "abc", 0},
                            {"abc", "abd", 1},
                            {"abc", "ab", 1},
                            {"abc", "xabc", 1},
                            {"abc", "axbc", 1},
                            {"abc", "acb", 2},  // two letters swapped are two replaced
                            {"kitten", "sitting", 3},
                            {"Sunday", "Saturday", 3},
                            {"abc", "def", 3},
                            {"abc", "ABC", 3},
                            {"a", "aaaa", 3},
                            {"learn_pre", "learn_res", 2}};
  for (const Distance& c : cases) {
    EXPECT_EQ(EditDistance(c.a, c.b), c.letters) << c.a << " " << c.b;
    EXPECT_EQ(EditDistance(c.b, c.a), c.letters) << "it is symmetric: " << c.a << " " << c.b;
  }
}

// The definition itself, without a table.
int Naive(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty()) return static_cast<int>(a.size() + b.size());
  if (a[0] == b[0]) return Naive(a.substr(1), b.substr(1));
  return 1 +
         std::min({Naive(a.substr(1), b), Naive(a, b.substr(1)), Naive(a.substr(1), b.substr(1))});
}

TEST(EditDistance, IsTheLeastOverAllWaysToEdit) {
  Rng rng(1);
  const auto word = [&rng] {
    std::string letters(rng.Below(7), 'a');
    for (char& letter : letters) letter = static_cast<char>('a' + rng.Below(3));
    return letters;
  };
  for (int i = 0; i < 500; ++i) {
    const std::string a = word(), b = word(), c = word();
    EXPECT_EQ(EditDistance(a, b), Naive(a, b)) << a << " " << b;
    EXPECT_LE(EditDistance(a, c), EditDistance(a, b) + EditDistance(b, c));
  }
}

TEST(LargestSlip, IsAThirdOfTheWordAndTwoAtLeast) {
  const int want[] = {2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 4};
  for (size_t letters = 0; letters < std::size(want); ++letters) {
    EXPECT_EQ(LargestSlip(letters), want[letters]) << letters;
  }
}

TEST(Nearest, TakesTheClosestAndOfSeveralTheFirst) {
  const std::vector<std::string> verbs = {"run",     "plan",   "validate",
                                          "explain", "cancel", "compare"};
  EXPECT_EQ(Nearest("validat", verbs), "validate");
  EXPECT_EQ(Nearest("explian", verbs), "explain");
  EXPECT_EQ(Nearest("rn", verbs), "run");
  EXPECT_EQ(Nearest("plain", verbs), "plan") << "one letter, to explain three";
  EXPECT_EQ(Nearest("run", verbs), "run");
  EXPECT_EQ(Nearest("completion", verbs), "");
  EXPECT_EQ(Nearest("", verbs), "") << "three letters are more than a slip";
  EXPECT_EQ(Nearest("run", {}), "");
  EXPECT_EQ(Nearest("b", {"a", "c"}), "a");
  EXPECT_EQ(Nearest("abc", {"abxx", "abd", "abc"}), "abc");
}

}  // namespace
}  // namespace birkhoff
