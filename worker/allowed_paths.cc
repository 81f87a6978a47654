// The paths of an assignment, against the directories that are allowed.
#include "worker/allowed_paths.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/disk.h"
#include "core/base/printable.h"
#include "core/format/token_file.h"

namespace birkhoff {
namespace {

// Field and path; what is empty is not touched.
using Touched = std::pair<std::string, std::string>;

void AddTokens(const std::string& field, const std::string& path, std::vector<Touched>& touched) {
  if (path.empty()) return;
  const TokenPaths paths = TokenPathsOf(path);
  touched.emplace_back(field, paths.bin);
  touched.emplace_back(field, paths.idx);
}

std::vector<Touched> PathsOf(const Assignment& assignment) {
  const JobSpec& spec = assignment.spec;
  std::vector<Touched> touched = {{"output_directory", assignment.output_directory},
                                  {"checkpoint.directory", spec.checkpoint.directory},
                                  {"init_from", assignment.init_from}};
  for (size_t i = 0; i < spec.data.train.size(); ++i) {
    AddTokens(absl::StrCat("data.train[", i, "]"), spec.data.train[i].path, touched);
  }
  AddTokens("data.validation", spec.data.validation, touched);
  std::erase_if(touched, [](const Touched& one) { return one.second.empty(); });
  return touched;
}

}  // namespace

absl::Status CheckAllowedPaths(const std::vector<std::string>& directories,
                               const Assignment& assignment) {
  if (directories.empty()) return absl::OkStatus();
  std::vector<std::string> outside;
  for (const Touched& touched : PathsOf(assignment)) {
    const bool allowed = std::ranges::any_of(directories, [&](const std::string& directory) {
      return LiesWithin(touched.second, directory);
    });
    if (!allowed) outside.push_back(absl::StrCat(touched.first, ": ", touched.second));
  }
  if (outside.empty()) return absl::OkStatus();
  constexpr size_t kMost = 2048;  // bytes in one message
  return absl::InvalidArgumentError(
      absl::StrCat(Shortened(absl::StrJoin(outside, "; "), kMost),
                   ": outside of what this worker may touch (--allow-path ",
                   Shortened(absl::StrJoin(directories, ", "), kMost), ")"));
}

}  // namespace birkhoff
