#include "worker/metrics_file.h"

#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

constexpr char kFile[] = "metrics.jsonl";
constexpr char kStepKey[] = "{\"step\":";

// The step of a whole row; 0 where the line is none.
int64_t StepOfRow(absl::string_view line) {
  if (!absl::StartsWith(line, kStepKey) || !nlohmann::json::accept(line)) return 0;
  line.remove_prefix(sizeof(kStepKey) - 1);
  int64_t step = 0;
  const bool number = absl::SimpleAtoi(line.substr(0, line.find_first_of(",}")), &step);
  return number ? step : 0;
}

}  // namespace

std::string RowsUpTo(const std::string& text, int64_t step) {
  std::map<int64_t, absl::string_view> rows;
  absl::string_view left = text;
  for (size_t newline; (newline = left.find('\n')) != absl::string_view::npos;) {
    const absl::string_view line = left.substr(0, newline);
    left.remove_prefix(newline + 1);
    const int64_t row = StepOfRow(line);
    if (row > 0 && row <= step) rows[row] = line;
  }
  std::string kept;
  for (const auto& [number, line] : rows) absl::StrAppend(&kept, line, "\n");
  return kept;
}

absl::StatusOr<std::unique_ptr<MetricsFile>> MetricsFile::Open(Disk& disk,
                                                               const std::string& directory,
                                                               int64_t step) {
  RETURN_IF_ERROR(disk.CreateDirectories(directory));
  const std::string path = absl::StrCat(directory, "/", kFile);
  std::string text;
  if (disk.Exists(path)) {
    ASSIGN_OR_RETURN(text, disk.Read(path));
  }
  RETURN_IF_ERROR(ReplaceFile(disk, path, RowsUpTo(text, step)));
  ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file, disk.OpenAppend(path));
  return std::unique_ptr<MetricsFile>(new MetricsFile(disk, path, std::move(file)));
}

absl::Status MetricsFile::Append(const StepReport& report, bool durable) {
  RETURN_IF_ERROR(file_->Append(absl::StrCat(StepReportToJson(report), "\n")));
  return durable ? file_->Sync() : absl::OkStatus();
}

}  // namespace birkhoff
