// A file's tokens are cut into windows of sequence_length tokens and their successors; training
// draws windows by a fresh permutation per epoch and file.
#include "worker/data_source.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/rng.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

std::string PrepareHint(const std::string& path, const std::string& tokenizer) {
  if (tokenizer == kNoTokenizer) return " (data.tokenizer none: the tokens are made elsewhere)";
  return absl::StrCat(" (prepare it with: birkhoff data tokenize --input TEXT --tokenizer ",
                      tokenizer, " --output ", path,
                      "; or, for the text of the quick start: bash deploy/corpus.sh)");
}

absl::StatusOr<std::shared_ptr<const TokenFile>> OpenTokens(const std::string& path,
                                                            const JobSpec& spec) {
  absl::StatusOr<std::unique_ptr<TokenFile>> file = TokenFile::Open(path);
  if (!file.ok()) {
    if (IsDiskTrouble(file.status())) return file.status();  // it is there, but cannot be read
    return absl::Status(file.status().code(), absl::StrCat(std::string(file.status().message()),
                                                           PrepareHint(path, spec.data.tokenizer)));
  }
  return std::shared_ptr<const TokenFile>(*std::move(file));
}

absl::Status TooShort(const TokenWindows& windows, int sequence_length, const std::string& what) {
  return absl::InvalidArgumentError(
      absl::StrCat(windows.file->path(), ": ", windows.file->num_tokens(), " tokens leave no ",
                   what, " sample; need at least ", sequence_length + 1,
                   " tokens for training.sequence_length ", sequence_length));
}

std::vector<double> Weights(const JobSpec& spec) {
  std::vector<double> weights;
  for (const WeightedPath& path : spec.data.train) weights.push_back(path.weight);
  return weights;
}

// The held-out windows start one token after the last training target: no token is on both sides.
std::pair<TokenWindows, TokenWindows> Split(const std::shared_ptr<const TokenFile>& file,
                                            double held_out, int64_t sequence_length) {
  const auto windows_in = [&](int64_t tokens) {
    return std::max<int64_t>(0, (tokens - 1) / sequence_length);
  };
  const int64_t all = windows_in(file->num_tokens());
  const int64_t validation =
      static_cast<int64_t>(std::llround(static_cast<double>(all) * held_out));
  const int64_t train = all - validation;
  const int64_t border = validation == 0 ? file->num_tokens() : train * sequence_length + 1;
  return {TokenWindows{file, 0, train},
          TokenWindows{file, border, windows_in(file->num_tokens() - border)}};
}

absl::StatusOr<std::vector<TokenWindows>> OpenValidation(const JobSpec& spec) {
  if (spec.data.validation.empty()) return std::vector<TokenWindows>();
  ASSIGN_OR_RETURN(std::shared_ptr<const TokenFile> file, OpenTokens(spec.data.validation, spec));
  TokenWindows windows = Split(file, 0.0, spec.training.sequence_length).first;
  if (windows.count == 0) return TooShort(windows, spec.training.sequence_length, "validation");
  return std::vector<TokenWindows>{std::move(windows)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<DataSource>> DataSource::Open(const JobSpec& spec) {
  ASSIGN_OR_RETURN(std::vector<TokenWindows> validation, OpenValidation(spec));
  DataFacts facts;
  for (const TokenWindows& windows : validation) {
    ASSIGN_OR_RETURN(facts.validation.emplace_back(), FactsOf(*windows.file));
  }
  const double held_out = spec.data.validation.empty() ? spec.data.validation_split : 0.0;
  std::vector<TokenWindows> train;
  for (const WeightedPath& path : spec.data.train) {
    ASSIGN_OR_RETURN(std::shared_ptr<const TokenFile> file, OpenTokens(path.path, spec));
    auto [kept, held] = Split(file, held_out, spec.training.sequence_length);
    if (kept.count == 0) return TooShort(kept, spec.training.sequence_length, "training");
    ASSIGN_OR_RETURN(facts.train.emplace_back(), FactsOf(*file));
    train.push_back(std::move(kept));
    if (held.count > 0) validation.push_back(std::move(held));
  }
  if (train.empty()) {
    return absl::InvalidArgumentError("data.train: is empty; need at least one token file");
  }
  if (held_out > 0.0 && validation.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("data.validation_split: ", held_out,
                     " of the training files holds no sample; need a larger share or more data"));
  }
  return std::unique_ptr<DataSource>(
      new DataSource(spec, std::move(facts), std::move(train), std::move(validation)));
}

DataSource::DataSource(const JobSpec& spec, DataFacts facts, std::vector<TokenWindows> train,
                       std::vector<TokenWindows> validation)
    : seed_(spec.data.seed),
      sequence_length_(spec.training.sequence_length),
      vocab_size_(spec.model.vocab_size),
      train_(std::move(train)),
      validation_(std::move(validation)),
      blend_(Weights(spec)),
      facts_(std::move(facts)) {
  for (const TokenWindows& windows : validation_) num_validation_ += windows.count;
}

absl::Status DataSource::Train(int64_t index, std::span<int32_t> inputs,
                               std::span<int32_t> targets) const {
  const Blend::Pick pick = blend_(index);
  const TokenWindows& windows = train_[static_cast<size_t>(pick.source)];
  const int64_t epoch = pick.index / windows.count;
  const Permutation order(windows.count, OrderKey(pick.source, epoch));
  return Copy(windows, order(pick.index % windows.count), inputs, targets);
}

// Spread over the files by one fixed permutation, so that a few batches already see all of them.
absl::Status DataSource::Validation(int64_t index, std::span<int32_t> inputs,
                                    std::span<int32_t> targets) const {
  BIRKHOFF_CHECK(num_validation_ > 0, "there is no validation data");
  const Permutation order(num_validation_, Rng(seed_, "validation order").Next());
  int64_t at = order(index % num_validation_);
  size_t file = 0;
  while (at >= validation_[file].count) at -= validation_[file++].count;
  return Copy(validation_[file], at, inputs, targets);
}

uint64_t DataSource::OrderKey(int source, int64_t epoch) const {
  return Rng(seed_, absl::StrCat("train order ", source, " ", epoch)).Next();
}

absl::Status DataSource::Copy(const TokenWindows& windows, int64_t window,
                              std::span<int32_t> inputs, std::span<int32_t> targets) const {
  const int64_t first = windows.first + window * sequence_length_;
  RETURN_IF_ERROR(windows.file->Read(first, inputs, vocab_size_));
  return windows.file->Read(first + 1, targets, vocab_size_);
}

}  // namespace birkhoff
