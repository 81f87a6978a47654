// One line for each problem, in the order of their names: the same choices, the same bytes.
#include "kernels/gemm_choices.h"

#include <cstdio>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace birkhoff {
namespace {

constexpr char kLibrary[] = "products: ", kProblem[] = "product: ", kIs[] = " = ";

bool ParseChoice(const std::string& text, GemmChoice* choice) {
  auto& a = choice->algorithm;
  unsigned long long words[8] = {};
  int length = -1;
  const int found =
      std::sscanf(text.c_str(),
                  "%16llx %16llx %16llx %16llx %16llx %16llx %16llx %16llx, %lf us, first %lf us%n",
                  &words[0], &words[1], &words[2], &words[3], &words[4], &words[5], &words[6],
                  &words[7], &choice->us, &choice->first_us, &length);
  for (size_t i = 0; i < a.size(); ++i) a[i] = words[i];
  return found == 10 && length == static_cast<int>(text.size());
}

}  // namespace

std::string GemmChoicesToText(const GemmChoices& choices) {
  if (choices.by_problem.empty()) return "";
  std::string text = absl::StrCat(kLibrary, choices.library, "\n");
  for (const auto& [problem, choice] : choices.by_problem) {
    absl::StrAppend(&text, kProblem, problem, kIs);
    for (size_t i = 0; i < choice.algorithm.size(); ++i) {
      absl::StrAppendFormat(&text, "%s%016x", i == 0 ? "" : " ", choice.algorithm[i]);
    }
    absl::StrAppendFormat(&text, ", %.2f us, first %.2f us\n", choice.us, choice.first_us);
  }
  return text;
}

absl::StatusOr<GemmChoices> GemmChoicesFromText(const std::string& text) {
  GemmChoices choices;
  for (const absl::string_view whole : absl::StrSplit(text, '\n')) {
    absl::string_view line = whole;
    if (absl::ConsumePrefix(&line, kLibrary)) {
      choices.library = std::string(line);
    } else if (absl::ConsumePrefix(&line, kProblem)) {
      const size_t is = line.find(kIs);
      GemmChoice choice;
      if (is == absl::string_view::npos || choices.library.empty() ||
          !ParseChoice(std::string(line.substr(is + sizeof(kIs) - 1)), &choice)) {
        return absl::InvalidArgumentError(absl::StrCat("no line of a product: ", whole));
      }
      choices.by_problem[std::string(line.substr(0, is))] = choice;
    }
  }
  return choices;
}

}  // namespace birkhoff
