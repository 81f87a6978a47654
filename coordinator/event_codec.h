// Job events as they are stored: a kind, and a body that is JSON for the coordinator's own events
// and the wire form of worker_service.proto for what workers said.
#pragma once

#include "absl/status/statusor.h"
#include "coordinator/job_event.h"
#include "coordinator/job_store.h"

namespace birkhoff {

// Sets kind and body.
void EncodeJobEvent(const JobEvent& event, StoredEvent* stored);
absl::StatusOr<JobEvent> DecodeJobEvent(const StoredEvent& stored);  // DATA_LOSS names the event

}  // namespace birkhoff
