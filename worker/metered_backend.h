// A backend that passes every call on and marks the stream behind it: how long each kernel took,
// where it ran, with what it ran beside.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/backend.h"
#include "worker/unit_times.h"

namespace birkhoff {

// One stream at a time.  Both backend and device must outlive it.
template <typename T>
class MeteredBackend final : public Backend<T> {
 public:
  using S = ScalarOf<T>;
  MeteredBackend(Backend<T>& inner, Device& device) : inner_(inner), device_(device) {}

  // Forgets all calls; the stream must be idle.
  void Clear() { calls_.clear(); }
  // Of the calls that follow.
  void SetPhase(StepPhase phase) { phase_ = phase; }
  // Passes calls on without a mark, or with one again.
  void Pause(bool paused) { paused_ = paused; }
  // What stands in the stream and is no kernel of a backend: none of the next call's time.
  void Mark(Stream& stream) { Note(stream, "", ""); }
  // The calls, in their order.  The stream must have passed them.
  std::vector<KernelTime> Times() const {
    std::vector<KernelTime> times = calls_;
    for (size_t i = 1; i < times.size(); ++i) times[i].ns = events_[i]->NsSince(*events_[i - 1]);
    return times;
  }

  absl::Status BoundaryForward(Stream& stream, const BoundaryForwardArgs<T>& args) override {
    const absl::Status status = inner_.BoundaryForward(stream, args);
    return Called(stream, kBoundaryForward, Of(args.shape), status);
  }
  absl::Status BoundaryRecompute(Stream& stream, const BoundaryRecomputeArgs<T>& args) override {
    const absl::Status status = inner_.BoundaryRecompute(stream, args);
    return Called(stream, "boundary recompute", Of(args.shape), status);
  }
  absl::Status BoundaryBackward(Stream& stream, const BoundaryBackwardArgs<T>& args) override {
    const absl::Status status = inner_.BoundaryBackward(stream, args);
    return Called(stream, kBoundaryBackward, Of(args.shape), status);
  }
  absl::Status Gemm(Stream& stream, const GemmArgs<T>& args) override {
    return Called(stream, "product", Of(args), inner_.Gemm(stream, args));
  }
  absl::Status GemmWide(Stream& stream, const GemmArgs<T, S>& args) override {
    return Called(stream, kWideProduct, Of(args), inner_.GemmWide(stream, args));
  }
  absl::Status RopeForward(Stream& stream, const RopeArgs<T>& args) override {
    return Called(stream, "rope", Of(args), inner_.RopeForward(stream, args));
  }
  absl::Status RopeBackward(Stream& stream, const RopeArgs<T>& args) override {
    return Called(stream, "rope backward", Of(args), inner_.RopeBackward(stream, args));
  }
  absl::Status AttentionForward(Stream& stream, const AttentionForwardArgs<T>& args) override {
    const absl::Status status = inner_.AttentionForward(stream, args);
    return Called(stream, "attention", Of(args.shape), status);
  }
  absl::Status AttentionBackward(Stream& stream, const AttentionBackwardArgs<T>& args) override {
    const absl::Status status = inner_.AttentionBackward(stream, args);
    return Called(stream, "attention backward", Of(args.shape), status);
  }
  absl::Status CachedAttention(Stream& stream, const CachedAttentionArgs<T>& args) override {
    return inner_.CachedAttention(stream, args);
  }
  absl::Status SwiGluForward(Stream& stream, const SwiGluForwardArgs<T>& args) override {
    const std::string shape = absl::StrCat(args.tokens, " x ", args.features);
    return Called(stream, "swiglu", shape, inner_.SwiGluForward(stream, args));
  }
  absl::Status SwiGluBackward(Stream& stream, const SwiGluBackwardArgs<T>& args) override {
    const std::string shape = absl::StrCat(args.tokens, " x ", args.features);
    return Called(stream, "swiglu backward", shape, inner_.SwiGluBackward(stream, args));
  }
  absl::Status CrossEntropy(Stream& stream, const CrossEntropyArgs<T>& args) override {
    const std::string shape = absl::StrCat(args.tokens, " x ", args.vocabulary);
    return Called(stream, "cross entropy", shape, inner_.CrossEntropy(stream, args));
  }
  absl::Status AccumulateGain(Stream& stream, const GainArgs<T>& args) override {
    const std::string shape = absl::StrCat(args.tokens, " x ", args.streams);
    return Called(stream, kGain, shape, inner_.AccumulateGain(stream, args));
  }
  absl::Status AccumulateMixing(Stream& stream, const MixingArgs<T>& args) override {
    return Called(stream, "mixing", Of(args.shape), inner_.AccumulateMixing(stream, args));
  }
  absl::Status AccumulateNorm(Stream& stream, const GradientNormArgs<T>& args) override {
    const std::string shape = absl::StrCat(args.parameters.count);
    return Called(stream, "gradient norm", shape, inner_.AccumulateNorm(stream, args));
  }
  absl::Status DecideStep(Stream& stream, const DecideStepArgs& args) override {
    return Called(stream, "decide step", "", inner_.DecideStep(stream, args));
  }
  absl::Status AdamW(Stream& stream, const AdamWArgs<T>& args) override {
    const std::string shape = absl::StrCat(args.parameters.count);
    return Called(stream, "adamw", shape, inner_.AdamW(stream, args));
  }
  absl::Status RoundWeights(Stream& stream, const ParameterSpans<T>& parameters) override {
    return inner_.RoundWeights(stream, parameters);
  }

  GemmChoices Products() const override { return inner_.Products(); }
  int64_t BoundaryWorkspaceBytes(const BoundaryShape& shape) const override {
    return inner_.BoundaryWorkspaceBytes(shape);
  }
  int64_t GemmWorkspaceBytes() const override { return inner_.GemmWorkspaceBytes(); }
  int64_t AttentionWorkspaceBytes(const AttentionShape& shape) const override {
    return inner_.AttentionWorkspaceBytes(shape);
  }
  int64_t CrossEntropyWorkspaceBytes(int64_t tokens, int64_t vocabulary) const override {
    return inner_.CrossEntropyWorkspaceBytes(tokens, vocabulary);
  }
  int64_t GainWorkspaceBytes(int streams, int64_t tokens) const override {
    return inner_.GainWorkspaceBytes(streams, tokens);
  }
  int64_t MixingWorkspaceBytes() const override { return inner_.MixingWorkspaceBytes(); }
  int64_t NormWorkspaceBytes(const ParameterSpans<T>& parameters) const override {
    return inner_.NormWorkspaceBytes(parameters);
  }

 private:
  static std::string Of(const BoundaryShape& shape) {
    return absl::StrCat(shape.tokens, " x ", shape.streams, " x ", shape.channels);
  }
  template <typename Out>
  static std::string Of(const GemmArgs<T, Out>& args) {
    return absl::StrCat(args.m, " x ", args.n, " x ", args.k, args.transpose_a ? " a^T" : "",
                        args.transpose_b ? " b^T" : "");
  }
  static std::string Of(const RopeArgs<T>& args) {
    return absl::StrCat(args.tokens, " x ", args.heads, " x ", args.head_dim);
  }
  static std::string Of(const AttentionShape& shape) {
    return absl::StrCat(shape.num_sequences, " of ", shape.tokens, " x ", shape.heads, "/",
                        shape.kv_heads, " x ", shape.head_dim);
  }

  void Note(Stream& stream, const char* kernel, std::string shape) {
    if (paused_) return;
    if (events_.size() == calls_.size()) events_.push_back(device_.NewEvent());
    stream.Record(*events_[calls_.size()]);
    calls_.push_back({phase_, kernel, std::move(shape), 0});
  }
  absl::Status Called(Stream& stream, const char* kernel, std::string shape, absl::Status status) {
    Note(stream, kernel, std::move(shape));
    return status;
  }

  Backend<T>& inner_;
  Device& device_;
  StepPhase phase_ = StepPhase::kNone;
  bool paused_ = false;
  std::vector<KernelTime> calls_;
  std::vector<std::unique_ptr<Event>> events_;  // behind each call
};

}  // namespace birkhoff
