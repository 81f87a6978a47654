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
#include "worker/shuffle.h"

namespace birkhoff {

struct DataFacts {
  std::vector<TokenFacts> train;
  std::vector<TokenFacts> validation;  // at most one
};

// Windows of one file: window w is tokens [first + w S, first + (w + 1) S] with both ends, for S the
// sequence length.
struct TokenWindows {
  std::shared_ptr<const TokenFile> file;  // shared: training and held-out windows read one file
  int64_t first = 0;
  int64_t count = 0;
};

// Thread-safe.
class DataSource {
 public:
  // Opens the token files of the spec and reads headers and samples alone.  Errors name the file
  // and the command that prepares it.
  static absl::StatusOr<std::unique_ptr<DataSource>> Open(const JobSpec& spec);

  // Sample `index` >= 0 of the endless training order: inputs[i] is followed by targets[i]; both
  // spans are sequence_length long.  With B = global_batch_size, step s (0-based) uses samples
  // [s B, (s + 1) B).  Every token that is handed out has been checked: a device does not.
  // Errors: INVALID_ARGUMENT a token outside the vocabulary, or the file has been cut; UNAVAILABLE
  // the disk.  Then the spans hold anything.
  absl::Status Train(int64_t index, std::span<int32_t> inputs, std::span<int32_t> targets) const;
  // How many targets of samples [first, first + count) enter the loss: known before they are read.
  // Every token of a window has a successor.
  int64_t TrainTargets(int64_t /*first*/, int64_t count) const { return count * sequence_length_; }
  // Sample `index` of the fixed validation order (wraps around).
  absl::Status Validation(int64_t index, std::span<int32_t> inputs,
                          std::span<int32_t> targets) const;
  int64_t num_validation_samples() const { return num_validation_; }  // 0: there is none
  // What the files are, in the order of the spec.
  const DataFacts& facts() const { return facts_; }

 private:
  DataSource(const JobSpec& spec, DataFacts facts, std::vector<TokenWindows> train,
             std::vector<TokenWindows> validation);
  uint64_t OrderKey(int source, int64_t epoch) const;
  absl::Status Copy(const TokenWindows& windows, int64_t window, std::span<int32_t> inputs,
                    std::span<int32_t> targets) const;

  const uint64_t seed_;
  const int64_t sequence_length_;
  const int vocab_size_;
  const std::vector<TokenWindows> train_;
  const std::vector<TokenWindows> validation_;
  const Blend blend_;
  const DataFacts facts_;
  int64_t num_validation_ = 0;
};

}  // namespace birkhoff
