// Field by field.  Of the parts of an update at most one is set, which becomes the message's oneof.
#include "coordinator/convert_view.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "core/net/convert.h"

namespace birkhoff {
namespace {

void ToProto(const JobReason& reason, v1::Reason* out) {
  out->set_code(reason.code);
  out->set_sentence(reason.sentence);
}

void ToProto(const CheckpointInfo& checkpoint, const std::string& job, v1::Checkpoint* out) {
  out->set_name(absl::StrCat(job, "/checkpoints/", checkpoint.step));
  out->set_step(checkpoint.step);
  out->set_path(checkpoint.path);
  out->set_checksum(checkpoint.checksum);
}

// The enums have the same numbers (job_event.h).
v1::Job::State ToProto(JobState state) {
  return static_cast<v1::Job::State>(static_cast<int>(state));
}

}  // namespace

void ToProto(const JobView& view, v1::Job* out, bool with_spec) {
  out->set_name(view.name);
  if (with_spec) ToProto(view.spec, out->mutable_spec());
  out->set_total_steps(view.total_steps);
  out->set_state(ToProto(view.state));
  ToProto(view.reason, out->mutable_reason());
  out->set_exit_code(static_cast<int>(view.exit_code));
  out->set_attempt(view.attempt);
  out->set_restarts(view.restarts);
  out->set_priority(view.priority);
  out->set_output_directory(view.output_directory);
  out->set_plan_hash(view.plan_hash);
  ToProto(view.create_time, out->mutable_create_time());
  ToProto(view.update_time, out->mutable_update_time());
  for (const std::string& worker : view.workers) out->add_workers(worker);
  if (view.last_step.has_value()) ToProto(*view.last_step, out->mutable_last_step());
  if (view.checkpoint.has_value()) {
    ToProto(*view.checkpoint, view.name, out->mutable_last_checkpoint());
  }
  out->set_last_event_id(view.last_event_id);
}

void ToProto(const JobUpdate& update, const std::string& job, v1::JobEvent* out) {
  out->set_event_id(update.id);
  ToProto(update.time, out->mutable_time());
  out->set_attempt(update.attempt);
  if (update.state.has_value()) {
    v1::JobEvent::StateChanged* changed = out->mutable_state_changed();
    changed->set_state(ToProto(update.state->state));
    ToProto(update.state->reason, changed->mutable_reason());
    changed->set_exit_code(static_cast<int>(update.state->exit_code));
  }
  if (update.step.has_value()) {
    ToProto(*update.step, out->mutable_step());
  } else if (update.checkpoint.has_value()) {
    ToProto(*update.checkpoint, job, out->mutable_checkpoint());
  } else if (update.placed.has_value()) {
    v1::JobEvent::AttemptStarted* started = out->mutable_attempt_started();
    started->set_plan_hash(update.placed->plan_hash);
    for (const std::string& worker : update.placed->workers) started->add_workers(worker);
  } else if (update.exited.has_value()) {
    v1::JobEvent::RankExited* exited = out->mutable_rank_exited();
    exited->set_rank(update.exited->rank);
    exited->set_exit_code(static_cast<int>(update.exited->code));
    exited->set_reason(update.exited->reason);
  } else if (update.failed_checkpoint.has_value()) {
    v1::JobEvent::CheckpointFailed* failed = out->mutable_checkpoint_failed();
    failed->set_rank(update.failed_checkpoint->rank);
    failed->set_step(update.failed_checkpoint->step);
    failed->set_reason(update.failed_checkpoint->reason);
  } else if (update.notice.has_value()) {
    v1::JobEvent::Noticed* noticed = out->mutable_noticed();
    noticed->set_code(update.notice->code);
    noticed->set_step(update.notice->step);
    noticed->set_sentence(update.notice->sentence);
  }
}

void ToProto(const WorkerView& view, v1::Worker* out) {
  out->set_name(view.resources.name);
  out->set_state(static_cast<v1::Worker::State>(static_cast<int>(view.state)));
  out->set_device(view.resources.device);
  out->set_memory_bytes(view.resources.memory_bytes);
  out->set_peak_flops(view.resources.peak_flops);
  out->set_description(view.resources.description);
  out->set_address(view.address);
  out->set_job(view.job);
  out->set_attempt(view.attempt);
  out->set_rank(view.rank);
  ToProto(view.last_heard, out->mutable_last_heard_time());
}

}  // namespace birkhoff
