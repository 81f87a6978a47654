// Flags of generate and eval.
#include "cli/inference/inference_program.h"

#include <CLI/CLI.hpp>

#include "cli/command_line.h"
#include "cli/inference/eval.h"
#include "cli/inference/generate.h"

namespace birkhoff {
namespace {

// What both verbs take.
void AddCommon(CLI::App& verb, std::string& checkpoint, std::string& tokenizer,
               std::string& output) {
  verb.add_option("checkpoint", checkpoint,
                  "An output directory or its checkpoints/ (the newest), or one step-N")
      ->required();
  verb.add_option("--tokenizer", tokenizer,
                  "bytes, the path of a SentencePiece .model, or none (text is numbers of tokens); "
                  "default: what the run has trained with");
  verb.add_option("-o,--output", output, "json: one JSON object")->check(CLI::IsMember({"json"}));
}

void AddGenerateFlags(CLI::App& app, GenerateOptions& options) {
  CLI::App* verb = app.add_subcommand("generate", "Write text with trained weights");
  AddCommon(*verb, options.checkpoint, options.tokenizer, options.output);
  GenerationOptions& generation = options.generation;
  SamplingOptions& sampling = generation.sampling;
  verb->add_option("--prompt", generation.prompt,
                   "What the text goes on from; none: the beginning of a document");
  verb->add_option("--max-tokens", generation.max_tokens,
                   "Tokens to make, unless the text ends before")
      ->check(CLI::PositiveNumber);
  verb->add_option("--temperature", sampling.temperature,
                   "Below 1 likely tokens become likelier; 0: always the likeliest");
  verb->add_option("--top-k", sampling.top_k, "Only the k likeliest tokens; 0: all");
  verb->add_option("--top-p", sampling.top_p,
                   "Only the likeliest tokens that hold this share; 1: all");
  verb->add_option("--seed", sampling.seed, "The same seed writes the same text")
      ->check(CLI::NonNegativeNumber);
  verb->footer("Example: birkhoff generate runs/tiny --prompt \"NAME\" --temperature 0.7");
}

void AddEvalFlags(CLI::App& app, EvalOptions& options) {
  CLI::App* verb = app.add_subcommand("eval", "Measure trained weights: loss, perplexity");
  AddCommon(*verb, options.checkpoint, options.tokenizer, options.output);
  verb->add_option("--data", options.data,
                   "Token file (birkhoff data tokenize); default: the run's validation data");
  verb->add_option("--sequences", options.sequences,
                   "Only so many, in the order of the run's validations; 0: all")
      ->check(CLI::NonNegativeNumber);
  verb->footer("Example: birkhoff eval runs/tiny --data data/mine-val");
}

int RunVerb(int argc, const char* const* argv, const Console& console, bool to_terminal) {
  CLI::App app("Use trained weights, on the CPU.", "birkhoff");
  GenerateOptions generate;
  generate.printable = to_terminal;
  EvalOptions eval;
  PrepareCommandLine(app);
  AddGenerateFlags(app, generate);
  AddEvalFlags(app, eval);
  if (const std::optional<int> ended = ParseCommandLine(app, argc, argv, console)) return *ended;
  PosixDisk disk;
  return Finish(console, app.got_subcommand("eval") ? EvaluateModel(eval, disk, console)
                                                    : GenerateText(generate, disk, console));
}

}  // namespace

int RunInferenceProgram(int argc, const char* const* argv, const Console& console,
                        bool to_terminal) {
  return CloseOutput(console, RunVerb(argc, argv, console, to_terminal));
}

}  // namespace birkhoff
