// A walk in topological order: an instruction arrives when what its stream has before it and its
// waits are over; members of a meeting start when the last has arrived.  Times are maxima over what
// was before, so no queue by time is needed.
#include "core/plan/replay.h"

#include <algorithm>
#include <vector>

#include "core/plan/ops.h"

namespace birkhoff {
namespace {

constexpr int kNobody = -1;

// Instructions of all ranks are numbered in one row.
class Replayer {
 public:
  Replayer(const Plan& plan, ProgramMember program) : plan_(plan), program_(program) {}

  Replay Run() {
    Number();
    LinkStreamsAndWaits();
    LinkMeetings();
    for (int node = 0; node < num_nodes_; ++node) {
      if (pending_[node] == 0) arrived_.push_back(node);
    }
    while (!arrived_.empty()) {
      const int node = arrived_.back();
      arrived_.pop_back();
      Arrive(node);
    }
    return Result();
  }

 private:
  const std::vector<Instruction>& ProgramOf(int rank) const { return plan_.ranks[rank].*program_; }
  int NumRanks() const { return static_cast<int>(plan_.ranks.size()); }

  void Number() {
    first_.assign(1, 0);
    for (int rank = 0; rank < NumRanks(); ++rank) {
      first_.push_back(first_.back() + static_cast<int>(ProgramOf(rank).size()));
      for (const Instruction& instruction : ProgramOf(rank)) instructions_.push_back(&instruction);
    }
    num_nodes_ = first_.back();
    pending_.assign(num_nodes_, 0);
    next_.assign(num_nodes_, kNobody);
    meeting_of_.assign(num_nodes_, kNobody);
    ready_ns_.assign(num_nodes_, 0);
    start_ns_.assign(num_nodes_, -1);
    end_ns_.assign(num_nodes_, -1);
  }

  // next_: the follower in the stream; waiters_: who waits, by whom they wait for.
  void LinkStreamsAndWaits() {
    // Followers, and how many wait for each node.
    std::vector<int> last(kNumStreamKinds + plan_.channels.size());
    waiters_first_.assign(num_nodes_ + 1, 0);
    for (int rank = 0; rank < NumRanks(); ++rank) {
      std::fill(last.begin(), last.end(), kNobody);
      for (int node = first_[rank]; node < first_[rank + 1]; ++node) {
        const Instruction& instruction = *instructions_[node];
        int& before =
            last[instruction.stream == StreamKind::kChannel ? kNumStreamKinds + instruction.channel
                                                            : static_cast<int>(instruction.stream)];
        if (before != kNobody) {
          next_[before] = node;
          ++pending_[node];
        }
        before = node;
        for (const int wait : instruction.waits) ++waiters_first_[first_[rank] + wait + 1];
        pending_[node] += static_cast<int>(instruction.waits.size());
      }
    }
    // From counts to places, then every waiter into one of the places of what it waits for.
    for (int node = 0; node < num_nodes_; ++node) waiters_first_[node + 1] += waiters_first_[node];
    waiters_.resize(waiters_first_[num_nodes_]);
    std::vector<int> at(waiters_first_.begin(), waiters_first_.end() - 1);
    for (int rank = 0; rank < NumRanks(); ++rank) {
      for (int node = first_[rank]; node < first_[rank + 1]; ++node) {
        for (const int wait : instructions_[node]->waits)
          waiters_[at[first_[rank] + wait]++] = node;
      }
    }
  }

  // A meeting is a send with its receive, or a collective with all its members.
  struct Meeting {
    int missing = 0;  // members that have not arrived
    int64_t start_ns = 0;
    std::vector<int> members;
  };

  void Join(std::vector<int>& meetings, size_t turn, int node, int num_members) {
    if (turn == meetings.size()) {
      meetings.push_back(static_cast<int>(meetings_.size()));
      meetings_.push_back({num_members, 0, {}});
    }
    meeting_of_[node] = meetings[turn];
    meetings_[meetings[turn]].members.push_back(node);
  }

  // The k-th send of a channel meets its k-th receive, the k-th exchange of a bucket on one rank
  // that on the others, the k-th agree that of all ranks.
  void LinkMeetings() {
    const size_t num_channels = plan_.channels.size(), num_buckets = plan_.buckets.size();
    std::vector<std::vector<int>> of_channel(num_channels), of_bucket(num_buckets + 1);
    std::vector<size_t> sends(num_channels), receives(num_channels);
    for (int rank = 0; rank < NumRanks(); ++rank) {
      std::vector<size_t> turns(num_buckets + 1);
      for (int node = first_[rank]; node < first_[rank + 1]; ++node) {
        const Instruction& instruction = *instructions_[node];
        const OpInfo& info = InfoOf(instruction.op);
        if (info.kind == OpKind::kSend) {
          Join(of_channel[instruction.channel], sends[instruction.channel]++, node, 2);
        } else if (info.kind == OpKind::kReceive) {
          Join(of_channel[instruction.channel], receives[instruction.channel]++, node, 2);
        } else if (info.meets == Meets::kHoldersOfBucket) {
          const int bucket = instruction.bucket;
          Join(of_bucket[bucket], turns[bucket]++, node,
               static_cast<int>(plan_.buckets[bucket].ranks.size()));
        } else if (info.meets == Meets::kAllRanks) {
          Join(of_bucket[num_buckets], turns[num_buckets]++, node, NumRanks());
        }
      }
    }
  }

  void Arrive(int node) {
    if (meeting_of_[node] == kNobody) return Finish(node, ready_ns_[node]);
    Meeting& meeting = meetings_[meeting_of_[node]];
    meeting.start_ns = std::max(meeting.start_ns, ready_ns_[node]);
    if (--meeting.missing > 0) return;
    for (const int member : meeting.members) Finish(member, meeting.start_ns);
  }

  void Finish(int node, int64_t start_ns) {
    start_ns_[node] = start_ns;
    end_ns_[node] = start_ns + instructions_[node]->estimated_ns;
    if (next_[node] != kNobody) Release(next_[node], end_ns_[node]);
    for (int i = waiters_first_[node]; i < waiters_first_[node + 1]; ++i) {
      Release(waiters_[i], end_ns_[node]);
    }
  }

  void Release(int node, int64_t at_ns) {
    ready_ns_[node] = std::max(ready_ns_[node], at_ns);
    if (--pending_[node] == 0) arrived_.push_back(node);
  }

  Replay Result() const {
    Replay replay;
    replay.complete = true;
    for (int rank = 0; rank < NumRanks(); ++rank) {
      const auto from = first_[rank], to = first_[rank + 1];
      replay.start_ns.emplace_back(start_ns_.begin() + from, start_ns_.begin() + to);
      replay.end_ns.emplace_back(end_ns_.begin() + from, end_ns_.begin() + to);
      for (int node = from; node < to; ++node) {
        if (end_ns_[node] >= 0) continue;
        replay.complete = false;
        if (pending_[node] == 0) replay.hanging.push_back({rank, node - from});
      }
    }
    return replay;
  }

  static constexpr int kNumStreamKinds = 5;

  const Plan& plan_;
  const ProgramMember program_;
  std::vector<int> first_;  // by rank: its first node; one more for the end
  std::vector<const Instruction*> instructions_;
  int num_nodes_ = 0;
  std::vector<int> pending_;  // by node: what must still end before it
  std::vector<int> next_, waiters_first_, waiters_, meeting_of_;
  std::vector<int64_t> ready_ns_, start_ns_, end_ns_;
  std::vector<Meeting> meetings_;
  std::vector<int> arrived_;
};

}  // namespace

Replay ReplayProgram(const Plan& plan, ProgramMember program) {
  return Replayer(plan, program).Run();
}

}  // namespace birkhoff
