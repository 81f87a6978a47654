// The token-mean composite matrices of one step: OUT/matrices.json, for figure 8 of the paper
// (arXiv 2512.24880).  docs/formats.md has the keys.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "core/base/disk.h"
#include "core/spec/step_share.h"

namespace birkhoff {

// `all`: the shares of all ranks, back to back; `tokens`: rows of the step over all replicas.
std::string MatricesToJson(const ShareLayout& layout, std::span<const double> all, int64_t tokens,
                           int64_t step);

// Replaces OUT/matrices.json.
absl::Status WriteMatrices(Disk& disk, const std::string& directory, const std::string& json);

}  // namespace birkhoff
