// The rounds are enqueued without a pause, so that the device is never idle and a mark behind each
// kernel parts their times; what is kept of each call is its median over the rounds.  Where steps
// are replayed as graphs a round without marks is too, and tells what a mark costs.
#include "worker/calibration.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/rng.h"
#include "core/base/status_macros.h"
#include "core/plan/compile.h"
#include "core/plan/memory.h"
#include "core/plan/operands.h"
#include "core/plan/tables.h"
#include "core/spec/card_rates.h"
#include "core/spec/resolve.h"
#include "worker/metered_backend.h"
#include "worker/microbatch.h"
#include "worker/optimizer.h"
#include "worker/parameter_store.h"
#include "worker/step_state.h"
#include "worker/transformer/transformer_stage.h"
#include "worker/unit_times.h"
#include "worker/weight_lookup.h"

namespace birkhoff {
namespace {

constexpr int kWarmRounds = 3, kRounds = 9;
constexpr int kMeasuredBlock = 2;  // sub-layers

// The job cut down to one micro-batch of two layers on one rank.
JobSpec Small(const JobSpec& spec) {
  JobSpec small = spec;
  small.model.num_hidden_layers = kMeasuredLayers;
  small.training.global_batch_size = spec.training.micro_batch_size;
  small.training.validation_interval = 0;
  small.parallelism = {.pipeline_parallel_degree = 1,
                       .data_parallel_degree = 1,
                       .schedule = ScheduleKind::k1F1B,
                       .recompute = ParallelismSpec::kRecomputeNone};
  return small;
}

// A stage of the whole model, its buffers, and a micro-batch of random tokens in them.
template <typename T>
class LoadedStage {
 public:
  LoadedStage(const LayoutRequest& request, const ParameterStore& store, Backend<T>& backend,
              StepState& state)
      : stage_(request, LookupIn<T>(store), backend, state.share(), beside_),
        packed_(
            std::vector<int>(request.tokens / request.sequence_length, request.sequence_length)) {}

  absl::Status Load(int64_t vocabulary, Device& device, Stream& stream) {
    for (int home = 0; home < kNumHomes; ++home) {
      ASSIGN_OR_RETURN(memory_.emplace_back(), device.Allocate(layout().bytes[home]));
      buffers_.at[home] = memory_.back()->data();
    }
    buffers_.batch = packed_.shape();
    const int64_t bytes = layout().BytesOf(Home::kBatch);
    ASSIGN_OR_RETURN(const std::unique_ptr<HostMemory> image, device.AllocateHost(bytes));
    WritePositions(layout(), packed_.shape(), image->data());
    const MicrobatchTokens tokens = TokensOf(layout(), image->data());
    Rng rng(1, "calibration");
    for (const std::span<int32_t> side : {tokens.inputs, tokens.targets}) {
      for (int32_t& token : side) token = static_cast<int32_t>(rng.Below(uint64_t(vocabulary)));
    }
    stream.Upload(buffers_.Of(Home::kBatch), image->data(), bytes);
    stream.Synchronize();
    return device.status();
  }

  const StageLayout& layout() const { return stage_.layout(); }
  void Forward(Stream& stream) {
    stage_.Forward(stream, buffers_, StageMode::kTrain, packed_.shape().tokens);
  }
  void Backward(Stream& stream, UnitRange segment) { stage_.Backward(stream, segment, buffers_); }
  void Recompute(Stream& stream, UnitRange block) { stage_.Recompute(stream, block, buffers_); }

 private:
  Beside beside_;  // nothing: each call is timed for itself
  TransformerStage<T> stage_;
  const PackedSequences packed_;
  std::vector<std::unique_ptr<DeviceMemory>> memory_;
  StageBuffers buffers_;
};

// The median of each call over all rounds but the first; each has the same calls.
std::vector<KernelTime> Medians(const std::vector<KernelTime>& calls) {
  const size_t each = calls.size() / (kWarmRounds + kRounds);
  std::vector<KernelTime> medians;
  for (size_t call = 0; call < each; ++call) {
    std::vector<int64_t> ns;
    for (int round = kWarmRounds; round < kWarmRounds + kRounds; ++round) {
      ns.push_back(calls[size_t(round) * each + call].ns);
    }
    std::ranges::nth_element(ns, ns.begin() + kRounds / 2);
    medians.push_back(calls[call]);
    medians.back().ns = ns[kRounds / 2];
  }
  return medians;
}

// Takes what a mark costs off each call, so that a round adds up to what it takes without them.
double TakeOffMarks(int64_t round_ns, std::vector<KernelTime>* calls) {
  int64_t sum = 0;
  for (const KernelTime& call : *calls) sum += call.ns;
  const double mark_ns =
      std::max(0.0, static_cast<double>(sum - round_ns) / static_cast<double>(calls->size()));
  for (KernelTime& call : *calls) {
    call.ns = std::max<int64_t>(0, call.ns - std::llround(mark_ns));
  }
  return mark_ns;
}

struct Measured {
  std::vector<KernelTime> step;
  double mark_ns = 0.0;  // what was taken off each call
  int64_t elements = 0;
  GemmChoices products;
};

template <typename T>
class Calibrator {
 public:
  Calibrator(const JobSpec& spec, Device& device) : spec_(spec), device_(device) {}

  absl::StatusOr<Measured> Run(const Plan& plan, const GemmChoices& products) {
    ASSIGN_OR_RETURN(store_, ParameterStore::Create(plan, 0, 0, spec_, device_));
    ASSIGN_OR_RETURN(state_, StepState::Create(spec_.model, /*world_size=*/1, device_));
    ASSIGN_OR_RETURN(backend_, NewBackend<T>(device_, {.deterministic = plan.deterministic,
                                                       .products = products,
                                                       .search_products = true}));
    metered_ = std::make_unique<MeteredBackend<T>>(*backend_, device_);
    ASSIGN_OR_RETURN(optimizer_, NewOptimizer<T>(spec_, *store_, *state_, *metered_, device_,
                                                 BytesOf(plan.ranks[0], kNormWorkspaceItem)));
    stream_ = device_.NewStream("compute");
    optimizer_->RoundWeights(*stream_);
    ASSIGN_OR_RETURN(const std::unique_ptr<LoadedStage<T>> stored, Load(plan, 0));
    ASSIGN_OR_RETURN(const std::unique_ptr<LoadedStage<T>> blocks, Load(plan, kMeasuredBlock));
    // The first round searches, and loads what libraries load by shape.
    Round(*stored, *blocks);
    stream_->Synchronize();
    metered_->Clear();
    for (int round = 0; round < kWarmRounds + kRounds; ++round) Round(*stored, *blocks);
    stream_->Synchronize();
    RETURN_IF_ERROR(device_.status());
    Measured measured;
    measured.step = Medians(metered_->Times());
    ASSIGN_OR_RETURN(const std::optional<int64_t> round_ns, TimeReplayedRound(*stored, *blocks));
    if (round_ns.has_value()) measured.mark_ns = TakeOffMarks(*round_ns, &measured.step);
    measured.elements = HoldingsByRank(plan)[0].masters;
    measured.products = backend_->Products();
    return measured;
  }

 private:
  // Without marks, the mean of several; none where the device has no graphs.
  absl::StatusOr<std::optional<int64_t>> TimeReplayedRound(LoadedStage<T>& stored,
                                                           LoadedStage<T>& blocks) {
    metered_->Pause(true);
    absl::StatusOr<std::unique_ptr<Graph>> graph =
        device_.Capture(*stream_, [&] { Round(stored, blocks); });
    metered_->Pause(false);
    if (absl::IsUnimplemented(graph.status())) return std::nullopt;
    RETURN_IF_ERROR(graph.status());
    const std::unique_ptr<Event> begin = device_.NewEvent(), end = device_.NewEvent();
    for (int round = 0; round < kWarmRounds + kRounds; ++round) {
      if (round == kWarmRounds) stream_->Record(*begin);
      (*graph)->Launch(*stream_);
    }
    stream_->Record(*end);
    stream_->Synchronize();
    RETURN_IF_ERROR(device_.status());
    return end->NsSince(*begin) / kRounds;
  }

  absl::StatusOr<std::unique_ptr<LoadedStage<T>>> Load(const Plan& plan, int recompute_block) {
    LayoutRequest request = RequestOf(spec_, plan, /*stage=*/0);
    request.recompute_block = recompute_block;
    auto stage = std::make_unique<LoadedStage<T>>(request, *store_, *metered_, *state_);
    RETURN_IF_ERROR(stage->Load(spec_.model.vocab_size, device_, *stream_));
    return stage;
  }

  void Begin(StepPhase phase) {
    metered_->SetPhase(StepPhase::kNone);
    metered_->Mark(*stream_);
    metered_->SetPhase(phase);
  }

  // A step whose rate is 0, then the recompute of another.
  void Round(LoadedStage<T>& stored, LoadedStage<T>& blocks) {
    state_->Reset(*stream_);
    Begin(StepPhase::kForward);
    stored.Forward(*stream_);
    Begin(StepPhase::kBackward);
    stored.Backward(*stream_, stored.layout().units);
    Begin(StepPhase::kNorm);
    optimizer_->AddNorm(*stream_);
    Copy(*stream_, state_->gathered(), DevicePtr<const double>(state_->share()),
         state_->layout().length());
    optimizer_->Decide(*stream_);
    Begin(StepPhase::kUpdate);
    optimizer_->Step(*stream_);
    Begin(StepPhase::kNone);
    blocks.Forward(*stream_);
    for (size_t block = blocks.layout().recompute_blocks.size(); block-- > 0;) {
      Begin(StepPhase::kRecompute);
      blocks.Recompute(*stream_, blocks.layout().recompute_blocks[block]);
      Begin(StepPhase::kNone);
      blocks.Backward(*stream_, SegmentOfBlock(blocks.layout(), block));
    }
  }

  const JobSpec& spec_;
  Device& device_;
  std::unique_ptr<ParameterStore> store_;
  std::unique_ptr<StepState> state_;
  std::unique_ptr<Backend<T>> backend_;
  std::unique_ptr<MeteredBackend<T>> metered_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<Stream> stream_;
};

absl::StatusOr<Measured> Measure(const JobSpec& spec, const Plan& plan, Device& device,
                                 const GemmChoices& products) {
  return plan.precision == Precision::kBf16 ? Calibrator<bf16>(spec, device).Run(plan, products)
                                            : Calibrator<float>(spec, device).Run(plan, products);
}

}  // namespace

absl::StatusOr<std::string> Calibrate(const JobSpec& spec, Device& device, const std::string& card,
                                      const std::string& known) {
  CardRates rates = {.card = card, .by_shape = {}};
  if (!known.empty()) {
    ASSIGN_OR_RETURN(rates, CardRatesFromText(known));
    if (rates.card != card) {
      return absl::FailedPreconditionError(absl::StrCat("the card file is of ", rates.card,
                                                        "; here is ", card,
                                                        ": name another file, or remove it"));
    }
  }
  ASSIGN_OR_RETURN(const GemmChoices products, GemmChoicesFromText(known));
  const JobSpec small = Small(spec);
  ClusterSpec cluster;
  cluster.workers.emplace_back().device = ProcessorName(device.processor());
  ASSIGN_OR_RETURN(const Plan plan, CompilePlan(small, cluster));
  ASSIGN_OR_RETURN(const Measured measured, Measure(small, plan, device, products));
  const Numerics numerics = {plan.processor, plan.precision, plan.deterministic};
  rates.by_shape[ShapeKey(spec, numerics)] = TimesOfUnits(measured.step, measured.elements);
  return absl::StrCat(CardRatesToText(rates), GemmChoicesToText(measured.products),
                      absl::StrFormat("kernels of: %s; a mark took %.2f us\n",
                                      ShapeKey(spec, numerics), measured.mark_ns * 1e-3),
                      KernelTable(measured.step));
}

}  // namespace birkhoff
