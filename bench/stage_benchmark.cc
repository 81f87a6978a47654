// One micro-batch through a whole model on one CPU thread, forward and backward, by residual kind:
// what hyper-connections cost beside the sub-layers that they wrap.
//   OPENBLAS_NUM_THREADS=1 build/bin/stage_benchmark
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "core/base/rng.h"
#include "core/spec/footprint.h"
#include "core/spec/model.h"
#include "worker/microbatch.h"
#include "worker/transformer/transformer_stage.h"

namespace birkhoff {
namespace {

constexpr int kSequenceLength = 128, kSequences = 2;

ModelSpec Model(ResidualKind kind, int hidden_size) {
  ModelSpec model;
  model.vocab_size = 257;
  model.hidden_size = hidden_size;
  model.intermediate_size = 3 * hidden_size;
  model.num_hidden_layers = 4;
  model.residual.kind = kind;
  return model;
}

// Random weights and zeroed gradients by name.
class Weights {
 public:
  explicit Weights(const ModelSpec& model) {
    for (int unit = 0; unit < NumUnits(model); ++unit) {
      for (const ParameterSpec& spec : ParametersOfUnit(model, unit)) {
        Rng rng(1, spec.name);
        std::vector<float>& values = values_[spec.name];
        values.resize(spec.NumElements());
        for (float& value : values) value = static_cast<float>(0.05 * rng.Normal());
        gradients_[spec.name].resize(values.size());
      }
    }
  }
  WeightLookup<float> Lookup() {
    return [this](const std::string& name) {
      return Weight<float>{values_.at(name).data(), gradients_.at(name).data()};
    };
  }

 private:
  std::map<std::string, std::vector<float>> values_, gradients_;
};

void BM_Microbatch(benchmark::State& state) {
  const ModelSpec model =
      Model(static_cast<ResidualKind>(state.range(0)), static_cast<int>(state.range(1)));
  Weights weights(model);
  const LayoutRequest request = {.model = model,
                                 .units = {0, NumUnits(model)},
                                 .tokens = kSequenceLength * kSequences,
                                 .sequence_length = kSequenceLength};
  TransformerStage<float> stage(request, weights.Lookup());
  std::vector<std::vector<std::byte>> memory(kNumHomes);
  StageBuffers buffers;
  for (int home = 0; home < kNumHomes; ++home) {
    memory[home].resize(stage.layout().bytes[home] + 64);
    const size_t misalignment = reinterpret_cast<size_t>(memory[home].data()) % 64;
    buffers.at[home] = memory[home].data() + (64 - misalignment) % 64;
  }
  Rng rng(2);
  std::vector<int32_t> tokens(request.tokens);
  for (int32_t& token : tokens) token = static_cast<int32_t>(rng.Below(model.vocab_size));
  WriteMicrobatch(stage.layout(), std::vector<int>(kSequences, kSequenceLength), tokens, tokens,
                  buffers.Of(Home::kBatch));
  for (auto _ : state) {
    stage.Forward(buffers, StageMode::kTrain);
    stage.Backward(request.units, buffers, request.tokens);
  }
  const double flops = TrainFlopsPerToken(model, kSequenceLength) * double(request.tokens);
  state.counters["GFLOP/s"] =
      benchmark::Counter(1e-9 * flops * double(state.iterations()), benchmark::Counter::kIsRate);
}
BENCHMARK(BM_Microbatch)
    ->ArgNames({"kind", "hidden"})
    ->ArgsProduct({{0, 1, 2}, {64, 128, 256}})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace birkhoff
