// Links and groups are host work on the caller's stream, each under slots of its own.  A reduction
// is two exchanges around a sum in ascending order of members.
#include "worker/transport/wire_transport.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

namespace birkhoff {
namespace {

// Slots: two per channel (messages, stamps), then two per group (parts, sums), then the council's.
constexpr uint64_t kGroupSlots = uint64_t{1} << 32;
constexpr uint64_t kCouncilSlot = uint64_t{1} << 33;

// The wire, its first error, and the name of whoever had it.
class Port {
 public:
  explicit Port(std::unique_ptr<Wire> wire) : wire_(std::move(wire)) {}

  absl::Status status() const {
    absl::MutexLock lock(&mutex_);
    return first_;
  }
  // Keeps the first error; wakes everything that waits on this rank and on its peers.
  void Fail(absl::Status error) {
    {
      absl::MutexLock lock(&mutex_);
      if (!first_.ok()) return;
      first_ = std::move(error);
    }
    wire_->Close();
  }
  // False after an error, of this exchange or an earlier one.
  template <typename Name>
  bool Exchange(std::span<const WirePiece> receives, std::span<const WirePiece> sends,
                const Name& name) {
    if (!status().ok()) return false;
    const absl::Status result = wire_->Exchange(receives, sends);
    if (!result.ok()) {
      Fail(absl::Status(result.code(), absl::StrCat(name(), ": ", result.message())));
    }
    return result.ok();
  }

 private:
  const std::unique_ptr<Wire> wire_;
  mutable absl::Mutex mutex_;
  absl::Status first_ ABSL_GUARDED_BY(mutex_);
};

std::string StampToString(const MessageStamp& stamp) {
  return absl::StrCat(
      stamp.kind == static_cast<int>(ChannelKind::kGradient) ? "gradient" : "activation",
      " of stage ", stamp.stage, " micro-batch ", stamp.microbatch);
}

bool SameMessage(const MessageStamp& a, const MessageStamp& b) {
  return a.attempt == b.attempt && a.kind == b.kind && a.stage == b.stage &&
         a.microbatch == b.microbatch;
}

std::string InstructionPrefix(int instruction) {
  return instruction < 0 ? "" : absl::StrCat("instruction ", instruction, ": ");
}

class WireLink final : public Link {
 public:
  WireLink(Port& port, int channel, int peer, bool check_stamps)
      : port_(port), slot_(2 * uint64_t(channel)), peer_(peer), check_stamps_(check_stamps) {}

  void Send(Stream& stream, DevicePtr<const std::byte> from, int64_t bytes,
            const MessageStamp& stamp) override {
    stream.HostWork([this, data = from.address(), bytes, stamp = stamp]() mutable {
      // A wire only reads what it sends.
      const WirePiece pieces[] = {{peer_, slot_, const_cast<std::byte*>(data), bytes},
                                  StampPiece(stamp)};
      port_.Exchange({}, {pieces, NumPieces()}, [&] { return Name("send", "to", stamp); });
    });
  }
  void Receive(Stream& stream, DevicePtr<std::byte> to, int64_t bytes,
               const MessageStamp& stamp) override {
    stream.HostWork([this, data = to.address(), bytes, stamp] {
      MessageStamp arrived;
      const WirePiece pieces[] = {{peer_, slot_, data, bytes}, StampPiece(arrived)};
      const auto name = [&] { return Name("receive", "from", stamp); };
      if (!port_.Exchange({pieces, NumPieces()}, {}, name)) return;
      if (!check_stamps_ || SameMessage(arrived, stamp)) return;
      port_.Fail(absl::InternalError(absl::StrCat(name(), ": got the ", StampToString(arrived),
                                                  " of attempt ", arrived.attempt,
                                                  "; need attempt ", stamp.attempt)));
    });
  }

 private:
  size_t NumPieces() const { return check_stamps_ ? 2 : 1; }
  WirePiece StampPiece(MessageStamp& stamp) const {
    return {peer_, slot_ + 1, reinterpret_cast<std::byte*>(&stamp), sizeof(stamp)};
  }
  std::string Name(const char* verb, const char* side, const MessageStamp& stamp) const {
    return absl::StrCat(InstructionPrefix(stamp.instruction), verb, " ", StampToString(stamp), " ",
                        side, " rank ", peer_);
  }

  Port& port_;
  const uint64_t slot_;
  const int peer_;
  const bool check_stamps_;
};

class WireGroup final : public Group {
 public:
  WireGroup(Port& port, int number, std::vector<int> members, int index)
      : port_(port),
        slot_(kGroupSlots + 2 * uint64_t(number)),
        members_(std::move(members)),
        index_(index) {}

  int size() const override { return static_cast<int>(members_.size()); }
  int index() const override { return index_; }

  void AllReduceSum(Stream& stream, DevicePtr<float> values, int64_t count,
                    int instruction) override {
    if (size() == 1) return;
    stream.HostWork([this, data = values.address(), count, instruction] {
      const auto name = [instruction] { return InstructionPrefix(instruction) + "all-reduce"; };
      if (SwapParts(data, count, name)) {
        AddParts(data, count);
        GiveSums(data, count, name);
      }
    });
  }

  void AllGather(Stream& stream, DevicePtr<const double> in, int64_t count, DevicePtr<double> to,
                 int instruction) override {
    Copy(stream, to + index_ * count, in, count);
    if (size() == 1) return;
    stream.HostWork([this, count, out = to.address(), instruction] {
      std::vector<WirePiece> receives, sends;
      for (int k = 0; k < size(); ++k) {
        if (k == index_ || count == 0) continue;
        receives.push_back(Piece(k, slot_, out + k * count, count));
        sends.push_back(Piece(k, slot_, out + index_ * count, count));
      }
      port_.Exchange(receives, sends,
                     [instruction] { return InstructionPrefix(instruction) + "all-gather"; });
    });
  }

 private:
  template <typename T>
  WirePiece Piece(int member, uint64_t slot, T* data, int64_t count) const {
    return {members_[member], slot, reinterpret_cast<std::byte*>(data), count * int64_t{sizeof(T)}};
  }
  // Member k sums elements [Begin(k), Begin(k + 1)).
  int64_t Begin(int member, int64_t count) const { return count * member / size(); }
  int64_t PartCount(int member, int64_t count) const {
    return Begin(member + 1, count) - Begin(member, count);
  }

  // Everybody's copy of my part into parts_, by member; my own stays in `data`.
  template <typename Name>
  bool SwapParts(float* data, int64_t count, const Name& name) {
    const int64_t mine = PartCount(index_, count);
    parts_.resize(mine * size());
    std::vector<WirePiece> receives, sends;
    for (int k = 0; k < size(); ++k) {
      if (k == index_) continue;
      if (mine > 0) receives.push_back(Piece(k, slot_, parts_.data() + k * mine, mine));
      const int64_t theirs = PartCount(k, count);
      if (theirs > 0) sends.push_back(Piece(k, slot_, data + Begin(k, count), theirs));
    }
    return port_.Exchange(receives, sends, name);
  }

  // In ascending order of members, whichever of them this one is: its own copy joins the others in
  // parts_, part 0 takes its place, and the rest are added to that.
  void AddParts(float* data, int64_t count) {
    const int64_t mine = PartCount(index_, count);
    float* own = data + Begin(index_, count);
    std::copy(own, own + mine, parts_.data() + index_ * mine);
    std::copy(parts_.data(), parts_.data() + mine, own);
    for (int k = 1; k < size(); ++k) {
      const float* part = parts_.data() + k * mine;
      for (int64_t e = 0; e < mine; ++e) own[e] += part[e];
    }
  }

  // My sum to everybody, theirs into `data`.
  template <typename Name>
  void GiveSums(float* data, int64_t count, const Name& name) {
    const int64_t mine = PartCount(index_, count);
    std::vector<WirePiece> receives, sends;
    for (int k = 0; k < size(); ++k) {
      if (k == index_) continue;
      const int64_t theirs = PartCount(k, count);
      if (theirs > 0) receives.push_back(Piece(k, slot_ + 1, data + Begin(k, count), theirs));
      if (mine > 0) sends.push_back(Piece(k, slot_ + 1, data + Begin(index_, count), mine));
    }
    port_.Exchange(receives, sends, name);
  }

  Port& port_;
  const uint64_t slot_;
  const std::vector<int> members_;  // global ranks, ascending
  const int index_;
  std::vector<float> parts_;  // [size(), elements of my part]; used by the stream in turn
};

class WireCouncil final : public Council {
 public:
  WireCouncil(Port& port, int world_size, int rank)
      : port_(port), size_(world_size), index_(rank) {}

  int size() const override { return size_; }
  int index() const override { return index_; }

  absl::Status AllGather(std::span<const std::byte> mine, std::span<std::byte> all) override {
    const auto bytes = static_cast<int64_t>(mine.size());
    std::byte* const own = all.data() + index_ * bytes;
    std::ranges::copy(mine, own);
    std::vector<WirePiece> receives, sends;
    for (int rank = 0; rank < size_ && bytes > 0; ++rank) {
      if (rank == index_) continue;
      receives.push_back({rank, kCouncilSlot, all.data() + rank * bytes, bytes});
      sends.push_back({rank, kCouncilSlot, own, bytes});
    }
    port_.Exchange(receives, sends, [] { return std::string("council"); });
    return port_.status();
  }

 private:
  Port& port_;
  const int size_;
  const int index_;
};

class WireTransport final : public Transport {
 public:
  WireTransport(std::unique_ptr<Wire> wire, const Plan& plan, const WireTransportOptions& options)
      : port_(std::move(wire)), council_(port_, plan.num_ranks * plan.num_replicas, options.rank) {
    const int first = options.rank / plan.num_ranks * plan.num_ranks;  // of this replica
    const int rank = options.rank - first;
    links_.resize(plan.channels.size());
    for (int c = 0; c < static_cast<int>(links_.size()); ++c) {
      const Channel& channel = plan.channels[c];
      if (channel.source != rank && channel.destination != rank) continue;
      const int peer = channel.source == rank ? channel.destination : channel.source;
      links_[c] = std::make_unique<WireLink>(port_, c, first + peer, options.check_stamps);
    }
    int number = 0;
    for (std::vector<int>& members : GroupsOfPlan(plan)) {
      const auto self = std::find(members.begin(), members.end(), options.rank);
      if (self != members.end()) {
        const int index = static_cast<int>(self - members.begin());
        groups_[members] = std::make_unique<WireGroup>(port_, number, members, index);
      }
      ++number;
    }
  }

  Link* link(int channel) override { return links_[channel].get(); }
  Group* group(const std::vector<int>& global_ranks) override {
    const auto found = groups_.find(global_ranks);
    return found == groups_.end() ? nullptr : found->second.get();
  }
  Council& council() override { return council_; }
  absl::Status status() const override { return port_.status(); }
  void Abort(absl::Status reason) override { port_.Fail(std::move(reason)); }

 private:
  Port port_;
  WireCouncil council_;
  std::vector<std::unique_ptr<WireLink>> links_;
  std::map<std::vector<int>, std::unique_ptr<WireGroup>> groups_;
};

}  // namespace

std::unique_ptr<Transport> NewWireTransport(std::unique_ptr<Wire> wire, const Plan& plan,
                                            const WireTransportOptions& options) {
  return std::make_unique<WireTransport>(std::move(wire), plan, options);
}

}  // namespace birkhoff
