// The grammar of a worker's name; all else about workers is plain data.
#include "core/spec/cluster.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace birkhoff {

bool IsWorkerName(std::string_view name) {
  constexpr std::string_view kPrefix = "workers/";
  constexpr size_t kLongest = 253;
  if (!name.starts_with(kPrefix)) return false;
  name.remove_prefix(kPrefix.size());
  const auto edge = [](char c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)); };
  return !name.empty() && name.size() <= kLongest && edge(name.front()) && edge(name.back()) &&
         std::ranges::all_of(name,
                             [&](char c) { return edge(c) || c == '-' || c == '_' || c == '.'; });
}

}  // namespace birkhoff
