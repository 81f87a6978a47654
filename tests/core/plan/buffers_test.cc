// What AssignBuffers hands out, followed by a walk that knows only fills and frees.
#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/plan/ops.h"
#include "core/plan/schedule.h"
#include "core/plan/tables.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_testing.h"

namespace birkhoff {
namespace {

using PoolKey = std::pair<int, Home>;  // (stage, home)

// A pool as a rank's two programs use it.
struct Use {
  int peak = 0;          // held at once, in program order
  int most_taken = 0;    // in the program that fills more
  bool arrives = false;  // by load or receive
  bool leaves = false;   // by send
};

std::map<PoolKey, Use> UsesOf(const RankPlan& rank) {
  std::map<PoolKey, Use> uses;
  for (const auto* program : {&rank.train, &rank.evaluate}) {
    std::map<PoolKey, int> held, taken;
    for (const Instruction& i : *program) {
      for (const int buffer : i.fills) {
        const PoolKey key = {rank.buffers[buffer].stage, rank.buffers[buffer].home};
        if (key.second == Home::kScratch) continue;
        Use& use = uses[key];
        use.peak = std::max(use.peak, ++held[key]);
        use.most_taken = std::max(use.most_taken, ++taken[key]);
        use.arrives |= i.op == Op::kLoad || IsReceive(i.op);
      }
      for (const int buffer : i.reads) {
        const PoolKey key = {rank.buffers[buffer].stage, rank.buffers[buffer].home};
        if (IsSend(i.op)) uses[key].leaves = true;
        if (i.op == Op::kFree) --held[key];
      }
    }
    for (const auto& [key, count] : held) EXPECT_EQ(count, 0) << HomeName(key.second);
  }
  return uses;
}

std::vector<SmallJob> Jobs() {
  std::vector<SmallJob> jobs;
  for (SmallJob job : SmallGrid(4)) {
    for (const int recompute : {0, 2}) {
      job.recompute = recompute;
      job.layers = job.ranks + 1;
      jobs.push_back(job);
    }
  }
  return jobs;
}

// What the order of instructions needs, and one batch, two inputs, one incoming gradient, one output
// and one outgoing gradient more where they come from or go to another stream.
TEST(Pools, HaveWhatTheOrderNeedsAndALittleMore) {
  for (const SmallJob& job : Jobs()) {
    const Plan plan = CompileOrDie(SmallSpec(job));
    for (const RankPlan& rank : plan.ranks) {
      std::map<PoolKey, int> size;
      for (const Buffer& buffer : rank.buffers) {
        if (buffer.home != Home::kScratch) ++size[{buffer.stage, buffer.home}];
      }
      const std::map<PoolKey, Use> uses = UsesOf(rank);
      ASSERT_EQ(size.size(), uses.size());
      for (const auto& [key, use] : uses) {
        int ahead = 0;
        if (use.arrives) ahead = key.second == Home::kInput ? 2 : 1;
        if (use.leaves) ahead = 1;
        EXPECT_EQ(size.at(key), std::min(use.peak + ahead, use.most_taken))
            << HomeName(key.second) << " of stage " << key.first << ", "
            << ScheduleName(job.schedule) << " R=" << job.ranks << " M=" << job.microbatches;
      }
    }
  }
}

// The buffer that has been free for longest is taken next; each program starts with all of them free.
TEST(Pools, TakeTheBufferThatHasBeenFreeForLongest) {
  for (const SmallJob& job : Jobs()) {
    const Plan plan = CompileOrDie(SmallSpec(job));
    for (const RankPlan& rank : plan.ranks) {
      for (const auto* program : {&rank.train, &rank.evaluate}) {
        std::map<PoolKey, std::deque<int>> free;
        for (size_t b = 0; b < rank.buffers.size(); ++b) {
          free[{rank.buffers[b].stage, rank.buffers[b].home}].push_back(static_cast<int>(b));
        }
        for (const Instruction& i : *program) {
          for (const int buffer : i.fills) {
            auto& pool = free[{rank.buffers[buffer].stage, rank.buffers[buffer].home}];
            if (rank.buffers[buffer].home == Home::kScratch) continue;
            ASSERT_FALSE(pool.empty());
            ASSERT_EQ(buffer, pool.front());
            pool.pop_front();
          }
          if (i.op != Op::kFree) continue;
          for (const int buffer : i.reads) {
            free[{rank.buffers[buffer].stage, rank.buffers[buffer].home}].push_back(buffer);
          }
        }
      }
    }
  }
}

// Pools stand by stage, then home, scratch last; every size is that of the stage's layout.
TEST(Buffers, StandByStageAndHomeWithTheSizesOfTheLayout) {
  for (const SmallJob& job : Jobs()) {
    const JobSpec spec = SmallSpec(job);
    const Plan plan = CompileOrDie(spec);
    const std::vector<StageLayout> layouts = MakeLayouts(spec, plan);
    for (const RankPlan& rank : plan.ranks) {
      std::vector<std::pair<int, int>> order;
      int64_t largest_scratch = 0;
      for (const int stage : rank.stages) {
        largest_scratch = std::max(largest_scratch, layouts[stage].BytesOf(Home::kScratch));
      }
      for (const Buffer& buffer : rank.buffers) {
        if (buffer.home == Home::kScratch) {
          EXPECT_EQ(buffer, (Buffer{Home::kScratch, -1, largest_scratch}));
          EXPECT_EQ(&buffer, &rank.buffers.back());
          continue;
        }
        order.emplace_back(buffer.stage, static_cast<int>(buffer.home));
        EXPECT_EQ(buffer.bytes, layouts[buffer.stage].BytesOf(buffer.home));
        EXPECT_GT(buffer.bytes, 0);
      }
      EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
      EXPECT_EQ(rank.buffers.back().home == Home::kScratch, largest_scratch > 0);
    }
  }
}

// A free stands directly behind the last user, on its stream, for its (stage, micro-batch); whatever
// it frees is not touched again before it is filled.
TEST(Frees, StandBehindTheLastUser) {
  for (const SmallJob& job : Jobs()) {
    const Plan plan = CompileOrDie(SmallSpec(job));
    for (const RankPlan& rank : plan.ranks) {
      for (const auto* program : {&rank.train, &rank.evaluate}) {
        std::set<int> held;
        for (size_t at = 0; at < program->size(); ++at) {
          const Instruction& i = (*program)[at];
          if (i.op == Op::kFree) {
            ASSERT_GT(at, 0u);
            const Instruction& user = (*program)[at - 1];
            EXPECT_EQ(user.stage, i.stage);
            EXPECT_EQ(user.microbatch, i.microbatch);
            EXPECT_EQ(user.stream, i.stream);
            EXPECT_EQ(user.channel, i.channel);
            EXPECT_TRUE(i.waits.empty());
            bool used = false;
            for (const int buffer : i.reads) {
              used |= std::count(user.reads.begin(), user.reads.end(), buffer) > 0 ||
                      std::count(user.fills.begin(), user.fills.end(), buffer) > 0;
              EXPECT_EQ(held.erase(buffer), 1u);
            }
            EXPECT_TRUE(used);
            continue;
          }
          for (const int buffer : i.reads) EXPECT_TRUE(held.contains(buffer)) << OpName(i.op);
          for (const int buffer : i.fills) {
            if (rank.buffers[buffer].home == Home::kScratch) continue;
            EXPECT_TRUE(held.insert(buffer).second) << OpName(i.op);
          }
        }
      }
    }
  }
}

// Every compiled wait orders two accesses to one buffer, or what is summed, agreed and stepped.
TEST(Waits, NameWhatTouchedTheSameBufferOrTheEndOfTheStep) {
  for (const SmallJob& job : Jobs()) {
    const Plan plan = CompileOrDie(SmallSpec(job));
    for (const RankPlan& rank : plan.ranks) {
      for (const Instruction& i : rank.train) {
        for (const int wait : i.waits) {
          const Instruction& other = rank.train[wait];
          if (IsCollective(i.op) || i.op == Op::kOptimizer) {
            EXPECT_TRUE(other.stream == StreamKind::kCompute || IsCollective(other.op));
            continue;
          }
          std::set<int> mine(i.reads.begin(), i.reads.end());
          mine.insert(i.fills.begin(), i.fills.end());
          bool shared = false;
          for (const auto* buffers : {&other.reads, &other.fills}) {
            for (const int buffer : *buffers) shared |= mine.contains(buffer);
          }
          EXPECT_TRUE(shared) << OpName(i.op) << " waits for " << OpName(other.op);
        }
      }
    }
  }
}

// The schedule's own count of stored activations is the pool of saved buffers.
TEST(Saved, AreAsManyAsTheScheduleKeeps) {
  for (const SmallJob& job : SmallGrid(5)) {
    const Plan plan = CompileOrDie(SmallSpec(job));
    const Schedule schedule = *MakeSchedule(job.schedule, job.ranks, job.microbatches);
    for (int rank = 0; rank < job.ranks; ++rank) {
      for (const int stage : plan.ranks[rank].stages) {
        const int most = MostLive(schedule, rank, stage);
        const auto& buffers = plan.ranks[rank].buffers;
        const auto saved = std::count_if(buffers.begin(), buffers.end(), [&](const Buffer& buffer) {
          return buffer.home == Home::kSaved && buffer.stage == stage;
        });
        const bool embedding_alone = plan.stages[stage].units == UnitRange{0, 1};
        EXPECT_EQ(saved, embedding_alone ? 0 : most);
      }
    }
  }
}

}  // namespace
}  // namespace birkhoff
