// The lines of a card file that pin algorithms of products.
#include "kernels/gemm_choices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_replace.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;

GemmChoices Two() {
  return {.library = "cuBLASLt 130100 on NVIDIA H200",
          .by_problem = {{"gemm bf16>bf16 4096x2560x6912 b^T ld 6912,6912,2560 align 16,16,16",
                          {{1, 0xfedcba9876543210, 3, 4, 5, 6, 7, ~uint64_t{0}}, 181.25, 190.5}},
                         {"gemm bf16>f32 2560x6912x4096 a^T ld 2560,6912,6912 align 16,16,16",
                          {{8, 7, 6, 5, 4, 3, 2, 1}, 200.0, 200.0}}}};
}

TEST(GemmChoices, TextComesBackAsItWas) {
  const std::string text = GemmChoicesToText(Two());
  EXPECT_THAT(text, HasSubstr("products: cuBLASLt 130100 on NVIDIA H200\n"));
  EXPECT_THAT(text, HasSubstr("fedcba9876543210"));
  const auto back = GemmChoicesFromText("birkhoff card 1\n" + text + "unit: of others\n");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, Two());
}

TEST(GemmChoices, NoChoiceIsNoText) {
  EXPECT_EQ(GemmChoicesToText({.library = "cuBLASLt 1 on a card", .by_problem = {}}), "");
  EXPECT_EQ(*GemmChoicesFromText("birkhoff card 1\n"), GemmChoices());
}

TEST(GemmChoices, ALineThatIsNoneIsNamed) {
  const std::string text = GemmChoicesToText(Two());
  for (const auto& [from, to] : {std::pair(" = ", " "),
                                 {"fedcba98", "fedcba9x"},
                                 {", 181", " 181"},
                                 {"190.50 us", "190.50 us more"},
                                 {"products: ", "others: "}}) {
    const auto parsed = GemmChoicesFromText(absl::StrReplaceAll(text, {{from, to}}));
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << to;
    EXPECT_THAT(std::string(parsed.status().message()),
                HasSubstr("no line of a product: product: "));
  }
}

}  // namespace
}  // namespace birkhoff
