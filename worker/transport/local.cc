// An offer waits in the queue of its slot until the other end comes, which copies straight from
// memory to memory, outside the lock.
#include "worker/transport/local.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace birkhoff {

class LocalHub::RankWire final : public Wire {
 public:
  RankWire(LocalHub& hub, int rank) : hub_(hub), rank_(rank) {}
  ~RankWire() override { hub_.Leave(rank_); }
  absl::Status Exchange(std::span<const WirePiece> receives,
                        std::span<const WirePiece> sends) override {
    return hub_.Exchange(rank_, receives, sends);
  }
  void Close() override { hub_.Leave(rank_); }

 private:
  LocalHub& hub_;
  const int rank_;
};

std::unique_ptr<Wire> LocalHub::Join(int rank) { return std::make_unique<RankWire>(*this, rank); }

absl::Status LocalHub::Exchange(int rank, std::span<const WirePiece> receives,
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

void LocalHub::Leave(int rank) {
  absl::MutexLock lock(&mutex_);
  gone_[rank] = true;
}

LocalHub::SlotKey LocalHub::KeyOf(int rank, const Offer& offer) {
  const WirePiece& piece = offer.piece;
  return offer.is_send ? SlotKey(rank, piece.peer, piece.slot)
                       : SlotKey(piece.peer, rank, piece.slot);
}

void LocalHub::Post(int rank, Offer& offer) {
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

bool LocalHub::Over(int rank, const std::vector<Offer>& offers) const {
  bool waits = false, failed = false;
  for (const Offer& offer : offers) {
    if (offer.done) continue;
    if (offer.matched) return false;
    waits = true;
    failed = failed || gone_[rank] || gone_[offer.piece.peer];
  }
  return !waits || failed;
}

absl::Status LocalHub::Withdraw(int rank, std::vector<Offer>& offers) {
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

std::unique_ptr<Transport> NewLocalTransport(LocalHub& hub, const Plan& plan,
                                             const WireTransportOptions& options) {
  return NewWireTransport(hub.Join(options.rank), plan, options);
}

}  // namespace birkhoff
