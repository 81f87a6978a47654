// An offer waits in the queue of its slot until the other end comes, which copies straight from
// memory to memory, outside the lock.
#include "worker/transport/local.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

namespace birkhoff {
namespace {

// One end of a message that has been posted.  matched: the other end has come and copies, so the
// memory must stay until done.
struct Offer {
  WirePiece piece;
  bool is_send = false;
  bool matched = false;
  bool done = false;
};

using SlotKey = std::tuple<int, int, uint64_t>;  // sender, receiver, slot

class Hub final : public LocalHub {
 public:
  explicit Hub(int world_size) : gone_(world_size, false) {}

  std::unique_ptr<Wire> Join(int rank) override;

  absl::Status Exchange(int rank, std::span<const WirePiece> receives,
                        std::span<const WirePiece> sends) {
    std::vector<Offer> offers;
    offers.reserve(receives.size() + sends.size());
    for (const WirePiece& piece : receives) offers.push_back({.piece = piece});
    for (const WirePiece& piece : sends) offers.push_back({.piece = piece, .is_send = true});
    for (Offer& offer : offers) Post(rank, offer);

    absl::MutexLock lock(&mutex_);
    const auto over = [this, rank, &offers]()
                          ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return Over(rank, offers); };
    mutex_.Await(absl::Condition(&over));
    return Withdraw(rank, offers);
  }

  void Leave(int rank) {
    absl::MutexLock lock(&mutex_);
    gone_[rank] = true;
  }

 private:
  struct Queues {
    std::deque<Offer*> sends, receives;  // one of them is empty
  };

  static SlotKey KeyOf(int rank, const Offer& offer) {
    const WirePiece& piece = offer.piece;
    return offer.is_send ? SlotKey(rank, piece.peer, piece.slot)
                         : SlotKey(piece.peer, rank, piece.slot);
  }

  // Leaves the offer for the other end, or copies at once if that is there already.
  void Post(int rank, Offer& offer) ABSL_LOCKS_EXCLUDED(mutex_) {
    Offer* other = nullptr;
    {
      absl::MutexLock lock(&mutex_);
      Queues& queues = slots_[KeyOf(rank, offer)];
      std::deque<Offer*>& theirs = offer.is_send ? queues.receives : queues.sends;
      if (theirs.empty()) {
        (offer.is_send ? queues.sends : queues.receives).push_back(&offer);
        return;
      }
      other = theirs.front();
      theirs.pop_front();
      other->matched = true;
    }
    const WirePiece& from = offer.is_send ? offer.piece : other->piece;
    const WirePiece& to = offer.is_send ? other->piece : offer.piece;
    std::memcpy(to.data, from.data, std::min(to.bytes, from.bytes));
    absl::MutexLock lock(&mutex_);
    offer.done = true;
    other->done = true;
  }

  // All done, or one can no longer be and nobody touches our memory.
  bool Over(int rank, const std::vector<Offer>& offers) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    bool waits = false, failed = false;
    for (const Offer& offer : offers) {
      if (offer.done) continue;
      if (offer.matched) return false;
      waits = true;
      failed = failed || gone_[rank] || gone_[offer.piece.peer];
    }
    return !waits || failed;
  }

  absl::Status Withdraw(int rank, std::vector<Offer>& offers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    absl::Status status;
    for (Offer& offer : offers) {
      if (offer.done) continue;
      Queues& queues = slots_[KeyOf(rank, offer)];
      std::deque<Offer*>& ours = offer.is_send ? queues.sends : queues.receives;
      ours.erase(std::remove(ours.begin(), ours.end(), &offer), ours.end());
      if (gone_[rank]) {
        status = absl::AbortedError("this rank has closed its transport");
      } else if (gone_[offer.piece.peer] && status.ok()) {
        status = absl::UnavailableError(absl::StrCat("rank ", offer.piece.peer, " has gone"));
      }
    }
    return status;
  }

  absl::Mutex mutex_;
  std::map<SlotKey, Queues> slots_ ABSL_GUARDED_BY(mutex_);
  std::vector<bool> gone_ ABSL_GUARDED_BY(mutex_);  // by rank
};

class LocalWire final : public Wire {
 public:
  LocalWire(Hub& hub, int rank) : hub_(hub), rank_(rank) {}
  ~LocalWire() override { hub_.Leave(rank_); }
  absl::Status Exchange(std::span<const WirePiece> receives,
                        std::span<const WirePiece> sends) override {
    return hub_.Exchange(rank_, receives, sends);
  }
  void Close() override { hub_.Leave(rank_); }

 private:
  Hub& hub_;
  const int rank_;
};

std::unique_ptr<Wire> Hub::Join(int rank) { return std::make_unique<LocalWire>(*this, rank); }

}  // namespace

std::unique_ptr<LocalHub> LocalHub::Create(int world_size) {
  return std::make_unique<Hub>(world_size);
}

std::unique_ptr<Transport> NewLocalTransport(LocalHub& hub, const Plan& plan,
                                             const WireTransportOptions& options) {
  return NewWireTransport(hub.Join(options.rank), plan, options);
}

}  // namespace birkhoff
