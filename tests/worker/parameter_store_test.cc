// One copy of each parameter per rank, by bucket, with weights that depend on (seed, name) alone.
#include "worker/parameter_store.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/rng.h"
#include "core/plan/memory.h"
#include "tests/testing/device_vector.h"
#include "tests/testing/test_device.h"
#include "tests/worker/small_model.h"
#include "worker/transformer/initial_values.h"

namespace birkhoff {
namespace {

using testing::ToHost;

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
  plan.ranks.resize(2);
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

void ListMemory(Plan& plan, const ModelSpec& model) {
  const auto memory = MemoryByRank(plan, model, {});
  for (int rank : {0, 1}) plan.ranks[rank].memory = memory[rank];
}

// A store with the device that it stands on.
class DeviceStore {
 public:
  DeviceStore(const Plan& plan, int rank, int replica, const JobSpec& spec)
      : device_(NewTestDevice()),
        store_(ParameterStore::Create(plan, rank, replica, spec, *device_).value()) {}
  const ParameterStore* operator->() const { return store_.get(); }
  Device& device() const { return *device_; }
  template <typename T>
  std::vector<T> Values(DevicePtr<T> data, int64_t count) const {
    return ToHost(*device_, data, count);
  }

 private:
  std::unique_ptr<Device> device_;
  std::unique_ptr<ParameterStore> store_;
};

DeviceStore Store(int rank, int replica, uint64_t seed = 42) {
  JobSpec spec = Spec();
  spec.training.seed = seed;
  Plan plan = TwoRanks(spec.model);
  ListMemory(plan, spec.model);
  return {plan, rank, replica, spec};
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
    EXPECT_GE(slot.gradient - span.data, 0);
    EXPECT_LE(slot.gradient + slot.count - span.data, span.count);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(slot.weight.address()) % 64, 0u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(slot.gradient.address()) % 64, 0u);
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
  EXPECT_EQ(first.Values(a->weight, a->count), second.Values(b->weight, b->count));
  EXPECT_NE(first.Values(a->weight, 1), other.Values(c->weight, 1));
}

TEST(ParameterStore, GradientsAndMomentsStartAtZero) {
  const auto store = Store(0, 0);
  for (const auto& slot : store->slots()) {
    const std::vector<float> zeros(slot.count, 0.0f);
    EXPECT_EQ(store.Values(slot.gradient, slot.count), zeros) << slot.spec.name;
    EXPECT_EQ(store.Values(slot.first_moment, slot.count), zeros) << slot.spec.name;
    EXPECT_EQ(store.Values(slot.second_moment, slot.count), zeros) << slot.spec.name;
  }
}

// Whole buckets are reduced and nothing else clears what stands between parameters.
TEST(ParameterStore, PaddingIsZero) {
  const auto store = Store(0, 0);
  for (const auto& slot : store->slots()) {
    const int64_t padding = PaddedMasterElements(slot.count) - slot.count;
    const std::vector<float> zeros(padding, 0.0f);
    EXPECT_EQ(store.Values(slot.gradient + slot.count, padding), zeros) << slot.spec.name;
    EXPECT_EQ(store.Values(slot.weight + slot.count, padding), zeros) << slot.spec.name;
  }
}

int64_t StoreBytes(const RankPlan& plan) {
  int64_t bytes = 0;
  for (const char* item :
       {kWeightsItem, kGradientsItem, kFirstMomentsItem, kSecondMomentsItem, kWeightCopiesItem}) {
    bytes += BytesOf(plan, item);
  }
  return bytes;
}

TEST(ParameterStore, TakesWhatThePlanCounts) {
  const JobSpec spec = Spec();
  Plan plan = TwoRanks(spec.model);
  ListMemory(plan, spec.model);
  for (const int rank : {0, 1}) {
    const DeviceStore store(plan, rank, 0, spec);
    EXPECT_GT(StoreBytes(plan.ranks[rank]), 0);
    EXPECT_EQ(store.device().allocated_bytes(), StoreBytes(plan.ranks[rank]));
    EXPECT_EQ(store->slots().front().copy, nullptr);
  }
}

TEST(ParameterStore, HoldsCopiesOfWhatIsReadInBf16) {
  const JobSpec spec = Spec();
  Plan plan = TwoRanks(spec.model);
  plan.precision = Precision::kBf16;
  for (PlannedParameter& parameter : plan.parameters) {
    if (parameter.spec.name.find("ffn") != std::string::npos) parameter.copy = DType::kBfloat16;
  }
  ListMemory(plan, spec.model);
  ASSERT_GT(BytesOf(plan.ranks[0], kWeightCopiesItem), 0);
  const DeviceStore store(plan, 0, 0, spec);
  EXPECT_EQ(store.device().allocated_bytes(), StoreBytes(plan.ranks[0]));
  int64_t elements = 0;
  for (const auto& slot : store->slots()) {
    const bool copied = slot.spec.name.find("ffn") != std::string::npos;
    EXPECT_EQ(slot.copy != nullptr, copied) << slot.spec.name;
    if (!copied) continue;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(slot.copy.address()) % 64, 0u);
    elements += PaddedCopyElements(slot.count);
  }
  EXPECT_EQ(elements * int64_t{sizeof(bf16)}, BytesOf(plan.ranks[0], kWeightCopiesItem));
}

// The chunk in which weights are made is smaller than this embedding.
TEST(ParameterStore, LargeParametersAreWhole) {
  JobSpec spec = Spec();
  spec.model.vocab_size = 150'000;
  Plan plan = TwoRanks(spec.model);
  ListMemory(plan, spec.model);
  const DeviceStore store(plan, 0, 0, spec);
  const auto* slot = store->Find("embedding.weight");
  ASSERT_GT(slot->count * int64_t{sizeof(float)}, kInitialValueBytes);
  std::vector<float> chunk(slot->count), want;
  FormInitialValues(spec.model, slot->spec, spec.training.seed, chunk,
                    [&want](std::span<const float> values) {
                      want.insert(want.end(), values.begin(), values.end());
                    });
  EXPECT_TRUE(store.Values(slot->weight, slot->count) == want);
}

TEST(ParameterStore, RefusesARankThatThePlanLacks) {
  const JobSpec spec = Spec();
  const std::unique_ptr<Device> device = NewTestDevice();
  const auto store = ParameterStore::Create(TwoRanks(spec.model), 2, 0, spec, *device);
  EXPECT_EQ(store.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(store.status().message(),
            "parameter store: rank 2 of replica 0; the plan has 2 ranks and 2 replicas");
}

// Formed in chunks of `chunk` values.
std::vector<float> Form(const ModelSpec& model, const ParameterSpec& parameter, int chunk) {
  std::vector<float> room(chunk), all;
  FormInitialValues(model, parameter, /*seed=*/1, room, [&all](std::span<const float> values) {
    all.insert(all.end(), values.begin(), values.end());
  });
  return all;
}

// 300,000 values are shared out among threads, 1,000 are not.
TEST(InitialValues, AreThoseOfOneSequenceHoweverManyAreFormedAtATime) {
  const ModelSpec model = Spec().model;
  const ParameterSpec parameter = {.name = "embedding",
                                   .shape = {300, 1001},
                                   .initializer = Initializer::kNormal,
                                   .scale = 0.02};
  std::vector<float> want(300 * 1001);
  Rng rng(1, "embedding");
  for (float& value : want) value = static_cast<float>(0.02 * rng.Normal());
  for (const int chunk : {1 << 20, 200'000, 1'000}) {
    EXPECT_TRUE(Form(model, parameter, chunk) == want) << chunk;
  }
}

std::vector<float> Initial(const ModelSpec& model, int unit, const std::string& end,
                           int chunk = 100) {
  for (const ParameterSpec& parameter : ParametersOfUnit(model, unit)) {
    if (parameter.name.ends_with(end)) return Form(model, parameter, chunk);
  }
  return {};
}

TEST(InitialValues, DoNotDependOnTheChunk) {
  const ModelSpec model = SmallModel(ResidualKind::kMhc);
  for (int unit = 0; unit < NumUnits(model); ++unit) {
    for (const ParameterSpec& parameter : ParametersOfUnit(model, unit)) {
      const std::vector<float> whole = Form(model, parameter, 10'000);
      EXPECT_EQ(static_cast<int64_t>(whole.size()), parameter.NumElements()) << parameter.name;
      for (const int chunk : {1, 7, 64}) {
        EXPECT_EQ(Form(model, parameter, chunk), whole) << parameter.name << " by " << chunk;
      }
    }
  }
}

TEST(InitialValues, TellStreamsApartByTheSubLayer) {
  ModelSpec model = SmallModel(ResidualKind::kMhc, MappingKind::kPermutations);  // 3 streams
  EXPECT_EQ(Initial(model, 2, "mhc.bias"),
            (std::vector<float>{-1, 1, -1, -1, 1, -1, 0, -4, -4, -4, -4, -4}));
  model.residual.mapping = MappingKind::kSinkhorn;
  EXPECT_EQ(Initial(model, 4, "mhc.bias"),
            (std::vector<float>{1, -1, -1, 1, -1, -1, 0, -4, -4, -4, 0, -4, -4, -4, 0}));
  model.residual.mapping = MappingKind::kIdentity;
  EXPECT_EQ(Initial(model, 1, "mhc.bias"), (std::vector<float>{1, -1, -1, 1, -1, -1}));
  model.residual.mapping = MappingKind::kUnconstrained;
  EXPECT_EQ(Initial(model, 1, "mhc.bias"),
            (std::vector<float>{1, -1, -1, 1, -1, -1, 1, 0, 0, 0, 1, 0, 0, 0, 1}));
  model.residual.mapping = MappingKind::kRetention;
  const float kept = static_cast<float>(std::log(99.0));  // 0.999 of itself
  EXPECT_EQ(Initial(model, 1, "mhc.bias"),
            (std::vector<float>{1, -1, -1, 1, -1, -1, kept, kept, kept}));
  model.residual.mapping = MappingKind::kGatedResidual;
  EXPECT_EQ(Initial(model, 1, "mhc.bias"), (std::vector<float>{1, -1, -1, 1, 1, 1}));
  model.residual.kind = ResidualKind::kHc;
  EXPECT_EQ(Initial(model, 3, "hc.bias"),
            (std::vector<float>{0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1}));
  EXPECT_EQ(Initial(model, 3, "hc.alpha"), (std::vector<float>{0.01f, 0.01f, 0.01f}));
  EXPECT_EQ(Initial(model, 3, "norm.weight"), std::vector<float>(8, 1.0f));
}

TEST(InitialValues, NormalWeightsHaveTheirStandardDeviation) {
  ModelSpec model = SmallModel(ResidualKind::kMhc);
  model.vocab_size = 4000;
  model.residual.phi_init_std = 0.0;
  double squares = 0.0;
  const std::vector<float> embedding = Initial(model, 0, "embedding.weight");
  for (const double value : embedding) squares += value * value;
  EXPECT_NEAR(std::sqrt(squares / static_cast<double>(embedding.size())), 0.02, 0.0005);
  EXPECT_EQ(Initial(model, 1, "mhc.phi"), std::vector<float>(32 * 24, 0.0f));
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
