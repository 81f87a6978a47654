// Plans that are broken in one way, and what the checker has to say about each.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "core/plan/plan.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_testing.h"

namespace birkhoff {

struct Break {
  const char* name;
  SmallJob job;
  std::function<void(Plan&)> edit;
  const char* place;   // how the message starts
  const char* reason;  // what it says
};

// The plan of the job is accepted; edited it is refused, with the place and the reason.
// broken_plan_test.cc says so; each table of breaks instantiates it.
class BrokenPlanTest : public ::testing::TestWithParam<Break> {};
std::ostream& operator<<(std::ostream& out, const Break& broken);
std::string NameOf(const ::testing::TestParamInfo<Break>& test);

// Jobs whose plans have what most breaks need: messages; hand-offs and pairs; blocks; sums.
SmallJob TwoRanks();
SmallJob Vee();
SmallJob Recomputing();
SmallJob Exchanging();
SmallJob Alone();       // one rank, one micro-batch
SmallJob UnitByUnit();  // a stage for each unit: the embedding and the head alone

std::vector<Instruction>& Train(Plan& plan, int rank);
std::vector<Instruction>& Evaluate(Plan& plan, int rank);

// Index of the first instruction of this kind for (stage, micro-batch); aborts if there is none.
int FindCell(const std::vector<Instruction>& program, Op op, int stage, int microbatch);
// The first instruction of the kind; aborts if there is none.
Instruction& First(std::vector<Instruction>& program, Op op);
Instruction& Last(std::vector<Instruction>& program, Op op);

void AddWait(Instruction& instruction, int wait);

// Takes instruction `index` out.  The order of all others stays as it was: its neighbours in the
// stream take over its waits and those who waited for it.
void Drop(std::vector<Instruction>& program, int index);
void DropFirst(std::vector<Instruction>& program, Op op);

// Repeats instruction `index` behind itself.
void Repeat(std::vector<Instruction>& program, int index);

// Puts `added` before instruction `index`, and waits for what it waited for stay right.
void Insert(std::vector<Instruction>& program, int index, Instruction added);

}  // namespace birkhoff
