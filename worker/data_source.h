// Which tokens stand in which sample.  A pure function of (spec, files, sample number): the
// position of a job in its data is its step number, whatever the plan, so every rank opens the
// files itself and resuming needs no state.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "core/format/token_file.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

struct DataFacts {
  std::vector<TokenFacts> train;
  std::vector<TokenFacts> validation;  // at most one
};

// Thread-safe after Open.
class DataSource {
 public:
  virtual ~DataSource() = default;
  // Sample `index` >= 0 of the endless training order: inputs[i] is followed by targets[i]; both
  // spans are sequence_length long.  With B = global_batch_size, step s (0-based) uses samples
  // [s B, (s + 1) B).  Every token that is handed out has been checked: a device does not.
  // Errors: INVALID_ARGUMENT a token outside the vocabulary, or the file has been cut; UNAVAILABLE
  // the disk.  Then the spans hold anything.
  virtual absl::Status Train(int64_t index, std::span<int32_t> inputs,
                             std::span<int32_t> targets) const = 0;
  // How many targets of samples [first, first + count) enter the loss: known before they are read.
  virtual int64_t TrainTargets(int64_t first, int64_t count) const = 0;
  // Sample `index` of the fixed validation order (wraps around).
  virtual absl::Status Validation(int64_t index, std::span<int32_t> inputs,
                                  std::span<int32_t> targets) const = 0;
  virtual int64_t num_validation_samples() const = 0;  // 0: there is none
  // What the files are, in the order of the spec.
  virtual const DataFacts& facts() const = 0;
};

// Opens the token files of the spec and reads headers and samples alone.  Errors name the file and
// the command that prepares it.
absl::StatusOr<std::unique_ptr<DataSource>> OpenDataSource(const JobSpec& spec);

}  // namespace birkhoff
