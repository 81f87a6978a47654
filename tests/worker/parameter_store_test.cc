// One copy of each parameter per rank, by bucket, with weights that depend on (seed, name) alone.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/worker/small_model.h"
#include "worker/stage.h"
#include "worker/transformer/initial_values.h"

namespace birkhoff {
namespace {

JobSpec Spec() {
  JobSpec spec;
  spec.model = SmallModel(ResidualKind::kMhc);
  return spec;
}

// Units [0, 3) on rank 0, the rest on rank 1, two replicas; the embedding on both (bucket 2).
Plan TwoRanks(const ModelSpec& model) {
  Plan plan;
  plan.num_ranks = 2;
  plan.num_replicas = 2;
  plan.buckets.resize(3);
  for (int unit = 0; unit < NumUnits(model); ++unit) {
    for (const ParameterSpec& parameter : ParametersOfUnit(model, unit)) {
      const int rank = unit < 3 ? 0 : 1;
      PlannedParameter planned{.spec = parameter, .stages = {rank}, .ranks = {rank}};
      planned.bucket = rank;
      if (parameter.name == "embedding.weight") {
        planned.ranks = {0, 1};
        planned.bucket = 2;
      }
      plan.buckets[planned.bucket].parameters.push_back(static_cast<int>(plan.parameters.size()));
      plan.parameters.push_back(planned);
    }
  }
  return plan;
}

std::unique_ptr<ParameterStore> Store(int rank, int replica, uint64_t seed = 42) {
  JobSpec spec = Spec();
  spec.training.seed = seed;
  const std::unique_ptr<Device> device = NewCpuDevice();
  auto store = ParameterStore::Create(TwoRanks(spec.model), rank, replica, spec, *device);
  EXPECT_TRUE(store.ok()) << store.status();
  return std::move(store).value();
}

TEST(ParameterStore, HoldsWhatThePlanGivesTheRank) {
  const auto first = Store(0, 0), second = Store(1, 0);
  EXPECT_NE(first->Find("sublayers.1.mhc.phi"), nullptr);
  EXPECT_EQ(first->Find("sublayers.2.mhc.phi"), nullptr);
  EXPECT_EQ(second->Find("sublayers.1.mhc.phi"), nullptr);
  EXPECT_NE(second->Find("head.weight"), nullptr);
  EXPECT_NE(first->Find("embedding.weight"), nullptr);
  EXPECT_NE(second->Find("embedding.weight"), nullptr);
  EXPECT_EQ(first->Find("nobody"), nullptr);
}

TEST(ParameterStore, EachParameterHasOneOwner) {
  int owners = 0;
  const size_t parameters = TwoRanks(Spec().model).parameters.size();
  for (const int rank : {0, 1}) {
    for (const int replica : {0, 1}) {
      for (const auto& slot : Store(rank, replica)->slots()) owners += slot.owner ? 1 : 0;
    }
  }
  EXPECT_EQ(owners, static_cast<int>(parameters));
  EXPECT_TRUE(Store(0, 0)->Find("embedding.weight")->owner);
  EXPECT_FALSE(Store(1, 0)->Find("embedding.weight")->owner);
  EXPECT_FALSE(Store(0, 1)->Find("embedding.weight")->owner);
}

TEST(ParameterStore, SlotsFollowTheBuckets) {
  const auto store = Store(0, 0);
  int bucket = -1;
  for (const auto& slot : store->slots()) {
    EXPECT_GE(slot.bucket, bucket);
    bucket = slot.bucket;
    const auto span = store->BucketGradients(bucket);
    EXPECT_GE(slot.gradient, span.data);
    EXPECT_LE(slot.gradient + slot.count, span.data + span.count);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(slot.weight) % 64, 0u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(slot.gradient) % 64, 0u);
  }
  const auto own = store->BucketGradients(0), shared = store->BucketGradients(2);
  EXPECT_EQ(shared.data, own.data + own.count);
  EXPECT_EQ(store->BucketGradients(1).count, 0);
  EXPECT_EQ(store->BucketGradients(1).data, nullptr);
}

TEST(ParameterStore, SharedBucketsHaveOneLayoutOnAllHolders) {
  EXPECT_EQ(Store(0, 0)->BucketGradients(2).count, Store(1, 1)->BucketGradients(2).count);
}

TEST(ParameterStore, WeightsDependOnSeedAndNameAlone) {
  const auto first = Store(0, 0), second = Store(1, 1), other = Store(0, 0, /*seed=*/43);
  const auto* a = first->Find("embedding.weight");
  const auto* b = second->Find("embedding.weight");
  const auto* c = other->Find("embedding.weight");
  EXPECT_EQ(std::vector<float>(a->weight, a->weight + a->count),
            std::vector<float>(b->weight, b->weight + b->count));
  EXPECT_NE(a->weight[0], c->weight[0]);
}

TEST(ParameterStore, GradientsAndMomentsStartAtZero) {
  for (const auto& slot : Store(0, 0)->slots()) {
    for (int64_t i = 0; i < slot.count; ++i) {
      ASSERT_EQ(slot.gradient[i], 0.0f);
      ASSERT_EQ(slot.first_moment[i], 0.0f);
      ASSERT_EQ(slot.second_moment[i], 0.0f);
    }
  }
}

TEST(ParameterStore, RefusesARankThatThePlanLacks) {
  const JobSpec spec = Spec();
  const std::unique_ptr<Device> device = NewCpuDevice();
  const auto store = ParameterStore::Create(TwoRanks(spec.model), 2, 0, spec, *device);
  EXPECT_EQ(store.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(store.status().message(),
            "parameter store: rank 2 of replica 0; the plan has 2 ranks and 2 replicas");
}

std::vector<double> Initial(const ModelSpec& model, int unit, const std::string& end) {
  for (const ParameterSpec& parameter : ParametersOfUnit(model, unit)) {
    if (parameter.name.ends_with(end)) return InitialValues(model, parameter, /*seed=*/1);
  }
  return {};
}

TEST(InitialValues, TellStreamsApartByTheSubLayer) {
  ModelSpec model = SmallModel(ResidualKind::kMhc, MappingKind::kPermutations);  // 3 streams
  EXPECT_EQ(Initial(model, 2, "mhc.bias"),
            (std::vector<double>{-1, 1, -1, -1, 1, -1, 0, -4, -4, -4, -4, -4}));
  model.residual.mapping = MappingKind::kSinkhorn;
  EXPECT_EQ(Initial(model, 4, "mhc.bias"),
            (std::vector<double>{1, -1, -1, 1, -1, -1, 0, -4, -4, -4, 0, -4, -4, -4, 0}));
  model.residual.mapping = MappingKind::kIdentity;
  EXPECT_EQ(Initial(model, 1, "mhc.bias"), (std::vector<double>{1, -1, -1, 1, -1, -1}));
  model.residual.kind = ResidualKind::kHc;
  EXPECT_EQ(Initial(model, 3, "hc.bias"),
            (std::vector<double>{0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1}));
  EXPECT_EQ(Initial(model, 3, "hc.alpha"), (std::vector<double>{0.01, 0.01, 0.01}));
  EXPECT_EQ(Initial(model, 3, "norm.weight"), std::vector<double>(8, 1.0));
}

TEST(InitialValues, NormalWeightsHaveTheirStandardDeviation) {
  ModelSpec model = SmallModel(ResidualKind::kMhc);
  model.vocab_size = 4000;
  model.residual.phi_init_std = 0.0;
  double squares = 0.0;
  const std::vector<double> embedding = Initial(model, 0, "embedding.weight");
  for (const double value : embedding) squares += value * value;
  EXPECT_NEAR(std::sqrt(squares / static_cast<double>(embedding.size())), 0.02, 0.0005);
  EXPECT_EQ(Initial(model, 1, "mhc.phi"), std::vector<double>(32 * 24, 0.0));
}

TEST(InitialValues, SubLayersStartAlikeUnderAllKinds) {
  for (const char* name : {"attention.qkv.weight", "attention.out.weight", "norm.weight"}) {
    EXPECT_EQ(Initial(SmallModel(ResidualKind::kMhc), 1, name),
              Initial(SmallModel(ResidualKind::kResidual), 1, name));
    EXPECT_EQ(Initial(SmallModel(ResidualKind::kMhc), 1, name),
              Initial(SmallModel(ResidualKind::kHc), 1, name));
  }
}

}  // namespace
}  // namespace birkhoff
