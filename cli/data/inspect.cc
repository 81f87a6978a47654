// The facts of one token file, for people or as JSON.
#include "cli/data/inspect.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/format/token_file.h"
#include "core/format/tokenizer.h"

namespace birkhoff {
namespace {

using Json = nlohmann::ordered_json;

void PrintForPeople(const Json& facts, std::ostream& out) {
  for (const auto& [key, value] : facts.items()) {
    out << key << std::string(12 - std::min<size_t>(11, key.size()), ' ')
        << (value.is_string() ? value.get<std::string>() : value.dump()) << "\n";
  }
}

// What does not fit into a token is in no vocabulary either.
absl::StatusOr<std::string> DecodeWide(const Tokenizer& tokenizer,
                                       const std::vector<int64_t>& wide) {
  std::vector<int32_t> tokens;
  for (const int64_t token : wide) {
    if (token < 0 || token >= tokenizer.vocab_size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("token ", token, " is outside the vocabulary; need 0 to ",
                       tokenizer.vocab_size() - 1, " with this tokenizer"));
    }
    tokens.push_back(static_cast<int32_t>(token));
  }
  return tokenizer.Decode(tokens);
}

}  // namespace

absl::Status Inspect(const InspectOptions& options, Disk& disk, const Console& console) {
  ASSIGN_OR_RETURN(const std::unique_ptr<TokenFile> file, TokenFile::Open(options.path));
  if (options.vocab_size > 0) RETURN_IF_ERROR(file->CheckVocabulary(options.vocab_size));
  if (options.first < 0 || options.count < 0 || options.first > file->num_tokens()) {
    return absl::InvalidArgumentError(absl::StrCat("--first ", options.first, " --count ",
                                                   options.count, ": need a range inside the ",
                                                   file->num_tokens(), " tokens"));
  }
  std::vector<int64_t> tokens(
      static_cast<size_t>(std::min(options.count, file->num_tokens() - options.first)));
  RETURN_IF_ERROR(file->ReadWide(options.first, tokens));

  Json facts;
  facts["path"] = file->path();
  facts["format"] = file->format() == TokenFormat::kMegatron ? "megatron" : "llmc";
  facts["type"] = TokenTypeName(file->type());
  facts["tokens"] = file->num_tokens();
  facts["documents"] =
      file->documents().empty() ? Json(nullptr) : Json(file->documents().size() - 1);
  facts["first"] = options.first;
  facts["shown"] = tokens;
  if (!options.tokenizer.empty()) {
    ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                     LoadTokenizer(disk, options.tokenizer));
    ASSIGN_OR_RETURN(facts["text"], DecodeWide(*tokenizer, tokens));
  }
  if (options.output == "json") {
    *console.out << facts.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  } else {
    PrintForPeople(facts, *console.out);
  }
  return absl::OkStatus();
}

}  // namespace birkhoff
