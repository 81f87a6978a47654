// When an attempt stands still, and which of its ranks is to blame.
#include "coordinator/progress_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace birkhoff {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kLimit = absl::Seconds(60);
constexpr absl::Duration kStep = absl::Seconds(2);
const absl::Duration kPatience = kLimit + 10 * kStep;

// Three ranks of an attempt whose steps are thought to take two seconds.
class ProgressWatchTest : public ::testing::Test {
 protected:
  ProgressWatchTest() { watch_.Begin(now_, 3, kStep); }

  void Pass(absl::Duration duration) { now_ = now_ + duration; }
  void Hear(int rank, int64_t marks, std::string what, std::vector<int> peers = {},
            std::string process = "") {
    watch_.Heard(
        now_, {"jobs/tiny", 1, rank, marks, std::move(what), std::move(peers), std::move(process)});
  }
  bool Moves() const { return !watch_.Judge(now_).has_value(); }
  ProgressWatch::Verdict Judge() const {
    return watch_.Judge(now_).value_or(ProgressWatch::Verdict{-1, "it moves"});
  }

  Instant now_{1'000'000'000};
  ProgressWatch watch_{kLimit};
};

TEST_F(ProgressWatchTest, AnAttemptMovesAsLongAsOneOfItsRanksDoes) {
  Pass(kPatience);
  EXPECT_TRUE(Moves()) << "at the limit it still may";
  watch_.Moved(now_, 1);
  Pass(kPatience);
  Hear(2, 1, "reads checkpoint");
  Pass(kPatience);
  Hear(2, 2, "reads checkpoint");
  Pass(kPatience);
  EXPECT_TRUE(Moves());
  Pass(absl::Nanoseconds(1));
  EXPECT_FALSE(Moves());
}

// Heartbeats go on while a rank hangs.
TEST_F(ProgressWatchTest, TheSameMarksAreNoMove) {
  for (int rank = 0; rank < 3; ++rank) Hear(rank, 7, "step 1");
  for (int i = 0; i < 81; ++i) {
    EXPECT_TRUE(Moves());
    Pass(absl::Seconds(1));
    for (int rank = 0; rank < 3; ++rank) Hear(rank, 7, "step 1");
  }
  EXPECT_FALSE(Moves());
}

TEST_F(ProgressWatchTest, PatienceGrowsWithTheLongestStepAndHasABound) {
  EXPECT_EQ(watch_.Limit(), kPatience);
  watch_.SawStep(absl::Minutes(30));
  watch_.SawStep(absl::Seconds(1));
  EXPECT_EQ(watch_.Limit(), kLimit + absl::Minutes(300));
  watch_.SawStep(absl::InfiniteDuration());
  EXPECT_EQ(watch_.Limit(), kLimit + 10 * absl::Hours(24));
}

TEST_F(ProgressWatchTest, AProcessThatDoesNotRunIsToBlame) {
  Hear(0, 1, "train instruction 4 (forward)");
  Pass(absl::Seconds(1));
  Hear(1, 1, "train instruction 9 (send-gradient)", {0}, "stopped");
  Hear(2, 1, "train instruction 7 (receive-gradient)", {1});
  Pass(absl::Hours(1));
  EXPECT_EQ(Judge().rank, 1);
  EXPECT_EQ(Judge().reason,
            "has not moved for 1h (its process: stopped): train instruction 9 (send-gradient), "
            "waits for rank 0; for it waits rank 2 (train instruction 7 (receive-gradient))");
}

TEST_F(ProgressWatchTest, OneThatWaitsForNobodyIsToBlameBeforeThoseThatWait) {
  Hear(0, 1, "agrees with all hosts", {1, 2});
  Hear(1, 1, "agrees with all hosts", {0, 2});
  Pass(absl::Seconds(9));
  Hear(2, 1, "opens the data, from /data/corpus");
  Pass(absl::Hours(1));
  EXPECT_EQ(Judge().rank, 2);
  EXPECT_THAT(Judge().reason,
              HasSubstr(": opens the data, from /data/corpus; for it waits rank 0"));
}

TEST_F(ProgressWatchTest, AmongThoseThatWaitTheOneThatHasStoodStillForLongestIs) {
  Hear(1, 1, "agrees", {0, 2});
  Pass(absl::Seconds(1));
  Hear(0, 1, "agrees", {1, 2});
  Hear(2, 1, "agrees", {0, 1});
  Pass(absl::Hours(1));
  EXPECT_EQ(Judge().rank, 1);
}

TEST_F(ProgressWatchTest, OneOfWhomNothingWasHeardIsNamed) {
  for (int rank = 0; rank < 2; ++rank) Hear(rank, 1, "meets the others", {2});
  Pass(absl::Hours(1));
  EXPECT_EQ(Judge().rank, 2);
  EXPECT_THAT(Judge().reason, HasSubstr("nothing is known of what it does"));
}

TEST_F(ProgressWatchTest, RanksThatHaveEndedAreNeitherWaitedForNorBlamed) {
  watch_.Gone(0);
  Pass(kPatience + absl::Seconds(1));
  watch_.Moved(now_, 0);
  EXPECT_EQ(Judge().rank, 1);
  watch_.Gone(1);
  watch_.Gone(2);
  EXPECT_TRUE(Moves()) << "nobody is left to move";
}

TEST_F(ProgressWatchTest, TimeInWhichNobodyCouldBeHeardDoesNotCount) {
  Pass(absl::Hours(5));
  watch_.Extend(absl::Hours(5));
  EXPECT_TRUE(Moves());
  Pass(kPatience + absl::Nanoseconds(1));
  EXPECT_FALSE(Moves());
}

TEST_F(ProgressWatchTest, ANewAttemptBeginsAnewAndKeepsWhatStepsTake) {
  watch_.SawStep(absl::Minutes(1));
  Pass(absl::Hours(2));
  watch_.Begin(now_, 2, absl::ZeroDuration());
  EXPECT_TRUE(Moves());
  EXPECT_EQ(watch_.Limit(), kLimit + absl::Minutes(10));
}

// What workers say is theirs: ranks that are none, ten thousand peers.
TEST_F(ProgressWatchTest, OddWordsAreHarmlessAndASentenceStaysOne) {
  Hear(-1, 1, "x");
  Hear(3, 1, "x");
  watch_.Moved(now_, 99);
  watch_.Gone(-7);
  Hear(0, 1, "waits", std::vector<int>(10'000, 1));
  Hear(1, 1, "waits", std::vector<int>(10'000, 0));
  Hear(2, 1, "waits", std::vector<int>(10'000, -5));
  Pass(absl::Hours(1));
  EXPECT_LT(Judge().reason.size(), 300u);
  EXPECT_THAT(Judge().reason, HasSubstr("9996 more"));
}

}  // namespace
}  // namespace birkhoff
