// Exit codes and numbers for people.
#include "cli/console.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "core/base/printable.h"

namespace birkhoff {
namespace {

std::string Scaled(double value, const char* unit) {
  static constexpr const char* kPrefixes[] = {"", "k", "M", "G", "T", "P"};
  size_t prefix = 0;
  while (std::abs(value) >= 999.5 && prefix + 1 < std::size(kPrefixes)) {
    value /= 1000.0;
    ++prefix;
  }
  const int digits = prefix == 0 || std::abs(value) >= 99.95 ? 0 : std::abs(value) >= 9.995 ? 1 : 2;
  return absl::StrFormat("%.*f %s%s", digits, value, kPrefixes[prefix], unit);
}

}  // namespace

int Finish(const Console& console, const absl::Status& status) {
  if (!status.ok())
    *console.err << "birkhoff: " << PrintableLines(std::string(status.message())) << "\n";
  return static_cast<int>(ExitCodeOf(status));
}

int CloseOutput(const Console& console, int code) {
  console.out->flush();
  if (console.out->good()) return code;
  return Finish(console, absl::ResourceExhaustedError(
                             "the standard output cannot be written: what stands there is cut"));
}

// A quote inside leaves the quotes and comes back.
std::string ShellWord(const std::string& text) {
  const auto plain = [](char c) {
    return absl::ascii_isalnum(c) || absl::StrContains("%+,-./:=@_", c);
  };
  if (!text.empty() && std::ranges::all_of(text, plain)) return text;
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

std::string ShortCount(double value) {
  std::string text = Scaled(value, "");
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

std::string ShortBytes(double bytes) { return Scaled(bytes, "B"); }

std::string ShortDuration(double seconds) {
  const int64_t whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 60) return absl::StrCat(whole, " s");
  if (whole < 3600) return absl::StrFormat("%dm %02ds", whole / 60, whole % 60);
  return absl::StrFormat("%dh %02dm", whole / 3600, whole % 3600 / 60);
}

}  // namespace birkhoff
