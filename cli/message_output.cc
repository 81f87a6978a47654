// Protocol Buffers' own JSON, and what is made of it.
#include "cli/message_output.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "core/base/printable.h"
#include "core/net/convert.h"
#include "core/spec/field.h"
#include "core/spec/load.h"

namespace birkhoff {
namespace {

using Json = nlohmann::ordered_json;

void AppendYaml(const Json& json, int indent, std::string* out);

// A value behind "key:" or "-".
void AppendYamlValue(const Json& json, int indent, std::string* out) {
  if (json.is_structured() && !json.empty()) {
    out->append("\n");
    AppendYaml(json, indent + 2, out);
  } else if (json.is_number_float()) {
    absl::StrAppend(out, " ", ShortestNumber(json.get<double>()), "\n");
  } else {
    absl::StrAppend(out, " ", json.dump(), "\n");
  }
}

void AppendYaml(const Json& json, int indent, std::string* out) {
  for (const auto& [key, value] : json.items()) {
    out->append(static_cast<size_t>(indent), ' ');
    absl::StrAppend(out, json.is_array() ? std::string("-") : key + ":");
    AppendYamlValue(value, indent, out);
  }
}

void Humanise(const google::protobuf::Descriptor& type, Json* json);

// Protocol Buffers' JSON has 64-bit integers as strings, and enumerators by their whole names.
void HumaniseValue(const google::protobuf::FieldDescriptor& field, Json* value) {
  using Field = google::protobuf::FieldDescriptor;
  constexpr absl::string_view kState = "STATE_";
  if (value->is_object() && field.cpp_type() == Field::CPPTYPE_MESSAGE) {
    Humanise(*field.message_type(), value);
  }
  if (!value->is_string()) return;
  const std::string text = value->get<std::string>();
  int64_t number = 0;
  uint64_t natural = 0;
  if (field.cpp_type() == Field::CPPTYPE_INT64 && absl::SimpleAtoi(text, &number)) {
    *value = number;
  } else if (field.cpp_type() == Field::CPPTYPE_UINT64 && absl::SimpleAtoi(text, &natural)) {
    *value = natural;
  } else if (field.cpp_type() == Field::CPPTYPE_ENUM && absl::StartsWith(text, kState)) {
    *value = text.substr(kState.size());
  }
}

void Humanise(const google::protobuf::Descriptor& type, Json* json) {
  for (auto& [key, value] : json->items()) {
    const google::protobuf::FieldDescriptor* field = type.FindFieldByName(key);
    if (field == nullptr) continue;  // of a well-known type, with a form of its own
    if (!value.is_array()) {
      HumaniseValue(*field, &value);
      continue;
    }
    for (Json& item : value) HumaniseValue(*field, &item);
  }
}

template <typename Message>
std::string JsonList(const std::vector<Message>& messages) {
  return absl::StrCat("[",
                      absl::StrJoin(messages, ",",
                                    [](std::string* text, const Message& message) {
                                      text->append(MessageToJson(message));
                                    }),
                      "]");
}

// True where `output` asked for text that programs read.
bool PrintForPrograms(const std::string& json, const std::string& output, const Console& console) {
  if (output == "json") *console.out << json << "\n";
  if (output == "yaml") *console.out << JsonToYaml(json);
  return output == "json" || output == "yaml";
}

std::string LastStep(const v1::Job& job) {
  return absl::StrCat(job.has_last_step() ? job.last_step().step() : 0, "/", job.total_steps());
}

std::string LastLoss(const v1::Job& job) {
  return job.has_last_step() ? absl::StrFormat("%.4f", job.last_step().loss()) : "-";
}

std::vector<std::string> JobRow(const v1::Job& job, bool wide) {
  std::vector<std::string> row = {job.name(), StateName(job.state()), LastStep(job), LastLoss(job),
                                  absl::StrCat(job.attempt())};
  if (!wide) return row;
  row.push_back(absl::StrCat(job.restarts()));
  row.push_back(absl::StrJoin(job.workers(), ","));
  row.push_back(job.output_directory());
  row.push_back(job.reason().sentence());
  return row;
}

}  // namespace

std::string MessageToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!status.ok()) return "{}";
  Json whole = Json::parse(json);
  Humanise(*message.GetDescriptor(), &whole);
  return whole.dump();
}

std::string StateName(v1::Job::State state) {
  return v1::Job::State_Name(state).substr(std::string("STATE_").size());
}

std::string StateName(v1::Worker::State state) {
  return v1::Worker::State_Name(state).substr(std::string("STATE_").size());
}

std::string Table(std::vector<std::vector<std::string>> rows) {
  for (std::vector<std::string>& row : rows) {
    for (std::string& cell : row) cell = Printable(cell);
  }
  std::vector<size_t> widths;
  for (const std::vector<std::string>& row : rows) {
    widths.resize(std::max(widths.size(), row.size()), 0);
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const std::vector<std::string>& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      text += row[i];
      if (i + 1 < row.size()) text.append(widths[i] - row[i].size() + 2, ' ');
    }
    text += "\n";
  }
  return text;
}

std::string JsonToYaml(const std::string& json) {
  const Json parsed = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_structured() || parsed.empty()) return parsed.dump() + "\n";
  std::string text;
  AppendYaml(parsed, 0, &text);
  return text;
}

void PrintJobs(const std::vector<v1::Job>& jobs, const std::string& output,
               const Console& console) {
  if (PrintForPrograms(JsonList(jobs), output, console)) return;
  const bool wide = output == "wide";
  std::vector<std::vector<std::string>> rows = {{"NAME", "STATE", "STEP", "LOSS", "ATTEMPT"}};
  if (wide) rows[0].insert(rows[0].end(), {"RESTARTS", "WORKERS", "OUTPUT", "REASON"});
  for (const v1::Job& job : jobs) rows.push_back(JobRow(job, wide));
  *console.out << Table(rows);
}

// The spec stands last and as in a job file, so that it can be cut out and submitted again.
std::string JobToYaml(const v1::Job& job) {
  const absl::StatusOr<JobSpec> spec = FromProto(job.spec());
  if (!spec.ok()) return JsonToYaml(MessageToJson(job));  // of a newer coordinator
  v1::Job rest = job;
  rest.clear_spec();
  std::string text = JsonToYaml(MessageToJson(rest)) + "spec:\n";
  for (const absl::string_view line :
       absl::StrSplit(JobSpecToYaml(*spec), '\n', absl::SkipEmpty())) {
    absl::StrAppend(&text, "  ", line, "\n");
  }
  return text;
}

void PrintJob(const v1::Job& job, const std::string& output, const Console& console) {
  if (output == "yaml") {
    *console.out << JobToYaml(job);
    return;
  }
  if (PrintForPrograms(MessageToJson(job), output, console)) return;
  PrintJobs({job}, output, console);
}

void PrintWorkers(const std::vector<v1::Worker>& workers, const std::string& output,
                  const Console& console) {
  if (PrintForPrograms(JsonList(workers), output, console)) return;
  const bool wide = output == "wide";
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "STATE", "DEVICE", "MEMORY", "JOB", "DESCRIPTION"}};
  if (wide) rows[0].insert(rows[0].end(), {"ATTEMPT", "RANK", "ADDRESS"});
  for (const v1::Worker& worker : workers) {
    const bool busy = !worker.job().empty();
    rows.push_back(
        {worker.name(), StateName(worker.state()), worker.device(),
         worker.memory_bytes() > 0 ? ShortBytes(static_cast<double>(worker.memory_bytes())) : "-",
         busy ? worker.job() : "-", worker.description().empty() ? "-" : worker.description()});
    if (!wide) continue;
    rows.back().push_back(busy ? absl::StrCat(worker.attempt()) : "-");
    rows.back().push_back(busy ? absl::StrCat(worker.rank()) : "-");
    rows.back().push_back(worker.address());
  }
  *console.out << Table(rows);
}

}  // namespace birkhoff
