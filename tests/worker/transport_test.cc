// The conformance suite of transports: every implementation must pass all of it.
#include "worker/transport.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "core/base/rng.h"
#include "tests/testing/device_vector.h"
#include "tests/testing/rendezvous.h"
#include "tests/testing/test_device.h"
#include "worker/transport/gloo.h"
#include "worker/transport/local.h"

namespace birkhoff {
namespace {

using testing::DeviceVector;
using testing::ThreadMeetingPoint;
using testing::ThreadRendezvous;
using testing::ToHost;

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
    if (world > 1) {
      BIRKHOFF_SKIP_RANKS_ON_GPU();
    }
    LocalHub hub(world);
    ThreadMeetingPoint point(world);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < world; ++rank) {
      threads.emplace_back([&, rank] {
        const auto transport = Make(plan, hub, point, {rank, check_stamps});
        ASSERT_NE(transport, nullptr);
        const std::unique_ptr<Device> device = NewTestDevice();
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

using Values = testing::DeviceVector<int64_t>;

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
    std::vector<std::unique_ptr<Values>> messages;
    for (int m = 0; m < kMessages; ++m) {
      const int64_t value = peer.rank == 0 ? m : -1;
      messages.push_back(std::make_unique<Values>(*peer.device, std::vector<int64_t>(100, value)));
      if (peer.rank == 0) {
        peer.transport->link(0)->Send(*stream, messages[m]->bytes(), messages[m]->num_bytes(),
                                      Stamp(0, m));
      } else {
        peer.transport->link(0)->Receive(*stream, messages[m]->bytes(), messages[m]->num_bytes(),
                                         Stamp(0, m));
      }
    }
    stream->Synchronize();
    EXPECT_TRUE(peer.transport->status().ok()) << peer.transport->status();
    for (int m = 0; m < kMessages; ++m) {
      EXPECT_EQ(messages[m]->values(), std::vector<int64_t>(100, m)) << "message " << m;
    }
  });
}

TEST_P(TransportTest, LargeMessagesCrossInBothDirectionsAtOnce) {
  Run(RingPlan(2), [](Peer& peer) {
    const auto send = peer.device->NewStream("send"), receive = peer.device->NewStream("receive");
    std::vector<int64_t> image(kLarge / 8);
    std::iota(image.begin(), image.end(), peer.rank * 1000);
    const Values out(*peer.device, image), in(*peer.device, std::vector<int64_t>(kLarge / 8));
    const int mine = peer.rank, theirs = 1 - peer.rank;  // channel r leaves rank r
    peer.transport->link(mine)->Send(*send, out.bytes(), out.num_bytes(), Stamp(mine, 0));
    peer.transport->link(theirs)->Receive(*receive, in.bytes(), in.num_bytes(), Stamp(theirs, 0));
    send->Synchronize();
    receive->Synchronize();
    std::vector<int64_t> want(kLarge / 8);
    std::iota(want.begin(), want.end(), theirs * 1000);
    EXPECT_TRUE(peer.transport->status().ok()) << peer.transport->status();
    EXPECT_TRUE(in.values() == want);
  });
}

TEST_P(TransportTest, TwoMessagesMayBeOutstandingBeforeAnyIsReceived) {
  Run(RingPlan(2), [](Peer& peer) {
    const auto forward = peer.device->NewStream("forward");
    const auto backward = peer.device->NewStream("backward");
    const bool sends = peer.rank == 0;
    const Values a(*peer.device, std::vector<int64_t>(kLarge / 8, sends ? 1 : 0));
    const Values b(*peer.device, std::vector<int64_t>(kLarge / 8, sends ? 2 : 0));
    const Values token(*peer.device, {3});
    if (sends) {
      peer.transport->link(0)->Send(*forward, a.bytes(), a.num_bytes(), Stamp(0, 0));
      peer.transport->link(0)->Send(*forward, b.bytes(), b.num_bytes(), Stamp(0, 1));
      // Arrives although both sends wait for their receives.
      peer.transport->link(1)->Receive(*backward, token.bytes(), 8, Stamp(1, 0));
    } else {
      peer.transport->link(1)->Send(*backward, token.bytes(), 8, Stamp(1, 0));
      backward->Synchronize();
      peer.transport->link(0)->Receive(*forward, a.bytes(), a.num_bytes(), Stamp(0, 0));
      peer.transport->link(0)->Receive(*forward, b.bytes(), b.num_bytes(), Stamp(0, 1));
    }
    forward->Synchronize();
    backward->Synchronize();
    EXPECT_TRUE(peer.transport->status().ok()) << peer.transport->status();
    EXPECT_EQ(a.values().back(), 1);
    EXPECT_EQ(b.values().back(), 2);
  });
}

TEST_P(TransportTest, DelayedEndsChangeNothing) {
  Run(RingPlan(3), [](Peer& peer) {
    const auto stream = peer.device->NewStream("channel");
    Rng rng(uint64_t(peer.rank) + 1);
    constexpr int kMessages = 40, kLength = 1000;
    const Values value(*peer.device, std::vector<int64_t>(kLength));
    std::vector<int64_t> sent(kMessages), arrived(kMessages);
    std::iota(sent.begin(), sent.end(), 0);
    const DevicePtr<int64_t> last = value.data() + (kLength - 1);
    for (int m = 0; m < kMessages; ++m) {
      // Injected delay: up to a thousand turns given to the others.
      stream->HostWork([turns = rng.Below(1000)] {
        for (uint64_t i = 0; i < turns; ++i) std::this_thread::yield();
      });
      if (peer.rank == 0) {
        Upload(*stream, last, &sent[m], 1);
      } else {
        const int channel = 2 * (peer.rank - 1);
        peer.transport->link(channel)->Receive(*stream, value.bytes(), value.num_bytes(),
                                               Stamp(0, m));
        Download(*stream, &arrived[m], DevicePtr<const int64_t>(last), 1);
      }
      if (peer.rank < 2) {
        peer.transport->link(2 * peer.rank)
            ->Send(*stream, value.bytes(), value.num_bytes(), Stamp(0, m));
      }
    }
    stream->Synchronize();
    EXPECT_TRUE(peer.transport->status().ok()) << peer.transport->status();
    if (peer.rank > 0) {
      EXPECT_EQ(arrived, sent);
    }
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
      const DeviceVector<float> data(*peer.device, std::vector<float>(count, values[peer.rank]));
      peer.transport->group({0, 1, 2, 3})->AllReduceSum(*stream, data.data(), count, 5);
      stream->Synchronize();
      EXPECT_TRUE(peer.transport->status().ok()) << peer.transport->status();
      EXPECT_EQ(data.values(), std::vector<float>(count, ((1.0f + 1e8f) - 1e8f) + 1.0f));
    });
  }
}

// A fixed mix of sums; the bits are compared between transports below.
std::vector<float> MixedSums(Peer& peer) {
  const auto stream = peer.device->NewStream("collective");
  Rng rng(uint64_t(peer.rank) + 17);
  std::vector<float> values(100003);
  for (float& value : values) value = static_cast<float>(rng.Normal() * 1e3);
  const DeviceVector<float> data(*peer.device, values);
  for (int i = 0; i < 3; ++i) {
    peer.transport->group({0, 1, 2})->AllReduceSum(*stream, data.data(), data.size(), -1);
  }
  stream->Synchronize();
  return data.values();
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
      const DeviceVector<double> in(*peer.device, {peer.rank + 0.5, round * 1.0});
      const DeviceVector<double> out(*peer.device, std::vector<double>(8));
      peer.transport->group({0, 1, 2, 3})->AllGather(*stream, in.data(), 2, out.data(), -1);
      stream->Synchronize();
      const double r = round;
      EXPECT_EQ(out.values(), (std::vector<double>{0.5, r, 1.5, r, 2.5, r, 3.5, r}));
    }
    EXPECT_TRUE(peer.transport->status().ok()) << peer.transport->status();
  });
}

TEST_P(TransportTest, AbortWakesWhatWaitsAndLaterWorkIsNoOp) {
  Run(RingPlan(2), [](Peer& peer) {
    const auto stream = peer.device->NewStream("channel");
    const Values value(*peer.device, std::vector<int64_t>(10, 4));
    if (peer.rank == 1) {
      peer.transport->link(0)->Receive(*stream, value.bytes(), value.num_bytes(), Stamp(0, 0));
      peer.transport->Abort(absl::CancelledError("stop now"));
      peer.transport->Abort(absl::InternalError("too late to be the first"));
      peer.transport->link(0)->Receive(*stream, value.bytes(), value.num_bytes(), Stamp(0, 1));
      const DeviceVector<double> in(*peer.device, {1.0}), out(*peer.device, {0.0, 0.0});
      peer.transport->group({0, 1})->AllGather(*stream, in.data(), 1, out.data(), -1);
      stream->Synchronize();
      EXPECT_EQ(peer.transport->status(), absl::CancelledError("stop now"));
      EXPECT_EQ(value.values(), std::vector<int64_t>(10, 4));
      std::vector<std::byte> mine(4), all(8);
      EXPECT_EQ(peer.transport->council().AllGather(mine, all), absl::CancelledError("stop now"));
    } else {
      // Nothing was sent; the peer's end comes as an error, not as silence.
      const auto other = peer.device->NewStream("gradient");
      peer.transport->link(1)->Receive(*other, value.bytes(), value.num_bytes(), Stamp(1, 0));
      other->Synchronize();
      EXPECT_EQ(peer.transport->status().code(), absl::StatusCode::kUnavailable);
    }
  });
}

TEST_P(TransportTest, DeathOfAPeerNamesOperationInstructionAndPeer) {
  Run(RingPlan(2), [](Peer& peer) {
    if (peer.rank == 0) return peer.transport->Abort(absl::AbortedError("killed"));
    const auto stream = peer.device->NewStream("channel");
    const Values value(*peer.device, std::vector<int64_t>(10));
    MessageStamp stamp = Stamp(3, 2);
    stamp.instruction = 17;
    peer.transport->link(0)->Receive(*stream, value.bytes(), value.num_bytes(), stamp);
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
    const Values value(*peer.device, std::vector<int64_t>(10));
    // Each waits for the next; only rank 2 waits for the dead one.
    peer.transport->link(2 * peer.rank + 1)
        ->Receive(*stream, value.bytes(), value.num_bytes(), Stamp(peer.rank + 1, 0));
    stream->Synchronize();
    EXPECT_EQ(peer.transport->status().code(), absl::StatusCode::kUnavailable);
  });
}

TEST_P(TransportTest, SwappedMessagesAreSeenWhereStampsAreChecked) {
  Run(RingPlan(2), [](Peer& peer) {
    const auto stream = peer.device->NewStream("channel");
    const Values value(*peer.device, std::vector<int64_t>(10));
    if (peer.rank == 0) {
      peer.transport->link(0)->Send(*stream, value.bytes(), value.num_bytes(), Stamp(0, 1));
    } else {
      peer.transport->link(0)->Receive(*stream, value.bytes(), value.num_bytes(), Stamp(0, 0));
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
          const DeviceVector<double> in(*peer.device, {1.0 * peer.rank});
          const DeviceVector<double> out(*peer.device, {-1, -1, -1});
          peer.transport->group({0, 1, 2})->AllGather(*stream, in.data(), 1, out.data(), -1);
          stream->Synchronize();
          EXPECT_TRUE(peer.transport->status().ok()) << peer.transport->status();
          EXPECT_EQ(out.values(), (std::vector<double>{0, 1, 2}));
        },
        /*check_stamps=*/false);
  }
}

TEST_P(TransportTest, GroupOfOneMovesNothing) {
  Run(RingPlan(1), [](Peer& peer) {
    const auto stream = peer.device->NewStream("collective");
    const DeviceVector<float> data(*peer.device, {1, 2, 3});
    const DeviceVector<double> in(*peer.device, {4, 5}), out(*peer.device, {0, 0});
    peer.transport->group({0})->AllReduceSum(*stream, data.data(), 3, -1);
    peer.transport->group({0})->AllGather(*stream, in.data(), 2, out.data(), -1);
    stream->Synchronize();
    EXPECT_EQ(data.values(), (std::vector<float>{1, 2, 3}));
    EXPECT_EQ(out.values(), (std::vector<double>{4, 5}));
    const std::vector<int> mine = {7};
    EXPECT_EQ(*Gather(peer.transport->council(), std::span<const int>(mine)), mine);
    EXPECT_TRUE(peer.transport->status().ok()) << peer.transport->status();
  });
}

TEST_P(TransportTest, CouncilGivesEverybodysBytesByRank) {
  struct Word {
    int32_t rank = 0, round = 0;
    bool operator==(const Word&) const = default;
  };
  Run(RingPlan(2, 2), [](Peer& peer) {
    Council& council = peer.transport->council();
    EXPECT_EQ(council.size(), 4);
    EXPECT_EQ(council.index(), peer.rank);
    for (int32_t round = 0; round < 20; ++round) {
      const Word mine[] = {{peer.rank, round}, {-peer.rank, round}};
      const auto all = Gather(council, std::span<const Word>(mine));
      ASSERT_TRUE(all.ok()) << all.status();
      for (int32_t rank = 0; rank < 4; ++rank) {
        EXPECT_EQ((*all)[2 * rank], (Word{rank, round}));
        EXPECT_EQ((*all)[2 * rank + 1], (Word{-rank, round}));
      }
    }
    EXPECT_TRUE(council.AllGather({}, {}).ok()) << "nothing to say";
  });
}

TEST_P(TransportTest, CouncilMeetsBesideTheStreams) {
  Run(RingPlan(2), [](Peer& peer) {
    const auto stream = peer.device->NewStream("channel");
    const Values value(*peer.device, std::vector<int64_t>(10, peer.rank == 0 ? 6 : 0));
    // A message that cannot pass before the council has met.
    if (peer.rank == 1) {
      peer.transport->link(0)->Receive(*stream, value.bytes(), value.num_bytes(), Stamp(0, 0));
    }
    const int mine = peer.rank;
    EXPECT_TRUE(Gather(peer.transport->council(), std::span<const int>(&mine, 1)).ok());
    if (peer.rank == 0) {
      peer.transport->link(0)->Send(*stream, value.bytes(), value.num_bytes(), Stamp(0, 0));
    }
    stream->Synchronize();
    EXPECT_EQ(value.values(), std::vector<int64_t>(10, 6));
    EXPECT_TRUE(peer.transport->status().ok()) << peer.transport->status();
  });
}

TEST_P(TransportTest, DeathOfAPeerEndsTheCouncilForGood) {
  Run(RingPlan(3), [](Peer& peer) {
    if (peer.rank == 2) return peer.transport->Abort(absl::AbortedError("killed"));
    const int mine = peer.rank;
    const absl::Status status =
        Gather(peer.transport->council(), std::span<const int>(&mine, 1)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_TRUE(absl::StrContains(status.message(), "council")) << status;
    EXPECT_EQ(peer.transport->status(), status);
    EXPECT_EQ(Gather(peer.transport->council(), std::span<const int>(&mine, 1)).status(), status);
  });
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
