// How well a trained model foretells a text that it is given.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/format/tokenizer.h"
#include "core/spec/job_spec.h"
#include "kernels/device.h"
#include "worker/data_source.h"
#include "worker/inference/trained_model.h"

namespace birkhoff {

// The validation data of the run, or those at `path` in their place: its windows of
// training.sequence_length tokens in the run's order.  Training data that a validation does not
// read need not be there.  Errors: as DataSource::Open says; INVALID_ARGUMENT the run had none, and
// `path` is empty.
absl::StatusOr<std::unique_ptr<DataSource>> OpenEvaluationData(const JobSpec& spec,
                                                               const std::string& path);

struct EvaluationOptions {
  int64_t sequences = 0;                 // the first ones of the order; 0: each once
  const Tokenizer* tokenizer = nullptr;  // counts bytes; null: they are not counted
  std::function<void(int64_t done, int64_t all)> progress = nullptr;  // in sequences; or null
};

struct Evaluation {
  int64_t sequences = 0;
  int64_t tokens = 0;  // that were foretold
  int64_t bytes = 0;   // of their text
  double loss = 0.0;   // nats per token

  double Perplexity() const;
  double BitsPerByte() const;  // NaN where no byte was counted
};

// In the run's micro-batches, and summed as it sums: with the first training.validation_batches *
// micro_batch_size sequences the loss has the bits that one replica of the run wrote on a CPU.
// Errors: those of DataSource::Validation and the device; OUT_OF_RANGE with exit code 73 the loss
// is not finite.
absl::StatusOr<Evaluation> Evaluate(const TrainedModel& model, const DataSource& data,
                                    Device& device, const EvaluationOptions& options);

}  // namespace birkhoff
