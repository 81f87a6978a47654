// How a problem reads, alone and among others.
#include "core/spec/problem.h"

#include <gtest/gtest.h>

#include <string>

namespace birkhoff {
namespace {

TEST(Problem, SaysTheValueWhatIsNeededAndTheRemedyWhereThereIsOne) {
  EXPECT_EQ(ProblemToString({"a.b", "9", "1 to 8", "use 8"}),
            "a.b: 9 is not allowed; need 1 to 8 (use 8)");
  EXPECT_EQ(ProblemToString({"a.b", "9", "1 to 8", ""}), "a.b: 9 is not allowed; need 1 to 8");
  EXPECT_EQ(ProblemToString({"a.b", "9", "", "use 8"}), "a.b: 9 is not allowed (use 8)");
  EXPECT_EQ(ProblemToString({"a.b", "9", "", ""}), "a.b: 9 is not allowed");
}

TEST(Problem, ForgesNoLineAndMovesNoCursor) {
  EXPECT_EQ(ProblemToString({"a\nb: 1", "\x1b[2J", "x\ty", "\xff"}),
            "a\\nb: 1: \\x1b[2J is not allowed; need x\\ty (\\xff)");
  EXPECT_EQ(ProblemToString({"a", "\xe2\x80\xae", "", ""}),  // turns the direction of writing
            "a: \\xe2\\x80\\xae is not allowed");
  EXPECT_EQ(ProblemToString({"\xc3\xa9", "\xe2\x82\xac", "", ""}),
            "\xc3\xa9: \xe2\x82\xac is not allowed");
}

TEST(Problem, SeveralAreAStatusOfOneLineEach) {
  EXPECT_TRUE(ProblemsToStatus({}).ok());
  const absl::Status status =
      ProblemsToStatus({{"a", "1", "2", ""}, {"b\n", "3", "", "none"}, {"c", "", "x", ""}});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(status.message()),
            "a: 1 is not allowed; need 2\n"
            "b\\n: 3 is not allowed (none)\n"
            "c:  is not allowed; need x");
}

}  // namespace
}  // namespace birkhoff
