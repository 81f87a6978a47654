// Documents flow one at a time: read, encode, append to the training or the validation file.
#include "cli/data/tokenize.h"

#include <cmath>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "cli/data/text_input.h"
#include "core/base/rng.h"
#include "core/base/status_macros.h"
#include "core/format/tokenizer.h"

namespace birkhoff {
namespace {

using DocumentVisitor = std::function<absl::Status(const std::string& text)>;

// An error has the byte in the line, from 1, and the parser's reason.
absl::StatusOr<nlohmann::json> ParseJson(const std::string& place, const std::string& line) {
  try {
    return nlohmann::json::parse(line);
  } catch (const nlohmann::json::parse_error& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 15: REASON"
    const std::string what = error.what();
    const size_t reason = what.find(": ", what.find("column "));
    return absl::InvalidArgumentError(
        absl::StrCat(place, ": not a JSON object: column ", error.byte, ": ",
                     reason == std::string::npos ? what : what.substr(reason + 2)));
  }
}

absl::Status VisitJsonLine(const std::string& place, const std::string& line,
                           const std::string& field, const DocumentVisitor& visit) {
  if (line.find_first_not_of(" \t\r") == std::string::npos) return absl::OkStatus();
  ASSIGN_OR_RETURN(const nlohmann::json object, ParseJson(place, line));
  if (!object.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(place, ": not a JSON object; need one per line"));
  }
  const auto text = object.find(field);
  if (text == object.end() || !text->is_string()) {
    return absl::InvalidArgumentError(
        absl::StrCat(place, ": no text in field \"", field, "\"; need a string there (--field)"));
  }
  return visit(text->get_ref<const std::string&>());
}

// The last line counts with or without its newline.
absl::Status VisitJsonLines(TextInput& input, const std::string& path, const std::string& field,
                            const DocumentVisitor& visit) {
  std::string line;
  int64_t number = 0;
  const auto end_line = [&]() -> absl::Status {
    RETURN_IF_ERROR(VisitJsonLine(absl::StrCat(path, ":", ++number), line, field, visit));
    line.clear();
    return absl::OkStatus();
  };
  while (true) {
    ASSIGN_OR_RETURN(const std::string bytes, input.Read());
    if (bytes.empty()) return end_line();
    for (size_t at = 0; at < bytes.size();) {
      const size_t newline = bytes.find('\n', at);
      line.append(bytes, at, newline - at);
      if (newline == std::string::npos) break;
      RETURN_IF_ERROR(end_line());
      at = newline + 1;
    }
  }
}

// One output file, or a training and a validation file.
class Outputs {
 public:
  Outputs(const TokenizeOptions& options, Disk& disk, const Tokenizer& tokenizer)
      : options_(options), disk_(disk), tokenizer_(tokenizer) {}

  // Of an input: it is not what is about to be replaced.
  absl::Status CheckIsNone(const std::string& input) const {
    for (const std::string& path : Paths()) {
      std::error_code ignored;
      if (!std::filesystem::equivalent(input, path, ignored)) continue;
      return absl::InvalidArgumentError(
          absl::StrCat(input, ": is an input and an output; give another --output"));
    }
    return absl::OkStatus();
  }

  absl::Status Open() {
    const bool split = options_.validation_share > 0.0;
    for (const std::string& path : Paths()) {
      if (options_.force || disk_.KindOf(path) == FileKind::kNone) continue;
      return absl::AlreadyExistsError(
          absl::StrCat(path, ": is there; give another --output, or --force to replace it"));
    }
    ASSIGN_OR_RETURN(train_, NewWriter(split ? "-train" : ""));
    if (!split) return absl::OkStatus();
    ASSIGN_OR_RETURN(validation_, NewWriter("-val"));
    return absl::OkStatus();
  }

  absl::Status Add(const std::string& text) {
    ASSIGN_OR_RETURN(std::vector<int32_t> tokens, tokenizer_.Encode(text));
    tokens.push_back(tokenizer_.end_of_document());
    const bool held = validation_ != nullptr && IsHeldOut(documents_, options_.validation_share);
    ++documents_;
    return (held ? *validation_ : *train_).AddDocument(tokens);
  }

  // Both files or none: everything that can fail comes before the first has its name.
  absl::Status Finish(const Console& console) {
    for (const auto& [writer, what] :
         {std::pair{train_.get(), "training"}, std::pair{validation_.get(), "validation"}}) {
      if (writer == nullptr) continue;
      if (writer->num_tokens() == 0) {
        return absl::InvalidArgumentError(absl::StrCat(
            options_.output, ": ", documents_, " documents leave none for ", what,
            validation_ == nullptr ? "" : "; need more documents, or data.validation_split"));
      }
      RETURN_IF_ERROR(writer->Prepare());
    }
    RETURN_IF_ERROR(train_->Publish());
    if (validation_ != nullptr) {
      if (const absl::Status status = validation_->Publish(); !status.ok()) {
        train_->Withdraw();
        return status;
      }
    }
    for (const TokenWriter* writer : {train_.get(), validation_.get()}) {
      if (writer != nullptr) *console.out << writer->bin_path() << "\n";
    }
    *console.err << "tokenized " << documents_ << " documents: " << train_->num_tokens()
                 << " training tokens";
    if (validation_ != nullptr) *console.err << ", " << validation_->num_tokens() << " validation";
    *console.err << " (vocabulary " << tokenizer_.vocab_size() << ")\n";
    return absl::OkStatus();
  }

  int64_t documents() const { return documents_; }

 private:
  std::vector<std::string> Paths() const {
    const std::string stem = TokenPathsOf(options_.output).stem;
    if (options_.validation_share <= 0.0) return {stem + ".bin", stem + ".idx"};
    return {stem + "-train.bin", stem + "-train.idx", stem + "-val.bin", stem + "-val.idx"};
  }

  absl::StatusOr<std::unique_ptr<TokenWriter>> NewWriter(const std::string& suffix) {
    return TokenWriter::Create(disk_, {TokenPathsOf(options_.output).stem + suffix, options_.format,
                                       tokenizer_.vocab_size()});
  }

  const TokenizeOptions& options_;
  Disk& disk_;
  const Tokenizer& tokenizer_;
  std::unique_ptr<TokenWriter> train_;
  std::unique_ptr<TokenWriter> validation_;
  int64_t documents_ = 0;
};

}  // namespace

bool IsHeldOut(int64_t document, double share) {
  constexpr uint64_t kSeed = 42;
  const auto run_of = [share](int64_t number) {
    return static_cast<int64_t>(std::floor(static_cast<double>(number) * share));
  };
  // The run around the document: [first, end).
  const int64_t run = run_of(document);
  int64_t first = document, end = document + 1;
  while (first > 0 && run_of(first - 1) == run) --first;
  while (run_of(end) == run) ++end;
  // One of it is drawn.
  Rng rng(kSeed, absl::StrCat("held-out document of run ", run));
  return document - first == static_cast<int64_t>(rng.Below(static_cast<uint64_t>(end - first)));
}

namespace {

absl::Status AddInput(const TokenizeOptions& options, const std::string& path, Disk& disk,
                      Outputs* outputs) {
  const DocumentVisitor add = [&](const std::string& text) { return outputs->Add(text); };
  ASSIGN_OR_RETURN(const std::unique_ptr<TextInput> input, TextInput::Open(disk, path));
  if (options.jsonl) return VisitJsonLines(*input, path, options.field, add);
  ASSIGN_OR_RETURN(const std::string text, input->ReadAll());
  return add(text);
}

}  // namespace

absl::Status Tokenize(const TokenizeOptions& options, Disk& disk, const Console& console) {
  if (!(options.validation_share >= 0.0 && options.validation_share <= 0.5)) {  // NaN neither
    return absl::InvalidArgumentError(absl::StrCat("--validation-share: ", options.validation_share,
                                                   " is not allowed; need 0 to 0.5"));
  }
  const std::string stem = TokenPathsOf(options.output).stem;
  if (stem.empty() || stem.back() == '/') {
    return absl::InvalidArgumentError(absl::StrCat(
        "--output: '", options.output, "' is not allowed; need the name of a file that is made"));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                   LoadTokenizer(disk, options.tokenizer));
  ASSIGN_OR_RETURN(const std::vector<std::string> inputs, FilesBelow(options.inputs));
  Outputs outputs(options, disk, *tokenizer);
  for (const std::string& input : inputs) RETURN_IF_ERROR(outputs.CheckIsNone(input));
  RETURN_IF_ERROR(outputs.Open());
  for (size_t i = 0; i < inputs.size(); ++i) {
    RETURN_IF_ERROR(AddInput(options, inputs[i], disk, &outputs));
    if (console.terminal) {
      *console.err << "\r" << i + 1 << "/" << inputs.size() << " files, " << outputs.documents()
                   << " documents" << std::flush;
    }
  }
  if (console.terminal) *console.err << "\n";
  return outputs.Finish(console);
}

}  // namespace birkhoff
