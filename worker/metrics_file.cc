#include "worker/metrics_file.h"

#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

constexpr char kFile[] = "metrics.jsonl";
constexpr char kStepKey[] = "{\"step\":";

// The step of a whole row; 0 where the line is none.
int64_t StepOfRow(const std::string& line) {
  if (!absl::StartsWith(line, kStepKey) || line.back() != '}') return 0;
  return std::strtoll(line.c_str() + sizeof(kStepKey) - 1, nullptr, 10);
}

}  // namespace

std::string RowsUpTo(const std::string& text, int64_t step) {
  size_t end = 0;
  int64_t last = 0;
  while (true) {
    const size_t newline = text.find('\n', end);
    if (newline == std::string::npos) break;
    const int64_t row = StepOfRow(text.substr(end, newline - end));
    if (row <= last || row > step) break;
    last = row;
    end = newline + 1;
  }
  return text.substr(0, end);
}

absl::StatusOr<std::unique_ptr<MetricsFile>> MetricsFile::Open(Disk& disk,
                                                               const std::string& directory,
                                                               int64_t step) {
  RETURN_IF_ERROR(disk.CreateDirectories(directory));
  const std::string path = absl::StrCat(directory, "/", kFile);
  std::string text, kept;
  if (disk.Exists(path)) {
    ASSIGN_OR_RETURN(text, disk.Read(path));
    kept = RowsUpTo(text, step);
  }
  if (!disk.Exists(path) || kept != text) RETURN_IF_ERROR(ReplaceFile(disk, path, kept));
  ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file, disk.OpenAppend(path));
  return std::unique_ptr<MetricsFile>(new MetricsFile(std::move(file)));
}

absl::Status MetricsFile::Append(const StepReport& report, bool durable) {
  RETURN_IF_ERROR(file_->Append(absl::StrCat(StepReportToJson(report), "\n")));
  return durable ? file_->Sync() : absl::OkStatus();
}

}  // namespace birkhoff
