// Busy, elapsed and exposed time of instructions whose times are laid out by hand.
#include "worker/utilization.h"

#include <gtest/gtest.h>

namespace birkhoff {
namespace {

std::vector<Instruction> Of(const std::vector<Op>& ops) {
  std::vector<Instruction> instructions;
  for (const Op op : ops) instructions.emplace_back().op = op;
  return instructions;
}

TEST(Utilization, ATransferIsExposedWhereNothingComputes) {
  const auto instructions =
      Of({Op::kLoad, Op::kReceiveActivation, Op::kForward, Op::kSendActivation, Op::kForward,
          Op::kReduceGradient, Op::kAgree});
  const std::vector<InstructionTime> times = {{0, 5},   {0, 10},  {10, 30}, {25, 45},
                                              {40, 50}, {50, 58}, {58, 100}};
  const Utilization used = MeasureUtilization(instructions, times);
  EXPECT_EQ(used.busy_ns, 20 + 10);
  EXPECT_EQ(used.elapsed_ns, 50);
  EXPECT_EQ(used.exposed_ns, 10 + 10 + 8) << "before, between and behind the compute";
  EXPECT_EQ(used.span_ns, 58) << "the agreement waits for others";
}

TEST(Utilization, TransfersThatRunAtOnceAreExposedOnce) {
  const auto instructions = Of({Op::kSendGradient, Op::kReceiveGradient, Op::kBackward});
  const std::vector<InstructionTime> times = {{0, 10}, {5, 20}, {8, 12}};
  EXPECT_EQ(MeasureUtilization(instructions, times).exposed_ns, 20 - 4);
}

TEST(Utilization, WithoutInstructionsThereIsNone) {
  EXPECT_EQ(MeasureUtilization({}, {}).span_ns, 0);
}

}  // namespace
}  // namespace birkhoff
