// Small real stand-ins around a coordinator: a clock that stands still, a store in memory that can fail
// and forget, and workers that only keep what they were told.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/coordinator.h"

namespace birkhoff {

class FakeClock final : public Clock {
 public:
  Instant Now() const override { return now_; }
  absl::Time WallTime() const override {
    return absl::FromUnixSeconds(1'700'000'000) + absl::Nanoseconds(now_.nanoseconds);
  }
  void Advance(absl::Duration by) { now_ = now_ + by; }

 private:
  Instant now_{1'000'000'000};
};

// Keeps events in memory, in the order of appending.  Once `appends_left` is used up it refuses
// everything, as a full disk does; Lose forgets what a disk had only promised.
class MemoryStore final : public JobStore {
 public:
  absl::Status Check() const override { return check_; }
  absl::Status Append(const std::vector<StoredEvent>& events) override {
    if (std::exchange(throw_, false)) throw std::bad_alloc();
    if (on_append_) on_append_();
    if (const absl::Status refusal = std::exchange(refusal_, {}); !refusal.ok()) return refusal;
    if (appends_left_ == 0) return absl::UnavailableError("the disk is full");
    --appends_left_;
    const bool dies = ++appends_ == die_at_;
    if (!dies || keep_) {
      events_.insert(events_.end(), events.begin(), events.end());
      last_batch_ = events.size();
    }
    if (!dies) return absl::OkStatus();
    died_ = true;
    ++deaths_;
    appends_left_ = 0;
    return absl::UnavailableError("the process dies here");
  }
  absl::StatusOr<std::vector<StoredEvent>> Read(const std::string& job, int64_t after_id,
                                                int limit) const override {
    std::vector<StoredEvent> found;
    for (const StoredEvent& event : events_) {
      if (event.job != job || event.id <= after_id) continue;
      if (static_cast<int>(found.size()) < limit) found.push_back(event);
    }
    return found;
  }
  absl::StatusOr<std::vector<StoredEvent>> ReadForReplay() const override {
    std::map<std::string, int64_t> last_step;
    for (const StoredEvent& event : events_) {
      if (event.kind == "step") last_step[event.job] = event.id;
    }
    std::vector<StoredEvent> replay;
    for (const StoredEvent& event : events_) {
      if (event.kind != "step" || last_step[event.job] == event.id) replay.push_back(event);
    }
    return replay;
  }
  absl::Status PutPlan(const std::string& hash, const std::string& bytes) override {
    if (appends_left_ == 0) return absl::UnavailableError("the disk is full");
    plans_[hash] = bytes;
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> GetPlan(const std::string& hash) const override {
    const auto found = plans_.find(hash);
    if (found == plans_.end()) return absl::NotFoundError(hash);
    return found->second;
  }

  void OnAppend(std::function<void()> on_append) { on_append_ = std::move(on_append); }
  void SetCheck(absl::Status check) { check_ = std::move(check); }
  void ThrowAtNextAppend() { throw_ = true; }
  void RefuseNextAppend(absl::Status refusal) { refusal_ = std::move(refusal); }
  void AllowAppends(int appends) { appends_left_ = appends; }
  // The process dies in append number `append`: with the events durable, or not.
  void DieAt(int append, bool keep) {
    die_at_ = append;
    keep_ = keep;
  }
  bool died() const { return died_; }
  int deaths() const { return deaths_; }
  void Repair() {
    died_ = false;
    AllowAppends(1'000'000);
  }
  size_t last_batch() const { return last_batch_; }
  // The newest `events` were never synced.
  void Lose(size_t events) { events_.resize(events_.size() - events); }
  std::vector<StoredEvent>& damage() { return events_; }

 private:
  std::function<void()> on_append_;  // null: nothing
  bool throw_ = false;
  absl::Status check_;
  absl::Status refusal_;
  int appends_left_ = 1'000'000;
  int appends_ = 0;
  int die_at_ = 0;  // 0: never
  bool keep_ = false;
  bool died_ = false;  // since the last repair
  int deaths_ = 0;
  size_t last_batch_ = 0;
  std::vector<StoredEvent> events_;
  std::map<std::string, std::string> plans_;
};

// A worker's end of its connection: keeps what came.
class FakeLink final : public WorkerLink {
 public:
  void Send(CoordinatorMessage message) override { inbox_.push_back(std::move(message)); }
  std::vector<CoordinatorMessage> Take() { return std::exchange(inbox_, {}); }
  // The messages of one kind since the last Take.
  template <typename Message>
  std::vector<Message> Of() const {
    std::vector<Message> found;
    for (const CoordinatorMessage& message : inbox_) {
      if (const auto* one = std::get_if<Message>(&message)) found.push_back(*one);
    }
    return found;
  }

 private:
  std::vector<CoordinatorMessage> inbox_;
};

// A plan of the right size; what it does is not the coordinator's business.
inline absl::StatusOr<Plan> EmptyPlan(const JobSpec& spec, const ClusterSpec&) {
  Plan plan;
  plan.model_hash = ModelHash(spec.model);
  plan.num_ranks = spec.parallelism.pipeline_parallel_degree;
  plan.num_replicas = spec.parallelism.data_parallel_degree;
  plan.ranks.resize(static_cast<size_t>(plan.num_ranks));
  return plan;
}

}  // namespace birkhoff
