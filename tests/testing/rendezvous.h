// A rendezvous between ranks that are threads of one test.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "worker/transport.h"

namespace birkhoff::testing {

class ThreadMeetingPoint {
 public:
  explicit ThreadMeetingPoint(int world_size) : world_size_(world_size) {}

  absl::StatusOr<std::vector<std::string>> Meet(int rank, const std::string& key,
                                                const std::string& bytes) {
    absl::MutexLock lock(&mutex_);
    met_[key][rank] = bytes;
    const std::map<int, std::string>& here = met_[key];
    const auto complete = [&] { return closed_ || static_cast<int>(here.size()) == world_size_; };
    mutex_.Await(absl::Condition(&complete));
    if (closed_) return absl::AbortedError("the attempt is over");
    std::vector<std::string> all;
    for (const auto& [number, text] : here) all.push_back(text);
    return all;
  }
  void Close() {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
  }

 private:
  const int world_size_;
  absl::Mutex mutex_;
  std::map<std::string, std::map<int, std::string>> met_;
  bool closed_ = false;
};

// One rank's view of it.
class ThreadRendezvous final : public Rendezvous {
 public:
  ThreadRendezvous(ThreadMeetingPoint& point, int rank) : point_(point), rank_(rank) {}
  absl::StatusOr<std::vector<std::string>> Meet(const std::string& key,
                                                const std::string& bytes) override {
    return point_.Meet(rank_, key, bytes);
  }

 private:
  ThreadMeetingPoint& point_;
  const int rank_;
};

}  // namespace birkhoff::testing
