// Which texts are numbers, and to which kinds of field; and the shortest text of a number.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/rng.h"
#include "core/spec/field.h"
#include "core/spec/load.h"
#include "tests/core/spec/read_spec.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// The value as the resolved YAML writes it, "" where it is refused.
std::string Read(const std::string& path, const std::string& value) {
  std::vector<Problem> problems;
  const JobSpec spec =
      LoadJobSpec("data: {train: t}\n", {absl::StrCat(path, "=", value)}, &problems);
  return problems.empty() ? FieldValue(*FindField(path), spec) : "";
}

struct Form {
  const char* text;
  const char* as_int;   // 32 bits
  const char* as_long;  // 64 bits
  const char* as_seed;  // 64 bits without a sign
  const char* as_real;
};

// Whole numbers are decimal digits with a minus at most: what YAML 1.1 and 1.2 read as other numbers
// (0o17, 1_000, 60:00) is refused, not guessed at; real numbers may be hexadecimal.
const Form kForms[] = {
    {"0", "0", "0", "0", "0"},
    {"7", "7", "7", "7", "7"},
    {"-7", "-7", "-7", "", "-7"},
    {"-0", "0", "0", "", "-0"},
    {"+7", "", "", "", "7"},
    {"--7", "", "", "", ""},
    {"007", "7", "7", "7", "7"},
    {"7.", "", "", "", "7"},
    {"7.0", "", "", "", "7"},
    {".5", "", "", "", "0.5"},
    {"-.5", "", "", "", "-0.5"},
    {"0.5", "", "", "", "0.5"},
    {"5e-1", "", "", "", "0.5"},
    {"5E-1", "", "", "", "0.5"},
    {"5.e-1", "", "", "", "0.5"},
    {"5e2", "", "", "", "500"},
    {"5e+2", "", "", "", "500"},
    {"5e", "", "", "", ""},
    {"e5", "", "", "", ""},
    {".", "", "", "", ""},
    {"-", "", "", "", ""},
    {"0.1.2", "", "", "", ""},
    {"0,5", "", "", "", ""},
    {"1_000", "", "", "", ""},
    {"1 000", "", "", "", ""},
    {"0x1f", "", "", "", "31"},
    {"0x1p-2", "", "", "", "0.25"},
    {"0o17", "", "", "", ""},
    {"0b11", "", "", "", ""},
    {"60:00", "", "", "", ""},
    {"1k", "", "", "", ""},
    {"10%", "", "", "", ""},
    {"1/2", "", "", "", ""},
    {"2^10", "", "", "", ""},
    {"true", "", "", "", ""},
    {"auto", "", "", "", ""},
    {"~", "", "", "", ""},
    {"''", "", "", "", ""},
    {"'7'", "", "", "", ""},
    {"\"7\"", "", "", "", ""},
    {"! 7", "", "", "", ""},
    {"|\n  7", "", "", "", ""},
    {"[7]", "", "", "", ""},
    {"{7: 7}", "", "", "", ""},
    {".nan", "", "", "", ""},
    {"nan", "", "", "", ""},
    {".inf", "", "", "", ""},
    {"-.inf", "", "", "", ""},
    {"inf", "", "", "", ""},
    {"infinity", "", "", "", ""},
    {"  7  ", "7", "7", "7", "7"},
    {"7 # a comment", "7", "7", "7", "7"},
    {"7\r\n", "7", "7", "7", "7"},
    {"&anchor 7", "7", "7", "7", "7"},
    {"\xef\xbc\x97", "", "", "", ""},  // a digit of full width
    {"\xd9\xa7", "", "", "", ""},      // an Arabic digit
    {"\xe2\x88\x92"
     "7",
     "", "", "", ""},  // a minus as typesetters have it
    {"2147483647", "2147483647", "2147483647", "2147483647", "2147483647"},
    {"2147483648", "", "2147483648", "2147483648", "2147483648"},
    {"-2147483648", "-2147483648", "-2147483648", "", "-2147483648"},
    {"-2147483649", "", "-2147483649", "", "-2147483649"},
    {"4294967297", "", "4294967297", "4294967297", "4294967297"},
    {"9223372036854775807", "", "9223372036854775807", "9223372036854775807",
     "9223372036854775808"},
    {"9223372036854775808", "", "", "9223372036854775808", "9223372036854775808"},
    {"-9223372036854775808", "", "-9223372036854775808", "", "-9223372036854775808"},
    {"-9223372036854775809", "", "", "", "-9223372036854775808"},
    {"18446744073709551615", "", "", "18446744073709551615", "18446744073709551616"},
    {"18446744073709551616", "", "", "", "18446744073709551616"},
    {"1e308", "", "", "", "1.0e+308"},
    {"1.7976931348623157e308", "", "", "", "1.7976931348623157e+308"},
    {"1.7976931348623159e308", "", "", "", ""},
    {"-1.7976931348623159e308", "", "", "", ""},
    {"4.9406564584124654e-324", "", "", "", "5.0e-324"},
    {"1e-400", "", "", "", "0"},
    {"0.1000000000000000055511151231257827", "", "", "", "0.1"},
    {"0.30000000000000004", "", "", "", "0.30000000000000004"},
};

TEST(LoadNumberTest, EveryFormIsReadOrRefusedByEveryKind) {
  for (const Form& form : kForms) {
    EXPECT_EQ(Read("model.vocab_size", form.text), form.as_int) << form.text;
    EXPECT_EQ(Read("training.steps", form.text), form.as_long) << form.text;
    EXPECT_EQ(Read("data.seed", form.text), form.as_seed) << form.text;
    EXPECT_EQ(Read("optimizer.lr", form.text), form.as_real) << form.text;
    const std::string list = absl::StrCat("[1, ", form.text, "\n]");
    if (form.text[0] == '|' || form.text[1] == ',') continue;  // another thing inside of a list
    const std::string as_item =
        *form.as_real == '\0' ? "" : absl::StrCat("[1, ", form.as_real, "]");
    EXPECT_EQ(Read("lr_schedule.step_at", list), as_item) << form.text;
  }
}

TEST(LoadNumberTest, RecomputeIsAWordOrAWholeNumberFrom1) {
  const std::pair<const char*, const char*> cases[] = {
      {"auto", "auto"}, {"none", "none"},  {"1", "1"},          {"2147483647", "2147483647"},
      {"0", ""},        {"-1", ""},        {"2147483648", ""},  {"1.0", ""},
      {"Auto", ""},     {"automatic", ""}, {"'auto'", ""},      {"'1'", ""},
      {"~", ""},        {"[auto]", ""},    {"{auto: none}", ""}};
  for (const auto& [text, want] : cases) {
    EXPECT_EQ(Read("parallelism.recompute", text), want) << text;
  }
}

TEST(LoadNumberTest, EveryWrongItemOfAListIsNamedByItsPlace) {
  std::vector<Problem> problems;
  const JobSpec spec = LoadJobSpec(
      "data: {train: t}\nlr_schedule: {step_at: [0.5, x, [1], '2', .nan, 0.75]}\n", {}, &problems);
  EXPECT_THAT(Lines(problems),
              ElementsAre("lr_schedule.step_at[1]: x is not allowed; need a finite number",
                          "lr_schedule.step_at[2]: a list is not allowed; need a finite number",
                          "lr_schedule.step_at[3]: 2 is not allowed; need a finite number",
                          "lr_schedule.step_at[4]: .nan is not allowed; need a finite number"));
}

TEST(ShortestNumberTest, HasAPointBeforeEveryExponent) {
  const std::pair<double, const char*> cases[] = {
      {0.0, "0"},
      {-0.0, "-0"},
      {1.0, "1"},
      {-1.5, "-1.5"},
      {0.1, "0.1"},
      {0.0001, "1.0e-04"},
      {0.00012, "0.00012"},
      {123456789.0, "123456789"},
      {1e5, "1.0e+05"},
      {123456.0, "123456"},
      {1e15, "1.0e+15"},
      {1e16, "1.0e+16"},
      {1e22, "1.0e+22"},
      {1.25e22, "1.25e+22"},
      {9007199254740993.0, "9007199254740992"},
      {1.0 / 3, "0.3333333333333333"},
      {std::numeric_limits<double>::min(), "2.2250738585072014e-308"},
      {std::numeric_limits<double>::denorm_min(), "5.0e-324"},
      {std::numeric_limits<double>::max(), "1.7976931348623157e+308"},
      {-std::numeric_limits<double>::max(), "-1.7976931348623157e+308"}};
  for (const auto& [value, text] : cases) EXPECT_EQ(ShortestNumber(value), text);
}

TEST(ShortestNumberTest, ReadsBackToTheSameBitsWhateverTheyAre) {
  Rng rng(7, "bits");
  for (int i = 0; i < 20000; ++i) {
    const double value = std::bit_cast<double>(rng.Next());
    if (!std::isfinite(value)) continue;
    const std::string text = ShortestNumber(value);
    double back = 0.0;
    ASSERT_TRUE(absl::SimpleAtod(text, &back)) << text;
    EXPECT_EQ(std::bit_cast<uint64_t>(back), std::bit_cast<uint64_t>(value)) << text;
    EXPECT_LE(text.size(), 25u) << text;
    const size_t exponent = text.find('e');
    if (exponent == std::string::npos) continue;
    EXPECT_LT(text.find('.'), exponent) << text;
  }
}

}  // namespace
}  // namespace birkhoff
