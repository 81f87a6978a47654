// Where an attempt begins: the newest committed checkpoint that verifies on all ranks, or weights
// that another run has trained, or those of the seed.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "core/base/disk.h"
#include "core/format/checkpoint.h"
#include "core/protocol/messages.h"
#include "worker/checkpointer.h"
#include "worker/data_source.h"
#include "worker/parameter_store.h"
#include "worker/transport.h"

namespace birkhoff {

struct ResumePoint {
  Progress progress;     // step 0: from the beginning
  std::string note;      // the damaged checkpoints that were passed over, by rank, file and tensor
  std::string notice;    // what is another than in the run that it goes on with; empty: nothing
  WeightsOrigin origin;  // of the run's first weights
};

// Loads weights and moments of this rank's parameters, whatever plan has written them.  All ranks
// call it; rank 0's directory listing counts, and a checkpoint that one rank cannot use is used by
// none: rank 0 sets it aside once an older one has been used.  With assignment.fresh rank 0 removes
// the checkpoints instead (RemoveAllCheckpoints).  Where there is none, and assignment.init_from
// names weights (FindWeights), those are loaded, and nothing else of that run: step 0, no moments.
//
// Errors: INVALID_ARGUMENT all checkpoints are damaged; the newest is of a run whose spec may not
// change into this one (AdmitChanges), which began with other weights than init_from, or which was
// trained on other data (what the files hold counts, not where they are); the weights of init_from
// have other shapes: each with the fields and the remedy.  NOT_FOUND, DATA_LOSS: those weights.
// UNAVAILABLE they were replaced meanwhile; what the transport says.
absl::StatusOr<ResumePoint> Resume(const Assignment& assignment, const ParameterStore& store,
                                   const DataFacts& data, Disk& disk, Transport& transport,
                                   Device& device);

}  // namespace birkhoff
