// Rows wait in memory until an append has taken them.  After an error the file is given up and made
// anew of its whole rows, since half a row may stand at its end.
#include "worker/metrics_file.h"

#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

constexpr char kFile[] = "metrics.jsonl";
constexpr char kStepKey[] = "{\"step\":";
constexpr size_t kMostWaiting = size_t{64} << 20;

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

absl::StatusOr<std::unique_ptr<MetricsFile>> MetricsFile::Open(
    Disk& disk, const std::string& directory, int64_t step,
    std::function<absl::Status()> may_replace) {
  std::unique_ptr<MetricsFile> file(new MetricsFile(disk, directory, step, std::move(may_replace)));
  absl::MutexLock lock(&file->mutex_);
  RETURN_IF_ERROR(file->Reopen());
  return file;
}

MetricsFile::MetricsFile(Disk& disk, std::string directory, int64_t step,
                         std::function<absl::Status()> may_replace)
    : disk_(disk),
      directory_(std::move(directory)),
      may_replace_(std::move(may_replace)),
      written_step_(step),
      appended_step_(step) {}

absl::Status MetricsFile::Reopen() {
  if (may_replace_) RETURN_IF_ERROR(may_replace_());
  RETURN_IF_ERROR(disk_.CreateDirectories(directory_));
  const std::string path = absl::StrCat(directory_, "/", kFile);
  std::string text;
  if (disk_.Exists(path)) {
    ASSIGN_OR_RETURN(text, disk_.Read(path));
  }
  RETURN_IF_ERROR(ReplaceFile(disk_, path, RowsUpTo(text, written_step_)));
  ASSIGN_OR_RETURN(file_, disk_.OpenAppend(path));
  return absl::OkStatus();
}

absl::Status MetricsFile::Write() {
  if (file_ == nullptr) RETURN_IF_ERROR(Reopen());
  if (waiting_.empty()) return absl::OkStatus();
  const absl::Status status = file_->Append(waiting_);
  if (!status.ok()) {
    file_ = nullptr;
    return status;
  }
  written_step_ = appended_step_;
  waiting_.clear();
  return absl::OkStatus();
}

bool MetricsFile::Removed() {
  absl::MutexLock lock(&mutex_);
  if (file_ == nullptr || disk_.Exists(absl::StrCat(directory_, "/", kFile))) return false;
  file_ = nullptr;
  return true;
}

absl::Status MetricsFile::Append(const StepReport& report, absl::Time time) {
  absl::MutexLock lock(&mutex_);
  absl::StrAppend(&waiting_, StepRowToJson(report, time), "\n");
  appended_step_ = report.step;
  const absl::Status status = Write();
  return MayPass(status) && waiting_.size() < kMostWaiting ? absl::OkStatus() : status;
}

absl::Status MetricsFile::Flush() {
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Write());
  const absl::Status status = file_->Sync();
  if (!status.ok()) file_ = nullptr;  // nobody knows which bytes are safe: a new file is
  return status;
}

}  // namespace birkhoff
