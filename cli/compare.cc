// birkhoff compare SPEC: residual kinds on the same data and initial bits, as one report.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/comparison.h"
#include "cli/comparison_result.h"
#include "cli/comparison_run.h"
#include "cli/report.h"
#include "cli/run_directory.h"
#include "cli/spec_flags.h"
#include "coordinator/page/run_figures.h"
#include "core/base/status_macros.h"
#include "core/spec/validate.h"

namespace birkhoff {
namespace {

struct CompareOptions {
  SpecFile file;
  std::vector<std::string> residuals = {"residual", "wider", "hc", "mhc"};
  int num_seeds = 1;
  std::vector<std::string> sweeps;
  int num_workers = 0;  // 0: as many as there are cores
  int threads = 0;      // of each; 0: the cores over them
  bool fresh = false;
  ReportOutput report;  // but for its path
  std::string out;
};

// The base spec under overrides.  What many variants share is looked at and said once.
class VariantReader {
 public:
  // Both must outlive it.
  VariantReader(const SpecFile& file, const Invocation& invocation)
      : file_(file), invocation_(invocation) {}

  absl::StatusOr<JobSpec> Read(const std::vector<std::string>& overrides) {
    SpecFile varied = file_;
    varied.overrides.insert(varied.overrides.end(), overrides.begin(), overrides.end());
    varied.skip_tokens = true;
    PosixDisk disk;
    JobSpec spec;
    std::vector<Problem> problems = ReadSpecFile(varied, disk, &spec);
    if (problems.empty() && checked_.insert(TokensOf(spec)).second) {
      problems = CheckTokenFiles(spec);
    }
    if (!problems.empty()) return Explain(varied, problems, invocation_);
    std::vector<std::string> notices = SpecNotices(spec);
    notices.push_back(ValidationNotice(spec));
    for (const std::string& notice : notices) {
      if (notice.empty() || !said_.insert(notice).second) continue;
      *invocation_.console.err << file_.ShownPath() << ": " << notice << "\n";
    }
    return spec;
  }

 private:
  // All that a check of the token files depends on.
  static std::string TokensOf(const JobSpec& spec) {
    std::string key = absl::StrCat(spec.model.vocab_size, " ", spec.training.sequence_length, "\n",
                                   spec.data.validation);
    for (const WeightedPath& source : spec.data.train) absl::StrAppend(&key, "\n", source.path);
    return key;
  }

  const SpecFile& file_;
  const Invocation& invocation_;
  std::set<std::string> checked_;
  std::set<std::string> said_;
};

// What "wider" needs: as many parameters as mHC has under the same sweeps.
absl::Status Widen(VariantReader& reader, Variant* variant) {
  std::vector<std::string> target = variant->overrides;
  target.push_back("model.residual.kind=mhc");
  ASSIGN_OR_RETURN(const JobSpec plain, reader.Read(variant->overrides));
  ASSIGN_OR_RETURN(const JobSpec mhc, reader.Read(target));
  for (std::string& text : WiderOverrides(plain.model, mhc.model)) {
    variant->overrides.push_back(std::move(text));
  }
  return absl::OkStatus();
}

absl::StatusOr<ComparisonResult> PlanComparison(const CompareOptions& options, const JobSpec& base,
                                                VariantReader& reader) {
  ComparisonResult result;
  for (const std::string& text : options.sweeps) {
    ASSIGN_OR_RETURN(result.sweeps.emplace_back(), ParseSweep(text));
  }
  for (const std::string& residual : options.residuals) {
    RETURN_IF_ERROR(ResidualOverrides(residual).status());
  }
  result.name = base.name;
  result.variants = MakeVariants(base, options.residuals, result.sweeps, options.num_seeds);
  std::set<std::string> names;
  for (Variant& variant : result.variants) {
    if (!names.insert(variant.name).second) {
      return absl::InvalidArgumentError(absl::StrCat("two runs would be called ", variant.name,
                                                     "; name each kind and each value once"));
    }
    if (variant.residual == kWider) RETURN_IF_ERROR(Widen(reader, &variant));
    ComparedRun& run = result.runs.emplace_back();
    run.name = variant.name;
    ASSIGN_OR_RETURN(run.spec, reader.Read(variant.overrides));
    run.spec.name = VariantJobName(base.name, variant);
    run.spec.checkpoint.directory.clear();  // each has its own
    run.directory = absl::StrCat(options.out, "/runs/", run.name);
  }
  return result;
}

int NumWorkers(const CompareOptions& options, const ComparisonResult& result) {
  int needed = 1;
  for (const ComparedRun& run : result.runs) needed = std::max(needed, NumRanks(run.spec));
  const int wanted = options.num_workers > 0
                         ? options.num_workers
                         : static_cast<int>(std::thread::hardware_concurrency());
  return std::max(needed, wanted);
}

absl::Status Train(const CompareOptions& options, const Invocation& invocation,
                   ComparisonResult* result) {
  const SystemClock clock;
  PosixDisk disk;
  ShutdownSignals signals;
  RETURN_IF_ERROR(disk.CreateDirectories(options.out));
  ComparisonRun run({.worker_program = invocation.console.program_directory + "/birkhoff-worker",
                     .directory = options.out,
                     .num_workers = NumWorkers(options, *result),
                     .threads = options.threads,
                     .fresh = options.fresh},
                    clock, disk, signals, invocation.console);
  return run.Run(&result->runs);
}

absl::Status Write(const CompareOptions& options, const Invocation& invocation,
                   ComparisonResult* result) {
  PosixDisk disk;
  for (const ComparedRun& run : result->runs) {
    ASSIGN_OR_RETURN(result->series.emplace_back(), ReadRunDirectory(disk, run.directory));
    result->series.back().name = run.name;
  }
  LabelVariants(*result, {}, &result->series);
  const std::string json = ComparisonToJson(*result).dump(2) + "\n";
  RETURN_IF_ERROR(ReplaceFile(disk, options.out + "/compare.json", json));
  if (invocation.output == "json") *invocation.console.out << json;
  Report report;
  report.title = absl::StrCat(result->name, ": ", absl::StrJoin(options.residuals, ", "));
  report.words =
      "The same data in the same order for all; the same initial weights for each seed, but for "
      "those that only one kind has, or that are wider.";
  report.runs = result->series;
  report.figures = ComparisonFigures(*result);
  for (Json& figure : RunFigures(ListOf(report.runs))) report.figures.push_back(std::move(figure));
  ReportOutput output = options.report;
  output.path = options.out + "/report.html";
  return WriteReport(report, output, invocation);
}

// The worst of what the runs say, but for numerics: that a kind diverges is a result.
ExitCode CodeOf(const ComparisonResult& result) {
  for (const ComparedRun& run : result.runs) {
    if (run.exit_code != ExitCode::kDone && run.exit_code != ExitCode::kNumerics) {
      return run.exit_code;
    }
  }
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> Compare(CompareOptions options, const Invocation& invocation) {
  PosixDisk disk;
  options.file.in = invocation.console.in;
  KeepText(disk, &options.file);
  VariantReader reader(options.file, invocation);
  ASSIGN_OR_RETURN(const JobSpec base, reader.Read({}));
  options.out = AbsolutePath(options.out.empty() ? absl::StrCat("runs/", base.name, "-compare")
                                                 : options.out);
  ASSIGN_OR_RETURN(ComparisonResult result, PlanComparison(options, base, reader));
  RETURN_IF_ERROR(Train(options, invocation, &result));
  const ExitCode code = CodeOf(result);
  if (code == ExitCode::kStopped) {
    *invocation.console.err << "to go on: the same command again\n";
    return code;
  }
  RETURN_IF_ERROR(Write(options, invocation, &result));
  return code;
}

}  // namespace

void AddCompare(CLI::App& verb, Invocation& invocation) {
  auto options = std::make_shared<CompareOptions>();
  AddSpecFlags(verb, &options->file);
  verb.add_option("--residual", options->residuals,
                  "With commas: residual, hc, mhc; wider: the plain residual with the parameters "
                  "of mhc; hc-no-post, hc-no-pre-no-post, ...: what is named is not learned")
      ->delimiter(',')
      ->capture_default_str();
  verb.add_option("--seeds", options->num_seeds, "Seeds of the weights, from training.seed on")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  verb.add_option("--sweep", options->sweeps,
                  "PATH=A,B,C: each kind with each of these values; also several times")
      ->take_all()
      ->allow_extra_args(false);
  verb.add_option("--workers", options->num_workers,
                  "Local workers: so many ranks run at once; 0: as many as there are cores")
      ->check(CLI::Range(0, 1024));
  verb.add_option("--threads", options->threads,
                  "Of each worker on the CPU; default the cores over the workers")
      ->check(CLI::Range(1, 1024));
  verb.add_option("--out", options->out, "Output directory; runs/NAME-compare where not given");
  verb.add_flag("--fresh", options->fresh, "Start over: forget what the directory holds");
  verb.add_option("--pictures", options->report.pictures,
                  "Also one PNG per figure in this directory, by chromium");
  verb.add_flag("--open", options->report.open, "Open the report in the desktop's browser");
  verb.callback([options, &invocation] {
    invocation.chosen = [options, &invocation] {
      const absl::StatusOr<ExitCode> code = Compare(*options, invocation);
      return code.ok() ? static_cast<int>(*code) : Finish(invocation.console, code.status());
    };
  });
}

}  // namespace birkhoff
