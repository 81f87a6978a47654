// YAML to JobSpec: yaml-cpp gives nodes, the table of fields says where they go.  yaml-cpp's
// exceptions end in Parse.
#include "core/spec/load.h"

#include <yaml-cpp/yaml.h>

#include <charconv>
#include <cmath>
#include <optional>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/overloaded.h"
#include "core/base/printable.h"
#include "core/spec/field.h"
#include "core/spec/validate.h"

namespace birkhoff {
namespace {

constexpr size_t kMaxShown = 63;  // bytes of a key or a value in a message

// Length of the UTF-8 sequence at `at`, or 0 where the bytes are not one (RFC 3629).
size_t SequenceLength(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || at + length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const unsigned char next = byte(1);
  const bool overlong = (lead == 0xe0 && next < 0xa0) || (lead == 0xf0 && next < 0x90);
  const bool beyond = (lead == 0xed && next > 0x9f) || (lead == 0xf4 && next > 0x8f);
  return overlong || beyond ? 0 : length;
}

// The first byte that no YAML text may hold, or npos.
size_t FirstBadByte(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t length = SequenceLength(text, at);
    const unsigned char c = static_cast<unsigned char>(text[at]);
    if (length == 0 || (c < 0x20 && c != '\n' && c != '\r' && c != '\t')) return at;
    at += length;
  }
  return std::string_view::npos;
}

struct Place {
  int line = 1, column = 1;
};

std::string At(const std::string& where, const Place& place) {
  return absl::StrCat(where, " line ", place.line, ", column ", place.column);
}

// The first tab among the blanks that a line begins with.
std::optional<Place> FirstTabAsIndentation(std::string_view text) {
  Place place;
  bool blank = true;  // the line so far
  for (const char c : text) {
    if (c == '\t' && blank) return place;
    ++place.column;
    blank = blank && c == ' ';
    if (c == '\n') {
      place = {place.line + 1, 1};
      blank = true;
    }
  }
  return std::nullopt;
}

std::string Shown(const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Null:
      return "nothing (null)";
    case YAML::NodeType::Sequence:
      return "a list";
    case YAML::NodeType::Map:
      return "a mapping";
    case YAML::NodeType::Scalar: {
      const std::string& text = node.Scalar();
      if (text.empty()) return "an empty text";
      return Shortened(text, kMaxShown);
    }
    case YAML::NodeType::Undefined:
      break;
  }
  return "nothing";
}

// A scalar without quotes: the only thing that may be a number or a word of ours.
std::optional<std::string> PlainScalar(const YAML::Node& node) {
  if (!node.IsScalar() || node.Tag() == "!") return std::nullopt;
  return node.Scalar();
}

template <typename T>
bool ReadWhole(const YAML::Node& node, T* out) {
  const std::optional<std::string> text = PlainScalar(node);
  if (!text) return false;
  const char* end = text->data() + text->size();
  T value = 0;
  const auto result = std::from_chars(text->data(), end, value);
  if (result.ec != std::errc() || result.ptr != end) return false;
  *out = value;
  return true;
}

bool ReadReal(const YAML::Node& node, double* out) {
  const std::optional<std::string> text = PlainScalar(node);
  double value = 0.0;
  if (!text || !absl::SimpleAtod(*text, &value) || !std::isfinite(value)) return false;
  *out = value;
  return true;
}

bool ReadText(const YAML::Node& node, std::string* out) {
  if (!node.IsScalar()) return false;
  *out = node.Scalar();
  return true;
}

class Loader {
 public:
  Loader(JobSpec* spec, std::vector<Problem>* problems) : spec_(spec), problems_(problems) {}

  // `path` is a section or a field.
  void Load(const std::string& path, const YAML::Node& node) {
    if (const Field* field = FindField(path)) {
      LoadField(*field, node);
    } else {
      LoadSection(path, node);
    }
  }

  void Refuse(const std::string& field, const std::string& value, const std::string& allowed,
              const std::string& remedy = "") {
    problems_->push_back({field, value, allowed, remedy});
  }

  void RefuseUnknown(const std::string& path, const YAML::Node& node) {
    if (IsReserved(path)) {
      return Refuse(path, Shown(node), "no such field", "reserved, not built yet");
    }
    const std::string nearest = NearestPath(path);
    Refuse(path, Shown(node), "a field of the job spec",
           nearest.empty() ? "birkhoff explain lists them"
                           : absl::StrCat("did you mean ", nearest, "?"));
  }

 private:
  void LoadSection(const std::string& path, const YAML::Node& node) {
    const std::string shown_path = path.empty() ? "job spec" : path;
    if (!node.IsMap()) {
      return Refuse(shown_path, Shown(node), "a mapping of fields",
                    path.empty() ? "" : absl::StrCat("birkhoff explain ", path, " lists them"));
    }
    std::set<std::string> seen;
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) {
        Refuse(shown_path, absl::StrCat("the key ", Shown(entry.first)), "names as keys");
        continue;
      }
      const std::string& key = entry.first.Scalar();
      const std::string child =
          absl::StrCat(path, path.empty() ? "" : ".", Shortened(key, kMaxShown));
      if (key.empty()) {
        Refuse(shown_path, "an empty key", "names as keys");
      } else if (!seen.insert(key).second) {
        Refuse(child, "a second value", "each key once", "remove one of the two");
      } else if (key.find('.') != std::string::npos) {
        Refuse(child, Shown(entry.second), "sections that hold their fields",
               "data: {train: PATH}, not data.train: PATH; dots are for --set");
      } else if (FindField(child) == nullptr && !IsSection(child)) {
        RefuseUnknown(child, entry.second);
      } else {
        Load(child, entry.second);
      }
    }
  }

  void LoadField(const Field& field, const YAML::Node& node) {
    const bool good = std::visit(
        Overloaded{
            [&](const IntField& kind) { return ReadWhole(node, &kind.at(*spec_)); },
            [&](const LongField& kind) { return ReadWhole(node, &kind.at(*spec_)); },
            [&](const SeedField& kind) { return ReadWhole(node, &kind.at(*spec_)); },
            [&](const RealField& kind) { return ReadReal(node, &kind.at(*spec_)); },
            [&](const SwitchField& kind) { return ReadSwitch(node, &kind.at(*spec_)); },
            [&](const TextField& kind) { return ReadText(node, &kind.at(*spec_)); },
            [&](const ChoiceField& kind) { return ReadChoice(node, kind); },
            [&](const RecomputeField& kind) { return ReadRecompute(node, &kind.at(*spec_)); },
            [&](const RealsField& kind) { return ReadReals(node, field, &kind.at(*spec_)); },
            [&](const SourcesField& kind) { return ReadSources(node, field, &kind.at(*spec_)); },
        },
        field.kind);
    if (!good) Refuse(field.path, Shown(node), AllowedValues(field), Remedy(field, node));
  }

  static std::string Remedy(const Field& field, const YAML::Node& node) {
    const bool quoted = node.IsScalar() && node.Tag() == "!";
    const bool text = std::holds_alternative<TextField>(field.kind);
    return quoted && !text ? "write it without quotes" : "";
  }

  static bool ReadSwitch(const YAML::Node& node, bool* out) {
    const std::optional<std::string> text = PlainScalar(node);
    if (text != "true" && text != "false") return false;
    *out = text == "true";
    return true;
  }

  bool ReadChoice(const YAML::Node& node, const ChoiceField& kind) {
    if (!node.IsScalar()) return false;
    for (size_t i = 0; i < kind.names.size(); ++i) {
      if (node.Scalar() != kind.names[i]) continue;
      kind.set(*spec_, static_cast<int>(i));
      return true;
    }
    return false;
  }

  static bool ReadRecompute(const YAML::Node& node, int* out) {
    const std::optional<std::string> text = PlainScalar(node);
    if (text == "auto") *out = ParallelismSpec::kRecomputeAuto;
    if (text == "none") *out = ParallelismSpec::kRecomputeNone;
    if (text == "auto" || text == "none") return true;
    int length = 0;
    if (!ReadWhole(node, &length) || length < 1) return false;
    *out = length;
    return true;
  }

  // False: not a list.  Items that are wrong are refused here, each with its own path.
  bool ReadReals(const YAML::Node& node, const Field& field, std::vector<double>* out) {
    if (!node.IsSequence()) return false;
    if (!IsShort(node, field)) return true;
    std::vector<double> values;
    for (size_t i = 0; i < node.size(); ++i) {
      if (ReadReal(node[i], &values.emplace_back())) continue;
      Refuse(absl::StrCat(field.path, "[", i, "]"), Shown(node[i]), "a finite number");
    }
    *out = std::move(values);
    return true;
  }

  bool IsShort(const YAML::Node& node, const Field& field) {
    if (node.size() <= kMaxListItems) return true;
    Refuse(std::string(field.path), absl::StrCat(node.size(), " items"),
           absl::StrCat("at most ", kMaxListItems));
    return false;
  }

  // False: not a path or a list.  Items that are wrong are refused here, each with its own path.
  bool ReadSources(const YAML::Node& node, const Field& field, std::vector<WeightedPath>* out) {
    std::vector<WeightedPath> sources;
    if (node.IsScalar()) {
      sources.push_back({node.Scalar(), 1.0});
    } else if (node.IsSequence() && !IsShort(node, field)) {
      return true;
    } else if (node.IsSequence()) {
      for (size_t i = 0; i < node.size(); ++i) {
        ReadSource(node[i], absl::StrCat(field.path, "[", i, "]"), &sources.emplace_back());
      }
    } else {
      return false;
    }
    *out = std::move(sources);
    return true;
  }

  void ReadSource(const YAML::Node& node, const std::string& path, WeightedPath* out) {
    if (ReadText(node, &out->path)) return;
    if (!node.IsMap()) return Refuse(path, Shown(node), "a path or {path: PATH, weight: NUMBER}");
    std::set<std::string> seen;
    for (const auto& entry : node) {
      const std::string key = Shown(entry.first);
      const std::string child = absl::StrCat(path, ".", key);
      if (!seen.insert(key).second) {
        Refuse(child, "a second value", "each key once", "remove one of the two");
      } else if (key == "path") {
        if (!ReadText(entry.second, &out->path)) Refuse(child, Shown(entry.second), "a path");
      } else if (key == "weight") {
        if (!ReadReal(entry.second, &out->weight)) {
          Refuse(child, Shown(entry.second), "a finite number above 0");
        }
      } else {
        Refuse(child, Shown(entry.second), "path or weight");
      }
    }
    if (!seen.contains("path")) Refuse(path, "an entry without path", "path");
  }

  JobSpec* spec_;
  std::vector<Problem>* problems_;
};

// The one document of `text`, or nothing after adding a problem that names `where`.
std::optional<YAML::Node> Parse(std::string_view text, const std::string& where, Loader* loader) {
  if (text.size() > kMaxSpecBytes) {
    loader->Refuse(where, absl::StrCat(text.size(), " bytes"),
                   absl::StrCat("at most ", kMaxSpecBytes, " bytes"));
    return std::nullopt;
  }
  if (const size_t bad = FirstBadByte(text); bad != std::string_view::npos) {
    loader->Refuse(where,
                   absl::StrCat("byte 0x", absl::Hex(static_cast<unsigned char>(text[bad])),
                                " at offset ", bad),
                   "UTF-8 text without control characters");
    return std::nullopt;
  }
  try {
    // yaml-cpp 0.7 lets the last line break of a text close a quote that is open: a comment is put
    // behind it.
    std::string whole(text.substr(0, text.find_last_not_of(' ') + 1));
    if (whole.ends_with('\n')) whole += '#';
    const std::vector<YAML::Node> documents = YAML::LoadAll(whole);
    if (documents.size() == 1) return documents[0];
    loader->Refuse(where, documents.empty() ? "an empty text" : "more than one document",
                   "one YAML document");
  } catch (const YAML::Exception& error) {
    // The parser may stumble only behind the tab, and over something else.
    const std::optional<Place> tab = FirstTabAsIndentation(text);
    if (tab && tab->line <= error.mark.line + 1) {
      loader->Refuse(At(where, *tab), "a tab", "spaces before the first word of a line");
    } else {
      loader->Refuse(At(where, {error.mark.line + 1, error.mark.column + 1}),
                     absl::StrCat("the text (", error.msg, ")"), "well-formed YAML");
    }
  }
  return std::nullopt;
}

void ApplyOverride(const std::string& text, Loader* loader) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return loader->Refuse(absl::StrCat("--set ", Shortened(text, kMaxShown)), "no assignment",
                          "path=value");
  }
  const std::string path = Shortened(std::string_view(text).substr(0, equals), kMaxShown);
  const std::string value = text.substr(equals + 1);
  const std::string where = absl::StrCat("--set ", path);
  const std::optional<YAML::Node> node =
      value.empty() ? YAML::Node(std::string()) : Parse(value, where, loader);
  if (!node) return;
  if (FindField(path) == nullptr && !IsSection(path)) {
    loader->RefuseUnknown(path, *node);
  } else {
    loader->Load(path, *node);
  }
}

}  // namespace

JobSpec LoadJobSpec(std::string_view yaml, const std::vector<std::string>& overrides,
                    std::vector<Problem>* problems) {
  JobSpec spec;
  Loader loader(&spec, problems);
  if (const std::optional<YAML::Node> document = Parse(yaml, "job spec", &loader)) {
    loader.Load("", *document);
  }
  for (const std::string& text : overrides) ApplyOverride(text, &loader);
  return spec;
}

}  // namespace birkhoff
