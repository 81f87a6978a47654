// AssignBuffers, in two walks over both programs: the first counts what is alive at once in each
// pool, the second hands buffers out and makes frees and waits from the last access to each.
#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "core/plan/lower.h"
#include "core/plan/operands.h"
#include "core/plan/order.h"

namespace birkhoff {
namespace {

// The buffers of one (stage, home) of a rank.
struct Pool {
  // What the order of instructions needs.
  int live = 0;
  int peak = 0;
  int taken = 0;       // in all, in the program being measured
  int most_taken = 0;  // in any program
  int ahead = 0;       // buffers that let another stream run ahead
  // What it gets.
  int first = 0;  // index of its first buffer
  int size = 0;
  std::deque<int> free;  // buffer indices, the longest free in front
};

class BufferPass {
 public:
  BufferPass(const LowerContext& context, RankPlan* rank_plan)
      : context_(context),
        rank_(*rank_plan),
        local_stage_(context.plan.stages.size(), -1),
        pools_(rank_.stages.size() * kNumHomes) {
    for (size_t i = 0; i < rank_.stages.size(); ++i) {
      local_stage_[rank_.stages[i]] = static_cast<int>(i);
    }
  }

  void Run() {
    Measure(rank_.train, /*evaluates=*/false);
    Measure(rank_.evaluate, /*evaluates=*/true);
    MakeBuffers();
    rank_.train = Place(std::move(rank_.train), /*evaluates=*/false);
    rank_.evaluate = Place(std::move(rank_.evaluate), /*evaluates=*/true);
  }

 private:
  Pool& PoolOf(int stage, Home home) {
    return pools_[local_stage_[stage] * kNumHomes + static_cast<int>(home)];
  }

  Operands OperandsOfInstruction(const Instruction& instruction, bool evaluates) const {
    if (instruction.stage < 0) return {};
    const UnitRange stage = context_.plan.stages[instruction.stage].units;
    const SegmentPosition position{.first = instruction.segment.units.last == stage.last,
                                   .last = instruction.segment.units.first == stage.first};
    return OperandsOf(instruction.op, context_.layouts[instruction.stage], position, evaluates);
  }

  template <typename Visit>
  static void ForEach(HomeSet homes, Visit visit) {
    for (int home = 0; home < kNumHomes; ++home) {
      if (homes.Has(static_cast<Home>(home))) visit(static_cast<Home>(home));
    }
  }

  // ---- First walk: how many buffers are alive at once, in program order.

  void Take(Pool& pool) {
    ++pool.taken;
    pool.peak = std::max(pool.peak, ++pool.live);
  }

  void Measure(const Program& program, bool evaluates) {
    for (Pool& pool : pools_) pool.live = pool.taken = 0;
    for (const Instruction& instruction : program) {
      const Operands operands = OperandsOfInstruction(instruction, evaluates);
      ForEach(operands.fills, [&](Home home) {
        if (home == Home::kScratch) return;
        Take(PoolOf(instruction.stage, home));
        NoteRunningAhead(instruction, home);
      });
      if (IsHandOff(instruction.op)) Take(TargetPool(instruction));
      ForEach(operands.released, [&](Home home) {
        --PoolOf(instruction.stage, home).live;
        NoteRunningAhead(instruction, home);
      });
    }
    for (Pool& pool : pools_) pool.most_taken = std::max(pool.most_taken, pool.taken);
  }

  Pool& TargetPool(const Instruction& hand_off) {
    return PoolOf(HandOffTargetStage(hand_off.op, hand_off.stage), HandOffTarget(hand_off.op));
  }

  void NoteRunningAhead(const Instruction& instruction, Home home) {
    if (instruction.stream == StreamKind::kCompute) return;
    PoolOf(instruction.stage, home).ahead = home == Home::kInput ? 2 : 1;
  }

  void MakeBuffers() {
    int64_t scratch = 0;
    for (const int stage : rank_.stages) {
      scratch = std::max(scratch, context_.layouts[stage].BytesOf(Home::kScratch));
      for (int home = 0; home < kNumHomes; ++home) {
        Pool& pool = PoolOf(stage, static_cast<Home>(home));
        pool.first = static_cast<int>(rank_.buffers.size());
        pool.size = std::min(pool.peak + pool.ahead, pool.most_taken);
        rank_.buffers.insert(rank_.buffers.end(), pool.size,
                             {static_cast<Home>(home), stage, context_.layouts[stage].bytes[home]});
      }
    }
    scratch_ = static_cast<int>(rank_.buffers.size());
    if (scratch > 0) rank_.buffers.push_back({Home::kScratch, -1, scratch});
  }

  // ---- Second walk: which buffer, and what must be over before.

  int& Current(int stage, int microbatch, Home home) {
    const size_t row = local_stage_[stage] * size_t(num_microbatches_) + microbatch;
    return current_[row * kNumHomes + static_cast<int>(home)];
  }

  Program Place(Program program, bool evaluates) {
    num_microbatches_ =
        evaluates ? context_.plan.num_evaluation_microbatches : context_.plan.num_microbatches;
    current_.assign(rank_.stages.size() * num_microbatches_ * kNumHomes, -1);
    last_access_.assign(rank_.buffers.size(), -1);
    for (Pool& pool : pools_) {
      pool.free.clear();
      for (int i = 0; i < pool.size; ++i) pool.free.push_back(pool.first + i);
    }
    ProgramOrder order(program);
    Program placed;
    placed.reserve(2 * program.size());
    for (Instruction& instruction : program) {
      const Operands operands = OperandsOfInstruction(instruction, evaluates);
      Operate(operands, instruction);
      Instruction free = MakeFree(operands, instruction);
      Append(order, std::move(instruction), &placed);
      if (!free.reads.empty()) Append(order, std::move(free), &placed);
    }
    return placed;
  }

  void Operate(const Operands& operands, Instruction& instruction) {
    const int stage = instruction.stage, microbatch = instruction.microbatch;
    ForEach(operands.reads,
            [&](Home home) { instruction.reads.push_back(Current(stage, microbatch, home)); });
    ForEach(operands.fills, [&](Home home) {
      instruction.fills.push_back(home == Home::kScratch ? scratch_
                                                         : Fill(stage, microbatch, home));
    });
    if (IsHandOff(instruction.op)) {
      instruction.fills.push_back(Fill(HandOffTargetStage(instruction.op, stage), microbatch,
                                       HandOffTarget(instruction.op)));
    }
  }

  int Fill(int stage, int microbatch, Home home) {
    Pool& pool = PoolOf(stage, home);
    const int buffer = pool.free.front();
    pool.free.pop_front();
    Current(stage, microbatch, home) = buffer;
    return buffer;
  }

  Instruction MakeFree(const Operands& operands, const Instruction& user) {
    Instruction free;
    free.op = Op::kFree;
    free.stage = user.stage;
    free.microbatch = user.microbatch;
    free.stream = user.stream;
    free.channel = user.channel;
    ForEach(operands.released, [&](Home home) {
      const int buffer = Current(user.stage, user.microbatch, home);
      PoolOf(user.stage, home).free.push_back(buffer);
      free.reads.push_back(buffer);
    });
    return free;
  }

  // All that touches a buffer touches it in a chain, so the last access stands for all before.
  void Append(ProgramOrder& order, Instruction instruction, Program* placed) {
    after_.clear();
    const int index = static_cast<int>(placed->size());
    for (const auto* buffers : {&instruction.reads, &instruction.fills}) {
      for (const int buffer : *buffers) {
        if (last_access_[buffer] >= 0) after_.push_back(last_access_[buffer]);
        last_access_[buffer] = index;
      }
    }
    const int compute = order.LastOf(StreamKind::kCompute, -1);
    const int collective = order.LastOf(StreamKind::kCollective, -1);
    if (IsCollective(instruction.op) && compute >= 0) after_.push_back(compute);
    if (instruction.op == Op::kOptimizer && collective >= 0) after_.push_back(collective);
    order.KeepNeededWaits(instruction.stream, instruction.channel, &after_);
    instruction.waits = after_;
    order.Append(instruction.stream, instruction.channel, instruction.waits);
    placed->push_back(std::move(instruction));
  }

  const LowerContext& context_;
  RankPlan& rank_;
  std::vector<int> local_stage_;  // by stage: position in rank_.stages, or -1
  std::vector<Pool> pools_;       // [local stage][home]
  int scratch_ = -1;
  int num_microbatches_ = 0;
  std::vector<int> current_;      // [local stage][micro-batch][home]: the buffer that holds it
  std::vector<int> last_access_;  // by buffer: instruction
  std::vector<int> after_;        // what the instruction being appended must follow
};

}  // namespace

void AssignBuffers(const LowerContext& context, RankPlan* rank_plan) {
  BufferPass(context, rank_plan).Run();
}

}  // namespace birkhoff
