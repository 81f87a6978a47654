// Documents flow one at a time: read, encode, append to the training or the validation file.
#include "cli/data/tokenize.h"

#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/format/tokenizer.h"

namespace birkhoff {
namespace {

using DocumentVisitor = std::function<absl::Status(const std::string& text)>;

absl::Status VisitJsonLines(const std::string& path, const std::string& field,
                            const DocumentVisitor& visit) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": cannot be opened"));
  std::string line;
  for (int64_t number = 1; std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const nlohmann::json object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ":", number, ": not a JSON object; need one per line"));
    }
    const auto text = object.find(field);
    if (text == object.end() || !text->is_string()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ":", number, ": no text in field \"",
                                                     field, "\"; need a string there (--field)"));
    }
    RETURN_IF_ERROR(visit(text->get_ref<const std::string&>()));
  }
  return absl::OkStatus();
}

// One output file, or a training and a validation file.
class Outputs {
 public:
  Outputs(const TokenizeOptions& options, Disk& disk, const Tokenizer& tokenizer)
      : options_(options), disk_(disk), tokenizer_(tokenizer) {}

  absl::Status Open() {
    const bool split = options_.validation_share > 0.0;
    ASSIGN_OR_RETURN(train_, NewWriter(split ? "-train" : ""));
    if (!split) return absl::OkStatus();
    ASSIGN_OR_RETURN(validation_, NewWriter("-val"));
    return absl::OkStatus();
  }

  // A document goes to validation when that brings validation closer to its share: the same files
  // for the same documents.
  absl::Status Add(const std::string& text) {
    ASSIGN_OR_RETURN(std::vector<int32_t> tokens, tokenizer_.Encode(text));
    tokens.push_back(tokenizer_.end_of_document());
    const double length = static_cast<double>(tokens.size());
    total_ += length;
    const bool held =
        validation_ != nullptr && static_cast<double>(validation_->num_tokens()) + length / 2 <=
                                      options_.validation_share * total_;
    ++documents_;
    return (held ? *validation_ : *train_).AddDocument(tokens);
  }

  absl::Status Finish(const Console& console) {
    for (const auto& [writer, what] :
         {std::pair{train_.get(), "training"}, std::pair{validation_.get(), "validation"}}) {
      if (writer == nullptr) continue;
      if (writer->num_tokens() == 0) {
        return absl::InvalidArgumentError(absl::StrCat(
            options_.output, ": ", documents_, " documents leave none for ", what,
            validation_ == nullptr ? "" : "; need more documents, or data.validation_split"));
      }
      RETURN_IF_ERROR(writer->Finish());
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
  absl::StatusOr<std::unique_ptr<TokenWriter>> NewWriter(const std::string& suffix) {
    return TokenWriter::Create(disk_, {TokenPathsOf(options_.output).stem + suffix, options_.format,
                                       tokenizer_.vocab_size()});
  }

  const TokenizeOptions& options_;
  Disk& disk_;
  const Tokenizer& tokenizer_;
  std::unique_ptr<TokenWriter> train_;
  std::unique_ptr<TokenWriter> validation_;
  double total_ = 0.0;
  int64_t documents_ = 0;
};

absl::Status AddInput(const TokenizeOptions& options, const std::string& path, Disk& disk,
                      Outputs* outputs) {
  const DocumentVisitor add = [&](const std::string& text) { return outputs->Add(text); };
  if (options.jsonl) return VisitJsonLines(path, options.field, add);
  ASSIGN_OR_RETURN(const std::string text, disk.Read(path));
  return add(text);
}

}  // namespace

absl::Status Tokenize(const TokenizeOptions& options, Disk& disk, const Console& console) {
  if (options.validation_share < 0.0 || options.validation_share > 0.5) {
    return absl::InvalidArgumentError(absl::StrCat("--validation-share: ", options.validation_share,
                                                   " is not allowed; need 0 to 0.5"));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                   LoadTokenizer(disk, options.tokenizer));
  Outputs outputs(options, disk, *tokenizer);
  RETURN_IF_ERROR(outputs.Open());
  for (size_t i = 0; i < options.inputs.size(); ++i) {
    RETURN_IF_ERROR(AddInput(options, options.inputs[i], disk, &outputs));
    if (console.terminal) {
      *console.err << "\r" << i + 1 << "/" << options.inputs.size() << " files, "
                   << outputs.documents() << " documents" << std::flush;
    }
  }
  if (console.terminal) *console.err << "\n";
  return outputs.Finish(console);
}

}  // namespace birkhoff
