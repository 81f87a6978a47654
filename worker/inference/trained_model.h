// The weights of a committed checkpoint, whole, whatever plan has written them: pipeline stages and
// replicas are how they were trained, not what they are.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/disk.h"
#include "core/spec/job_spec.h"
#include "kernels/device.h"
#include "worker/transformer/weights.h"

namespace birkhoff {

// In fp32, as checkpoints hold them; without moments.  Immutable.
class TrainedModel {
 public:
  // `path`: an output directory or a directory of checkpoints (the newest committed one is read),
  // or a checkpoint.  The device must outlive the model.  Errors: NOT_FOUND there is none;
  // DATA_LOSS it is damaged, with file and tensor; INVALID_ARGUMENT this release cannot read its
  // spec; RESOURCE_EXHAUSTED the weights do not fit into memory; what the disk says.
  static absl::StatusOr<std::unique_ptr<TrainedModel>> Load(Disk& disk, const std::string& path,
                                                            Device& device);

  const std::string& directory() const { return directory_; }  // of the checkpoint
  int64_t step() const { return step_; }
  const JobSpec& spec() const { return spec_; }  // of the run that has trained it
  WeightLookup<float> Lookup() const;            // no gradients; valid as long as this

 private:
  TrainedModel() = default;
  absl::Status Read(Disk& disk, Device& device);

  std::string directory_;
  int64_t step_ = 0;
  JobSpec spec_;
  std::unique_ptr<DeviceMemory> memory_;
  std::map<std::string, DevicePtr<float>> weights_;
};

}  // namespace birkhoff
