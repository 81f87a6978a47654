// Whatever is wrong with the file is the user's to mend: one kind of error.
#include "cli/card_file.h"

#include "absl/strings/str_cat.h"

namespace birkhoff {

absl::StatusOr<CardRates> ReadCardFile(Disk& disk, const std::string& path) {
  const absl::StatusOr<std::string> text = disk.Read(path);
  if (!text.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--card: ", text.status().message()));
  }
  const absl::StatusOr<CardRates> rates = CardRatesFromText(*text);
  if (rates.ok()) return rates;
  return absl::InvalidArgumentError(absl::StrCat("--card: ", path, ": ", rates.status().message()));
}

}  // namespace birkhoff
