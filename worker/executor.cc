// A program is enqueued whole: each instruction on its stream, behind the ends that it waits for,
// between two events of its own.  What it gets as memory is what it reads or fills, by home.
//
// A train program's first run launches its kernels one by one, which also lets libraries load what
// they need; the second is captured as a graph, and replayed from then on.
#include "worker/executor.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/plan/ops.h"

namespace birkhoff {
std::string NotReplayed(absl::string_view why) {
  return absl::StrCat("steps are launched, not replayed as graphs: ", why);
}

absl::StatusOr<std::unique_ptr<Executor>> Executor::Create(const Parts& parts) {
  ASSIGN_OR_RETURN(std::unique_ptr<Arena> arena,
                   Arena::Create(*parts.device, parts.plan->ranks[parts.rank].buffers));
  return std::unique_ptr<Executor>(new Executor(parts, std::move(arena)));
}

Executor::Executor(const Parts& parts, std::unique_ptr<Arena> arena)
    : parts_(parts),
      rank_plan_(parts.plan->ranks[parts.rank]),
      arena_(std::move(arena)),
      graphs_(parts.graphs) {
  for (int i = 0; i < parts.steps_in_flight; ++i) {
    train_.push_back(MakeProgram("train", StageMode::kTrain, rank_plan_.train));
  }
  evaluate_ = MakeProgram("evaluate", StageMode::kEvaluate, rank_plan_.evaluate);
  for (int b = 0; b < static_cast<int>(rank_plan_.buffers.size()); ++b) {
    if (rank_plan_.buffers[b].home == Home::kScratch) scratch_ = arena_->at(b);
  }
  MakeStreams();
  control_ = parts.device->NewStream("control");
}

void Executor::StartTrain(int64_t target_tokens, Stream& control, bool replay) {
  BIRKHOFF_CHECK(started_ - finished_ < static_cast<int64_t>(train_.size()),
                 "more train programs in flight than there are");
  Program& program = train_[started_++ % train_.size()];
  target_tokens_ = target_tokens;
  const bool same = std::exchange(program.target_tokens, target_tokens) == target_tokens;
  if (!same) program.graph = nullptr;
  if (same && replay && HasGraph(program, control)) {
    Replay(program, control);
  } else {
    Start(program, control);
  }
}

absl::Status Executor::FinishTrain() {
  BIRKHOFF_CHECK(finished_ < started_, "no train program in flight");
  return Finish(train_[finished_++ % train_.size()]);
}

absl::Status Executor::RunTrain(int64_t target_tokens) {
  StartTrain(target_tokens, *control_, /*replay=*/false);
  return FinishTrain();
}

absl::Status Executor::RunEvaluate() {
  Start(evaluate_, *control_);
  return Finish(evaluate_);
}

Doing Executor::Look() const {
  absl::MutexLock lock(&mutex_);
  Doing doing{finished_instructions_, "", {}};
  if (running_.empty()) return doing;
  const Program& program = *running_.front();
  const int count = static_cast<int>(program.instructions->size());
  int first = count;
  for (const auto& [stream, order] : program.order) {
    // A stream finishes its instructions one after the other.
    const auto head =
        std::ranges::partition_point(order, [&program](int i) { return program.ends[i]->Done(); });
    doing.marks += head - order.begin();
    if (head != order.end()) first = std::min(first, *head);
  }
  if (first < count) Describe(program, first, &doing);
  return doing;
}

Utilization Executor::utilization() const {
  if (finished_program_ == nullptr) return {};
  return MeasureUtilization(*finished_program_->instructions, times_);
}

Executor::Program Executor::MakeProgram(const char* name, StageMode mode,
                                        const std::vector<Instruction>& instructions) {
  Program program;
  program.name = name;
  program.mode = mode;
  program.instructions = &instructions;
  program.begin = parts_.device->NewEvent();
  program.end = parts_.device->NewEvent();
  for (size_t i = 0; i < instructions.size(); ++i) {
    program.starts.push_back(parts_.device->NewEvent());
    program.ends.push_back(parts_.device->NewEvent());
  }
  return program;
}

void Executor::MakeStreams() {
  streams_.resize(static_cast<int>(StreamKind::kCopy) + 1);
  channel_streams_.resize(parts_.plan->channels.size());
  for (const Program* program : {&train_.front(), &evaluate_}) {
    for (const Instruction& instruction : *program->instructions) {
      const bool own = instruction.stream == StreamKind::kChannel;
      std::unique_ptr<Stream>& stream = own ? channel_streams_[instruction.channel]
                                            : streams_[static_cast<int>(instruction.stream)];
      if (stream != nullptr) continue;
      const std::string name =
          own ? absl::StrCat("channel ", instruction.channel) : StreamName(instruction.stream);
      stream = parts_.device->NewStream(name);
    }
  }
  for (Program& program : train_) OrderByStream(program);
  OrderByStream(evaluate_);
}

void Executor::OrderByStream(Program& program) {
  for (size_t i = 0; i < program.instructions->size(); ++i) {
    const Stream& stream = StreamOf((*program.instructions)[i]);
    program.order[&stream].push_back(static_cast<int>(i));
  }
}

Stream& Executor::StreamOf(const Instruction& instruction) {
  return instruction.stream == StreamKind::kChannel
             ? *channel_streams_[instruction.channel]
             : *streams_[static_cast<int>(instruction.stream)];
}

std::vector<Stream*> Executor::AllStreams() const {
  std::vector<Stream*> all;
  for (const auto* streams : {&streams_, &channel_streams_}) {
    for (const std::unique_ptr<Stream>& stream : *streams) {
      if (stream != nullptr) all.push_back(stream.get());
    }
  }
  return all;
}

void Executor::Start(Program& program, Stream& control) {
  EnqueueAll(program, control);
  Run(program, control);
}

void Executor::Replay(Program& program, Stream& control) {
  for (const Instruction& instruction : *program.instructions) {
    if (instruction.op != Op::kLoad) continue;
    parts_.hooks->Prepare(instruction.stage, instruction.microbatch);
  }
  program.graph->Launch(control);
  Run(program, control);
}

// What is enqueued on `control` has its end here.
void Executor::Run(Program& program, Stream& control) {
  control.Record(*program.end);
  absl::MutexLock lock(&mutex_);
  running_.push_back(&program);
}

// Captures the program where that was not done; a device that has refused once is not asked
// again.
bool Executor::HasGraph(Program& program, Stream& control) {
  if (!graphs_ || program.graph != nullptr) return graphs_;
  absl::StatusOr<std::unique_ptr<Graph>> graph =
      parts_.device->Capture(control, [&] { EnqueueAll(program, control); });
  graphs_ = graph.ok();
  if (!graph.ok()) {
    // Of a device that never has graphs there is nothing to say.
    if (!absl::IsUnimplemented(graph.status())) Say(NotReplayed(graph.status().message()));
    return false;
  }
  program.graph = *std::move(graph);
  if (!std::exchange(said_graphs_, true)) {
    Say("steps are replayed as graphs, those that copy weights for a checkpoint are launched");
  }
  return true;
}

void Executor::Say(const std::string& line) const {
  if (parts_.log != nullptr) parts_.log(line);
}

// From `control` to all streams, and back.
void Executor::EnqueueAll(Program& program, Stream& control) {
  const std::vector<Stream*> all = AllStreams();
  // Every stream begins behind what `control` holds.
  control.Record(*program.begin);
  for (Stream* stream : all) stream->Wait(*program.begin);
  for (int i = 0; i < static_cast<int>(program.instructions->size()); ++i) {
    const Instruction& instruction = (*program.instructions)[i];
    Stream& stream = StreamOf(instruction);
    for (const int wait : instruction.waits) stream.Wait(*program.ends[wait]);
    stream.Record(*program.starts[i]);
    stream.EnterRange(OpName(instruction.op));
    Enqueue(program, i, instruction, stream);
    stream.LeaveRange();
    stream.Record(*program.ends[i]);
  }
  // `control` goes on behind the tail of every stream.
  while (program.tails.size() < all.size()) program.tails.push_back(parts_.device->NewEvent());
  for (size_t i = 0; i < all.size(); ++i) {
    all[i]->Record(*program.tails[i]);
    control.Wait(*program.tails[i]);
  }
}

absl::Status Executor::Finish(const Program& program) {
  finished_program_ = &program;
  program.end->Synchronize();
  {
    absl::MutexLock lock(&mutex_);
    running_.pop_front();
    finished_instructions_ += static_cast<int64_t>(program.instructions->size());
  }
  RETURN_IF_ERROR(Named(program, Lost(parts_.device->status())));
  TakeTimes(program);
  return Named(program, parts_.transport->status());
}

void Executor::Enqueue(const Program& program, int index, const Instruction& instruction,
                       Stream& stream) {
  const StageBuffers buffers = BuffersOf(instruction);
  const UnitRange units = instruction.segment.units;
  switch (instruction.op) {
    case Op::kLoad:
      parts_.hooks->Prepare(instruction.stage, instruction.microbatch);
      return parts_.hooks->Load(stream, instruction.stage, instruction.microbatch, buffers);
    case Op::kForward:
      return StageOf(instruction).Forward(stream, buffers, program.mode, target_tokens_);
    case Op::kBackwardInput:
      return StageOf(instruction).BackwardInput(stream, units, buffers);
    case Op::kBackwardWeight:
      return StageOf(instruction).BackwardWeight(stream, units, buffers);
    case Op::kBackward:
      return StageOf(instruction).Backward(stream, units, buffers);
    case Op::kRecompute:
      return StageOf(instruction).Recompute(stream, units, buffers);
    case Op::kSendActivation:
    case Op::kSendGradient:
      return Send(stream, index, instruction);
    case Op::kReceiveActivation:
    case Op::kReceiveGradient:
      return Receive(stream, index, instruction);
    case Op::kHandOffActivation:
    case Op::kHandOffGradient:
      return HandOff(stream, instruction);
    case Op::kFree:
      return Free(stream, instruction);
    case Op::kExchangeCopies:
      return Reduce(stream, index, instruction.bucket, Copies(instruction.bucket));
    case Op::kReduceGradient:
      return Reduce(stream, index, instruction.bucket, Replicas());
    case Op::kAgree:
      return parts_.hooks->Agree(stream);
    case Op::kOptimizer:
      return parts_.hooks->Optimizer(stream);
    case Op::kSnapshot:
      return parts_.hooks->Snapshot(stream);
    case Op::kOverlapBegin:
    case Op::kOverlapEnd:
      return;
  }
}

StageBuffers Executor::BuffersOf(const Instruction& instruction) const {
  StageBuffers buffers;
  if (instruction.microbatch >= 0) buffers.batch = parts_.hooks->ShapeOf(instruction.microbatch);
  buffers.at[static_cast<int>(Home::kScratch)] = scratch_;
  for (const std::vector<int>* named : {&instruction.reads, &instruction.fills}) {
    for (const int b : *named) {
      buffers.at[static_cast<int>(rank_plan_.buffers[b].home)] = arena_->at(b);
    }
  }
  return buffers;
}

// Both ends name a message by the stage that produced it.
MessageStamp Executor::StampOf(int index, const Instruction& instruction, int buffer) const {
  const Buffer& end = rank_plan_.buffers[buffer];
  int stage = end.stage;
  if (end.home == Home::kInput) stage = end.stage - 1;
  if (end.home == Home::kGradientIn) stage = end.stage + 1;
  return {parts_.attempt, static_cast<int>(parts_.plan->channels[instruction.channel].kind), stage,
          instruction.microbatch, index};
}

void Executor::Send(Stream& stream, int index, const Instruction& instruction) {
  const int buffer = instruction.reads.front();
  parts_.transport->link(instruction.channel)
      ->Send(stream, arena_->at(buffer), parts_.plan->channels[instruction.channel].message_bytes,
             StampOf(index, instruction, buffer));
}

void Executor::Receive(Stream& stream, int index, const Instruction& instruction) {
  const int buffer = instruction.fills.front();
  parts_.transport->link(instruction.channel)
      ->Receive(stream, arena_->at(buffer),
                parts_.plan->channels[instruction.channel].message_bytes,
                StampOf(index, instruction, buffer));
}

void Executor::HandOff(Stream& stream, const Instruction& instruction) {
  const int from = instruction.reads.front(), to = instruction.fills.front();
  const int64_t bytes = std::min(rank_plan_.buffers[from].bytes, rank_plan_.buffers[to].bytes);
  stream.Copy(arena_->at(to), arena_->at(from), bytes);
}

void Executor::Free(Stream& stream, const Instruction& instruction) {
  if (!parts_.poison) return;
  for (const int b : instruction.reads) {
    // All bits set is a NaN in every floating type and -1, "no target", in int32.
    stream.Fill(arena_->at(b), std::byte{0xff}, rank_plan_.buffers[b].bytes);
  }
}

std::vector<int> Executor::Copies(int bucket) const {
  std::vector<int> members;
  for (const int rank : parts_.plan->buckets[bucket].ranks) {
    members.push_back(parts_.replica * parts_.plan->num_ranks + rank);
  }
  return members;
}

std::vector<int> Executor::Replicas() const {
  std::vector<int> members;
  for (int replica = 0; replica < parts_.plan->num_replicas; ++replica) {
    members.push_back(replica * parts_.plan->num_ranks + parts_.rank);
  }
  return members;
}

std::vector<int> Executor::World() const {
  std::vector<int> members(parts_.plan->num_ranks * parts_.plan->num_replicas);
  std::iota(members.begin(), members.end(), 0);
  return members;
}

// Whom the instruction meets, this rank among them; empty: nobody.
std::vector<int> Executor::MembersOf(const Instruction& instruction) const {
  switch (instruction.op) {
    case Op::kExchangeCopies:
      return Copies(instruction.bucket);
    case Op::kReduceGradient:
      return Replicas();
    case Op::kAgree:
      return World();
    default:
      break;
  }
  if (instruction.channel < 0) return {};
  const Channel& channel = parts_.plan->channels[instruction.channel];
  const int first = parts_.replica * parts_.plan->num_ranks;
  return {first + channel.source, first + channel.destination};
}

void Executor::Describe(const Program& program, int index, Doing* doing) const {
  const Instruction& instruction = (*program.instructions)[index];
  doing->what = absl::StrCat(program.name, " instruction ", index, " (", OpName(instruction.op));
  if (instruction.stage >= 0) absl::StrAppend(&doing->what, " stage ", instruction.stage);
  if (instruction.microbatch >= 0) {
    absl::StrAppend(&doing->what, " micro-batch ", instruction.microbatch);
  }
  doing->what += ")";
  doing->peers = MembersOf(instruction);
  std::erase(doing->peers, parts_.replica * parts_.plan->num_ranks + parts_.rank);
}

void Executor::Reduce(Stream& stream, int index, int bucket, const std::vector<int>& members) {
  if (members.size() < 2) return;
  const ParameterStore::Span gradients = parts_.store->BucketGradients(bucket);
  parts_.transport->group(members)->AllReduceSum(stream, gradients.data, gradients.count, index);
}

void Executor::TakeTimes(const Program& program) {
  times_.resize(program.instructions->size());
  for (size_t i = 0; i < times_.size(); ++i) {
    const Event& origin = *program.starts.front();
    times_[i] = {program.starts[i]->NsSince(origin), program.ends[i]->NsSince(origin)};
  }
}

// A device that has failed is a lost worker, not a bug: another attempt may have better luck.
absl::Status Executor::Lost(const absl::Status& status) {
  if (status.ok()) return status;
  return absl::UnavailableError(absl::StrCat("the device has failed: ", status.message()));
}

absl::Status Executor::Named(const Program& program, const absl::Status& status) const {
  if (status.ok()) return status;
  const int global = parts_.replica * parts_.plan->num_ranks + parts_.rank;
  return absl::Status(status.code(),
                      absl::StrCat("rank ", global, " ", program.name, ": ", status.message()));
}

}  // namespace birkhoff
