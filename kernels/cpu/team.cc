// Threads sleep on the number of the round; tasks are taken one by one.
#include "kernels/cpu/team.h"

#include <cstdlib>
#include <memory>

#include "core/base/alignment.h"
#include "core/base/check.h"

namespace birkhoff::cpu {
namespace {

thread_local Team* t_team = nullptr;
thread_local bool t_serves = false;  // a thread of a team, other than who shares out

struct Free {
  void operator()(void* data) const { std::free(data); }
};

}  // namespace

Team::Team(int threads) {
  for (int i = 1; i < threads; ++i) others_.emplace_back([this] { Serve(); });
}

Team::~Team() {
  stopping_ = true;
  ++round_;
  round_.notify_all();
  for (std::thread& other : others_) other.join();
}

void Team::Run(int64_t tasks, Task work) {
  const TeamScope alone(nullptr);
  if (tasks <= 1 || others_.empty() || busy_.test_and_set()) {
    for (int64_t i = 0; i < tasks; ++i) work(i);
    return;
  }
  work_ = &work;
  tasks_ = tasks;
  next_ = 0;
  serving_ = int(others_.size());
  ++round_;
  round_.notify_all();
  TakeTasks();
  for (int left = serving_; left > 0; left = serving_) serving_.wait(left);
  busy_.clear();
}

void Team::TakeTasks() {
  for (int64_t i = next_++; i < tasks_; i = next_++) (*work_)(i);
}

void Team::Serve() {
  t_serves = true;
  for (uint32_t round = 1;; ++round) {
    round_.wait(round - 1);
    if (stopping_) return;
    TakeTasks();
    if (--serving_ == 0) serving_.notify_all();
  }
}

TeamScope::TeamScope(Team* team) : before_(t_team) { t_team = team; }
TeamScope::~TeamScope() { t_team = before_; }

void ShareOut(int64_t tasks, Task work) {
  if (t_team != nullptr) return t_team->Run(tasks, work);
  for (int64_t i = 0; i < tasks; ++i) work(i);
}

void* TaskMemory(int64_t bytes) {
  thread_local std::unique_ptr<void, Free> memory;
  thread_local int64_t size = 0;
  if (size < bytes) {
    const int64_t rounded = Aligned(bytes);
    memory.reset();
    memory.reset(std::aligned_alloc(size_t(kMemoryAlignment), size_t(rounded)));
    BIRKHOFF_CHECK(memory != nullptr, "no memory for a thread's part of a kernel");
    size = rounded;
  }
  return memory.get();
}

template <typename T>
T* TaskWorkspace(void* callers, int64_t elements) {
  return static_cast<T*>(t_serves ? TaskMemory(elements * int64_t{sizeof(T)}) : callers);
}
template float* TaskWorkspace(void* callers, int64_t elements);
template double* TaskWorkspace(void* callers, int64_t elements);

}  // namespace birkhoff::cpu
