// Which ranks act together under a plan.
#include "worker/transport.h"

#include <algorithm>
#include <numeric>

namespace birkhoff {
namespace {

std::vector<int> World(const Plan& plan) {
  std::vector<int> ranks(plan.num_ranks * plan.num_replicas);
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

void AddReplicaGroups(const Plan& plan, std::vector<std::vector<int>>& groups) {
  for (int rank = 0; rank < plan.num_ranks; ++rank) {
    std::vector<int> members;
    for (int replica = 0; replica < plan.num_replicas; ++replica) {
      members.push_back(replica * plan.num_ranks + rank);
    }
    groups.push_back(std::move(members));
  }
}

void AddCopyGroups(const Plan& plan, std::vector<std::vector<int>>& groups) {
  for (int replica = 0; replica < plan.num_replicas; ++replica) {
    for (const Bucket& bucket : plan.buckets) {
      if (bucket.ranks.size() < 2) continue;
      std::vector<int> members;
      for (const int rank : bucket.ranks) members.push_back(replica * plan.num_ranks + rank);
      groups.push_back(std::move(members));
    }
  }
}

}  // namespace

std::vector<std::vector<int>> GroupsOfPlan(const Plan& plan) {
  std::vector<std::vector<int>> named = {World(plan)};
  if (plan.num_replicas > 1) AddReplicaGroups(plan, named);
  AddCopyGroups(plan, named);
  std::vector<std::vector<int>> groups;  // each once, where it is named first
  for (std::vector<int>& members : named) {
    if (std::find(groups.begin(), groups.end(), members) == groups.end()) {
      groups.push_back(std::move(members));
    }
  }
  return groups;
}

}  // namespace birkhoff
