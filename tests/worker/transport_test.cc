// The conformance suite of transports: every implementation must pass all of it.
#include "worker/transport.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "core/base/rng.h"
#include "tests/testing/rendezvous.h"
#include "worker/transport/gloo.h"
#include "worker/transport/local.h"

namespace birkhoff {
namespace {

using birkhoff::testing::ThreadMeetingPoint;
using birkhoff::testing::ThreadRendezvous;

constexpr int64_t kLarge = 24 << 20;  // far above any buffer of the system

// `ranks` x `replicas`, with channels in both directions between neighbours; ranks 0 and the last
// one hold copies.
Plan RingPlan(int ranks, int replicas = 1) {
  Plan plan;
  plan.num_ranks = ranks;
  plan.num_replicas = replicas;
  for (int r = 0; r + 1 < ranks; ++r) {
    plan.channels.push_back({r, r + 1, ChannelKind::kActivation, kLarge});
    plan.channels.push_back({r + 1, r, ChannelKind::kGradient, kLarge});
  }
  plan.buckets.push_back({{}, {0}});
  if (ranks > 1) plan.buckets.push_back({{}, {0, ranks - 1}});
  return plan;
}

// What a rank works with in a test.
struct Peer {
  int rank = 0;
  Transport* transport = nullptr;
  Device* device = nullptr;
};

// Runs `body` on all ranks as threads over one kind of transport.
class TransportTest : public ::testing::TestWithParam<std::string> {
 protected:
  void Run(const Plan& plan, const std::function<void(Peer&)>& body, bool check_stamps = true) {
    const int world = plan.num_ranks * plan.num_replicas;
    const auto hub = LocalHub::Create(world);
    ThreadMeetingPoint point(world);
    const auto device = NewCpuDevice();
    std::vector<std::thread> threads;
    for (int rank = 0; rank < world; ++rank) {
      threads.emplace_back([&, rank] {
        const auto transport = Make(plan, *hub, point, {rank, check_stamps});
        ASSERT_NE(transport, nullptr);
        // A rank that ends while others are still connecting would be another test.
        ASSERT_TRUE(point.Meet(rank, "connected", "").ok());
        Peer peer{rank, transport.get(), device.get()};
        body(peer);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

 private:
  std::unique_ptr<Transport> Make(const Plan& plan, LocalHub& hub, ThreadMeetingPoint& point,
                                  const WireTransportOptions& options) {
    if (GetParam() == "local") return NewLocalTransport(hub, plan, options);
    ThreadRendezvous rendezvous(point, options.rank);
    GlooOptions gloo;
    gloo.transport = options;
    gloo.world_size = plan.num_ranks * plan.num_replicas;
    auto transport = ConnectGloo(plan, rendezvous, gloo);
    EXPECT_TRUE(transport.ok()) << transport.status();
    return transport.ok() ? *std::move(transport) : nullptr;
  }
};

std::byte* Bytes(std::vector<int64_t>& values) {
  return reinterpret_cast<std::byte*>(values.data());
}
int64_t NumBytes(const std::vector<int64_t>& values) {
  return static_cast<int64_t>(values.size() * sizeof(int64_t));
}

MessageStamp Stamp(int stage, int microbatch) {
  MessageStamp stamp;
  stamp.attempt = 1;
  stamp.stage = stage;
  stamp.microbatch = microbatch;
  return stamp;
}

TEST_P(TransportTest, MessagesOfAChannelArriveInOrder) {
  Run(RingPlan(2), [](Peer& peer) {
    const auto stream = peer.device->NewStream("channel");
    constexpr int kMessages = 50;
    std::vector<std::vector<int64_t>> messages(kMessages, std::vector<int64_t>(100));
    for (int m = 0; m < kMessages; ++m) {
      if (peer.rank == 0) {
        std::fill(messages[m].begin(), messages[m].end(), m);
        peer.transport->link(0)->Send(*stream, Bytes(messages[m]), NumBytes(messages[m]),
                                      Stamp(0, m));
      } else {
        peer.transport->link(0)->Receive(*stream, Bytes(messages[m]), NumBytes(messages[m]),
                                         Stamp(0, m));
      }
    }
    stream->Synchronize();
    EXPECT_TRUE(peer.transport->status().ok()) << peer.transport->status();
    for (int m = 0; m < kMessages; ++m) {
      EXPECT_EQ(messages[m], std::vector<int64_t>(100, m)) << "message " << m;
    }
  });
}

TEST_P(TransportTest, LargeMessagesCrossInBothDirectionsAtOnce) {
  Run(RingPlan(2), [](Peer& peer) {
    const auto send = peer.device->NewStream("send"), receive = peer.device->NewStream("receive");
    std::vector<int64_t> out(kLarge / 8), in(kLarge / 8);
    std::iota(out.begin(), out.end(), peer.rank * 1000);
    const int mine = peer.rank, theirs = 1 - peer.rank;  // channel r leaves rank r
    peer.transport->link(mine)->Send(*send, Bytes(out), NumBytes(out), Stamp(mine, 0));
    peer.transport->link(theirs)->Receive(*receive, Bytes(in), NumBytes(in), Stamp(theirs, 0));
    send->Synchronize();
    receive->Synchronize();
    std::vector<int64_t> want(kLarge / 8);
    std::iota(want.begin(), want.end(), theirs * 1000);
    EXPECT_TRUE(peer.transport->status().ok()) << peer.transport->status();
    EXPECT_TRUE(in == want);
  });
}

TEST_P(TransportTest, TwoMessagesMayBeOutstandingBeforeAnyIsReceived) {
  Run(RingPlan(2), [](Peer& peer) {
    const auto forward = peer.device->NewStream("forward");
    const auto backward = peer.device->NewStream("backward");
    std::vector<int64_t> a(kLarge / 8, 1), b(kLarge / 8, 2), token(1, 3);
    if (peer.rank == 0) {
      peer.transport->link(0)->Send(*forward, Bytes(a), NumBytes(a), Stamp(0, 0));
      peer.transport->link(0)->Send(*forward, Bytes(b), NumBytes(b), Stamp(0, 1));
      // Arrives although both sends wait for their receives.
      peer.transport->link(1)->Receive(*backward, Bytes(token), 8, Stamp(1, 0));
    } else {
      std::fill(a.begin(), a.end(), 0);
      std::fill(b.begin(), b.end(), 0);
      peer.transport->link(1)->Send(*backward, Bytes(token), 8, Stamp(1, 0));
      backward->Synchronize();
      peer.transport->link(0)->Receive(*forward, Bytes(a), NumBytes(a), Stamp(0, 0));
      peer.transport->link(0)->Receive(*forward, Bytes(b), NumBytes(b), Stamp(0, 1));
    }
    forward->Synchronize();
    backward->Synchronize();
    EXPECT_TRUE(peer.transport->status().ok()) << peer.transport->status();
    EXPECT_EQ(a.back(), 1);
    EXPECT_EQ(b.back(), 2);
  });
}

TEST_P(TransportTest, DelayedEndsChangeNothing) {
  Run(RingPlan(3), [](Peer& peer) {
    const auto stream = peer.device->NewStream("channel");
    Rng rng(uint64_t(peer.rank) + 1);
    std::vector<int64_t> value(1000);
    for (int m = 0; m < 40; ++m) {
      // Injected delay: up to a thousand turns given to the others.
      stream->Submit([turns = rng.Below(1000)] {
        for (uint64_t i = 0; i < turns; ++i) std::this_thread::yield();
      });
      if (peer.rank == 0) {
        stream->Submit([&value, m] { std::fill(value.begin(), value.end(), m); });
      } else {
        const int channel = 2 * (peer.rank - 1);
        peer.transport->link(channel)->Receive(*stream, Bytes(value), NumBytes(value), Stamp(0, m));
        stream->Submit([&value, m] { EXPECT_EQ(value.back(), m); });
      }
      if (peer.rank < 2) {
        peer.transport->link(2 * peer.rank)
            ->Send(*stream, Bytes(value), NumBytes(value), Stamp(0, m));
      }
    }
    stream->Synchronize();
    EXPECT_TRUE(peer.transport->status().ok()) << peer.transport->status();
  });
}

TEST_P(TransportTest, RanksHaveOnlyTheirOwnLinksAndGroups) {
  Run(RingPlan(3, 2), [](Peer& peer) {
    const int rank = peer.rank % 3, first = peer.rank - rank;
    for (int c = 0; c < 4; ++c) {
      const int lower = c / 2;  // the channel joins `lower` and `lower` + 1
      const bool mine = rank == lower || rank == lower + 1;
      EXPECT_EQ(peer.transport->link(c) != nullptr, mine) << "channel " << c;
    }
    EXPECT_EQ(peer.transport->group({0, 1, 2, 3, 4, 5})->size(), 6);
    EXPECT_EQ(peer.transport->group({rank, rank + 3})->index(), peer.rank / 3);
    EXPECT_EQ(peer.transport->group({first, first + 2}) != nullptr, rank != 1);
    EXPECT_EQ(peer.transport->group({0, 5}), nullptr);
  });
}

TEST_P(TransportTest, AllReduceAddsInAscendingRankOrder) {
  // 1e8 + 1 is 1e8 in float: another order of the sum gives other bits.
  for (const int64_t count : {int64_t{0}, int64_t{1}, int64_t{3}, int64_t{1001}}) {
    Run(RingPlan(1, 4), [count](Peer& peer) {
      const auto stream = peer.device->NewStream("collective");
      const float values[] = {1.0f, 1e8f, -1e8f, 1.0f};
      std::vector<float> data(count, values[peer.rank]);
      peer.transport->group({0, 1, 2, 3})->AllReduceSum(*stream, data.data(), count, 5);
      stream->Synchronize();
      EXPECT_TRUE(peer.transport->status().ok()) << peer.transport->status();
      EXPECT_EQ(data, std::vector<float>(count, ((1.0f + 1e8f) - 1e8f) + 1.0f));
    });
  }
}

// A fixed mix of sums; the bits are compared between transports below.
std::vector<float> MixedSums(Peer& peer) {
  const auto stream = peer.device->NewStream("collective");
  Rng rng(uint64_t(peer.rank) + 17);
  std::vector<float> data(100003);
  for (float& value : data) value = static_cast<float>(rng.Normal() * 1e3);
  for (int i = 0; i < 3; ++i) {
    peer.transport->group({0, 1, 2})->AllReduceSum(*stream, data.data(),
                                                   static_cast<int64_t>(data.size()), -1);
  }
  stream->Synchronize();
  return data;
}

TEST_P(TransportTest, SumsHaveTheSameBitsOnEveryMemberAndTransport) {
  std::vector<std::vector<float>> sums(3);
  Run(RingPlan(1, 3), [&sums](Peer& peer) { sums[peer.rank] = MixedSums(peer); });
  EXPECT_EQ(sums[0], sums[1]);
  EXPECT_EQ(sums[0], sums[2]);
  uint64_t hash = 0;
  hash = StableHash({reinterpret_cast<const char*>(sums[0].data()), sums[0].size() * 4});
  static uint64_t of_first = hash;  // the transport that runs first
  EXPECT_EQ(hash, of_first);
}

TEST_P(TransportTest, AllGatherGivesEverybodysValuesByIndex) {
  Run(RingPlan(2, 2), [](Peer& peer) {
    const auto stream = peer.device->NewStream("collective");
    for (int round = 0; round < 20; ++round) {
      const double in[] = {peer.rank + 0.5, round * 1.0};
      std::vector<double> out(8);
      peer.transport->group({0, 1, 2, 3})->AllGather(*stream, in, 2, out.data(), -1);
      stream->Synchronize();
      const double r = round;
      EXPECT_EQ(out, (std::vector<double>{0.5, r, 1.5, r, 2.5, r, 3.5, r}));
    }
    EXPECT_TRUE(peer.transport->status().ok()) << peer.transport->status();
  });
}

TEST_P(TransportTest, AbortWakesWhatWaitsAndLaterWorkIsNoOp) {
  Run(RingPlan(2), [](Peer& peer) {
    const auto stream = peer.device->NewStream("channel");
    std::vector<int64_t> value(10, 4);
    if (peer.rank == 1) {
      peer.transport->link(0)->Receive(*stream, Bytes(value), NumBytes(value), Stamp(0, 0));
      peer.transport->Abort(absl::CancelledError("stop now"));
      peer.transport->Abort(absl::InternalError("too late to be the first"));
      peer.transport->link(0)->Receive(*stream, Bytes(value), NumBytes(value), Stamp(0, 1));
      const double in = 1.0;
      std::vector<double> out(2);
      peer.transport->group({0, 1})->AllGather(*stream, &in, 1, out.data(), -1);
      stream->Synchronize();
      EXPECT_EQ(peer.transport->status(), absl::CancelledError("stop now"));
      EXPECT_EQ(value, std::vector<int64_t>(10, 4));
    } else {
      // Nothing was sent; the peer's end comes as an error, not as silence.
      const auto other = peer.device->NewStream("gradient");
      peer.transport->link(1)->Receive(*other, Bytes(value), NumBytes(value), Stamp(1, 0));
      other->Synchronize();
      EXPECT_EQ(peer.transport->status().code(), absl::StatusCode::kUnavailable);
    }
  });
}

TEST_P(TransportTest, DeathOfAPeerNamesOperationInstructionAndPeer) {
  Run(RingPlan(2), [](Peer& peer) {
    if (peer.rank == 0) return peer.transport->Abort(absl::AbortedError("killed"));
    const auto stream = peer.device->NewStream("channel");
    std::vector<int64_t> value(10);
    MessageStamp stamp = Stamp(3, 2);
    stamp.instruction = 17;
    peer.transport->link(0)->Receive(*stream, Bytes(value), NumBytes(value), stamp);
    stream->Synchronize();
    const absl::Status status = peer.transport->status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_TRUE(absl::StrContains(
        status.message(),
        "instruction 17: receive activation of stage 3 micro-batch 2 from rank 0"))
        << status;
  });
}

TEST_P(TransportTest, DeathOfOneRankReachesAllThroughTheirNeighbours) {
  Run(RingPlan(4), [](Peer& peer) {
    if (peer.rank == 3) return peer.transport->Abort(absl::AbortedError("killed"));
    const auto stream = peer.device->NewStream("channel");
    std::vector<int64_t> value(10);
    // Each waits for the next; only rank 2 waits for the dead one.
    peer.transport->link(2 * peer.rank + 1)
        ->Receive(*stream, Bytes(value), NumBytes(value), Stamp(peer.rank + 1, 0));
    stream->Synchronize();
    EXPECT_EQ(peer.transport->status().code(), absl::StatusCode::kUnavailable);
  });
}

TEST_P(TransportTest, SwappedMessagesAreSeenWhereStampsAreChecked) {
  Run(RingPlan(2), [](Peer& peer) {
    const auto stream = peer.device->NewStream("channel");
    std::vector<int64_t> value(10);
    if (peer.rank == 0) {
      peer.transport->link(0)->Send(*stream, Bytes(value), NumBytes(value), Stamp(0, 1));
    } else {
      peer.transport->link(0)->Receive(*stream, Bytes(value), NumBytes(value), Stamp(0, 0));
      stream->Synchronize();
      EXPECT_EQ(peer.transport->status().code(), absl::StatusCode::kInternal);
      EXPECT_TRUE(absl::StrContains(peer.transport->status().message(),
                                    "got the activation of stage 0 micro-batch 1"))
          << peer.transport->status();
    }
    stream->Synchronize();
  });
}

TEST_P(TransportTest, MessagesAreWholeWhenTheSenderLeavesAtOnce) {
  for (int round = 0; round < 10; ++round) {
    Run(
        RingPlan(3),
        [](Peer& peer) {
          const auto stream = peer.device->NewStream("collective");
          const double in = peer.rank;
          std::vector<double> out(3);
          peer.transport->group({0, 1, 2})->AllGather(*stream, &in, 1, out.data(), -1);
          stream->Synchronize();
          EXPECT_TRUE(peer.transport->status().ok()) << peer.transport->status();
          EXPECT_EQ(out, (std::vector<double>{0, 1, 2}));
        },
        /*check_stamps=*/false);
  }
}

INSTANTIATE_TEST_SUITE_P(All, TransportTest, ::testing::Values("local", "gloo"),
                         [](const auto& instance) { return instance.param; });

TEST(GlooTest, RefusesAnAddressThatIsNotOurs) {
  ThreadMeetingPoint point(1);
  ThreadRendezvous rendezvous(point, 0);
  GlooOptions options;
  options.address = "203.0.113.1";
  const auto transport = ConnectGloo(RingPlan(1), rendezvous, options);
  ASSERT_FALSE(transport.ok());
  EXPECT_TRUE(absl::StrContains(transport.status().message(), "203.0.113.1"));
}

TEST(GlooTest, GivesBackWhatTheRendezvousSays) {
  ThreadMeetingPoint point(2);
  point.Close();
  ThreadRendezvous rendezvous(point, 0);
  GlooOptions options;
  options.world_size = 2;
  EXPECT_EQ(ConnectGloo(RingPlan(2), rendezvous, options).status(),
            absl::AbortedError("the attempt is over"));
}

TEST(GroupsOfPlanTest, NamesWorldThenReplicasThenCopiesOnce) {
  Plan plan = RingPlan(2, 2);
  plan.buckets.push_back({{}, {0, 1}});  // the same members again
  EXPECT_EQ(GroupsOfPlan(plan),
            (std::vector<std::vector<int>>{{0, 1, 2, 3}, {0, 2}, {1, 3}, {0, 1}, {2, 3}}));
  EXPECT_EQ(GroupsOfPlan(RingPlan(1)), (std::vector<std::vector<int>>{{0}}));
}

}  // namespace
}  // namespace birkhoff
