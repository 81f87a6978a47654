// A card file (docs/calibration.md) as the verbs read it.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "core/base/disk.h"
#include "core/spec/card_rates.h"

namespace birkhoff {

// Errors: INVALID_ARGUMENT it cannot be read, or is no card file; with the path.
absl::StatusOr<CardRates> ReadCardFile(Disk& disk, const std::string& path);

}  // namespace birkhoff
