// The table of verbs, and subcommands made of it.
#include "cli/verbs.h"

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "cli/hand_over.h"

namespace birkhoff {
namespace {

constexpr char kHere[] = "On this machine";
constexpr char kService[] = "With a coordinator (birkhoffd)";
constexpr char kOther[] = "Other";

constexpr Verb kVerbs[] = {
    {kHere, "run", "Train a job on this machine",
     "birkhoff run configs/tiny.yaml --set training.steps=20 --out runs/short", AddRun},
    {kHere, "validate", "Say everything that is wrong with a job file",
     "birkhoff validate configs/tiny.yaml --set optimizer.lr=1e-3", AddValidate},
    {kHere, "plan", "Show partition, schedule and memory of a job",
     "birkhoff plan configs/tiny.yaml --set parallelism.pipeline_parallel_degree=4", AddPlan},
    {kHere, "explain", "Explain fields of the job file", "birkhoff explain model.residual",
     AddExplain},
    {kHere, "data", "tokenize, train-tokenizer, inspect: prepare and look at token files",
     "birkhoff data tokenize --input notes/ --output data/notes --validation-share 0.05",
     AddOtherProgram},
    {kHere, "generate", "Write text with trained weights",
     "birkhoff generate runs/tiny --prompt NAME --temperature 0.7", AddOtherProgram},
    {kHere, "eval", "Measure trained weights: loss, perplexity",
     "birkhoff eval runs/tiny --data data/notes-val", AddOtherProgram},
    {kHere, "report", "Make a page of figures from runs",
     "birkhoff report runs/first runs/first-hc --out runs/first.html", AddReport},
    {kHere, "compare", "Train residual kinds side by side and report",
     "birkhoff compare configs/tiny.yaml --seeds 3", AddCompare},
    {kHere, "export", "Write metrics in a format that others read",
     "birkhoff export metrics runs/first --to tensorboard", AddExport},
    {kService, "submit", "Hand a job to a coordinator", "birkhoff submit configs/tiny.yaml --watch",
     AddSubmit},
    {kService, "watch", "Follow a job; exits with the job's exit code", "birkhoff watch tiny",
     AddWatch},
    {kService, "list", "List the jobs of a coordinator", "birkhoff list -o wide", AddList},
    {kService, "get", "Show one job", "birkhoff get tiny -o yaml", AddGet},
    {kService, "cancel", "End a job at a committed checkpoint", "birkhoff cancel tiny", AddCancel},
    {kService, "workers", "List the workers of a coordinator", "birkhoff workers", AddWorkers},
    {kOther, "version", "Print the version, and the devices that are found",
     "birkhoff version -o json", AddVersion},
    {kOther, "completion", "Print what makes a shell complete verbs, flags and fields",
     "birkhoff completion bash > ~/.local/share/bash-completion/completions/birkhoff",
     AddCompletion},
    {kOther, "help", "Show the help of a verb", "birkhoff help run", AddHelp},
};

}  // namespace

std::span<const Verb> Verbs() { return kVerbs; }

void AddVerbs(CLI::App& app, Invocation& invocation) {
  for (const Verb& row : Verbs()) {
    CLI::App* verb = app.add_subcommand(row.name, row.summary);
    verb->group(row.group);
    verb->footer(absl::StrCat("Example: ", row.example));
    row.add(*verb, invocation);
  }
}

}  // namespace birkhoff
