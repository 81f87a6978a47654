// The eight steps of DualPipeV as a list.  Source: deepseek-ai/DualPipe; the counts are those of
// docs/plan.md.
#include <deque>
#include <utility>
#include <vector>

#include "core/base/check.h"
#include "core/plan/schedule.h"

namespace birkhoff {
namespace {

constexpr int kA = 0;  // the chunk nearer to the start of the V
constexpr int kZ = 1;

// Writes the ops of one rank.  Micro-batches ascend within each chunk; postponed weight gradients
// leave in the order in which they came, over both chunks.
class DualPipeVWriter {
 public:
  DualPipeVWriter(int ranks, int rank, int microbatches)
      : ranks_(ranks), rank_(rank), later_(ranks - rank - 1), microbatches_(microbatches) {}

  std::vector<ScheduledOp> Write() {
    FillWithForwards();
    StartTheBackwards();
    SteadyPairs();
    DrainForwards();
    DrainBackwards();
    BIRKHOFF_CHECK(postponed_.empty(), "every postponed weight gradient has run");
    return std::move(ops_);
  }

 private:
  void Forward(int chunk) { ops_.push_back({Op::kForward, chunk, forwards_[chunk]++}); }
  void Backward(int chunk) { ops_.push_back({Op::kBackward, chunk, backwards_[chunk]++}); }
  void InputOnly(int chunk) {
    postponed_.push_back({Op::kBackwardWeight, chunk, backwards_[chunk]});
    ops_.push_back({Op::kBackwardInput, chunk, backwards_[chunk]++});
  }
  void Weight() {
    ops_.push_back(postponed_.front());
    postponed_.pop_front();
  }
  void Pair(int forward_chunk, int backward_chunk) {
    ops_.push_back({Op::kOverlapBegin, -1, -1});
    Forward(forward_chunk);
    Backward(backward_chunk);
    ops_.push_back({Op::kOverlapEnd, -1, -1});
  }

  // Steps 1 and 2.
  void FillWithForwards() {
    for (int i = 0; i < 2 * later_; ++i) Forward(kA);
    for (int i = 0; i < rank_ + 1; ++i) {
      Forward(kA);
      Forward(kZ);
    }
  }
  // Step 3.
  void StartTheBackwards() {
    for (int i = 0; i < later_; ++i) {
      InputOnly(kZ);
      Weight();
      Forward(kZ);
    }
  }
  // Step 4.  The last rank starts without a pair: its backward is what all others wait for.
  void SteadyPairs() {
    for (int i = 0; i < microbatches_ - 2 * ranks_ + rank_ + 1; ++i) {
      if (i == 0 && later_ == 0) {
        Forward(kA);
        Backward(kZ);
      } else {
        Pair(kA, kZ);
      }
      Pair(kZ, kA);
    }
  }
  // Step 5.
  void DrainForwards() {
    for (int i = 0; i < later_; ++i) {
      Backward(kZ);
      Pair(kZ, kA);
    }
  }
  // Steps 6, 7 and 8: exactly rank + 1 of the backwards of step 6 are split, the last ones.
  void DrainBackwards() {
    for (int i = 0; i < 2 * (rank_ + 1); ++i) {
      const int chunk = i % 2 == 0 ? kZ : kA;
      if (i < rank_ + 1) {
        Backward(chunk);
      } else {
        InputOnly(chunk);
      }
    }
    for (int i = 0; i < later_; ++i) {
      Weight();
      InputOnly(kA);
    }
    for (int i = 0; i < rank_ + 1; ++i) Weight();
  }

  const int ranks_, rank_, later_, microbatches_;  // later_: ranks after this one
  int forwards_[2] = {}, backwards_[2] = {};
  std::deque<ScheduledOp> postponed_;
  std::vector<ScheduledOp> ops_;
};

}  // namespace

std::vector<ScheduledOp> DualPipeVOps(int ranks, int rank, int microbatches) {
  return DualPipeVWriter(ranks, rank, microbatches).Write();
}

}  // namespace birkhoff
