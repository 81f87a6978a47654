// Flags of the data verbs.
#include "cli/data/data_program.h"

#include <CLI/CLI.hpp>
#include <limits>

#include "absl/strings/str_cat.h"
#include "cli/command_line.h"
#include "cli/data/inspect.h"
#include "cli/data/text_input.h"
#include "cli/data/tokenize.h"
#include "core/base/status_macros.h"
#include "core/format/tokenizer.h"

namespace birkhoff {
namespace {

struct TrainTokenizerOptions {
  std::vector<std::string> inputs;
  int vocab_size = 8000;
  std::string output;
};

absl::Status TrainTokenizerOnFiles(const TrainTokenizerOptions& options, Disk& disk,
                                   const Console& console) {
  std::vector<std::string> texts;
  ASSIGN_OR_RETURN(const std::vector<std::string> inputs, FilesBelow(options.inputs));
  for (const std::string& input : inputs) {
    ASSIGN_OR_RETURN(const std::unique_ptr<TextInput> text, TextInput::Open(disk, input));
    ASSIGN_OR_RETURN(texts.emplace_back(), text->ReadAll());
  }
  *console.err << "training a SentencePiece model of " << options.vocab_size << " pieces on "
               << texts.size() << " files\n";
  RETURN_IF_ERROR(TrainTokenizer(texts, options.vocab_size, options.output));
  *console.out << options.output << "\n";
  return absl::OkStatus();
}

void AddTokenize(CLI::App& app, TokenizeOptions& options, std::string& format) {
  CLI::App* verb = app.add_subcommand("tokenize", "Make token files from text or JSONL");
  verb->footer("Example: birkhoff data tokenize --input stories.jsonl --jsonl --output data/mine");
  verb->add_option("--input", options.inputs,
                   "Text files, each one document, or folders of them; gzip too")
      ->required();
  CLI::Option* jsonl = verb->add_flag("--jsonl", options.jsonl,
                                      "Inputs hold one JSON object per line, each a document");
  verb->add_option("--field", options.field, "Field of a JSONL object that holds the text")
      ->needs(jsonl);
  verb->add_option("--tokenizer", options.tokenizer, "bytes, or a SentencePiece .model");
  verb->add_option("--output", options.output, "Path of the token file, without extension")
      ->required();
  verb->add_flag("--force", options.force, "Replace token files that are there");
  verb->add_option("--format", format, "megatron (.bin and .idx) or llmc (.bin)")
      ->check(CLI::IsMember({"megatron", "llmc"}));
  verb->add_option("--validation-share", options.validation_share,
                   "Share of the documents that go to OUTPUT-val, drawn whatever their length; the "
                   "rest goes to OUTPUT-train");
}

void AddTrainTokenizer(CLI::App& app, TrainTokenizerOptions& options) {
  CLI::App* verb = app.add_subcommand("train-tokenizer", "Train a SentencePiece model on text");
  verb->footer("Example: birkhoff data train-tokenizer --input FOLDER --output data/mine.model");
  verb->add_option("--input", options.inputs, "Text files")->required();
  verb->add_option("--vocab-size", options.vocab_size, "Pieces of the model")
      ->check(CLI::Range(300, 1000000));
  verb->add_option("--output", options.output, "Path of the .model file")->required();
}

void AddInspect(CLI::App& app, InspectOptions& options) {
  CLI::App* verb = app.add_subcommand("inspect", "Show what a token file holds");
  verb->footer("Example: birkhoff data inspect data/mine-train --tokenizer bytes");
  verb->add_option("path", options.path, "Token file, with or without .bin")->required();
  verb->add_option("--tokenizer", options.tokenizer, "Show the tokens as text too");
  verb->add_option("--vocab-size", options.vocab_size, "Check that every token is below this")
      ->check(CLI::Range(1, std::numeric_limits<int>::max()));
  verb->add_option("--first", options.first, "First token to show");
  verb->add_option("--count", options.count, "Tokens to show");
  verb->add_option("-o,--output", options.output, "json: one JSON object")
      ->check(CLI::IsMember({"json"}));
}

int RunVerb(int argc, const char* const* argv, const Console& console) {
  CLI::App app("Prepare and look at token files.", "birkhoff data");
  TokenizeOptions tokenize;
  TrainTokenizerOptions train;
  InspectOptions inspect;
  std::string format = "megatron";
  PrepareCommandLine(app);
  AddTokenize(app, tokenize, format);
  AddTrainTokenizer(app, train);
  AddInspect(app, inspect);
  if (const std::optional<int> ended = ParseCommandLine(app, argc, argv, console)) return *ended;
  PosixDisk disk;
  if (app.got_subcommand("tokenize")) {
    tokenize.format = format == "llmc" ? TokenFormat::kLlmc : TokenFormat::kMegatron;
    return Finish(console, Tokenize(tokenize, disk, console));
  }
  if (app.got_subcommand("inspect")) return Finish(console, Inspect(inspect, disk, console));
  return Finish(console, TrainTokenizerOnFiles(train, disk, console));
}

}  // namespace

int RunDataProgram(int argc, const char* const* argv, const Console& console) {
  return CloseOutput(console, RunVerb(argc, argv, console));
}

}  // namespace birkhoff
