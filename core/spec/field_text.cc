// The table of fields in words: allowed values, values, suggestions, explanations.
#include <algorithm>
#include <charconv>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/nearest.h"
#include "core/base/overloaded.h"
#include "core/spec/field.h"
#include "core/spec/load.h"

namespace birkhoff {
namespace {

std::string IntegerRange(int64_t min, int64_t max) {
  if (max == std::numeric_limits<int64_t>::max()) {
    return absl::StrCat("a whole number from ", min, " on");
  }
  return absl::StrCat("a whole number from ", min, " to ", max);
}

std::string RealRange(const RealField& field) {
  const std::string low = absl::StrCat(field.open ? "above " : "from ", ShortestNumber(field.min));
  if (field.max == std::numeric_limits<double>::max()) {
    return absl::StrCat("a finite number ", low, field.open ? "" : " on");
  }
  return absl::StrCat("a finite number ", low, field.open ? " and up to " : " to ",
                      ShortestNumber(field.max));
}

// Plain where YAML would read it back as the same text, else double-quoted.
std::string YamlText(const std::string& text) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '.' || c == '/' || c == '-';
  };
  static constexpr std::string_view kWords[] = {"true", "false", "null", "yes", "no",
                                                "on",   "off",   "y",    "n"};
  const bool word = std::ranges::count(kWords, absl::AsciiStrToLower(text)) > 0;
  if (!text.empty() && (std::isalpha(static_cast<unsigned char>(text[0])) || text[0] == '/') &&
      std::all_of(text.begin(), text.end(), plain) && !word) {
    return text;
  }
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      absl::StrAppend(&quoted, "\\x", absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string YamlList(const std::vector<double>& values) {
  return absl::StrCat(
      "[",
      absl::StrJoin(values, ", ",
                    [](std::string* out, double value) { out->append(ShortestNumber(value)); }),
      "]");
}

std::string YamlSources(const std::vector<WeightedPath>& sources) {
  return absl::StrCat("[",
                      absl::StrJoin(sources, ", ",
                                    [](std::string* out, const WeightedPath& source) {
                                      absl::StrAppend(out, "{path: ", YamlText(source.path),
                                                      ", weight: ", ShortestNumber(source.weight),
                                                      "}");
                                    }),
                      "]");
}

std::string_view ParentOf(std::string_view path) {
  const size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? std::string_view() : path.substr(0, dot);
}

std::string_view LastName(std::string_view path) { return path.substr(path.rfind('.') + 1); }

// Every field and every section, by full path.
std::vector<std::string_view> AllPaths() {
  std::vector<std::string_view> paths;
  for (const Field& field : Fields()) {
    for (std::string_view path = field.path; !path.empty(); path = ParentOf(path)) {
      if (std::find(paths.begin(), paths.end(), path) == paths.end()) paths.push_back(path);
    }
  }
  return paths;
}

bool IsUnder(std::string_view path, std::string_view section) {
  return section.empty() || path == section ||
         (path.starts_with(section) && path.size() > section.size() && path[section.size()] == '.');
}

}  // namespace

std::string ShortestNumber(double value) {
  char shortest[32];
  const auto end = std::to_chars(shortest, shortest + sizeof(shortest), value);
  std::string text(shortest, end.ptr);
  // To YAML 1.1, which PyYAML reads, an exponent without a point makes it a text.
  const size_t exponent = text.find('e');
  if (exponent != std::string::npos && text.find('.') == std::string::npos) {
    text.insert(exponent, ".0");
  }
  return text;
}

std::string AllowedValues(const Field& field) {
  return std::visit(
      Overloaded{
          [](const IntField& kind) { return IntegerRange(kind.min, kind.max); },
          [](const LongField& kind) { return IntegerRange(kind.min, kind.max); },
          [](const SeedField&) { return std::string("a whole number from 0 to 2^64 - 1"); },
          [](const RealField& kind) { return RealRange(kind); },
          [](const SwitchField&) { return std::string("true or false"); },
          [](const TextField& kind) { return std::string(kind.allowed); },
          [](const ChoiceField& kind) {
            return absl::StrCat("one of ", absl::StrJoin(kind.names, ", "));
          },
          [](const RecomputeField&) { return std::string("auto, none, or a whole number from 1"); },
          [](const RealsField&) { return std::string("a list of numbers, [0.8, 0.9]"); },
          [](const SourcesField&) {
            return std::string("a path, or a list of paths or of {path: PATH, weight: NUMBER}");
          },
      },
      field.kind);
}

std::string FieldValue(const Field& field, const JobSpec& spec) {
  JobSpec copy = spec;  // the accessors give references that could write
  return std::visit(
      Overloaded{
          [&](const IntField& kind) { return absl::StrCat(kind.at(copy)); },
          [&](const LongField& kind) { return absl::StrCat(kind.at(copy)); },
          [&](const SeedField& kind) { return absl::StrCat(kind.at(copy)); },
          [&](const RealField& kind) { return ShortestNumber(kind.at(copy)); },
          [&](const SwitchField& kind) { return std::string(kind.at(copy) ? "true" : "false"); },
          [&](const TextField& kind) { return YamlText(kind.at(copy)); },
          [&](const ChoiceField& kind) { return kind.names[static_cast<size_t>(kind.get(copy))]; },
          [&](const RecomputeField& kind) {
            const int value = kind.at(copy);
            if (value == ParallelismSpec::kRecomputeAuto) return std::string("auto");
            if (value == ParallelismSpec::kRecomputeNone) return std::string("none");
            return absl::StrCat(value);
          },
          [&](const RealsField& kind) { return YamlList(kind.at(copy)); },
          [&](const SourcesField& kind) { return YamlSources(kind.at(copy)); },
      },
      field.kind);
}

std::string NearestPath(std::string_view path) {
  const std::string_view name = LastName(path);
  std::string_view best;
  int best_distance = LargestSlip(name.size()) + 1;
  for (const std::string_view candidate : AllPaths()) {
    const int away = EditDistance(name, LastName(candidate));
    // Outside the section only the very name counts: it was put in the wrong place.
    if (ParentOf(candidate) != ParentOf(path) && away > 0) continue;
    if (away < best_distance) {
      best = candidate;
      best_distance = away;
    }
  }
  return std::string(best);
}

std::string ExplainField(std::string_view path) {
  std::string text;
  for (const Field& field : Fields()) {
    if (!IsUnder(field.path, path)) continue;
    absl::StrAppend(&text, field.path, "\n  ", field.meaning,
                    ".\n  Allowed: ", AllowedValues(field),
                    ".  Default: ", FieldValue(field, JobSpec()), "\n");
  }
  return text;
}

std::string JobSpecToYaml(const JobSpec& spec) {
  std::string text;
  std::string_view open;  // the section that the line before stands in
  for (const Field& field : Fields()) {
    const std::string_view section = ParentOf(field.path);
    const auto depth = [](std::string_view of) {
      return of.empty() ? 0 : 1 + std::count(of.begin(), of.end(), '.');
    };
    if (section != open && !section.empty()) {
      // "model.residual" opens inside "model"; no section opens two levels at once.
      text.append(static_cast<size_t>(2 * (depth(section) - 1)), ' ');
      absl::StrAppend(&text, std::string(LastName(section)), ":\n");
    }
    open = section;
    text.append(static_cast<size_t>(2 * depth(section)), ' ');
    absl::StrAppend(&text, std::string(LastName(field.path)), ": ", FieldValue(field, spec), "\n");
  }
  return text;
}

}  // namespace birkhoff
