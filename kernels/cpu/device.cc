// The CPU as a device: a FIFO thread per stream, so that the host only enqueues, as on a GPU.
#include "kernels/device.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <limits>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "core/base/alignment.h"
#include "core/base/check.h"
#include "kernels/cpu/team.h"

namespace birkhoff {
namespace {

int64_t SteadyNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Memory that nobody may touch but work of a stream: open while any work runs.
class Guard {
 public:
  struct Region {
    void* data;
    size_t bytes;
  };

  void Add(Region region) {
    absl::MutexLock lock(&mutex_);
    regions_.push_back(region);
    Protect(region);
  }
  void Remove(const void* data) {
    absl::MutexLock lock(&mutex_);
    std::erase_if(regions_, [data](const Region& region) { return region.data == data; });
  }
  void Enter() { Change(+1); }
  void Leave() { Change(-1); }

 private:
  void Change(int by) {
    absl::MutexLock lock(&mutex_);
    const bool was_open = running_ > 0;
    running_ += by;
    if (was_open == (running_ > 0)) return;
    for (const Region& region : regions_) Protect(region);
  }
  void Protect(const Region& region) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const int rights = running_ > 0 ? PROT_READ | PROT_WRITE : PROT_NONE;
    BIRKHOFF_CHECK(mprotect(region.data, region.bytes, rights) == 0, "mprotect");
  }

  absl::Mutex mutex_;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Region> regions_ ABSL_GUARDED_BY(mutex_);
};

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
  int64_t NsSince(const Event& earlier) const override {
    const int64_t from = static_cast<const CpuEvent&>(earlier).TimeNs(), to = TimeNs();
    return from == 0 || to == 0 ? 0 : to - from;
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
  int64_t TimeNs() const {
    const std::shared_ptr<Point> point = Current();
    return point != nullptr && point->reached.HasBeenNotified() ? point->time_ns : 0;
  }

  mutable absl::Mutex mutex_;
  std::shared_ptr<Point> point_ ABSL_GUARDED_BY(mutex_);  // null: never recorded
};

class CpuStream final : public Stream {
 public:
  // `guard` may be null.
  CpuStream(const std::string& name, Guard* guard, cpu::Team& team)
      : guard_(guard), team_(team), thread_([this] { Run(); }) {
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

  void HostWork(std::function<void()> work) override {
    absl::MutexLock lock(&mutex_);
    queue_.push_back(std::move(work));
  }
  void Record(Event& event) override {
    HostWork([point = static_cast<CpuEvent&>(event).Renew()] {
      point->time_ns = SteadyNs();
      point->reached.Notify();
    });
  }
  void Wait(Event& event) override {
    std::shared_ptr<Point> point = static_cast<CpuEvent&>(event).Current();
    if (point == nullptr || point->reached.HasBeenNotified()) return;
    HostWork([point = std::move(point)] { point->reached.WaitForNotification(); });
  }
  void Synchronize() override {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &CpuStream::Idle));
  }

  void Copy(DevicePtr<std::byte> to, DevicePtr<const std::byte> from, int64_t bytes) override {
    Move(to.address(), from.address(), bytes);
  }
  void Upload(DevicePtr<std::byte> to, const std::byte* from, int64_t bytes) override {
    Move(to.address(), from, bytes);
  }
  void Download(std::byte* to, DevicePtr<const std::byte> from, int64_t bytes) override {
    Move(to, from.address(), bytes);
  }
  void Fill(DevicePtr<std::byte> to, std::byte value, int64_t bytes) override {
    if (bytes == 0) return;
    HostWork([target = to.address(), value, bytes] {
      std::memset(target, std::to_integer<int>(value), bytes);
    });
  }

 private:
  bool Idle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return queue_.empty() && !busy_; }
  bool HasNews() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !queue_.empty() || stopping_;
  }

  void Move(std::byte* to, const std::byte* from, int64_t bytes) {
    if (bytes == 0) return;
    HostWork([to, from, bytes] { std::memcpy(to, from, bytes); });
  }

  void Run() {
    const cpu::TeamScope scope(&team_);
    std::deque<std::function<void()>> works;  // all that was waiting: one lock for many
    while (true) {
      {
        absl::MutexLock lock(&mutex_);
        busy_ = false;
        mutex_.Await(absl::Condition(this, &CpuStream::HasNews));
        if (queue_.empty()) return;  // stopping, and all work is done
        works.swap(queue_);
        busy_ = true;
      }
      if (guard_ != nullptr) guard_->Enter();
      for (std::function<void()>& work : works) {
        work();
        work = nullptr;
      }
      if (guard_ != nullptr) guard_->Leave();
      works.clear();
    }
  }

  Guard* const guard_;
  cpu::Team& team_;
  absl::Mutex mutex_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses the fields above
};

absl::Status CheckSize(int64_t bytes) {
  if (bytes >= 0 && bytes <= std::numeric_limits<int64_t>::max() - kMemoryAlignment) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("cpu memory: bytes=", bytes, "; need 0 <= bytes < 2^63 - ", kMemoryAlignment));
}

// Null where there is no room.  At least one block, so that an empty allocation has an address too.
std::byte* AllocateAligned(int64_t bytes) {
  const int64_t rounded = std::max(Aligned(bytes), kMemoryAlignment);
  return static_cast<std::byte*>(std::aligned_alloc(kMemoryAlignment, rounded));
}

absl::Status NoRoom(int64_t bytes) {
  return absl::ResourceExhaustedError(absl::StrCat("cpu memory: no room for ", bytes, " bytes"));
}

class CpuHostMemory final : public HostMemory {
 public:
  CpuHostMemory(std::byte* data, int64_t size) : data_(data), size_(size) {}
  ~CpuHostMemory() override { std::free(data_); }
  std::byte* data() const override { return data_; }
  int64_t size() const override { return size_; }

 private:
  std::byte* const data_;
  const int64_t size_;
};

class CpuMemory final : public DeviceMemory {
 public:
  CpuMemory(std::byte* data, int64_t size, std::function<void()> free)
      : data_(data), size_(size), free_(std::move(free)) {}
  ~CpuMemory() override { free_(); }
  DevicePtr<std::byte> data() const override { return DevicePtr<std::byte>(data_); }
  int64_t size() const override { return size_; }

 private:
  std::byte* const data_;
  const int64_t size_;
  const std::function<void()> free_;
};

class CpuDevice final : public Device {
 public:
  CpuDevice(bool guarded, int threads)
      : guard_(guarded ? std::make_unique<Guard>() : nullptr), team_(threads) {}

  std::unique_ptr<Stream> NewStream(const std::string& name) override {
    return std::make_unique<CpuStream>(name, guard_.get(), team_);
  }
  std::unique_ptr<Event> NewEvent() override { return std::make_unique<CpuEvent>(); }

  absl::StatusOr<std::unique_ptr<DeviceMemory>> Allocate(int64_t bytes) override {
    if (absl::Status status = CheckSize(bytes); !status.ok()) return status;
    return guard_ == nullptr ? AllocatePlain(bytes) : AllocateGuarded(bytes);
  }
  absl::StatusOr<std::unique_ptr<HostMemory>> AllocateHost(int64_t bytes) override {
    if (absl::Status status = CheckSize(bytes); !status.ok()) return status;
    std::byte* const data = AllocateAligned(bytes);
    if (data == nullptr) return NoRoom(bytes);
    return std::make_unique<CpuHostMemory>(data, bytes);
  }
  // A stream is a thread that calls functions: there is nothing to save.
  absl::StatusOr<std::unique_ptr<Graph>> Capture(Stream&, absl::FunctionRef<void()>) override {
    return absl::UnimplementedError("the CPU has no graphs");
  }
  int64_t allocated_bytes() const override { return allocated_; }
  Processor processor() const override { return Processor::kCpu; }
  std::string name() const override { return "cpu"; }
  absl::Status status() const override { return absl::OkStatus(); }  // work must not fail

 private:
  absl::StatusOr<std::unique_ptr<DeviceMemory>> AllocatePlain(int64_t bytes) {
    std::byte* const data = AllocateAligned(bytes);
    if (data == nullptr) return NoRoom(bytes);
    return Hand(data, bytes, [data] { std::free(data); });
  }

  absl::StatusOr<std::unique_ptr<DeviceMemory>> AllocateGuarded(int64_t bytes) {
    const size_t mapped = std::max<size_t>(bytes, 1);
    void* const data =
        mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) return NoRoom(bytes);
    guard_->Add({data, mapped});
    return Hand(static_cast<std::byte*>(data), bytes, [this, data, mapped] {
      guard_->Remove(data);
      munmap(data, mapped);
    });
  }

  std::unique_ptr<DeviceMemory> Hand(std::byte* data, int64_t bytes,
                                     std::function<void()> release) {
    allocated_ += bytes;
    return std::make_unique<CpuMemory>(data, bytes, [this, bytes, release = std::move(release)] {
      allocated_ -= bytes;
      release();
    });
  }

  const std::unique_ptr<Guard> guard_;  // null: memory like any other
  std::atomic<int64_t> allocated_{0};
  cpu::Team team_;
};

}  // namespace

std::unique_ptr<Device> NewCpuDevice(int threads) {
  return std::make_unique<CpuDevice>(/*guarded=*/false, threads);
}
std::unique_ptr<Device> NewGuardedCpuDevice(int threads) {
  return std::make_unique<CpuDevice>(/*guarded=*/true, threads);
}

}  // namespace birkhoff
