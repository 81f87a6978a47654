// AdamW over a table of all parameters, uploaded once: each call is one call of the backend, which
// walks the table on the device.
#include "worker/optimizer.h"

#include <type_traits>
#include <vector>

#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/plan/memory.h"
#include "worker/transformer/must.h"

namespace birkhoff {
namespace {

static_assert(sizeof(ParameterSpan<float>) == kParameterSpanBytes);

template <typename T>
T* CopyOf(const ParameterStore::Slot& slot) {
  if constexpr (std::is_same_v<T, bf16>) return slot.copy.address();
  return nullptr;
}

template <typename T>
std::vector<ParameterSpan<T>> SpansOf(const ParameterStore& store, double weight_decay) {
  std::vector<ParameterSpan<T>> spans;
  int64_t begin = 0;
  for (const ParameterStore::Slot& slot : store.slots()) {
    spans.push_back({.weight = slot.weight.address(),
                     .copy = CopyOf<T>(slot),
                     .gradient = slot.gradient.address(),
                     .first_moment = slot.first_moment.address(),
                     .second_moment = slot.second_moment.address(),
                     .count = slot.count,
                     .begin = begin,
                     .weight_decay = slot.spec.decay ? weight_decay : 0.0,
                     .counted = slot.owner ? 1 : 0,
                     .cleared = AssignsGradient(slot.spec) ? 0 : 1});
    begin += slot.count;
  }
  return spans;
}

template <typename T>
class AdamWOptimizer final : public Optimizer {
 public:
  AdamWOptimizer(const JobSpec& spec, StepState& state, Backend<T>& backend)
      : spec_(spec), state_(state), backend_(backend) {}

  absl::Status Init(const ParameterStore& store, Device& device, int64_t norm_workspace_bytes) {
    const std::vector<ParameterSpan<T>> spans = SpansOf<T>(store, spec_.optimizer.weight_decay);
    if (spans.empty()) return absl::OkStatus();
    parameters_.num = static_cast<int>(spans.size());
    parameters_.count = spans.back().begin + spans.back().count;
    const int64_t bytes = parameters_.num * int64_t{sizeof(ParameterSpan<T>)};
    ASSIGN_OR_RETURN(table_, device.Allocate(bytes));
    parameters_.spans = table_->data().template As<const ParameterSpan<T>>().address();
    const std::unique_ptr<Stream> stream = device.NewStream("optimizer");
    stream->Upload(table_->data(), reinterpret_cast<const std::byte*>(spans.data()), bytes);
    stream->Synchronize();
    BIRKHOFF_CHECK(norm_workspace_bytes >= backend_.NormWorkspaceBytes(parameters_),
                   "core/spec/workspace.cc gives the norm too little");
    if (norm_workspace_bytes == 0) return absl::OkStatus();
    ASSIGN_OR_RETURN(workspace_, device.Allocate(norm_workspace_bytes));
    return absl::OkStatus();
  }

  void AddNorm(Stream& stream) override {
    const DevicePtr<double> norm = state_.share() + ShareLayout::kSquaredNorm;
    Must(backend_.AccumulateNorm(
        stream, {.parameters = parameters_,
                 .norm = norm.As<GradientNorm>().address(),
                 .workspace = workspace_ == nullptr ? nullptr : workspace_->data().address()}));
  }
  void Decide(Stream& stream) override {
    Must(backend_.DecideStep(stream, {.shares = state_.gathered().address(),
                                      .ranks = state_.world_size(),
                                      .length = state_.layout().length(),
                                      .clip_grad = spec_.training.clip_grad,
                                      .step = state_.scalars().address()}));
  }
  void Step(Stream& stream) override {
    Must(backend_.AdamW(stream, {.parameters = parameters_,
                                 .beta1 = spec_.optimizer.beta1,
                                 .beta2 = spec_.optimizer.beta2,
                                 .eps = spec_.optimizer.eps,
                                 .step = state_.scalars().address()}));
  }
  void RoundWeights(Stream& stream) override { Must(backend_.RoundWeights(stream, parameters_)); }

 private:
  const JobSpec& spec_;
  StepState& state_;
  Backend<T>& backend_;
  ParameterSpans<T> parameters_;
  std::unique_ptr<DeviceMemory> table_, workspace_;
};

}  // namespace

template <typename T>
absl::StatusOr<std::unique_ptr<Optimizer>> NewOptimizer(const JobSpec& spec,
                                                        const ParameterStore& store,
                                                        StepState& state, Backend<T>& backend,
                                                        Device& device,
                                                        int64_t norm_workspace_bytes) {
  auto optimizer = std::make_unique<AdamWOptimizer<T>>(spec, state, backend);
  RETURN_IF_ERROR(optimizer->Init(store, device, norm_workspace_bytes));
  return optimizer;
}

template absl::StatusOr<std::unique_ptr<Optimizer>> NewOptimizer(const JobSpec&,
                                                                 const ParameterStore&, StepState&,
                                                                 Backend<float>&, Device&, int64_t);
template absl::StatusOr<std::unique_ptr<Optimizer>> NewOptimizer(const JobSpec&,
                                                                 const ParameterStore&, StepState&,
                                                                 Backend<bf16>&, Device&, int64_t);

}  // namespace birkhoff
