// Transport between ranks that are threads of one process: for tests and the simulated system.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <tuple>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "worker/transport.h"
#include "worker/transport/wire.h"
#include "worker/transport/wire_transport.h"

namespace birkhoff {

// Where the threads meet.  Thread-safe; must outlive the transports.
class LocalHub {
 public:
  explicit LocalHub(int world_size) : gone_(world_size, false) {}
  std::unique_ptr<Wire> Join(int rank);  // once per rank

 private:
  class RankWire;
  // One end of a message that has been posted.  matched: the other end has come and copies, so the
  // memory must stay until done.
  struct Offer {
    WirePiece piece;
    bool is_send = false;
    bool matched = false;
    bool done = false;
  };
  struct Queues {
    std::deque<Offer*> sends, receives;  // one of them is empty
  };
  using SlotKey = std::tuple<int, int, uint64_t>;  // sender, receiver, slot

  absl::Status Exchange(int rank, std::span<const WirePiece> receives,
                        std::span<const WirePiece> sends) ABSL_LOCKS_EXCLUDED(mutex_);
  void Leave(int rank) ABSL_LOCKS_EXCLUDED(mutex_);
  static SlotKey KeyOf(int rank, const Offer& offer);
  // Leaves the offer for the other end, or copies at once if that is there already.
  void Post(int rank, Offer& offer) ABSL_LOCKS_EXCLUDED(mutex_);
  // All done, or one can no longer be and nobody touches our memory.
  bool Over(int rank, const std::vector<Offer>& offers) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Withdraw(int rank, std::vector<Offer>& offers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  std::map<SlotKey, Queues> slots_ ABSL_GUARDED_BY(mutex_);
  std::vector<bool> gone_ ABSL_GUARDED_BY(mutex_);  // by rank
};

std::unique_ptr<Transport> NewLocalTransport(LocalHub& hub, const Plan& plan,
                                             const WireTransportOptions& options);

}  // namespace birkhoff
