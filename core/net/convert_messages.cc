// The messages between coordinator and worker, both directions.
#include <type_traits>
#include <utility>

#include "core/base/status_macros.h"
#include "core/net/convert.h"

namespace birkhoff {
namespace {

// The fields that most messages share.
template <typename Struct, typename Proto>
void WriteAttempt(const Struct& in, Proto* out) {
  out->set_job(in.job);
  out->set_attempt(in.attempt);
}
template <typename Struct, typename Proto>
void WriteRank(const Struct& in, Proto* out) {
  WriteAttempt(in, out);
  out->set_rank(in.rank);
}
template <typename Struct, typename Proto>
Struct ReadAttempt(const Proto& in) {
  Struct out;
  out.job = in.job();
  out.attempt = in.attempt();
  return out;
}
template <typename Struct, typename Proto>
Struct ReadRank(const Proto& in) {
  Struct out = ReadAttempt<Struct>(in);
  out.rank = in.rank();
  return out;
}

// --- worker -> coordinator ---

struct PayloadWriter {
  v1::ConnectRequest* out;

  void operator()(const Hello& in) const {
    v1::Hello* hello = out->mutable_hello();
    v1::WorkerResources* resources = hello->mutable_resources();
    resources->set_name(in.resources.name);
    resources->set_device(in.resources.device);
    resources->set_memory_bytes(in.resources.memory_bytes);
    resources->set_peak_flops(in.resources.peak_flops);
    resources->set_product_flops(in.resources.product_flops);
    resources->set_description(in.resources.description);
    hello->set_address(in.address);
    WriteAttempt(in, hello);
  }
  void operator()(const Heartbeat& in) const {
    v1::Heartbeat* heartbeat = out->mutable_heartbeat();
    if (!in.activity.has_value()) return;
    v1::RankActivity* activity = heartbeat->mutable_activity();
    WriteRank(*in.activity, activity);
    activity->set_marks(in.activity->marks);
    activity->set_what(in.activity->what);
    activity->mutable_peers()->Assign(in.activity->peers.begin(), in.activity->peers.end());
    activity->set_process(in.activity->process);
  }
  void operator()(const Meet& in) const {
    WriteRank(in, out->mutable_meet());
    out->mutable_meet()->set_key(in.key);
    out->mutable_meet()->set_contribution(in.bytes);
  }
  void operator()(const RankReady& in) const {
    WriteRank(in, out->mutable_rank_ready());
    out->mutable_rank_ready()->set_resumed_step(in.resumed_step);
    out->mutable_rank_ready()->set_note(in.note);
    out->mutable_rank_ready()->set_notice(in.notice);
  }
  void operator()(const StepDone& in) const {
    WriteRank(in, out->mutable_step_done());
    ToProto(in.report, out->mutable_step_done()->mutable_report());
  }
  void operator()(const ShardDurable& in) const {
    v1::ShardDurable* shard = out->mutable_shard_durable();
    WriteRank(in, shard);
    shard->set_step(in.step);
    shard->set_file(in.file);
    shard->set_checksum(in.checksum);
    shard->set_size_bytes(in.bytes);
  }
  void operator()(const CheckpointCommitted& in) const {
    v1::CheckpointCommitted* committed = out->mutable_checkpoint_committed();
    WriteAttempt(in, committed);
    committed->set_step(in.step);
    committed->set_path(in.path);
    committed->set_checksum(in.checksum);
  }
  void operator()(const CheckpointFailed& in) const {
    WriteRank(in, out->mutable_checkpoint_failed());
    out->mutable_checkpoint_failed()->set_step(in.step);
    out->mutable_checkpoint_failed()->set_reason(in.reason);
  }
  void operator()(const Noticed& in) const {
    WriteRank(in, out->mutable_noticed());
    out->mutable_noticed()->set_code(in.code);
    out->mutable_noticed()->set_step(in.step);
    out->mutable_noticed()->set_sentence(in.sentence);
  }
  void operator()(const RankExited& in) const {
    WriteRank(in, out->mutable_rank_exited());
    out->mutable_rank_exited()->set_code(static_cast<int>(in.code));
    out->mutable_rank_exited()->set_reason(in.reason);
    out->mutable_rank_exited()->set_disk(in.disk);
  }
};

Hello Read(const v1::Hello& in) {
  Hello out = ReadAttempt<Hello>(in);
  out.resources.name = in.resources().name();
  out.resources.device = in.resources().device();
  out.resources.memory_bytes = in.resources().memory_bytes();
  out.resources.peak_flops = in.resources().peak_flops();
  out.resources.product_flops = in.resources().product_flops();
  out.resources.description = in.resources().description();
  out.address = in.address();
  return out;
}
Heartbeat Read(const v1::Heartbeat& in) {
  Heartbeat out;
  if (!in.has_activity()) return out;
  RankActivity& activity = out.activity.emplace(ReadRank<RankActivity>(in.activity()));
  activity.marks = in.activity().marks();
  activity.what = in.activity().what();
  activity.peers.assign(in.activity().peers().begin(), in.activity().peers().end());
  activity.process = in.activity().process();
  return out;
}
Meet Read(const v1::Meet& in) {
  Meet out = ReadRank<Meet>(in);
  out.key = in.key();
  out.bytes = in.contribution();
  return out;
}
RankReady Read(const v1::RankReady& in) {
  RankReady out = ReadRank<RankReady>(in);
  out.resumed_step = in.resumed_step();
  out.note = in.note();
  out.notice = in.notice();
  return out;
}
StepDone Read(const v1::StepDone& in) {
  StepDone out = ReadRank<StepDone>(in);
  out.report = FromProto(in.report());
  return out;
}
ShardDurable Read(const v1::ShardDurable& in) {
  ShardDurable out = ReadRank<ShardDurable>(in);
  out.step = in.step();
  out.file = in.file();
  out.checksum = in.checksum();
  out.bytes = in.size_bytes();
  return out;
}
CheckpointCommitted Read(const v1::CheckpointCommitted& in) {
  CheckpointCommitted out = ReadAttempt<CheckpointCommitted>(in);
  out.step = in.step();
  out.path = in.path();
  out.checksum = in.checksum();
  return out;
}
CheckpointFailed Read(const v1::CheckpointFailed& in) {
  CheckpointFailed out = ReadRank<CheckpointFailed>(in);
  out.step = in.step();
  out.reason = in.reason();
  return out;
}
Noticed Read(const v1::Noticed& in) {
  Noticed out = ReadRank<Noticed>(in);
  out.code = in.code();
  out.step = in.step();
  out.sentence = in.sentence();
  return out;
}
RankExited Read(const v1::RankExited& in) {
  RankExited out = ReadRank<RankExited>(in);
  out.code = ExitCodeFromNumber(in.code());
  out.reason = in.reason();
  out.disk = in.disk();
  return out;
}

// --- coordinator -> worker ---

void Write(const Assignment& in, v1::Assignment* out) {
  WriteRank(in, out);
  out->set_world_size(in.world_size);
  ToProto(in.spec, out->mutable_spec());
  ToProto(in.plan, out->mutable_plan());
  out->set_plan_hash(in.plan_hash);
  out->set_output_directory(in.output_directory);
  out->set_fresh(in.fresh);
  for (const std::string& change : in.changes) out->add_changes(change);
  out->set_init_from(in.init_from);
  out->set_peer_address(in.peer_address);
}

absl::StatusOr<Assignment> Read(const v1::Assignment& in) {
  Assignment out = ReadRank<Assignment>(in);
  out.world_size = in.world_size();
  ASSIGN_OR_RETURN(out.spec, FromProto(in.spec()));
  ASSIGN_OR_RETURN(out.plan, FromProto(in.plan()));
  out.plan_hash = in.plan_hash();
  out.output_directory = in.output_directory();
  out.fresh = in.fresh();
  out.changes.assign(in.changes().begin(), in.changes().end());
  out.init_from = in.init_from();
  out.peer_address = in.peer_address();
  return out;
}

struct CommandWriter {
  v1::ConnectResponse* out;

  void operator()(const Welcome& in) const {
    out->mutable_welcome()->set_heartbeat_seconds(in.heartbeat_seconds);
    out->mutable_welcome()->set_lease_seconds(in.lease_seconds);
  }
  void operator()(const StartAttempt& in) const {
    Write(in.assignment, out->mutable_start_attempt()->mutable_assignment());
  }
  void operator()(const MeetResult& in) const {
    WriteAttempt(in, out->mutable_meet_result());
    out->mutable_meet_result()->set_key(in.key);
    for (const std::string& bytes : in.bytes) out->mutable_meet_result()->add_contributions(bytes);
  }
  void operator()(const CommitCheckpoint& in) const {
    WriteAttempt(in, out->mutable_commit_checkpoint());
    out->mutable_commit_checkpoint()->set_step(in.step);
    for (const Shard& shard : in.shards) {
      v1::Shard* added = out->mutable_commit_checkpoint()->add_shards();
      added->set_rank(shard.rank);
      added->set_file(shard.file);
      added->set_checksum(shard.checksum);
      added->set_size_bytes(shard.bytes);
    }
  }
  void operator()(const StopAttempt& in) const { WriteAttempt(in, out->mutable_stop_attempt()); }
  void operator()(const AbortAttempt& in) const {
    WriteAttempt(in, out->mutable_abort_attempt());
    out->mutable_abort_attempt()->set_reason(in.reason);
  }
  void operator()(const Refused& in) const { out->mutable_refused()->set_reason(in.reason); }
  void operator()(const JobEnded& in) const {
    WriteAttempt(in, out->mutable_job_ended());
    out->mutable_job_ended()->set_code(static_cast<int>(in.code));
    out->mutable_job_ended()->set_reason(in.reason);
  }
};

MeetResult Read(const v1::MeetResult& in) {
  MeetResult out = ReadAttempt<MeetResult>(in);
  out.key = in.key();
  out.bytes.assign(in.contributions().begin(), in.contributions().end());
  return out;
}
CommitCheckpoint Read(const v1::CommitCheckpoint& in) {
  CommitCheckpoint out = ReadAttempt<CommitCheckpoint>(in);
  out.step = in.step();
  for (const v1::Shard& shard : in.shards()) {
    out.shards.push_back({shard.rank(), shard.file(), shard.checksum(), shard.size_bytes()});
  }
  return out;
}
AbortAttempt Read(const v1::AbortAttempt& in) {
  AbortAttempt out = ReadAttempt<AbortAttempt>(in);
  out.reason = in.reason();
  return out;
}
JobEnded Read(const v1::JobEnded& in) {
  JobEnded out = ReadAttempt<JobEnded>(in);
  out.code = ExitCodeFromNumber(in.code());
  out.reason = in.reason();
  return out;
}

absl::StatusOr<WorkerPayload> ReadPayload(const v1::ConnectRequest& in) {
  switch (in.payload_case()) {
    case v1::ConnectRequest::kHello:
      return Read(in.hello());
    case v1::ConnectRequest::kHeartbeat:
      return Read(in.heartbeat());
    case v1::ConnectRequest::kMeet:
      return Read(in.meet());
    case v1::ConnectRequest::kRankReady:
      return Read(in.rank_ready());
    case v1::ConnectRequest::kStepDone:
      return Read(in.step_done());
    case v1::ConnectRequest::kShardDurable:
      return Read(in.shard_durable());
    case v1::ConnectRequest::kCheckpointCommitted:
      return Read(in.checkpoint_committed());
    case v1::ConnectRequest::kCheckpointFailed:
      return Read(in.checkpoint_failed());
    case v1::ConnectRequest::kRankExited:
      return Read(in.rank_exited());
    case v1::ConnectRequest::kNoticed:
      return Read(in.noticed());
    case v1::ConnectRequest::PAYLOAD_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(
      "worker message: no payload that this release knows; need one of worker_service.proto");
}

}  // namespace

void ToProto(const WorkerMessage& message, v1::ConnectRequest* out) {
  out->set_worker(message.worker);
  out->set_incarnation(message.incarnation);
  std::visit(PayloadWriter{out}, message.payload);
}

absl::StatusOr<WorkerMessage> FromProto(const v1::ConnectRequest& in) {
  WorkerMessage message;
  message.worker = in.worker();
  message.incarnation = in.incarnation();
  ASSIGN_OR_RETURN(message.payload, ReadPayload(in));
  return message;
}

void ToProto(const CoordinatorMessage& message, v1::ConnectResponse* out) {
  std::visit(CommandWriter{out}, message);
}

absl::StatusOr<CoordinatorMessage> FromProto(const v1::ConnectResponse& in) {
  switch (in.payload_case()) {
    case v1::ConnectResponse::kWelcome:
      return Welcome{in.welcome().heartbeat_seconds(), in.welcome().lease_seconds()};
    case v1::ConnectResponse::kStartAttempt: {
      ASSIGN_OR_RETURN(Assignment assignment, Read(in.start_attempt().assignment()));
      return StartAttempt{std::move(assignment)};
    }
    case v1::ConnectResponse::kMeetResult:
      return Read(in.meet_result());
    case v1::ConnectResponse::kCommitCheckpoint:
      return Read(in.commit_checkpoint());
    case v1::ConnectResponse::kStopAttempt:
      return ReadAttempt<StopAttempt>(in.stop_attempt());
    case v1::ConnectResponse::kAbortAttempt:
      return Read(in.abort_attempt());
    case v1::ConnectResponse::kRefused:
      return Refused{in.refused().reason()};
    case v1::ConnectResponse::kJobEnded:
      return Read(in.job_ended());
    case v1::ConnectResponse::PAYLOAD_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(
      "coordinator message: no payload that this release knows; need one of worker_service.proto");
}

}  // namespace birkhoff
