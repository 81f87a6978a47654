// The CPU behind the seam: every call checks shapes at once and runs its kernel in stream order.
#include "kernels/backend.h"

#include "core/base/check.h"
#include "core/base/status_macros.h"

namespace birkhoff::cpu {
namespace {

// Enqueues `kernel(args)`.  A kernel refuses data alone by now, which whoever loads it has checked.
template <typename Args, typename Kernel>
absl::Status Enqueue(Stream& stream, const Args& args, Kernel kernel) {
  RETURN_IF_ERROR(Validate(args));
  stream.HostWork([args, kernel] {
    const absl::Status status = kernel(args);
    BIRKHOFF_CHECK(status.ok(), status.ToString().c_str());
  });
  return absl::OkStatus();
}

template <typename T>
class CpuBackend final : public Backend<T> {
 public:
  absl::Status BoundaryForward(Stream& stream, const BoundaryForwardArgs<T>& args) override {
    return Enqueue(stream, args, cpu::BoundaryForward<T>);
  }
  absl::Status BoundaryRecompute(Stream& stream, const BoundaryRecomputeArgs<T>& args) override {
    return Enqueue(stream, args, cpu::BoundaryRecompute<T>);
  }
  absl::Status BoundaryBackward(Stream& stream, const BoundaryBackwardArgs<T>& args) override {
    return Enqueue(stream, args, cpu::BoundaryBackward<T>);
  }
  absl::Status Gemm(Stream& stream, const GemmArgs<T>& args) override {
    return Enqueue(stream, args, cpu::Gemm<T>);
  }
  absl::Status GemmWide(Stream& stream, const GemmArgs<T, ScalarOf<T>>& args) override {
    return Enqueue(stream, args, cpu::Gemm<T>);
  }
  absl::Status RopeForward(Stream& stream, const RopeArgs<T>& args) override {
    return Enqueue(stream, args, cpu::RopeForward<T>);
  }
  absl::Status RopeBackward(Stream& stream, const RopeArgs<T>& args) override {
    return Enqueue(stream, args, cpu::RopeBackward<T>);
  }
  absl::Status AttentionForward(Stream& stream, const AttentionForwardArgs<T>& args) override {
    return Enqueue(stream, args, cpu::AttentionForward<T>);
  }
  absl::Status AttentionBackward(Stream& stream, const AttentionBackwardArgs<T>& args) override {
    return Enqueue(stream, args, cpu::AttentionBackward<T>);
  }
  absl::Status CachedAttention(Stream& stream, const CachedAttentionArgs<T>& args) override {
    return Enqueue(stream, args, cpu::CachedAttention<T>);
  }
  absl::Status SwiGluForward(Stream& stream, const SwiGluForwardArgs<T>& args) override {
    return Enqueue(stream, args, cpu::SwiGluForward<T>);
  }
  absl::Status SwiGluBackward(Stream& stream, const SwiGluBackwardArgs<T>& args) override {
    return Enqueue(stream, args, cpu::SwiGluBackward<T>);
  }
  absl::Status CrossEntropy(Stream& stream, const CrossEntropyArgs<T>& args) override {
    return Enqueue(stream, args, cpu::CrossEntropy<T>);
  }
  absl::Status AccumulateGain(Stream& stream, const GainArgs<T>& args) override {
    return Enqueue(stream, args, cpu::AccumulateGain<T>);
  }
  absl::Status AccumulateMixing(Stream& stream, const MixingArgs<T>& args) override {
    return Enqueue(stream, args, cpu::AccumulateMixing<T>);
  }
  absl::Status AccumulateNorm(Stream& stream, const GradientNormArgs<T>& args) override {
    return Enqueue(stream, args, cpu::AccumulateNorm<T>);
  }
  absl::Status DecideStep(Stream& stream, const DecideStepArgs& args) override {
    return Enqueue(stream, args, cpu::DecideStep);
  }
  absl::Status AdamW(Stream& stream, const AdamWArgs<T>& args) override {
    return Enqueue(stream, args, cpu::AdamW<T>);
  }
  absl::Status RoundWeights(Stream&, const ParameterSpans<T>&) override {
    return absl::OkStatus();  // products read the master weights themselves
  }

  int64_t BoundaryWorkspaceBytes(const BoundaryShape& shape) const override {
    return BoundaryWorkspaceElements(shape) * int64_t{sizeof(T)};
  }
  int64_t GemmWorkspaceBytes() const override { return 0; }
  int64_t AttentionWorkspaceBytes(const AttentionShape& shape) const override {
    return AttentionWorkspaceElements(shape) * int64_t{sizeof(T)};
  }
  int64_t CrossEntropyWorkspaceBytes(int64_t, int64_t) const override { return 0; }
  int64_t GainWorkspaceBytes(int, int64_t) const override { return 0; }
  int64_t MixingWorkspaceBytes() const override { return 0; }
  int64_t NormWorkspaceBytes(const ParameterSpans<T>&) const override { return 0; }
};

}  // namespace

template <typename T>
std::unique_ptr<Backend<T>> NewBackend() {
  return std::make_unique<CpuBackend<T>>();
}

template std::unique_ptr<Backend<float>> NewBackend();
template std::unique_ptr<Backend<double>> NewBackend();

}  // namespace birkhoff::cpu
