// What is half written, or not there yet, is left out: a run may go on while it is read.
#include "cli/run_directory.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "cli/service_client.h"
#include "cli/spec_file.h"
#include "coordinator/page/figure.h"
#include "core/base/status_macros.h"
#include "core/spec/load.h"

namespace birkhoff {
namespace {

// Empty where there is no such file yet.
absl::StatusOr<std::string> ReadIfThere(Disk& disk, const std::string& path) {
  if (!disk.Exists(path)) return std::string();
  return disk.Read(path);
}

absl::StatusOr<std::string> DirectoryOf(Disk& disk, const std::string& word,
                                        const Invocation& invocation) {
  if (disk.KindOf(word) != FileKind::kNone) return AbsolutePath(word);
  const absl::StatusOr<ServiceClient> client = ServiceClient::Connect(invocation.server);
  const absl::StatusOr<v1::Job> job =
      client.ok() ? client->Get(JobName(word)) : absl::StatusOr<v1::Job>(client.status());
  if (job.ok()) return job->output_directory();
  return absl::NotFoundError(absl::StrCat(
      word, ": is neither a directory nor a job: ", std::string(job.status().message())));
}

// As short as tells them apart: the last name, with a number where another run has it.
std::string UniqueName(const std::string& directory, std::set<std::string>* taken) {
  const std::string path(absl::StripSuffix(directory, "/"));
  const std::string last = path.substr(path.rfind('/') + 1);
  std::string name = last;
  for (int i = 2; !taken->insert(FigureId(name)).second; ++i) name = absl::StrCat(last, "-", i);
  return name;
}

}  // namespace

absl::StatusOr<RunSeries> ReadRunDirectory(Disk& disk, const std::string& directory) {
  const std::string job_path = directory + "/job.yaml";
  if (!disk.Exists(job_path)) {
    return absl::NotFoundError(
        absl::StrCat(directory, ": has no job.yaml; need an output directory of a run"));
  }
  ASSIGN_OR_RETURN(const std::string yaml, disk.Read(job_path));
  std::vector<Problem> problems;
  RunSeries run;
  run.directory = directory;
  run.spec = LoadJobSpec(yaml, {}, &problems);
  if (!problems.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(job_path, ": is damaged: ", ProblemToString(problems[0])));
  }
  ASSIGN_OR_RETURN(const std::string rows, ReadIfThere(disk, directory + "/metrics.jsonl"));
  AddRows(rows, &run);
  ASSIGN_OR_RETURN(const std::string matrices, ReadIfThere(disk, directory + "/matrices.json"));
  run.matrices = ParseMatrices(matrices);
  ASSIGN_OR_RETURN(const std::string trace, ReadIfThere(disk, directory + "/trace.json"));
  run.trace = ParseTrace(trace);
  return run;
}

absl::StatusOr<std::vector<RunSeries>> ReadRuns(Disk& disk, const std::vector<std::string>& words,
                                                const Invocation& invocation) {
  if (words.empty()) return absl::InvalidArgumentError("need a directory, or a job");
  std::vector<RunSeries> runs;
  std::set<std::string> names;
  for (const std::string& word : words) {
    ASSIGN_OR_RETURN(const std::string directory, DirectoryOf(disk, word, invocation));
    ASSIGN_OR_RETURN(RunSeries run, ReadRunDirectory(disk, directory));
    run.name = UniqueName(directory, &names);
    runs.push_back(std::move(run));
  }
  LabelRuns(&runs);
  return runs;
}

}  // namespace birkhoff
