// A coordinator with two workers around it (and two more for those who want them), whose
// connections a test can cut and whose coordinator it can kill.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/coordinator/fakes.h"
#include "tests/coordinator/job_events.h"

namespace birkhoff {

inline CoordinatorOptions FleetOptions() {
  CoordinatorOptions options;
  options.lease = absl::Seconds(5);
  options.stop_grace = absl::Seconds(60);
  options.abort_grace = absl::Seconds(10);
  return options;
}

class Fleet : public ::testing::Test {
 protected:
  Fleet() { Start(); }

  void Start() {
    auto coordinator = Coordinator::Create(FleetOptions(), clock_, store_, planner_);
    ASSERT_TRUE(coordinator.ok()) << coordinator.status();
    coordinator_ = *std::move(coordinator);
  }
  // The process dies and is started again: connections are gone, the store stays.
  void Restart() {
    coordinator_.reset();
    for (auto& link : links_) link = std::make_unique<FakeLink>();
    Start();
  }

  // Time passes for a coordinator that is awake.
  void Pass(absl::Duration duration) {
    constexpr absl::Duration kTick = absl::Milliseconds(250);
    for (; duration > absl::ZeroDuration(); duration -= kTick) {
      clock_.Advance(std::min(duration, kTick));
      ASSERT_TRUE(coordinator_->Tick().ok());
    }
  }
  absl::Status Say(int worker, WorkerPayload payload) {
    return Say(worker, life_[worker], std::move(payload));
  }
  absl::Status Say(int worker, uint64_t life, WorkerPayload payload) {
    return coordinator_->Handle({absl::StrCat("workers/w", worker), life, std::move(payload)},
                                links_[worker].get());
  }
  absl::Status Greet(int worker, const std::string& job = "", int attempt = 0,
                     const std::string& device = "cpu", int64_t memory_bytes = 1 << 30) {
    Hello hello;
    hello.resources = {"", device, memory_bytes, 1e9};
    hello.address = absl::StrCat("10.0.0.", worker);
    hello.job = job;
    hello.attempt = attempt;
    return Say(worker, hello);
  }
  absl::StatusOr<JobView> Submit(const std::string& request_id = "", const char* name = "tiny") {
    SubmitRequest request;
    request.spec = TwoRanks(name);
    request.request_id = request_id;
    return coordinator_->Submit(request);
  }
  JobView View(const std::string& name = "jobs/tiny") {
    const absl::StatusOr<JobView> view = coordinator_->GetJob(name);
    EXPECT_TRUE(view.ok()) << view.status();
    return view.value_or(JobView{});
  }
  // All that watchers have been told.
  std::vector<JobUpdate> Updates(const std::string& name = "jobs/tiny") {
    const absl::StatusOr<std::vector<JobUpdate>> updates = coordinator_->ReadUpdates(name, 0, 1000);
    EXPECT_TRUE(updates.ok()) << updates.status();
    return updates.value_or(std::vector<JobUpdate>{});
  }
  FakeLink& link(int worker) { return *links_[worker]; }
  // A job that trains on both workers.
  void Train() {
    for (const int worker : {0, 1}) ASSERT_TRUE(Greet(worker).ok());
    ASSERT_TRUE(Submit().ok());
    for (const int rank : {0, 1}) ASSERT_TRUE(Say(rank, Ready(1, rank)).ok());
    ASSERT_EQ(View().state, JobState::kRunning);
    for (const int worker : {0, 1}) link(worker).Take();
  }

  FakeClock clock_;
  MemoryStore store_;
  Coordinator::Planner planner_ = EmptyPlan;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<FakeLink> links_[4] = {std::make_unique<FakeLink>(), std::make_unique<FakeLink>(),
                                         std::make_unique<FakeLink>(),
                                         std::make_unique<FakeLink>()};
  uint64_t life_[4] = {10, 10, 10, 10};
};

}  // namespace birkhoff
