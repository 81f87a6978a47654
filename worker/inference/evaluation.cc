// Micro-batches of the validation order, one after the other.
#include "worker/inference/evaluation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/exit_status.h"
#include "core/base/status_macros.h"
#include "worker/inference/whole_model.h"

namespace birkhoff {
namespace {

// Bytes that the targets add to the text.
absl::StatusOr<int64_t> BytesOf(const Tokenizer& tokenizer, int32_t before,
                                std::span<const int32_t> targets) {
  std::vector<int32_t> tokens = {before};
  ASSIGN_OR_RETURN(const std::string without, tokenizer.Decode(tokens));
  tokens.insert(tokens.end(), targets.begin(), targets.end());
  ASSIGN_OR_RETURN(const std::string with, tokenizer.Decode(tokens));
  return static_cast<int64_t>(with.size()) - static_cast<int64_t>(without.size());
}

// Reads sequences [first, first + count) into the micro-batch; returns the bytes of their targets.
absl::StatusOr<int64_t> LoadSequences(const DataSource& data, const Tokenizer* tokenizer,
                                      int64_t first, int64_t count, size_t length,
                                      const MicrobatchTokens& tokens) {
  int64_t bytes = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto inputs = tokens.inputs.subspan(size_t(i) * length, length);
    const auto targets = tokens.targets.subspan(size_t(i) * length, length);
    RETURN_IF_ERROR(data.Validation(first + i, inputs, targets));
    if (tokenizer == nullptr) continue;
    ASSIGN_OR_RETURN(const int64_t added, BytesOf(*tokenizer, inputs.front(), targets));
    bytes += added;
  }
  return bytes;
}

}  // namespace

double Evaluation::Perplexity() const { return std::exp(loss); }

double Evaluation::BitsPerByte() const {
  if (bytes == 0) return std::numeric_limits<double>::quiet_NaN();
  return loss * static_cast<double>(tokens) / (std::numbers::ln2 * static_cast<double>(bytes));
}

absl::StatusOr<std::unique_ptr<DataSource>> OpenEvaluationData(const JobSpec& spec,
                                                               const std::string& path) {
  JobSpec asked = spec;
  if (!path.empty()) asked.data.validation = path;
  if (!asked.data.validation.empty()) {
    asked.data.train = {{asked.data.validation, 1.0}};  // is not read
  } else if (asked.data.validation_split == 0.0) {
    return absl::InvalidArgumentError("the run had no validation data; need --data");
  }
  absl::StatusOr<std::unique_ptr<DataSource>> data = DataSource::Open(asked);
  if (data.ok() || !path.empty()) return data;
  return Reworded(data.status(), absl::StrCat(std::string(data.status().message()),
                                              "; or give --data, another token file"));
}

absl::StatusOr<Evaluation> Evaluate(const TrainedModel& model, const DataSource& data,
                                    Device& device, const EvaluationOptions& options) {
  const TrainingSpec& training = model.spec().training;
  const int length = training.sequence_length, batch = training.micro_batch_size;
  ASSIGN_OR_RETURN(const std::unique_ptr<WholeModel> whole,
                   WholeModel::Create(model, int64_t{batch} * length, length, device));
  Evaluation result;
  result.sequences = options.sequences > 0 ? options.sequences : data.num_validation_samples();
  WholeModel::Loss loss;
  for (int64_t first = 0; first < result.sequences; first += batch) {
    const int64_t count = std::min<int64_t>(batch, result.sequences - first);
    ASSIGN_OR_RETURN(const int64_t bytes, LoadSequences(data, options.tokenizer, first, count,
                                                        size_t(length), whole->tokens()));
    const std::vector<int> lengths(size_t(count), length);
    const PackedSequences sequences(lengths);
    ASSIGN_OR_RETURN(loss, whole->AddLoss(sequences.shape()));
    result.bytes += bytes;
    if (options.progress) options.progress(first + count, result.sequences);
  }
  result.tokens = static_cast<int64_t>(loss.targets);
  result.loss = loss.sum / std::max(loss.targets, 1.0);
  if (std::isfinite(result.loss)) return result;
  return WithExitCode(
      absl::OutOfRangeError(absl::StrCat("the loss is ", result.loss,
                                         ": the weights do not compute; take an earlier "
                                         "checkpoint")),
      ExitCode::kNumerics);
}

}  // namespace birkhoff
