// The control of the thread sanitizer: a counter that two threads guard with different locks must
// be reported, one that they guard with the same lock must not.  ctest looks for the report.
#include <gtest/gtest.h>

#include <thread>

#include "absl/synchronization/mutex.h"

namespace birkhoff {
namespace {

int CountTogether(absl::Mutex& first, absl::Mutex& second) {
  int counter = 0;
  const auto count = [&counter](absl::Mutex& mutex) {
    for (int i = 0; i < 1000; ++i) {
      absl::MutexLock lock(&mutex);
      ++counter;
    }
  };
  std::thread other([&] { count(second); });
  count(first);
  other.join();
  return counter;
}

TEST(Race, OneLockIsNone) {
  absl::Mutex mutex;
  EXPECT_EQ(CountTogether(mutex, mutex), 2000);
}

TEST(Race, TwoLocksAreOne) {
  absl::Mutex first, second;
  EXPECT_GT(CountTogether(first, second), 0);
}

}  // namespace
}  // namespace birkhoff
