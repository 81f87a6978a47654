// A job's state and its stored events as others may see them.
#pragma once

#include "absl/status/statusor.h"
#include "coordinator/coordinator.h"
#include "coordinator/job.h"
#include "coordinator/job_store.h"

namespace birkhoff {

// All but the times and the last event's id, which the driver knows.
JobView MakeJobView(const Job& job, bool with_spec = true);

// What the event made of the job, for StoredEvent; `before` and `after` are the states around it.
void DescribeChange(const Job& before, const Job& after, StoredEvent* stored);

absl::StatusOr<JobUpdate> MakeJobUpdate(const StoredEvent& stored);  // DATA_LOSS

}  // namespace birkhoff
