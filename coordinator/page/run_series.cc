// Rows become columns; fields that differ become labels.
#include "coordinator/page/run_series.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/spec/field.h"

namespace birkhoff {
namespace {

using ParsedJson = nlohmann::json;

constexpr char kKindField[] = "model.residual.kind";

double NumberOr(const ParsedJson& value) { return value.is_number() ? value.get<double>() : kNan; }

void AddValues(const ParsedJson& values, size_t row, DepthColumn* column) {
  column->resize(row + 1);
  for (const ParsedJson& value : values) {
    column->back().push_back(NumberOr(value));
  }
}

std::vector<std::vector<double>> MatricesOf(const ParsedJson& json, const char* key,
                                            int64_t streams) {
  std::vector<std::vector<double>> matrices;
  for (const ParsedJson& matrix : json.value(key, ParsedJson::array())) {
    if (!matrix.is_array() || static_cast<int64_t>(matrix.size()) != streams * streams) return {};
    auto& values = matrices.emplace_back();
    for (const ParsedJson& value : matrix) values.push_back(NumberOr(value));
  }
  return matrices;
}

// The value that more than half have: it goes without saying.  Empty: none.
std::string CommonValue(const std::vector<std::string>& values) {
  std::map<std::string, size_t> count;
  for (const std::string& value : values) {
    if (2 * ++count[value] > values.size()) return value;
  }
  return "";
}

std::string LastName(const std::string& path) { return path.substr(path.rfind('.') + 1); }

}  // namespace

double RunSeries::Last(const std::string& key) const {
  const auto column = columns.find(key);
  return column == columns.end() || column->second.empty() ? kNan : column->second.back();
}

bool TellsRunsApart(const std::string& path) {
  if (path == "name" || path == kKindField || path == "training.seed" || path == "data.seed" ||
      path == "device") {
    return false;
  }
  return !absl::StartsWith(path, "parallelism.") && !absl::StartsWith(path, "checkpoint.");
}

bool AddRow(std::string_view line, RunSeries* run) {
  const ParsedJson row = ParsedJson::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!row.is_object() || !row.contains("step") || !row["step"].is_number()) return false;
  const double step = row["step"].get<double>();
  if (!run->steps.empty() && step <= run->steps.back()) return false;
  const size_t index = run->steps.size();
  run->steps.push_back(step);
  for (const auto& [key, value] : row.items()) {
    if (value.is_array()) {
      AddValues(value, index, &run->depth_columns[key]);
    } else if (key != "step" && (value.is_number() || value.is_null())) {
      Column& column = run->columns[key];
      column.resize(index, kNan);
      column.push_back(NumberOr(value));
    }
  }
  for (auto& [key, column] : run->columns) column.resize(index + 1, kNan);
  for (auto& [key, column] : run->depth_columns) column.resize(index + 1);
  return true;
}

void AddRows(std::string_view text, RunSeries* run) {
  for (size_t newline; (newline = text.find('\n')) != std::string_view::npos;) {
    AddRow(text.substr(0, newline), run);
    text.remove_prefix(newline + 1);
  }
}

MeanMatrices ParseMatrices(std::string_view text) {
  MeanMatrices matrices;
  const ParsedJson json = ParsedJson::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto whole_number = [&json](const char* key) {
    return json.contains(key) && json[key].is_number_integer();
  };
  if (!json.is_object() || !whole_number("step") || !whole_number("streams")) return {};
  matrices.step = json["step"];
  matrices.streams = json["streams"];
  matrices.forward_by_sublayer = MatricesOf(json, "forward_by_sublayer", matrices.streams);
  matrices.backward_by_sublayer = MatricesOf(json, "backward_by_sublayer", matrices.streams);
  const bool whole = !matrices.forward_by_sublayer.empty() &&
                     matrices.forward_by_sublayer.size() == matrices.backward_by_sublayer.size();
  return whole ? matrices : MeanMatrices();
}

void LabelRuns(std::vector<RunSeries>* runs, const std::set<std::string>& unnamed) {
  for (RunSeries& run : *runs) run.label = FieldValue(*FindField(kKindField), run.spec);
  for (const Field& field : Fields()) {
    if (!TellsRunsApart(field.path) || unnamed.contains(field.path)) continue;
    std::vector<std::string> values;
    for (const RunSeries& run : *runs) values.push_back(FieldValue(field, run.spec));
    const std::string common = CommonValue(values);
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i] == common) continue;
      absl::StrAppend(&(*runs)[i].label, " ", LastName(field.path), " ", values[i]);
    }
  }
}

}  // namespace birkhoff
