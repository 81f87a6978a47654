// The tokenizer that a model speaks.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/disk.h"
#include "core/format/tokenizer.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

// `asked`: "bytes", the path of a SentencePiece .model, or "none", whose text are the numbers of
// tokens ("17 4 0"), with no end of a document (-1); empty: what the run has trained with, which
// was no "none".  Errors, each with --tokenizer as the remedy: INVALID_ARGUMENT the run's data were
// tokenized elsewhere, or the tokenizer has more tokens than the model; NOT_FOUND its file is not
// where it was.
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizerOf(const JobSpec& spec,
                                                           const std::string& asked, Disk& disk);

}  // namespace birkhoff
