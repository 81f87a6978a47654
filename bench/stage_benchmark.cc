// One micro-batch through a whole model on one stream of a CPU, forward and backward, by residual
// kind: what hyper-connections cost beside the sub-layers that they wrap, and beside the products
// of weights alone, which are what the product library reaches at most.
//   OPENBLAS_NUM_THREADS=1 build/bin/stage_benchmark --benchmark_enable_random_interleaving
//       --benchmark_repetitions=9
// BIRKHOFF_CPU_ISA and BIRKHOFF_CPU_PRODUCTS (kernels/cpu/paths.h) make it take other paths.
#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "core/base/check.h"
#include "core/base/rng.h"
#include "core/spec/footprint.h"
#include "core/spec/model.h"
#include "kernels/backend.h"
#include "worker/microbatch.h"
#include "worker/step_state.h"
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

// Random weights and zeroed gradients by name, on the device.
class Weights {
 public:
  Weights(const ModelSpec& model, Device& device, Stream& stream) {
    for (int unit = 0; unit < NumUnits(model); ++unit) {
      for (const ParameterSpec& spec : ParametersOfUnit(model, unit)) {
        Rng rng(1, spec.name);
        std::vector<float> values(spec.NumElements());
        for (float& value : values) value = static_cast<float>(0.05 * rng.Normal());
        const auto count = static_cast<int64_t>(values.size());
        Tensor& tensor = tensors_[spec.name];
        tensor.value = device.Allocate(count * int64_t{sizeof(float)}).value();
        tensor.gradient = device.Allocate(count * int64_t{sizeof(float)}).value();
        Upload(stream, tensor.value->data().As<float>(), values.data(), count);
        stream.Fill(tensor.gradient->data(), std::byte{0}, tensor.gradient->size());
        stream.Synchronize();
      }
    }
  }
  WeightLookup<float> Lookup() {
    const auto find = [this](const std::string& name) {
      const Tensor& tensor = tensors_.at(name);
      return Weight<float>{tensor.value->data().As<float>(), tensor.gradient->data().As<float>()};
    };
    return {find, find};
  }

 private:
  struct Tensor {
    std::unique_ptr<DeviceMemory> value, gradient;
  };
  std::map<std::string, Tensor> tensors_;
};

// A stage of the whole model with its buffers, and a batch in them.
class LoadedStage {
 public:
  LoadedStage(const LayoutRequest& request, Device& device, Stream& stream)
      : weights_(request.model, device, stream),
        backend_(NewBackend<float>(device, {}).value()),
        state_(StepState::Create(request.model, /*world_size=*/1, device).value()),
        stage_(request, weights_.Lookup(), *backend_, state_->share(), beside_),
        packed_(std::vector<int>(kSequences, kSequenceLength)) {
    for (int home = 0; home < kNumHomes; ++home) {
      memory_.push_back(device.Allocate(stage_.layout().bytes[home]).value());
      buffers_.at[home] = memory_.back()->data();
    }
    buffers_.batch = packed_.shape();
    std::vector<std::byte> image(stage_.layout().BytesOf(Home::kBatch));
    WritePositions(stage_.layout(), packed_.shape(), image.data());
    const MicrobatchTokens tokens = TokensOf(stage_.layout(), image.data());
    Rng rng(2);
    for (int32_t& token : tokens.inputs) {
      token = static_cast<int32_t>(rng.Below(request.model.vocab_size));
    }
    std::ranges::copy(tokens.inputs, tokens.targets.begin());
    stream.Upload(buffers_.Of(Home::kBatch), image.data(), static_cast<int64_t>(image.size()));
    stream.Synchronize();
  }

  void Train(Stream& stream, const LayoutRequest& request) {
    stage_.Forward(stream, buffers_, StageMode::kTrain, request.tokens);
    stage_.Backward(stream, request.units, buffers_);
    stream.Synchronize();
  }

 private:
  Weights weights_;
  const std::unique_ptr<Backend<float>> backend_;
  const std::unique_ptr<StepState> state_;
  Beside beside_;
  TransformerStage<float> stage_;
  const PackedSequences packed_;
  std::vector<std::unique_ptr<DeviceMemory>> memory_;
  StageBuffers buffers_;
};

void BM_Microbatch(benchmark::State& state) {
  const ModelSpec model =
      Model(static_cast<ResidualKind>(state.range(0)), static_cast<int>(state.range(1)));
  const LayoutRequest request = {.model = model,
                                 .units = {0, NumUnits(model)},
                                 .tokens = kSequenceLength * kSequences,
                                 .sequence_length = kSequenceLength};
  const std::unique_ptr<Device> device = NewCpuDevice();
  const std::unique_ptr<Stream> stream = device->NewStream("compute");
  LoadedStage stage(request, *device, *stream);
  for (auto _ : state) stage.Train(*stream, request);
  const double flops = TrainFlopsPerToken(model, kSequenceLength) * double(request.tokens);
  state.counters["GFLOP/s"] =
      benchmark::Counter(1e-9 * flops * double(state.iterations()), benchmark::Counter::kIsRate);
}
// y = x W^T and its two gradients for every weight matrix of the model, in its order.
class Products {
 public:
  Products(const ModelSpec& model, int64_t tokens) : tokens_(tokens) {
    int64_t widest = 0, largest = 0;
    for (int unit = 0; unit < NumUnits(model); ++unit) {
      for (const ParameterSpec& spec : ParametersOfUnit(model, unit)) {
        if (spec.shape.size() != 2 || spec.name.find("embedding") != std::string::npos) continue;
        shapes_.push_back({spec.shape[0], spec.shape[1]});
        widest = std::max({widest, spec.shape[0], spec.shape[1]});
        largest = std::max(largest, spec.shape[0] * spec.shape[1]);
      }
    }
    x_.assign(size_t(tokens * widest), 0.5f);
    y_.assign(size_t(tokens * widest), 0.25f);
    for (size_t i = 0; i < shapes_.size(); ++i) {
      weights_.emplace_back(size_t(largest), 0.125f);
      gradients_.emplace_back(size_t(largest), 0.0f);
    }
  }
  double flops() const {
    double sum = 0.0;
    for (const Shape& shape : shapes_) sum += 6.0 * double(tokens_ * shape.outputs * shape.inputs);
    return sum;
  }
  void Run() {
    for (size_t i = 0; i < shapes_.size(); ++i) {
      const auto [out, in] = shapes_[i];
      float *w = weights_[i].data(), *dw = gradients_[i].data();
      Multiply({false, true, tokens_, out, in, 1.0, x_.data(), in, w, in, 0.0, y_.data(), out});
      Multiply({false, false, tokens_, in, out, 1.0, y_.data(), out, w, in, 0.0, x_.data(), in});
      Multiply({true, false, out, in, tokens_, 1.0, y_.data(), out, x_.data(), in, 1.0, dw, in});
    }
  }

 private:
  struct Shape {
    int64_t outputs, inputs;
  };
  static void Multiply(const GemmArgs<float>& args) {
    BIRKHOFF_CHECK(cpu::Gemm(args).ok(), "shape");
  }

  const int64_t tokens_;
  std::vector<Shape> shapes_;
  std::vector<float> x_, y_;
  std::vector<std::vector<float>> weights_, gradients_;
};

void BM_Products(benchmark::State& state) {
  Products products(Model(ResidualKind::kResidual, static_cast<int>(state.range(0))),
                    kSequenceLength * kSequences);
  for (auto _ : state) products.Run();
  state.counters["GFLOP/s"] = benchmark::Counter(
      1e-9 * products.flops() * double(state.iterations()), benchmark::Counter::kIsRate);
}
BENCHMARK(BM_Products)
    ->ArgName("hidden")
    ->Args({64})
    ->Args({128})
    ->Args({256})
    ->MeasureProcessCPUTime()
    ->Unit(benchmark::kMillisecond);

BENCHMARK(BM_Microbatch)
    ->ArgNames({"kind", "hidden"})
    ->ArgsProduct({{0, 1, 2}, {64, 128, 256}})
    ->MeasureProcessCPUTime()  // the stream's thread computes
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace birkhoff
