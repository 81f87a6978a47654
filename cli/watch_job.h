// Following a job of a coordinator to its end.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "cli/invocation.h"
#include "cli/service_client.h"

namespace birkhoff {

// Shows events as they come: progress on stdout, or with -o json one event per line.  Returns the
// job's own exit code.  A lost connection is taken up again where it broke; it is an error only
// when the coordinator stays away.
absl::StatusOr<ExitCode> WatchJob(const ServiceClient& client, const std::string& name,
                                  const Invocation& invocation);

}  // namespace birkhoff
