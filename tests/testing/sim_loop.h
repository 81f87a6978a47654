// Simulated time: one queue of events, ordered by (time, sequence), and the clock that they move.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <utility>

#include "absl/time/time.h"
#include "core/base/clock.h"

namespace birkhoff::testing {

// Read from any thread; only the loop moves it.
class SimClock final : public Clock {
 public:
  Instant Now() const override { return {nanoseconds_}; }
  absl::Time WallTime() const override {
    return absl::UnixEpoch() + absl::Nanoseconds(nanoseconds_.load());
  }
  void MoveTo(Instant now) { nanoseconds_ = now.nanoseconds; }

 private:
  std::atomic<int64_t> nanoseconds_{1'000'000'000};
};

// Not thread-safe: events run on the thread that calls RunOne, one after the other.
class SimLoop {
 public:
  using Action = std::function<void()>;

  const SimClock& clock() const { return clock_; }
  SimClock& clock() { return clock_; }
  Instant Now() const { return clock_.Now(); }
  void At(Instant when, Action action) {
    events_.emplace(std::make_pair(std::max(when, Now()), next_sequence_++), std::move(action));
  }
  void After(absl::Duration delay, Action action) { At(Now() + delay, std::move(action)); }
  // Runs the next event; false if there is none.
  bool RunOne() {
    if (events_.empty()) return false;
    auto event = events_.extract(events_.begin());
    clock_.MoveTo(event.key().first);
    event.mapped()();
    return true;
  }

 private:
  SimClock clock_;
  std::map<std::pair<Instant, int64_t>, Action> events_;
  int64_t next_sequence_ = 0;
};

// What things pass in order, at once while it is open, later while it is shut.  The loop must
// outlive it, and it its loop's events.
class SimGate {
 public:
  explicit SimGate(SimLoop& loop) : loop_(loop) {}

  void ShutUntil(Instant until) { until_ = std::max(until_, until); }
  void Open() {
    until_ = loop_.Now();
    loop_.At(until_, [this] { Drain(); });
  }
  bool open() const { return loop_.Now() >= until_; }
  Instant until() const { return until_; }
  void Pass(SimLoop::Action action) {
    if (open() && waiting_.empty()) return action();
    waiting_.push_back(std::move(action));
    if (waiting_.size() == 1) loop_.At(until_, [this] { Drain(); });
  }

 private:
  void Drain() {
    while (open() && !waiting_.empty()) {
      // It may shut the gate again, and others may come meanwhile.
      const SimLoop::Action next = waiting_.front();
      next();
      waiting_.pop_front();
    }
    if (!waiting_.empty()) loop_.At(until_, [this] { Drain(); });
  }

  SimLoop& loop_;
  Instant until_;
  std::deque<SimLoop::Action> waiting_;
};

}  // namespace birkhoff::testing
