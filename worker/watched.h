// A rank's disk and transport with a witness: what takes its time there stands in the rank's
// Activity while it lasts, with the file or the peers named, and is a move when it is over.
#pragma once

#include <memory>

#include "core/base/disk.h"
#include "worker/activity.h"
#include "worker/transport.h"

namespace birkhoff {

// Both arguments must outlive what is returned, and what that returns.
std::unique_ptr<Disk> WatchDisk(Disk& disk, Activity& activity);
// Of the council's calls; links and groups are watched by the executor.
std::unique_ptr<Transport> WatchTransport(Transport& transport, Activity& activity);

}  // namespace birkhoff
