// Job files, and the files that they name.
#include "cli/spec_file.h"

#include <google/protobuf/unknown_field_set.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/format/token_file.h"
#include "core/spec/validate.h"

namespace birkhoff {
namespace {

constexpr int kPiecesField = 1;  // ModelProto.pieces of sentencepiece_model.proto

bool IsFile(const std::string& tokenizer) {
  return tokenizer != "bytes" && tokenizer != kNoTokenizer;
}

// A model is looked at also where model.vocab_size is given: a word that is none is a slip.
void ResolveTokenizer(Disk& disk, JobSpec* spec, std::vector<Problem>* problems) {
  ResolveVocabulary(spec);
  if (!IsFile(spec->data.tokenizer)) return;
  const absl::StatusOr<int> pieces = CountPieces(disk, spec->data.tokenizer);
  if (!pieces.ok()) {
    problems->push_back({"data.tokenizer", spec->data.tokenizer,
                         "bytes, none, or a SentencePiece .model",
                         absl::StrCat(std::string(pieces.status().message()),
                                      "; tokens made elsewhere: data.tokenizer none, and "
                                      "model.vocab_size")});
  } else if (spec->model.vocab_size == 0) {
    spec->model.vocab_size = *pieces;
  }
}

void MakePathsAbsolute(JobSpec* spec) {
  for (WeightedPath& source : spec->data.train) source.path = AbsolutePath(source.path);
  spec->data.validation = AbsolutePath(spec->data.validation);
  spec->checkpoint.directory = AbsolutePath(spec->checkpoint.directory);
  if (IsFile(spec->data.tokenizer)) spec->data.tokenizer = AbsolutePath(spec->data.tokenizer);
}

// A byte more than a job file may have is enough to see that it is too long.
std::string ReadToEnd(std::istream& in) {
  std::string text(kMaxSpecBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  return text;
}

// A pipe too, to its end: <(command) in a shell, /dev/stdin.
absl::StatusOr<std::string> ReadJobFile(Disk& disk, const SpecFile& file) {
  if (file.text.has_value()) return *file.text;
  if (file.path == "-") return ReadToEnd(*file.in);
  if (!file.IsPipe()) return disk.Read(file.path);
  ASSIGN_OR_RETURN(const std::unique_ptr<ReadableFile> pipe, disk.OpenRead(file.path));
  std::string text;
  while (text.size() <= kMaxSpecBytes) {
    ASSIGN_OR_RETURN(const std::string more, pipe->Read(kMaxSpecBytes));
    if (more.empty()) break;
    text += more;
  }
  return text;
}

std::string PrepareRemedy(const JobSpec& spec, const std::string& path) {
  if (spec.data.tokenizer == kNoTokenizer) return "data.tokenizer none: it is made elsewhere";
  return absl::StrCat("prepare it with: birkhoff data tokenize --input TEXT --tokenizer ",
                      spec.data.tokenizer, " --output ", path,
                      "; the text of the quick start: bash deploy/corpus.sh");
}

void CheckTokenFile(const JobSpec& spec, const std::string& field, const std::string& path,
                    std::vector<Problem>* problems) {
  const absl::StatusOr<std::unique_ptr<TokenFile>> file = TokenFile::Open(path);
  if (!file.ok()) {
    problems->push_back(
        {field, path, "a token file",
         absl::StrCat(std::string(file.status().message()), "; ", PrepareRemedy(spec, path))});
    return;
  }
  if (const absl::Status status = (*file)->CheckVocabulary(spec.model.vocab_size); !status.ok()) {
    problems->push_back({field, std::string(status.message()), "tokens below model.vocab_size",
                         "set model.vocab_size above the largest token, or name a file that "
                         "data.tokenizer has made"});
  }
  if ((*file)->num_tokens() <= spec.training.sequence_length) {
    problems->push_back(
        {field, absl::StrCat(path, " with ", (*file)->num_tokens(), " tokens"),
         absl::StrCat("more than training.sequence_length, ", spec.training.sequence_length),
         "use more text or shorter sequences"});
  }
}

}  // namespace

bool SpecFile::IsPipe() const {
  std::error_code ignored;
  return path == "-" || std::filesystem::is_fifo(path, ignored);
}

void KeepText(Disk& disk, SpecFile* file) {
  absl::StatusOr<std::string> text = ReadJobFile(disk, *file);
  if (text.ok()) file->text = *std::move(text);
}

std::string AbsolutePath(const std::string& path) {
  if (path.empty()) return path;
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  return error ? path : absolute.lexically_normal().string();
}

absl::StatusOr<int> CountPieces(Disk& disk, const std::string& path) {
  ASSIGN_OR_RETURN(const std::string bytes, disk.Read(path));
  google::protobuf::UnknownFieldSet fields;
  if (!fields.ParseFromString(bytes)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is not a SentencePiece .model"));
  }
  int pieces = 0;
  for (int i = 0; i < fields.field_count(); ++i) pieces += fields.field(i).number() == kPiecesField;
  if (pieces > 0) return pieces;
  return absl::InvalidArgumentError(absl::StrCat(path, ": holds no pieces"));
}

std::vector<Problem> ReadSpecFile(const SpecFile& file, Disk& disk, JobSpec* spec) {
  const absl::StatusOr<std::string> text = ReadJobFile(disk, file);
  if (!text.ok()) {
    return {{file.path, std::string(text.status().message()), "a job file that can be read",
             "configs/ has examples"}};
  }
  std::vector<Problem> problems = ReadJobSpec(*text, file.overrides, spec);
  if (!problems.empty()) return problems;
  MakePathsAbsolute(spec);
  if (!file.spec_only) {
    ResolveTokenizer(disk, spec, &problems);
    if (problems.empty() && !file.skip_tokens) problems = CheckTokenFiles(*spec);
  } else {
    ResolveVocabulary(spec);
  }
  return problems;
}

std::string ValidationNotice(const JobSpec& spec) {
  const int64_t asked = int64_t{spec.training.validation_batches} * spec.training.micro_batch_size;
  const int64_t length = spec.training.sequence_length;
  const auto windows = [length](const std::string& path) -> int64_t {
    const absl::StatusOr<std::unique_ptr<TokenFile>> file = TokenFile::Open(path);
    return file.ok() ? std::max<int64_t>(0, ((*file)->num_tokens() - 1) / length) : 0;
  };
  int64_t held = 0;
  if (!spec.data.validation.empty()) {
    held = windows(spec.data.validation);
  } else {
    for (const WeightedPath& source : spec.data.train) {
      held += std::llround(static_cast<double>(windows(source.path)) * spec.data.validation_split);
    }
  }
  if (held == 0 || held >= asked || spec.training.validation_interval == 0) return "";
  return absl::StrCat("validation holds ", held, " samples of ", length, " tokens; ",
                      spec.training.validation_batches, " training.validation_batches of ",
                      spec.training.micro_batch_size, " sequences look at ", asked,
                      ", so some count more than once");
}

std::vector<Problem> CheckTokenFiles(const JobSpec& spec) {
  std::vector<Problem> problems;
  for (size_t i = 0; i < spec.data.train.size(); ++i) {
    CheckTokenFile(spec, absl::StrCat("data.train[", i, "].path"), spec.data.train[i].path,
                   &problems);
  }
  if (!spec.data.validation.empty()) {
    CheckTokenFile(spec, "data.validation", spec.data.validation, &problems);
  }
  return problems;
}

}  // namespace birkhoff
