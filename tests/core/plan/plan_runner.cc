// Events are the start and the end of an instruction: at its start what it fills becomes garbage, at
// its end it reads and writes.
#include "tests/core/plan/plan_runner.h"

#include <algorithm>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/plan/ops.h"
#include "core/plan/text.h"

namespace birkhoff {
namespace {

// A tensor: one number, or of pending one for each unit.
using Value = std::vector<uint64_t>;

uint64_t Mix(uint64_t a, uint64_t b, uint64_t c = 0) {
  Rng rng(a * 0x9e3779b97f4a7c15ULL + b * 0xc2b2ae3d27d4eb4fULL + c);
  return rng.Next();
}

// ---- What a stage computes.

uint64_t BatchOf(int microbatch) { return Mix(1, microbatch); }

uint64_t ForwardThrough(UnitRange units, uint64_t x, uint64_t batch) {
  for (int unit = units.first; unit < units.last; ++unit) x = Mix(x, unit, batch);
  return x;
}
uint64_t SavedOf(uint64_t input, uint64_t batch) { return Mix(input, batch, 2); }
uint64_t KeptOf(uint64_t input, uint64_t batch) { return Mix(input, batch, 3); }
uint64_t LossOf(uint64_t output) { return Mix(output, 4); }

// What passes backwards through a stage is made from, all but the gradient itself.
struct Stored {
  uint64_t batch = 0, input = 0, saved = 0, kept = 0, recomputed = 0;
};

uint64_t RecomputeOf(const Stored& stored, UnitRange block) {
  return Mix(stored.saved + 3 * stored.kept, block.first, block.last + stored.batch + stored.input);
}
// The gradient before `unit`, from the one behind it.
uint64_t GradientThrough(int unit, uint64_t gradient, const Stored& stored) {
  return Mix(gradient, unit + stored.batch + stored.input, stored.saved + 3 * stored.recomputed);
}
uint64_t WeightGradient(uint64_t gradient, uint64_t kept, uint64_t batch) {
  return Mix(gradient, kept, batch);
}

bool IsSubLayer(const Plan& plan, int unit) {
  return unit > 0 && unit + 1 < plan.stages.back().units.last;
}

// The block of the stage that `unit` recomputes with; empty: none.  Embedding and head go with the
// block beside them.
UnitRange BlockOf(const StageLayout& layout, int unit) {
  for (const UnitRange& block : layout.recompute_blocks) {
    if (unit < block.last) return block;
  }
  return layout.recompute_blocks.empty() ? UnitRange{} : layout.recompute_blocks.back();
}

}  // namespace

StepResult SerialStep(const Plan& plan, const std::vector<StageLayout>& layouts, int microbatches,
                      bool evaluates) {
  StepResult result;
  result.gradients.resize(plan.stages.back().units.last);
  for (int m = 0; m < microbatches; ++m) {
    const uint64_t batch = BatchOf(m);
    std::vector<uint64_t> inputs = {0};
    for (const Stage& stage : plan.stages) {
      inputs.push_back(ForwardThrough(stage.units, inputs.back(), batch));
    }
    result.loss += LossOf(inputs.back());
    if (evaluates) continue;
    uint64_t gradient = LossOf(inputs.back());
    for (int s = plan.NumStages() - 1; s >= 0; --s) {
      Stored stored = {batch, inputs[s], SavedOf(inputs[s], batch), KeptOf(inputs[s], batch), 0};
      for (int unit = plan.stages[s].units.last; unit-- > plan.stages[s].units.first;) {
        const UnitRange block = BlockOf(layouts[s], unit);
        stored.recomputed = block == UnitRange{} ? 0 : RecomputeOf(stored, block);
        gradient = GradientThrough(unit, gradient, stored);
        result.gradients[unit] +=
            WeightGradient(gradient, IsSubLayer(plan, unit) ? stored.kept : 0, batch);
      }
    }
  }
  return result;
}

namespace {

class Runner {
 public:
  Runner(const Plan& plan, ProgramMember program, Transport transport, Rng& rng)
      : plan_(plan), program_(program), transport_(transport), rng_(rng) {
    ranks_.resize(plan.ranks.size());
    for (size_t r = 0; r < ranks_.size(); ++r) {
      const auto& instructions = ProgramOf(r);
      Rank& rank = ranks_[r];
      rank.state.assign(instructions.size(), State::kWaiting);
      for (size_t b = 0; b < plan.ranks[r].buffers.size(); ++b) rank.buffers.push_back(Garbage());
      rank.step.gradients.resize(plan.stages.back().units.last);
      rank.summed.resize(plan.buckets.size());
      std::map<std::pair<StreamKind, int>, int> known;
      for (size_t i = 0; i < instructions.size(); ++i) {
        const auto key = std::pair(instructions[i].stream, instructions[i].channel);
        const auto [found, added] = known.emplace(key, static_cast<int>(streams_.size()));
        if (added) streams_.push_back({r, {}, uint64_t{1} << (3 * rng.Below(4))});
        streams_[found->second].queue.push_back(static_cast<int>(i));
      }
      rank.streams = known;
    }
    for (size_t s = 0; s < streams_.size(); ++s) open_.push_back(static_cast<int>(s));
    messages_.resize(plan.channels.size());
  }

  std::string Run(const StepResult& expected) {
    while (!open_.empty()) {
      if (!Event(/*hurries=*/false) && !Event(/*hurries=*/true)) {
        return absl::StrCat("hangs: ", WhatIsLeft());
      }
    }
    return Compare(expected);
  }

 private:
  enum class State { kWaiting, kStarted, kOver };
  struct Rank {
    std::vector<State> state;                           // by instruction
    std::map<std::pair<StreamKind, int>, int> streams;  // indices into streams_
    std::vector<Value> buffers;
    StepResult step;            // what this rank alone has added up
    std::vector<Value> summed;  // by bucket: its gradients by unit, when it was summed
    uint64_t agreed_loss = 0;
    bool agreed = false, stepped = false;
    std::string fault;
  };
  struct Stream {
    size_t rank = 0;
    std::deque<int> queue;  // what is not over
    uint64_t slowness = 1;  // looked at that many times for each event
  };
  struct Message {
    Value value;
    int stage = 0, microbatch = 0;
  };

  const std::vector<Instruction>& ProgramOf(size_t rank) const {
    return plan_.ranks[rank].*program_;
  }
  Value Garbage() { return {rng_.Next()}; }

  // ---- Events.

  // Starts or ends the head of some stream, looked for from a random one on; false where none may.
  // Slow streams are mostly passed over, unless it `hurries`.
  bool Event(bool hurries) {
    const size_t from = rng_.Below(open_.size());
    for (size_t k = 0; k < open_.size(); ++k) {
      const size_t at = (from + k) % open_.size();
      const int stream = open_[at];
      if (!hurries && rng_.Below(streams_[stream].slowness) != 0) continue;
      if (streams_[stream].queue.empty()) {
        open_[at] = open_.back();
        open_.pop_back();
        return true;
      }
      if (Try(streams_[stream])) return true;
    }
    return false;
  }

  bool Try(const Stream& stream) {
    const size_t r = stream.rank;
    Rank& rank = ranks_[r];
    const int index = stream.queue.front();
    const Instruction& instruction = ProgramOf(r)[index];
    if (rank.state[index] == State::kWaiting) {
      for (const int wait : instruction.waits) {
        if (rank.state[wait] != State::kOver) return false;
      }
      for (const int buffer : instruction.fills) rank.buffers[buffer] = Garbage();
      rank.state[index] = State::kStarted;
      return true;
    }
    if (!End(r, index)) return false;
    Finish(r, index);
    return true;
  }

  void Finish(size_t r, int index) {
    const Instruction& instruction = ProgramOf(r)[index];
    ranks_[r].state[index] = State::kOver;
    streams_[ranks_[r].streams.at({instruction.stream, instruction.channel})].queue.pop_front();
  }

  // The instruction that has started and not ended on this stream of a rank; -1: none.
  int StartedOn(size_t r, StreamKind kind, int channel) const {
    const auto found = ranks_[r].streams.find({kind, channel});
    if (found == ranks_[r].streams.end()) return -1;
    const auto& queue = streams_[found->second].queue;
    const bool started = !queue.empty() && ranks_[r].state[queue.front()] == State::kStarted;
    return started ? queue.front() : -1;
  }

  // ---- Instructions, at their ends.  False: somebody whom it meets is not there yet.

  bool End(size_t r, int index) {
    const Instruction& i = ProgramOf(r)[index];
    switch (i.op) {
      case Op::kLoad:
        Write(r, i, Home::kBatch, {BatchOf(i.microbatch)});
        return true;
      case Op::kForward:
        return Forward(r, i);
      case Op::kRecompute:
        Write(r, i, Home::kRecompute, {RecomputeOf(ReadStored(r, i), i.segment.units)});
        return true;
      case Op::kBackwardInput:
      case Op::kBackward:
        return Backward(r, i);
      case Op::kBackwardWeight:
        return Weights(r, i);
      case Op::kSendActivation:
      case Op::kSendGradient:
        return Send(r, index);
      case Op::kReceiveActivation:
      case Op::kReceiveGradient:
        return Receive(r, i);
      case Op::kHandOffActivation:
        Write(r, i, Home::kInput, {Read(r, i, Home::kOutput)});
        return true;
      case Op::kHandOffGradient:
        Write(r, i, Home::kGradientIn, {Read(r, i, Home::kGradientOut)});
        return true;
      case Op::kFree:
        for (const int buffer : i.reads) ranks_[r].buffers[buffer] = Garbage();
        return true;
      case Op::kExchangeCopies:
        return Exchange(r, index);
      case Op::kReduceGradient:
        // The other replicas do the same; ranks of a replica have exchanged before.
        if (plan_.buckets[i.bucket].ranks.size() < 2) {
          ranks_[r].summed[i.bucket] = ranks_[r].step.gradients;
        }
        return true;
      case Op::kAgree:
        return Agree(r, index);
      case Op::kOptimizer:
        if (!ranks_[r].agreed) ranks_[r].fault = "steps before it has agreed";
        ranks_[r].stepped = true;
        return true;
      case Op::kSnapshot:
        if (!ranks_[r].stepped) ranks_[r].fault = "copies weights before the step";
        return true;
      case Op::kOverlapBegin:
      case Op::kOverlapEnd:
        return true;
    }
    return true;
  }

  Value* Find(size_t r, const std::vector<int>& buffers, Home home) {
    for (const int buffer : buffers) {
      if (plan_.ranks[r].buffers[buffer].home == home) return &ranks_[r].buffers[buffer];
    }
    return nullptr;
  }
  // 0 for a home that the stage does not have.
  uint64_t Read(size_t r, const Instruction& i, Home home) {
    const Value* value = Find(r, i.reads, home);
    return value == nullptr ? 0 : value->front();
  }
  // A stage of an embedding alone saves nothing.
  Stored ReadStored(size_t r, const Instruction& i) {
    Stored stored = {Read(r, i, Home::kBatch), Read(r, i, Home::kInput), 0, Read(r, i, Home::kKept),
                     Read(r, i, Home::kRecompute)};
    const Value* saved = Find(r, i.reads, Home::kSaved);
    stored.saved = saved != nullptr ? saved->front() : SavedOf(0, stored.batch);
    return stored;
  }
  void Write(size_t r, const Instruction& i, Home home, Value value) {
    if (Value* target = Find(r, i.fills, home); target != nullptr) *target = std::move(value);
  }

  bool Forward(size_t r, const Instruction& i) {
    const uint64_t input = Read(r, i, Home::kInput), batch = Read(r, i, Home::kBatch);
    const uint64_t output = ForwardThrough(plan_.stages[i.stage].units, input, batch);
    const bool last = i.stage + 1 == plan_.NumStages();
    // The head forms its gradient at once.
    Write(r, i, Home::kSaved, {SavedOf(input, batch), LossOf(output)});
    Write(r, i, Home::kKept, {KeptOf(input, batch)});
    Write(r, i, Home::kOutput, {output});
    if (last) ranks_[r].step.loss += LossOf(output);
    return true;
  }

  bool Backward(size_t r, const Instruction& i) {
    const UnitRange units = i.segment.units, stage = plan_.stages[i.stage].units;
    const bool top = units.last == stage.last, last = i.stage + 1 == plan_.NumStages();
    const Stored stored = ReadStored(r, i);
    const Value* saved = Find(r, i.reads, Home::kSaved);
    Value* out = Find(r, top ? i.fills : i.reads, Home::kGradientOut);
    Value* pending = Find(r, top ? i.fills : i.reads, Home::kPending);
    uint64_t gradient = Read(r, i, Home::kGradientIn);
    if (top && last) gradient = saved != nullptr && saved->size() > 1 ? saved->back() : 0;
    if (!top) gradient = out != nullptr ? out->front() : 0;
    if (pending != nullptr) pending->resize(stage.last - stage.first);
    for (int unit = units.last; unit-- > units.first;) {
      gradient = GradientThrough(unit, gradient, stored);
      if (!IsSubLayer(plan_, unit)) {
        ranks_[r].step.gradients[unit] += WeightGradient(gradient, 0, stored.batch);
      } else if (pending != nullptr) {
        (*pending)[unit - stage.first] = gradient;
      } else {
        ranks_[r].step.gradients[unit] += WeightGradient(gradient, stored.kept, stored.batch);
      }
    }
    if (out != nullptr) *out = {gradient};
    return true;
  }

  bool Weights(size_t r, const Instruction& i) {
    const Value* pending = Find(r, i.reads, Home::kPending);
    const int first = plan_.stages[i.stage].units.first;
    for (int unit = i.segment.units.first; unit < i.segment.units.last; ++unit) {
      if (pending == nullptr || !IsSubLayer(plan_, unit)) continue;
      const size_t at = unit - first;
      const uint64_t gradient = at < pending->size() ? (*pending)[at] : rng_.Next();
      ranks_[r].step.gradients[unit] +=
          WeightGradient(gradient, Read(r, i, Home::kKept), Read(r, i, Home::kBatch));
    }
    return true;
  }

  // The k-th send meets the k-th receive.
  bool Send(size_t r, int index) {
    const Instruction& i = ProgramOf(r)[index];
    const Home home = i.op == Op::kSendActivation ? Home::kOutput : Home::kGradientOut;
    auto& queue = messages_[i.channel];
    const int step = i.op == Op::kSendActivation ? 1 : -1;
    const Message message = {{Read(r, i, home)}, i.stage + step, i.microbatch};
    if (transport_ == Transport::kSlots) {
      queue.push_back(message);
      return true;
    }
    // The receive must have started: its end takes the message and this send with it.
    const size_t to = plan_.channels[i.channel].destination;
    const int receive = StartedOn(to, StreamKind::kChannel, i.channel);
    if (receive < 0 || !IsReceive(ProgramOf(to)[receive].op)) return false;
    queue.push_back(message);
    Receive(to, ProgramOf(to)[receive]);
    Finish(to, receive);
    return true;
  }

  bool Receive(size_t r, const Instruction& i) {
    auto& queue = messages_[i.channel];
    if (queue.empty()) return false;
    const Home home = i.op == Op::kReceiveActivation ? Home::kInput : Home::kGradientIn;
    Write(r, i, home, queue.front().value);
    const bool right = queue.front().stage == i.stage && queue.front().microbatch == i.microbatch;
    if (!right) ranks_[r].fault = "takes another message: " + InstructionToText(i);
    queue.pop_front();
    return true;
  }

  // ---- Collectives: the last member to arrive ends them for all.

  bool AllStarted(const std::vector<int>& members, Op op, int bucket, std::vector<int>* at) {
    for (const int member : members) {
      const int index = StartedOn(member, StreamKind::kCollective, -1);
      if (index < 0) return false;
      const Instruction& i = ProgramOf(member)[index];
      if (i.op != op || i.bucket != bucket) return false;
      at->push_back(index);
    }
    return true;
  }

  bool Exchange(size_t r, int index) {
    const int bucket = ProgramOf(r)[index].bucket;
    const std::vector<int>& members = plan_.buckets[bucket].ranks;
    std::vector<int> at;
    if (!AllStarted(members, Op::kExchangeCopies, bucket, &at)) return false;
    Value total(plan_.stages.back().units.last);
    for (const int member : members) {
      const auto& own = ranks_[member].step.gradients;
      for (size_t unit = 0; unit < total.size(); ++unit) total[unit] += own[unit];
    }
    for (size_t m = 0; m < members.size(); ++m) {
      ranks_[members[m]].summed[bucket] = total;
      if (members[m] != static_cast<int>(r)) Finish(members[m], at[m]);
    }
    return true;
  }

  bool Agree(size_t r, int) {
    std::vector<int> members(ranks_.size()), at;
    for (size_t m = 0; m < members.size(); ++m) members[m] = static_cast<int>(m);
    if (!AllStarted(members, Op::kAgree, -1, &at)) return false;
    uint64_t loss = 0;
    for (const Rank& rank : ranks_) loss += rank.step.loss;
    for (size_t m = 0; m < members.size(); ++m) {
      Rank& rank = ranks_[m];
      rank.agreed = true;
      rank.agreed_loss = loss;
      // Who neither exchanges nor reduces has its gradients as they are now.
      for (Value& summed : rank.summed) {
        if (summed.empty()) summed = rank.step.gradients;
      }
      if (m != r) Finish(m, at[m]);
    }
    return true;
  }

  // ---- The end.

  std::string WhatIsLeft() const {
    std::string text;
    for (const int s : open_) {
      const auto& [r, queue, slowness] = streams_[s];
      if (queue.empty()) continue;
      absl::StrAppend(&text, "rank ", r, " [", queue.front(), "] ",
                      InstructionToText(ProgramOf(r)[queue.front()]), "; ");
    }
    return text;
  }

  std::string Compare(const StepResult& expected) const {
    for (size_t r = 0; r < ranks_.size(); ++r) {
      const Rank& rank = ranks_[r];
      const auto on_rank = [r](auto... text) { return absl::StrCat("rank ", r, " ", text...); };
      if (!rank.fault.empty()) return on_rank(rank.fault);
      if (rank.agreed_loss != expected.loss) return on_rank("has another loss");
      if (program_ == &RankPlan::evaluate) continue;
      for (size_t b = 0; b < plan_.buckets.size(); ++b) {
        const auto& holders = plan_.buckets[b].ranks;
        if (std::find(holders.begin(), holders.end(), static_cast<int>(r)) == holders.end())
          continue;
        for (const int stage : plan_.parameters[plan_.buckets[b].parameters[0]].stages) {
          const UnitRange units = plan_.stages[stage].units;
          for (int unit = units.first; unit < units.last; ++unit) {
            if (!InBucket(static_cast<int>(b), unit)) continue;
            if (rank.summed[b][unit] != expected.gradients[unit]) {
              return on_rank("has another gradient of unit ", unit);
            }
          }
        }
      }
    }
    return "";
  }

  // Tied weights are of the first and the last unit, all other parameters of their stage's.
  bool InBucket(int bucket, int unit) const {
    const bool tied = plan_.parameters[plan_.buckets[bucket].parameters[0]].stages.size() > 1;
    return !tied || !IsSubLayer(plan_, unit);
  }

  const Plan& plan_;
  const ProgramMember program_;
  const Transport transport_;
  Rng& rng_;
  std::vector<Rank> ranks_;
  std::vector<Stream> streams_;
  std::vector<int> open_;                      // indices of streams that are not known to be over
  std::vector<std::deque<Message>> messages_;  // by channel
};

}  // namespace

std::string RunInAnyOrder(const Plan& plan, ProgramMember program, Transport transport,
                          const StepResult& expected, Rng& rng) {
  return Runner(plan, program, transport, rng).Run(expected);
}

}  // namespace birkhoff
