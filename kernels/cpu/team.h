// Several threads for one call of a kernel.  The device makes a team and its streams belong to it
// (kernels/device.h): a kernel that runs on a stream shares its work out by ShareOut, one that is
// called from anywhere else does it alone.
//
// The bits never depend on the number of threads: a kernel cuts its work by shapes alone, tasks
// write to places of their own, no sum is cut but at places that the shapes give, and partial sums
// are added in the order of the tasks.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace birkhoff::cpu {

using Task = absl::FunctionRef<void(int64_t index)>;

class Team {
 public:
  // The thread that shares out is one of them.
  explicit Team(int threads);
  ~Team();
  int threads() const { return int(others_.size()) + 1; }

  // As ShareOut.  Where another thread shares out at this time, the caller works alone.
  void Run(int64_t tasks, Task work);

 private:
  void Serve();
  void TakeTasks();

  std::atomic_flag busy_;  // set by who shares out
  // What is shared out; written before `round_` tells of it.
  const Task* work_ = nullptr;
  int64_t tasks_ = 0;
  std::atomic<int64_t> next_{0};  // the first task that nobody has taken
  std::atomic<int> serving_{0};   // of the others, those that have not come to the end
  std::atomic<uint32_t> round_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> others_;  // last: they use the fields above
};

// Makes `team` (null: nobody) the team of this thread for the object's life.
class TeamScope {
 public:
  explicit TeamScope(Team* team);
  ~TeamScope();
  TeamScope(const TeamScope&) = delete;

 private:
  Team* const before_;
};

// work(0), ..., work(tasks - 1), each once, by any thread of this thread's team, at any time before
// the call returns.  A task that shares out does it alone.
void ShareOut(int64_t tasks, Task work);

// Memory of this thread for one task, at least `bytes`, undefined and 64-byte aligned; it stays the
// thread's, for the next task.  Beside the plan's memory list, as the stacks of threads are.
void* TaskMemory(int64_t bytes);

// The workspace that a kernel's caller has given, or on other threads of the team as much of their
// own.
template <typename T>
T* TaskWorkspace(void* callers, int64_t elements);

// [first, end) of task `index` where `total` things are cut into pieces of `piece`.
struct Piece {
  Piece(int64_t index, int64_t piece, int64_t total)
      : first(index * piece), end(first + piece < total ? first + piece : total) {}
  int64_t first, end;
  int64_t size() const { return end - first; }
};
inline int64_t NumPieces(int64_t total, int64_t piece) { return (total + piece - 1) / piece; }

}  // namespace birkhoff::cpu
