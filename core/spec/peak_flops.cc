// A table, searched from the top by the words of the driver's name: variants stand above a model.
#include "core/spec/peak_flops.h"

#include <set>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace birkhoff {
namespace {

// From the data sheets of NVIDIA, 2020 to 2025; where those give sparse figures, half of them.
struct Card {
  const char* model;    // a word of its name
  const char* variant;  // another one; empty: any that no line above has
  double bf16;
  double fp32;
};
constexpr Card kCards[] = {
    {"A100", "", 312e12, 19.5e12},     {"A800", "", 312e12, 19.5e12},
    {"H100", "PCIE", 756e12, 51.2e12}, {"H100", "HBM2E", 756e12, 51.2e12},
    {"H100", "NVL", 835.5e12, 60e12},  {"H100", "", 989.4e12, 66.9e12},
    {"H800", "PCIE", 756e12, 51.2e12}, {"H800", "", 989.4e12, 66.9e12},
    {"H200", "NVL", 835.5e12, 60e12},  {"H200", "", 989.4e12, 66.9e12},
    {"GH200", "", 989.4e12, 66.9e12},  {"H20", "", 148e12, 44e12},
    {"GB200", "", 2500e12, 80e12},     {"B200", "", 2250e12, 75e12},
    {"L40S", "", 362e12, 91.6e12},     {"L4", "", 121e12, 30.3e12},
};

}  // namespace

double PeakFlops(std::string_view card, Precision precision) {
  std::set<std::string> words;
  const std::string name(card);
  for (const absl::string_view word : absl::StrSplit(name, absl::ByAnyChar(" -"))) {
    words.insert(absl::AsciiStrToUpper(word));
  }
  const auto has = [&words](const char* word) { return words.contains(word); };
  if (has("MIG")) return 0.0;
  for (const Card& known : kCards) {
    if (!has(known.model) || (*known.variant != '\0' && !has(known.variant))) continue;
    if (precision == Precision::kBf16) return known.bf16;
    return precision == Precision::kFp32 ? known.fp32 : 0.0;
  }
  return 0.0;
}

}  // namespace birkhoff
