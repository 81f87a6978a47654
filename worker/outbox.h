// Words that wait to be written by a thread of their own: whoever says them never waits for one who
// does not read.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace birkhoff {

// Thread-safe.
template <typename Word>
class Outbox {
 public:
  // `write` is called from the outbox's thread, one word after the other; false: it cannot be
  // written, and nothing more will be.  At most `most` words wait.
  Outbox(std::function<bool(const Word&)> write, size_t most)
      : write_(std::move(write)), most_(most), writer_([this] { WriteAll(); }) {}
  // Drops what waits.  Whoever owns it has made a running `write` return.
  ~Outbox() {
    {
      absl::MutexLock lock(&mutex_);
      closing_ = true;
    }
    writer_.join();
  }

  // False, and the word is lost: a write has failed, or too many words wait.
  bool Push(Word word) {
    absl::MutexLock lock(&mutex_);
    if (failed_ || words_.size() >= most_) return false;
    words_.push_back(std::move(word));
    return true;
  }

  // Waits until all words are written.  False: it takes longer, or a write has failed.
  bool Drain(absl::Duration timeout) {
    absl::MutexLock lock(&mutex_);
    const auto done = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return failed_ || (words_.empty() && !writing_);
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&done), timeout) && !failed_;
  }

 private:
  void WriteAll() {
    absl::MutexLock lock(&mutex_);
    const auto due = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return closing_ || !words_.empty();
    };
    while (true) {
      mutex_.Await(absl::Condition(&due));
      if (closing_) return;
      const Word word = std::move(words_.front());
      words_.pop_front();
      writing_ = true;
      mutex_.Unlock();
      const bool written = write_(word);
      mutex_.Lock();
      writing_ = false;
      if (written) continue;
      failed_ = true;
      words_.clear();
    }
  }

  const std::function<bool(const Word&)> write_;
  const size_t most_;
  absl::Mutex mutex_;
  std::deque<Word> words_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool failed_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread writer_;
};

}  // namespace birkhoff
