#include "worker/step_state.h"

#include "core/base/status_macros.h"
#include "core/plan/memory.h"

namespace birkhoff {

absl::StatusOr<std::unique_ptr<StepState>> StepState::Create(const ModelSpec& model, int world_size,
                                                             Device& device) {
  std::unique_ptr<StepState> state(new StepState(model, world_size));
  const int64_t length = state->layout_.length();
  ASSIGN_OR_RETURN(state->memory_, device.Allocate(AccumulatorBytes(model, world_size)));
  ASSIGN_OR_RETURN(state->host_memory_, device.AllocateHost(ShareBytes(model, world_size)));
  state->share_ = state->memory_->data().As<double>();
  state->empty_ = state->share_ + length;
  state->gathered_ = state->empty_ + length;
  state->scalars_ = (state->gathered_ + length * world_size).As<StepScalars>();
  state->host_ = reinterpret_cast<double*>(state->host_memory_->data());
  state->host_scalars_ = reinterpret_cast<StepScalars*>(state->host_);

  const std::unique_ptr<Stream> stream = device.NewStream("step state");
  state->layout_.Clear({state->host_, static_cast<size_t>(length)});
  Upload(*stream, state->empty_, state->host_, length);
  state->Reset(*stream);
  state->SetUpdates(*stream, 0);
  stream->Synchronize();
  return state;
}

void StepState::Reset(Stream& stream) {
  Copy(stream, share_, DevicePtr<const double>(empty_), layout_.length());
}

void StepState::SetUpdates(Stream& stream, int64_t updates) {
  stream.Synchronize();  // an earlier upload may still read the host's copy
  *host_scalars_ = {.update = updates};
  Upload(stream, scalars_, host_scalars_, 1);
}

void StepState::SetLearningRate(Stream& stream, double lr) {
  host_scalars_->lr = lr;  // the first field
  Upload(stream, scalars_.As<double>(), &host_scalars_->lr, 1);
}

void StepState::DownloadShare(Stream& stream) {
  Download(stream, host_, DevicePtr<const double>(share_), layout_.length());
}

void StepState::DownloadGathered(Stream& stream) {
  Download(stream, host_ + layout_.length(), DevicePtr<const double>(gathered_),
           layout_.length() * world_size_);
}

}  // namespace birkhoff
