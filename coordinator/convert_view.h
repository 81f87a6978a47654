// The coordinator's views as messages of job.proto.
#pragma once

#include "birkhoff/v1/job.pb.h"
#include "coordinator/job_view.h"

namespace birkhoff {

void ToProto(const JobView& view, v1::Job* out, bool with_spec = true);
void ToProto(const JobUpdate& update, const std::string& job, v1::JobEvent* out);
void ToProto(const WorkerView& view, v1::Worker* out);

}  // namespace birkhoff
