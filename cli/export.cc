// birkhoff export metrics: the history of runs in the files that others read.
#include <CLI/CLI.hpp>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/run_directory.h"
#include "cli/tensorboard_file.h"
#include "core/base/disk.h"
#include "core/base/status_macros.h"
#include "core/spec/field.h"

namespace birkhoff {
namespace {

struct ExportOptions {
  std::vector<std::string> runs;
  std::string to;
  std::string out;
};

// A name of one number per row: a key, or a key and a sub-layer.
struct Cell {
  std::string key;
  int sublayer = -1;  // -1: of the step
};

double ValueOf(const RunSeries& run, const Cell& cell, size_t row) {
  if (cell.sublayer < 0) {
    const auto column = run.columns.find(cell.key);
    return column == run.columns.end() ? NAN : column->second[row];
  }
  const auto column = run.depth_columns.find(cell.key);
  if (column == run.depth_columns.end()) return NAN;
  const std::vector<double>& values = column->second[row];
  return static_cast<size_t>(cell.sublayer) < values.size() ? values[cell.sublayer] : NAN;
}

// Of all runs: the keys of steps in the order of their names, then those of sub-layers.
std::vector<Cell> AllCells(const std::vector<RunSeries>& runs) {
  std::set<std::string> keys;
  std::map<std::string, size_t> depths;
  for (const RunSeries& run : runs) {
    for (const auto& [key, column] : run.columns) keys.insert(key);
    for (const auto& [key, column] : run.depth_columns) {
      for (const auto& row : column) depths[key] = std::max(depths[key], row.size());
    }
  }
  std::vector<Cell> cells;
  for (const std::string& key : keys) cells.push_back({key});
  for (const auto& [key, depth] : depths) {
    for (size_t l = 0; l < depth; ++l) cells.push_back({key, static_cast<int>(l)});
  }
  return cells;
}

// "loss", "gain_forward_by_sublayer/07": in the order of sub-layers also where names are sorted.
std::string NameOf(const Cell& cell) {
  if (cell.sublayer < 0) return cell.key;
  return absl::StrFormat("%s/%02d", cell.key, cell.sublayer);
}

// In quotes where a reader would take it apart.
std::string CsvWord(const std::string& word) {
  if (word.find_first_of(",\"\r\n") == std::string::npos) return word;
  std::string quoted = "\"";
  for (const char c : word) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::string ToCsv(const std::vector<RunSeries>& runs) {
  const std::vector<Cell> cells = AllCells(runs);
  std::string csv = "run,step";
  for (const Cell& cell : cells) absl::StrAppend(&csv, ",", NameOf(cell));
  csv += "\n";
  for (const RunSeries& run : runs) {
    for (size_t row = 0; row < run.steps.size(); ++row) {
      absl::StrAppend(&csv, CsvWord(run.name), ",", static_cast<int64_t>(run.steps[row]));
      for (const Cell& cell : cells) {
        const double value = ValueOf(run, cell, row);
        absl::StrAppend(&csv, ",", std::isfinite(value) ? ShortestNumber(value) : "");
      }
      csv += "\n";
    }
  }
  return csv;
}

std::string ToTensorboard(const RunSeries& run) {
  const std::vector<Cell> cells = AllCells({run});
  TensorboardFile file;
  double seconds = 0.0;
  for (size_t row = 0; row < run.steps.size(); ++row) {
    const double step_seconds = ValueOf(run, {"step_seconds"}, row);
    if (std::isfinite(step_seconds)) seconds += step_seconds;
    std::vector<std::pair<std::string, float>> values;
    for (const Cell& cell : cells) {
      const double value = ValueOf(run, cell, row);
      if (std::isfinite(value)) values.emplace_back(NameOf(cell), static_cast<float>(value));
    }
    file.Add(static_cast<int64_t>(run.steps[row]), seconds, values);
  }
  return file.bytes();
}

absl::Status WriteTensorboard(Disk& disk, const std::vector<RunSeries>& runs,
                              const std::string& out, const Invocation& invocation) {
  for (const RunSeries& run : runs) {
    const std::string folder = absl::StrCat(out, "/", run.name);
    RETURN_IF_ERROR(disk.CreateDirectories(folder));
    // "tfevents" in the name is what TensorBoard looks for.
    RETURN_IF_ERROR(
        ReplaceFile(disk, folder + "/events.out.tfevents.0.birkhoff", ToTensorboard(run)));
  }
  *invocation.console.err << "tensorboard --logdir " << out << "\n";
  return absl::OkStatus();
}

absl::Status ExportMetrics(const ExportOptions& options, const Invocation& invocation) {
  PosixDisk disk;
  ASSIGN_OR_RETURN(const std::vector<RunSeries> runs, ReadRuns(disk, options.runs, invocation));
  if (options.to == "tensorboard") {
    return WriteTensorboard(disk, runs, options.out.empty() ? "tensorboard" : options.out,
                            invocation);
  }
  if (!options.out.empty()) return ReplaceFile(disk, options.out, ToCsv(runs));
  *invocation.console.out << ToCsv(runs);
  return absl::OkStatus();
}

}  // namespace

void AddExport(CLI::App& verb, Invocation& invocation) {
  verb.require_subcommand(1);
  CLI::App* metrics = verb.add_subcommand("metrics", "The rows of metrics.jsonl in another format");
  auto options = std::make_shared<ExportOptions>();
  metrics->add_option("runs", options->runs, "Output directories, or jobs of a service")
      ->required();
  metrics->add_option("--to", options->to, "csv, or tensorboard: one folder of events per run")
      ->required()
      ->check(CLI::IsMember({"csv", "tensorboard"}));
  metrics->add_option("--out", options->out,
                      "csv: the file, else standard output; tensorboard: the log directory");
  metrics->callback([options, &invocation] {
    invocation.chosen = [options, &invocation] {
      return Finish(invocation.console, ExportMetrics(*options, invocation));
    };
  });
}

}  // namespace birkhoff
