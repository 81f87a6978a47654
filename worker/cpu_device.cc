// The CPU as a device: a FIFO thread per stream, so that the host only enqueues, as on a GPU.
#include <pthread.h>

#include <chrono>
#include <cstdlib>
#include <deque>
#include <limits>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "worker/device.h"

namespace birkhoff {
namespace {

constexpr int64_t kAlignment = 64;

int64_t SteadyNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// One recorded point.  Shared (shared_ptr) by the event, the stream that will reach it and those
// that wait for it: a later Record gives the event another point and leaves the waiters theirs.
struct Point {
  absl::Notification reached;
  int64_t time_ns = 0;  // set before `reached`
};

class CpuEvent final : public Event {
 public:
  void Synchronize() override {
    if (const std::shared_ptr<Point> point = Current()) point->reached.WaitForNotification();
  }
  bool Done() const override {
    const std::shared_ptr<Point> point = Current();
    return point == nullptr || point->reached.HasBeenNotified();
  }
  int64_t TimeNs() const override {
    const std::shared_ptr<Point> point = Current();
    return point != nullptr && point->reached.HasBeenNotified() ? point->time_ns : 0;
  }

  std::shared_ptr<Point> Renew() {
    const auto point = std::make_shared<Point>();
    std::shared_ptr<Point> old = point;  // destroyed after the lock is released
    {
      absl::MutexLock lock(&mutex_);
      point_.swap(old);
    }
    return point;
  }
  std::shared_ptr<Point> Current() const {
    absl::MutexLock lock(&mutex_);
    return point_;
  }

 private:
  mutable absl::Mutex mutex_;
  std::shared_ptr<Point> point_ ABSL_GUARDED_BY(mutex_);  // null: never recorded
};

class CpuStream final : public Stream {
 public:
  explicit CpuStream(const std::string& name) : thread_([this] { Run(); }) {
    // Linux keeps 15 characters.
    pthread_setname_np(thread_.native_handle(), name.substr(0, 15).c_str());
  }
  ~CpuStream() override {
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
    }
    thread_.join();
  }

  void Submit(std::function<void()> work) override {
    absl::MutexLock lock(&mutex_);
    queue_.push_back(std::move(work));
  }
  void Record(Event& event) override {
    Submit([point = static_cast<CpuEvent&>(event).Renew()] {
      point->time_ns = SteadyNs();
      point->reached.Notify();
    });
  }
  void Wait(Event& event) override {
    std::shared_ptr<Point> point = static_cast<CpuEvent&>(event).Current();
    if (point == nullptr || point->reached.HasBeenNotified()) return;
    Submit([point = std::move(point)] { point->reached.WaitForNotification(); });
  }
  void Synchronize() override {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &CpuStream::Idle));
  }

 private:
  bool Idle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return queue_.empty() && !busy_; }
  bool HasNews() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !queue_.empty() || stopping_;
  }

  void Run() {
    while (true) {
      std::function<void()> work;
      {
        absl::MutexLock lock(&mutex_);
        busy_ = false;
        mutex_.Await(absl::Condition(this, &CpuStream::HasNews));
        if (queue_.empty()) return;  // stopping, and all work is done
        work = std::move(queue_.front());
        queue_.pop_front();
        busy_ = true;
      }
      work();
    }
  }

  absl::Mutex mutex_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses the fields above
};

class CpuMemory final : public DeviceMemory {
 public:
  CpuMemory(std::byte* data, int64_t size) : data_(data), size_(size) {}
  ~CpuMemory() override { std::free(data_); }
  std::byte* data() override { return data_; }
  int64_t size() const override { return size_; }

 private:
  std::byte* const data_;
  const int64_t size_;
};

class CpuDevice final : public Device {
 public:
  std::unique_ptr<Stream> NewStream(const std::string& name) override {
    return std::make_unique<CpuStream>(name);
  }
  std::unique_ptr<Event> NewEvent() override { return std::make_unique<CpuEvent>(); }
  absl::StatusOr<std::unique_ptr<DeviceMemory>> Allocate(int64_t bytes) override {
    if (bytes < 0 || bytes > std::numeric_limits<int64_t>::max() - kAlignment) {
      return absl::InvalidArgumentError(
          absl::StrCat("cpu memory: bytes=", bytes, "; need 0 <= bytes < 2^63 - ", kAlignment));
    }
    // At least one block, so that an empty allocation has an address too.
    const int64_t rounded = std::max(bytes + kAlignment - 1, kAlignment) / kAlignment * kAlignment;
    auto* data = static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded));
    if (data == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("cpu memory: no room for ", bytes, " bytes"));
    }
    return std::make_unique<CpuMemory>(data, bytes);
  }
  std::string name() const override { return "cpu"; }
};

}  // namespace

std::unique_ptr<Device> NewCpuDevice() { return std::make_unique<CpuDevice>(); }

}  // namespace birkhoff
