// Where an attempt begins: the newest committed checkpoint that verifies on all ranks.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "core/base/disk.h"
#include "core/plan/messages.h"
#include "worker/checkpointer.h"
#include "worker/data_source.h"
#include "worker/parameter_store.h"
#include "worker/transport.h"

namespace birkhoff {

struct ResumePoint {
  Progress progress;  // step 0: from the beginning, the store is as it was
  std::string note;   // the damaged checkpoints that were passed over, by rank, file and tensor
};

// Loads weights and moments of this rank's parameters, whatever plan has written them.  All ranks
// call it; rank 0's directory listing counts, and a checkpoint that one rank cannot use is used by
// none: rank 0 sets it aside once an older one has been used.  With assignment.fresh rank 0 removes
// the checkpoints instead (RemoveAllCheckpoints).
//
// Errors: INVALID_ARGUMENT all checkpoints are damaged, or the newest is of another model or
// was trained on other data (what the files hold counts, not where they are): each with the remedy;
// what the transport says.
absl::StatusOr<ResumePoint> Resume(const Assignment& assignment, const ParameterStore& store,
                                   const DataFacts& data, Disk& disk, Transport& transport,
                                   Device& device);

}  // namespace birkhoff
