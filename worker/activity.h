// What a rank is at, for whoever looks from another thread while it works, waits or hangs.
//
// The main thread says what it begins; each use of a disk and each wait for other hosts (watched.h)
// stands beside it while it lasts; and while a program runs, the executor says which instruction is
// the first that has not finished.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace birkhoff {

// A look at an activity.
struct Doing {
  int64_t marks = 0;       // another number after each move; the same while nothing moves
  std::string what;        // for people
  std::vector<int> peers;  // global ranks that it waits for
};

// Thread-safe.
class Activity {
 public:
  // Something that takes its time, as long as this lives.
  class Scope {
   public:
    Scope(Activity& activity, std::string what, std::vector<int> peers = {});
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Activity& activity_;
    std::list<Doing>::iterator entry_;
  };

  // What the rank does from here on.
  void Begin(std::string what, std::vector<int> peers = {});
  void Mark();  // it has moved
  // Asked at each look for what runs now (no words: nothing); called under the lock: it must not
  // call back.  Null: nobody is asked any more.
  void Follow(std::function<Doing()> follow);
  Doing Look() const;

 private:
  mutable absl::Mutex mutex_;
  int64_t marks_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string what_ ABSL_GUARDED_BY(mutex_);
  std::vector<int> peers_ ABSL_GUARDED_BY(mutex_);
  std::list<Doing> scopes_ ABSL_GUARDED_BY(mutex_);  // in the order in which they began
  std::function<Doing()> follow_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace birkhoff
