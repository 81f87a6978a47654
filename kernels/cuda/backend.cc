// The GPU behind the seam: every call checks its arguments and queues its kernels at once.
#include "kernels/cuda/backend.h"

#include <cassert>
#include <cstdint>
#include <utility>

#include "core/base/rounding.h"
#include "core/base/status_macros.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/ops.h"

namespace birkhoff::cuda {
namespace {

// A plan places tensors by 64 bytes, cuBLASLt and cuDNN want their workspace at 256: workspaces are
// given with so much more, and begin where the libraries want it.
constexpr int64_t kWorkspaceAlignment = 256;

int64_t WithAlignment(int64_t bytes) { return bytes == 0 ? 0 : bytes + kWorkspaceAlignment; }

template <typename Args>
Args Aligned(Args args) {
  if (args.workspace == nullptr) return args;
  args.workspace = reinterpret_cast<void*>(
      RoundUp(reinterpret_cast<uintptr_t>(args.workspace), kWorkspaceAlignment));
  return args;
}

template <typename T>
class CudaBackend final : public Backend<T> {
 public:
  using S = ScalarOf<T>;

  CudaBackend(Device& device, std::unique_ptr<GemmLibrary> gemm,
              std::unique_ptr<AttentionLibrary<T>> attention)
      : device_(device), gemm_(std::move(gemm)), attention_(std::move(attention)) {}

  absl::Status BoundaryForward(Stream& stream, const BoundaryForwardArgs<T>& args) override {
    return cuda::BoundaryForward(args, Enter(stream));
  }
  absl::Status BoundaryRecompute(Stream& stream, const BoundaryRecomputeArgs<T>& args) override {
    return cuda::BoundaryRecompute(args, Enter(stream));
  }
  absl::Status BoundaryBackward(Stream& stream, const BoundaryBackwardArgs<T>& args) override {
    return cuda::BoundaryBackward(Aligned(args), Enter(stream));
  }
  absl::Status Gemm(Stream& stream, const GemmArgs<T>& args) override {
    return gemm_->Gemm(Aligned(args), Enter(stream));
  }
  absl::Status GemmWide(Stream& stream, const GemmArgs<T, S>& args) override {
    return gemm_->Gemm(Aligned(args), Enter(stream));
  }
  absl::Status RopeForward(Stream& stream, const RopeArgs<T>& args) override {
    return cuda::RopeForward(args, Enter(stream));
  }
  absl::Status RopeBackward(Stream& stream, const RopeArgs<T>& args) override {
    return cuda::RopeBackward(args, Enter(stream));
  }
  absl::Status AttentionForward(Stream& stream, const AttentionForwardArgs<T>& args) override {
    return attention_->Forward(Aligned(args), Enter(stream));
  }
  absl::Status AttentionBackward(Stream& stream, const AttentionBackwardArgs<T>& args) override {
    return attention_->Backward(Aligned(args), Enter(stream));
  }
  absl::Status CachedAttention(Stream&, const CachedAttentionArgs<T>&) override {
    return absl::UnimplementedError("cached attention: not on a GPU; need a CPU");
  }
  absl::Status SwiGluForward(Stream& stream, const SwiGluForwardArgs<T>& args) override {
    return cuda::SwiGluForward(args, Enter(stream));
  }
  absl::Status SwiGluBackward(Stream& stream, const SwiGluBackwardArgs<T>& args) override {
    return cuda::SwiGluBackward(args, Enter(stream));
  }
  absl::Status CrossEntropy(Stream& stream, const CrossEntropyArgs<T>& args) override {
    return cuda::CrossEntropy(Aligned(args), Enter(stream));
  }
  absl::Status AccumulateGain(Stream& stream, const GainArgs<T>& args) override {
    return cuda::AccumulateGain(Aligned(args), Enter(stream));
  }
  absl::Status AccumulateMixing(Stream& stream, const MixingArgs<T>& args) override {
    return cuda::AccumulateMixing(Aligned(args), Enter(stream));
  }
  absl::Status AccumulateNorm(Stream& stream, const GradientNormArgs<T>& args) override {
    return cuda::AccumulateNorm(Aligned(args), Enter(stream));
  }
  absl::Status DecideStep(Stream& stream, const DecideStepArgs& args) override {
    return cuda::DecideStep(args, Enter(stream));
  }
  absl::Status AdamW(Stream& stream, const AdamWArgs<T>& args) override {
    return cuda::AdamW(args, Enter(stream));
  }
  absl::Status RoundWeights(Stream& stream, const ParameterSpans<T>& parameters) override {
    return cuda::RoundWeights(parameters, Enter(stream));
  }

  GemmChoices Products() const override { return gemm_->choices(); }

  int64_t BoundaryWorkspaceBytes(const BoundaryShape& shape) const override {
    return WithAlignment(cuda::BoundaryWorkspaceBytes(shape));
  }
  int64_t GemmWorkspaceBytes() const override {
    return WithAlignment(GemmLibrary::kWorkspaceBytes);
  }
  int64_t AttentionWorkspaceBytes(const AttentionShape& shape) const override {
    Enter(device_);  // plans are made for the GPU that is current
    return WithAlignment(attention_->WorkspaceBytes(shape));
  }
  int64_t CrossEntropyWorkspaceBytes(int64_t tokens, int64_t vocabulary) const override {
    return WithAlignment(cuda::CrossEntropyWorkspaceBytes(tokens, vocabulary));
  }
  int64_t GainWorkspaceBytes(int streams, int64_t tokens) const override {
    return WithAlignment(cuda::GainWorkspaceBytes(streams, tokens));
  }
  int64_t MixingWorkspaceBytes() const override {
    return WithAlignment(cuda::MixingWorkspaceBytes());
  }
  int64_t NormWorkspaceBytes(const ParameterSpans<T>& parameters) const override {
    return WithAlignment(cuda::NormWorkspaceBytes(parameters.num, parameters.count));
  }

 private:
  Device& device_;
  const std::unique_ptr<GemmLibrary> gemm_;
  const std::unique_ptr<AttentionLibrary<T>> attention_;
};

}  // namespace

template <typename T>
absl::StatusOr<std::unique_ptr<Backend<T>>> NewBackend(Device& device,
                                                       const BackendOptions& options) {
  assert(device.processor() == Processor::kCuda);
  Enter(device);
  ASSIGN_OR_RETURN(std::unique_ptr<GemmLibrary> gemm,
                   GemmLibrary::New(options.products, options.search_products));
  ASSIGN_OR_RETURN(std::unique_ptr<AttentionLibrary<T>> attention,
                   AttentionLibrary<T>::New(options.deterministic));
  return std::make_unique<CudaBackend<T>>(device, std::move(gemm), std::move(attention));
}

template absl::StatusOr<std::unique_ptr<Backend<float>>> NewBackend(Device&, const BackendOptions&);
template absl::StatusOr<std::unique_ptr<Backend<bf16>>> NewBackend(Device&, const BackendOptions&);

}  // namespace birkhoff::cuda
