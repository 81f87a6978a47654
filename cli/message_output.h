// Messages of the service on stdout, as -o asks: a table for people, JSON or YAML for programs.
#pragma once

#include <string>
#include <vector>

#include "birkhoff/v1/job.pb.h"
#include "cli/console.h"

namespace birkhoff {

// `output`: "" | wide | json | yaml.  A list is one JSON array, or a YAML list.  The spec in the
// YAML of one job is a job file.
void PrintJob(const v1::Job& job, const std::string& output, const Console& console);
void PrintJobs(const std::vector<v1::Job>& jobs, const std::string& output, const Console& console);
void PrintWorkers(const std::vector<v1::Worker>& workers, const std::string& output,
                  const Console& console);
// One line of JSON with the field names of the proto file, states as everywhere (StateName), and
// integers as numbers, also those of 64 bits, which Protocol Buffers writes as strings.
std::string MessageToJson(const google::protobuf::Message& message);
// "RUNNING"
std::string StateName(v1::Job::State state);
std::string StateName(v1::Worker::State state);

// A table: columns as wide as their widest cell.
std::string Table(std::vector<std::vector<std::string>> rows);
// JSON text as block YAML; scalars stay as JSON writes them.
std::string JsonToYaml(const std::string& json);

}  // namespace birkhoff
