// What stands in the device's memory beside parameters and buffers: this rank's share of the
// running step, everybody's shares once they are gathered, and the numbers that follow from them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "core/spec/model.h"
#include "core/spec/step_share.h"
#include "kernels/adamw.h"
#include "kernels/device.h"

namespace birkhoff {

class StepState {
 public:
  // The host's side has a slot for each of `steps_in_flight` steps.  Errors: RESOURCE_EXHAUSTED.
  static absl::StatusOr<std::unique_ptr<StepState>> Create(const ModelSpec& model, int world_size,
                                                           Device& device, int steps_in_flight = 1);

  const ShareLayout& layout() const { return layout_; }
  int world_size() const { return world_size_; }
  DevicePtr<double> share() const { return share_; }        // [length]
  DevicePtr<double> gathered() const { return gathered_; }  // [world_size, length]
  DevicePtr<StepScalars> scalars() const { return scalars_; }

  // Empties the share.
  void Reset(Stream& stream);
  // What the optimizer goes on from: `update` steps were made.
  void SetUpdates(Stream& stream, int64_t updates);
  // The learning rate of the step that comes next on `stream`; `slot` is no step's in flight.
  void SetLearningRate(Stream& stream, double lr, int slot = 0);

  // Copies to the host; what the spans show is valid once the stream has passed.
  void DownloadShare(Stream& stream);
  void DownloadGathered(Stream& stream, int slot = 0);
  std::span<const double> host_share() const { return {HostRow(0), size_t(layout_.length())}; }
  std::span<const double> host_gathered(int slot = 0) const {
    return {HostRow(slot) + layout_.length(), size_t(layout_.length() * world_size_)};
  }

 private:
  StepState(const ModelSpec& model, int world_size) : layout_(model), world_size_(world_size) {}

  // A slot: the own share, then all.  The first also holds scalars on their way to the device; what
  // stands there is read by evaluation alone, with no step in flight.
  double* HostRow(int slot) const { return host_ + slot * layout_.length() * (1 + world_size_); }
  StepScalars* HostScalars(int slot) const { return reinterpret_cast<StepScalars*>(HostRow(slot)); }

  const ShareLayout layout_;
  const int world_size_;
  std::unique_ptr<DeviceMemory> memory_;
  std::unique_ptr<HostMemory> host_memory_;
  DevicePtr<double> share_, empty_, gathered_;
  DevicePtr<StepScalars> scalars_;
  double* host_ = nullptr;
};

}  // namespace birkhoff
