// On the device one allocation: share, an empty share, all shares, scalars.  A reset is a copy of
// the empty share, since minima start at infinity and a fill knows bytes only.
#include "worker/step_state.h"

#include "core/base/status_macros.h"
#include "core/plan/memory.h"

namespace birkhoff {

absl::StatusOr<std::unique_ptr<StepState>> StepState::Create(const ModelSpec& model, int world_size,
                                                             Device& device, int steps_in_flight) {
  std::unique_ptr<StepState> state(new StepState(model, world_size));
  const int64_t length = state->layout_.length();
  ASSIGN_OR_RETURN(state->memory_, device.Allocate(AccumulatorBytes(model, world_size)));
  ASSIGN_OR_RETURN(state->host_memory_,
                   device.AllocateHost(steps_in_flight * ShareBytes(model, world_size)));
  state->share_ = state->memory_->data().As<double>();
  state->empty_ = state->share_ + length;
  state->gathered_ = state->empty_ + length;
  state->scalars_ = (state->gathered_ + length * world_size).As<StepScalars>();
  state->host_ = reinterpret_cast<double*>(state->host_memory_->data());

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
  *HostScalars(0) = {.update = updates};
  Upload(stream, scalars_, HostScalars(0), 1);
  stream.Synchronize();
}

void StepState::SetLearningRate(Stream& stream, double lr, int slot) {
  HostScalars(slot)->lr = lr;  // the first field
  Upload(stream, scalars_.As<double>(), &HostScalars(slot)->lr, 1);
}

void StepState::DownloadShare(Stream& stream) {
  Download(stream, HostRow(0), DevicePtr<const double>(share_), layout_.length());
}

void StepState::DownloadGathered(Stream& stream, int slot) {
  Download(stream, HostRow(slot) + layout_.length(), DevicePtr<const double>(gathered_),
           layout_.length() * world_size_);
}

}  // namespace birkhoff
