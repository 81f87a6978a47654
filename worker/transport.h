// Moves messages between ranks.  Implementations: transport/local (ranks are threads),
// transport/gloo (processes, pods).
//
// Link, Group and Council are interfaces as Transport is: another transport brings all of them.
//
// A Link is one end of one Channel of the plan.  Messages match by order alone: the k-th Send meets
// the k-th Receive.  A Send completes when its bytes have left the buffer.  Here that is once its
// Receive has been posted (transport/wire.h); a transport may be quicker, but a correct program
// never relies on it: the checker proves plans under rendezvous semantics.
//
// Errors: work that fails records the first error (Transport::status), with peer and operation
// named; all later work on any link or group of this transport moves nothing between ranks, so that
// streams always drain.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/plan/plan.h"
#include "kernels/device.h"

namespace birkhoff {

// What debug builds stamp on every message and compare on arrival.
struct MessageStamp {
  int32_t attempt = 0;
  int32_t kind = 0;   // ChannelKind
  int32_t stage = 0;  // stage that produced the message
  int32_t microbatch = 0;
  int32_t instruction = -1;  // of this end, named in its errors; not compared
};

class Link {
 public:
  virtual ~Link() = default;
  // Enqueue on `stream`; `data` must stay untouched until the stream has passed the operation.
  virtual void Send(Stream& stream, DevicePtr<const std::byte> data, int64_t bytes,
                    const MessageStamp& stamp) = 0;
  virtual void Receive(Stream& stream, DevicePtr<std::byte> data, int64_t bytes,
                       const MessageStamp& stamp) = 0;
};

// Collectives of device data: a fixed set of ranks that act together, in the same order on all of
// them.  Sums are added in ascending rank order on every rank, whatever the implementation, so that
// results are the same bits on all transports and all members.  Cost for p members, each way:
// AllReduceSum of B bytes 2 (p-1)/p B in two exchanges (reduce-scatter in rank order, then
// all-gather); AllGather of B bytes of each member (p-1) B in one.
class Group {
 public:
  virtual ~Group() = default;
  // `instruction` is named in errors; -1 for none.
  virtual void AllReduceSum(Stream& stream, DevicePtr<float> data, int64_t count,
                            int instruction) = 0;
  // `in`: count values of this rank; `out`: size() x count values, by member index.
  virtual void AllGather(Stream& stream, DevicePtr<const double> in, int64_t count,
                         DevicePtr<double> out, int instruction) = 0;
  virtual int size() const = 0;
  virtual int index() const = 0;  // of this rank among the members
};

// Agreement between the hosts of all ranks: bytes, no device, no stream.  Blocks; one call at a
// time, in the same order on all ranks, beside whatever the streams do.
class Council {
 public:
  virtual ~Council() = default;
  // `all`: everybody's bytes by rank, size() x mine.size(), the same size everywhere.  Errors: what
  // the transport says, DEADLINE_EXCEEDED among it; they stick, as those of work do.
  virtual absl::Status AllGather(std::span<const std::byte> mine, std::span<std::byte> all) = 0;
  virtual int size() const = 0;
  virtual int index() const = 0;
};

// Everybody's values, by rank.
template <typename T>
absl::StatusOr<std::vector<T>> Gather(Council& council, std::span<const T> mine) {
  std::vector<T> all(mine.size() * static_cast<size_t>(council.size()));
  const absl::Status status =
      council.AllGather(std::as_bytes(mine), std::as_writable_bytes(std::span(all)));
  if (!status.ok()) return status;
  return all;
}

class Transport {
 public:
  virtual ~Transport() = default;
  // Links by index into plan.channels; null for channels that this rank has no end of.
  virtual Link* link(int channel) = 0;
  // The group of the given global ranks (ascending, this rank among them); all were named when the
  // transport was made.
  virtual Group* group(const std::vector<int>& global_ranks) = 0;
  virtual Council& council() = 0;
  virtual absl::Status status() const = 0;  // first error, or OK
  // As if work had failed with `reason`: wakes everything that waits here, and peers see this rank
  // go.  Idempotent; any thread.
  virtual void Abort(absl::Status reason) = 0;
};

// The groups of all ranks of a plan, each once, in the one order in which they are numbered
// everywhere: world, replicas, copies.
std::vector<std::vector<int>> GroupsOfPlan(const Plan& plan);

// Everybody's bytes to everybody: the coordinator's rendezvous as the transport sees it.
class Rendezvous {
 public:
  virtual ~Rendezvous() = default;
  // Blocks until all ranks have called with the same key; returns their bytes by rank.  Errors:
  // ABORTED the attempt is over; DEADLINE_EXCEEDED not all have come within a bound of the
  // implementation's.
  virtual absl::StatusOr<std::vector<std::string>> Meet(const std::string& key,
                                                        const std::string& bytes) = 0;
};

}  // namespace birkhoff
