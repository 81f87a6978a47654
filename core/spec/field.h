// Every field of the job spec, once: path, place, limits, meaning.  Loading, overrides, the
// resolved YAML, range checks, `explain` and spelling suggestions all read this table.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/spec/job_spec.h"

namespace birkhoff {

// Each names the member it stands for and the values it allows (both ends included).
struct IntField {
  int& (*at)(JobSpec&);
  int64_t min, max;
};
struct LongField {
  int64_t& (*at)(JobSpec&);
  int64_t min, max;
};
struct SeedField {
  uint64_t& (*at)(JobSpec&);
};
struct RealField {
  double& (*at)(JobSpec&);
  double min, max;
  bool open = false;  // min itself is not allowed
};
struct SwitchField {
  bool& (*at)(JobSpec&);
};
struct TextField {
  std::string& (*at)(JobSpec&);
  const char* allowed;
};
struct ChoiceField {  // an enum whose enumerators are 0, 1, 2, ... in the order of the names
  int (*get)(const JobSpec&);
  void (*set)(JobSpec&, int);
  std::vector<std::string> names;
};
struct RecomputeField {
  int& (*at)(JobSpec&);
};
struct RealsField {
  std::vector<double>& (*at)(JobSpec&);
};
struct SourcesField {
  std::vector<WeightedPath>& (*at)(JobSpec&);
};
using FieldKind = std::variant<IntField, LongField, SeedField, RealField, SwitchField, TextField,
                               ChoiceField, RecomputeField, RealsField, SourcesField>;

struct Field {
  std::string path;  // "model.residual.streams"
  FieldKind kind;
  std::string meaning;
};

// In the order of the resolved YAML: a section's fields stand together.
const std::vector<Field>& Fields();
const Field* FindField(std::string_view path);  // null: no such field
bool IsSection(std::string_view path);          // "model.residual"; "" is the whole document

// Names that will mean something later: model.attention and all below, and so on.
bool IsReserved(std::string_view path);

// "1 to 8", "a whole number from 0", "one of hc, mhc, residual".
std::string AllowedValues(const Field& field);
// The value as the resolved YAML writes it.
std::string FieldValue(const Field& field, const JobSpec& spec);
// A number in the shortest form that reads back to the same bits, with a point before an exponent:
// "0.003", "3.0e-04".
std::string ShortestNumber(double value);

// The full path of the field or section most like `path`, or empty where nothing is close: the same
// last name in any section, else the last name most like it in the same section.
std::string NearestPath(std::string_view path);

}  // namespace birkhoff
