// The table of instructions agrees with itself.
#include "core/plan/ops.h"

#include <set>
#include <string>

#include "gtest/gtest.h"

namespace birkhoff {
namespace {

TEST(Ops, AreFoundByNumberAndByName) {
  std::set<std::string> names;
  int number = 0;
  for (const OpInfo& info : AllOps()) {
    ++number;
    EXPECT_EQ(static_cast<int>(info.op), number) << info.name;
    EXPECT_EQ(FindOp(number), &info);
    EXPECT_EQ(FindOp(info.name), &info);
    EXPECT_STREQ(OpName(info.op), info.name);
    EXPECT_TRUE(names.insert(info.name).second) << "twice " << info.name;
  }
  EXPECT_EQ(number, static_cast<int>(Op::kOverlapEnd));
  EXPECT_EQ(FindOp(0), nullptr);
  EXPECT_EQ(FindOp(number + 1), nullptr);
  EXPECT_EQ(FindOp("fetch"), nullptr);
  EXPECT_STREQ(OpName(static_cast<Op>(99)), "unknown");
  EXPECT_FALSE(IsCompute(static_cast<Op>(99)));
}

TEST(Ops, RunWhereTheirKindRuns) {
  for (const OpInfo& info : AllOps()) {
    if (info.any_stream) continue;
    const StreamKind stream = info.kind == OpKind::kCopy         ? StreamKind::kCopy
                              : info.kind == OpKind::kCollective ? StreamKind::kCollective
                              : info.kind == OpKind::kSend || info.kind == OpKind::kReceive
                                  ? StreamKind::kChannel
                                  : StreamKind::kCompute;
    EXPECT_EQ(info.stream, stream) << info.name;
    EXPECT_EQ(info.channel, stream == StreamKind::kChannel) << info.name;
    EXPECT_EQ(info.units, IsCompute(info.op)) << info.name;
    EXPECT_EQ(info.letter != 0, IsCompute(info.op)) << info.name;
    const bool moves = info.channel || info.kind == OpKind::kHandOff;
    EXPECT_EQ(info.towards != 0, moves) << info.name;
    EXPECT_TRUE(!info.bucket || IsCollective(info.op)) << info.name;
    const bool gradient = info.input_gradient || info.weight_gradient;
    EXPECT_TRUE(!gradient || IsCompute(info.op)) << info.name;
  }
}

// What needs no stage touches no buffer, and nothing is released that was not there.
TEST(Ops, ReleaseWhatTheyHave) {
  for (const OpInfo& info : AllOps()) {
    const HomeSet touched = info.reads | info.fills | info.advances;
    EXPECT_TRUE(info.stage || touched.empty()) << info.name;
    const HomeSet released = info.released | info.released_by_last | info.released_in_evaluation;
    EXPECT_EQ(released & touched, released) << info.name;
    EXPECT_TRUE((info.reads & info.advances).empty()) << info.name;
    EXPECT_TRUE((info.reads & info.fills).empty()) << info.name;
  }
}

}  // namespace
}  // namespace birkhoff
