// Work that nothing waits for until its memory is written again: the measures of gain.
#pragma once

#include <memory>

#include "kernels/device.h"

namespace birkhoff {

// On a GPU it runs on a stream of its own, in the shade of the products; elsewhere, where it would
// only take turns with them, in the compute stream itself.  One thread, and one compute stream, at
// a time.
class Beside {
 public:
  Beside() = default;  // in the compute stream
  explicit Beside(Device& device)
      : stream_(device.NewStream("measures-high")),
        begin_(device.NewEdge()),
        end_(device.NewEdge()) {}

  // Where to enqueue what reads what `compute` has made so far.
  Stream& Begin(Stream& compute) {
    if (stream_ == nullptr) return compute;
    compute.Record(*begin_);
    stream_->Wait(*begin_);
    open_ = true;
    return *stream_;
  }
  // `compute` goes on when all of it is done: before its memory is written again, and at the end of
  // an instruction, whose buffers then belong to others.
  void Join(Stream& compute) {
    if (!open_) return;
    stream_->Record(*end_);
    compute.Wait(*end_);
    open_ = false;
  }

 private:
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Event> begin_, end_;
  bool open_ = false;
};

}  // namespace birkhoff
