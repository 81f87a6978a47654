// The stages of one model, joined by their buffers as a plan joins them: what leaves a stage is
// copied into the next.  Every buffer starts as NaN, so that a read of what nobody wrote shows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "core/spec/step_share.h"
#include "kernels/backend.h"
#include "tests/testing/test_device.h"
#include "tests/worker/random_parameters.h"
#include "worker/microbatch.h"
#include "worker/transformer/transformer_stage.h"

namespace birkhoff {

struct TestBatch {
  std::vector<int> sequence_lengths;
  std::vector<int32_t> inputs, targets;

  int64_t NumTargets() const {
    int64_t count = 0;
    for (const int32_t target : targets) count += target >= 0 ? 1 : 0;
    return count;
  }
};

inline TestBatch RandomBatch(std::vector<int> lengths, int vocabulary, uint64_t seed) {
  TestBatch batch{std::move(lengths), {}, {}};
  Rng rng(seed, "batch");
  for (const int length : batch.sequence_lengths) {
    for (int i = 0; i < length; ++i) {
      batch.inputs.push_back(static_cast<int32_t>(rng.Below(vocabulary)));
      batch.targets.push_back(static_cast<int32_t>(rng.Below(vocabulary)));
    }
  }
  batch.targets[1] = -1;  // a token without a target
  return batch;
}

struct ChainOptions {
  ModelSpec model;
  std::vector<int> cuts = {};  // first unit of every stage but the first
  int recompute_block = 0;     // sub-layers
  bool split = false;          // backward-input and backward-weight apart
  int64_t capacity = 16;       // tokens
  int sequence_length = 16;
  int threads = 1;      // of a CPU
  bool beside = false;  // measures on a stream of their own
};

// Sums over tokens of one sub-layer's gains, as the share holds them.
struct SubLayerSums {
  double composite_forward = 0.0, composite_backward = 0.0;
  double single_forward = 0.0, single_backward = 0.0;
  std::vector<double> mean_forward, mean_backward;  // [n, n]
  double row_sum_min = 0.0, column_sum_min = 0.0;
  friend bool operator==(const SubLayerSums&, const SubLayerSums&) = default;
};

inline SubLayerSums SumsOf(const ShareLayout& layout, const std::vector<double>& share, int l) {
  const double* single = share.data() + layout.GainsAt(l, GainOf::kSingle);
  const double* prefix = share.data() + layout.GainsAt(l, GainOf::kPrefix);
  const double* suffix = share.data() + layout.GainsAt(l, GainOf::kSuffix);
  const double* forward = share.data() + layout.MatrixAt(l, GainOf::kPrefix);
  const double* backward = share.data() + layout.MatrixAt(l, GainOf::kSuffix);
  return {.composite_forward = prefix[ShareLayout::kForward],
          .composite_backward = suffix[ShareLayout::kBackward],
          .single_forward = single[ShareLayout::kForward],
          .single_backward = single[ShareLayout::kBackward],
          .mean_forward = {forward, forward + layout.matrix_elements()},
          .mean_backward = {backward, backward + layout.matrix_elements()},
          .row_sum_min = prefix[ShareLayout::kRowSumMin],
          .column_sum_min = suffix[ShareLayout::kColumnSumMin]};
}

// Parameters on the device, with the host's as their image.
template <typename T>
class DeviceParameters {
 public:
  using S = ScalarOf<T>;
  DeviceParameters(Device& device, Parameters<S>& host) : host_(host) {
    for (auto& [name, values] : host.values) {
      const auto count = static_cast<int64_t>(values.size());
      Tensor& tensor = tensors_[name];
      tensor.value = device.Allocate(count * int64_t{sizeof(S)}).value();
      tensor.gradient = device.Allocate(count * int64_t{sizeof(S)}).value();
      if constexpr (!std::is_same_v<T, S>) {
        tensor.copy = device.Allocate(count * int64_t{sizeof(T)}).value();
      }
    }
  }

  void Upload(Stream& stream) {
    for (auto& [name, tensor] : tensors_) {
      const std::vector<S>& values = host_.values.at(name);
      const std::vector<S>& gradients = host_.gradients.at(name);
      birkhoff::Upload(stream, tensor.value->data().template As<S>(), values.data(),
                       static_cast<int64_t>(values.size()));
      birkhoff::Upload(stream, tensor.gradient->data().template As<S>(), gradients.data(),
                       static_cast<int64_t>(gradients.size()));
      if constexpr (!std::is_same_v<T, S>) {
        tensor.rounded.clear();
        for (const S value : values) tensor.rounded.push_back(ToBf16(value));
        birkhoff::Upload(stream, tensor.copy->data().template As<T>(), tensor.rounded.data(),
                         static_cast<int64_t>(values.size()));
      }
    }
  }
  void DownloadGradients(Stream& stream) {
    for (auto& [name, tensor] : tensors_) {
      std::vector<S>& gradients = host_.gradients.at(name);
      birkhoff::Download(stream, gradients.data(),
                         DevicePtr<const S>(tensor.gradient->data().template As<S>()),
                         static_cast<int64_t>(gradients.size()));
    }
  }

  WeightLookup<T> Lookup() {
    return {
        [this](const std::string& name) {
          Tensor& tensor = tensors_.at(name);
          DeviceMemory& value = tensor.copy == nullptr ? *tensor.value : *tensor.copy;
          return Weight<T>{value.data().template As<T>(), tensor.gradient->data().template As<S>()};
        },
        [this](const std::string& name) {
          Tensor& tensor = tensors_.at(name);
          return Weight<S>{tensor.value->data().template As<S>(),
                           tensor.gradient->data().template As<S>()};
        }};
  }

 private:
  struct Tensor {
    std::unique_ptr<DeviceMemory> value, gradient, copy;
    std::vector<T> rounded;
  };
  Parameters<S>& host_;
  std::map<std::string, Tensor> tensors_;
};

template <typename T>
constexpr Precision PrecisionOf() {
  if (sizeof(T) == 8) return Precision::kFp64;
  return sizeof(T) == 4 ? Precision::kFp32 : Precision::kBf16;
}

// `parameters` are read before each pass and hold its gradients afterwards; they must outlive it.
template <typename T>
class StageChain {
 public:
  using S = ScalarOf<T>;
  StageChain(const ChainOptions& options, Parameters<S>& parameters)
      : options_(options),
        device_(NewTestDeviceFor<T>(options.threads)),
        stream_(device_->NewStream("compute")),
        backend_(NewBackend<T>(*device_, {}).value()),
        beside_(options.beside ? std::make_unique<Beside>(*device_) : std::make_unique<Beside>()),
        parameters_(*device_, parameters),
        share_layout_(options.model),
        share_(share_layout_.length()),
        device_share_(device_->Allocate(share_layout_.length() * int64_t{sizeof(double)}).value()) {
    std::vector<int> bounds = options.cuts;
    bounds.insert(bounds.begin(), 0);
    bounds.push_back(NumUnits(options.model));
    for (size_t i = 0; i + 1 < bounds.size(); ++i) {
      links_.push_back(
          std::make_unique<Link>(LayoutRequest{.model = options.model,
                                               .units = {bounds[i], bounds[i + 1]},
                                               .recompute_block = options.recompute_block,
                                               .tokens = options.capacity,
                                               .sequence_length = options.sequence_length,
                                               .precision = PrecisionOf<T>(),
                                               .processor = device_->processor()},
                                 *this));
    }
    ResetSums();
  }

  // Sum of the losses of the batch.  Gradients are scaled by 1 / `target_tokens`; 0: the batch's.
  double Forward(const TestBatch& batch, StageMode mode, int64_t target_tokens = 0) {
    if (target_tokens == 0) target_tokens = batch.NumTargets();
    const double before = share_[ShareLayout::kLoss];
    packed_ = std::make_unique<PackedSequences>(batch.sequence_lengths);
    parameters_.Upload(*stream_);
    for (size_t i = 0; i < links_.size(); ++i) {
      Link& link = *links_[i];
      Poison(link);
      Load(link, batch);
      if (i > 0) CopyHome(*links_[i - 1], Home::kOutput, link, Home::kInput);
      link.stage.Forward(*stream_, link.buffers, mode, target_tokens);
    }
    Finish();
    return share_[ShareLayout::kLoss] - before;
  }

  void Backward() {
    for (size_t i = links_.size(); i-- > 0;) {
      Link& link = *links_[i];
      if (i + 1 < links_.size()) {
        CopyHome(*links_[i + 1], Home::kGradientOut, link, Home::kGradientIn);
      }
      for (const UnitRange& segment : Segments(link)) BackwardSegment(link, segment);
      if (!options_.split) continue;
      for (const UnitRange& segment : Segments(link)) {
        link.stage.BackwardWeight(*stream_, segment, link.buffers);
      }
    }
    Finish();
  }

  double Train(const TestBatch& batch) {
    const double loss = Forward(batch, StageMode::kTrain);
    Backward();
    return loss;
  }

  // Of one stage: the tokens go on with the sequence of `cache`; logits of what follows the last.
  std::vector<S> Extend(const std::vector<int32_t>& tokens, KeyValueCache<T>& cache) {
    const TestBatch batch{{static_cast<int>(tokens.size())}, tokens, {}};
    packed_ = std::make_unique<PackedSequences>(batch.sequence_lengths);
    parameters_.Upload(*stream_);
    Poison(*links_[0]);
    Load(*links_[0], batch, static_cast<int32_t>(cache.length()));
    std::vector<S> logits(size_t(options_.model.vocab_size));
    const auto count = static_cast<int64_t>(logits.size());
    const auto memory = device_->Allocate(count * int64_t{sizeof(S)}).value();
    const DevicePtr<S> on_device = memory->data().template As<S>();
    links_[0]->stage.Extend(*stream_, links_[0]->buffers, cache, on_device);
    Download(*stream_, logits.data(), DevicePtr<const S>(on_device), count);
    stream_->Synchronize();
    return logits;
  }
  KeyValueCache<T> NewCache(int64_t capacity) {
    return KeyValueCache<T>::Create(options_.model, capacity, *device_).value();
  }

  // Sums of thousands of batches would hide the last digits of the next one.
  void ResetSums() {
    share_layout_.Clear(share_);
    Upload(*stream_, device_share_->data().template As<double>(), share_.data(),
           share_layout_.length());
    stream_->Synchronize();
  }

  // The sums of all sub-layers.
  std::vector<SubLayerSums> Sums() const {
    std::vector<SubLayerSums> sums;
    for (int l = 0; l < share_layout_.num_sublayers(); ++l) {
      sums.push_back(SumsOf(share_layout_, share_, l));
    }
    return sums;
  }
  // How a sub-layer mixes: ShareLayout's Opened, then its Merged.
  std::vector<double> Mixing(int l) const {
    const auto at = share_.begin() + share_layout_.OpenedAt(l);
    return {at, at + ShareLayout::kOpened + ShareLayout::kMerged};
  }
  double loss() const { return share_[ShareLayout::kLoss]; }
  double target_tokens() const { return share_[ShareLayout::kTargets]; }

  TransformerStage<T>& stage(int index) { return links_[index]->stage; }
  const StageBuffers& buffers(int index) const { return links_[index]->buffers; }
  Stream& stream() { return *stream_; }
  Device& device() { return *device_; }
  // Waits for the stream and reads what it has left.
  void Finish() {
    parameters_.DownloadGradients(*stream_);
    Download(*stream_, share_.data(),
             DevicePtr<const double>(device_share_->data().template As<double>()),
             share_layout_.length());
    stream_->Synchronize();
  }

  // A tensor of the last micro-batch, of the scalar type; empty where there is none.
  std::vector<S> Find(int index, int unit, Home home, const char* name) const {
    const StoredTensor* tensor = links_[index]->stage.layout().Find(unit, home, name);
    if (tensor == nullptr) return {};
    std::vector<S> values(tensor->bytes / sizeof(S));
    Download(*stream_, values.data(),
             DevicePtr<const S>((buffers(index).Of(home) + tensor->offset).template As<S>()),
             static_cast<int64_t>(values.size()));
    stream_->Synchronize();
    return values;
  }

 private:
  struct Link {
    Link(const LayoutRequest& request, StageChain& chain)
        : stage(request, chain.parameters_.Lookup(), *chain.backend_,
                chain.device_share_->data().template As<double>(), *chain.beside_) {
      for (int home = 0; home < kNumHomes; ++home) {
        const int64_t bytes = stage.layout().bytes[home];
        if (bytes == 0) continue;
        memory.push_back(chain.device_->Allocate(bytes).value());
        buffers.at[home] = memory.back()->data();
      }
      image.resize(stage.layout().BytesOf(Home::kBatch));
    }
    TransformerStage<T> stage;
    std::vector<std::unique_ptr<DeviceMemory>> memory;
    StageBuffers buffers;
    std::vector<std::byte> image;
  };

  void Poison(Link& link) {
    for (int home = 0; home < kNumHomes; ++home) {
      if (link.buffers.at[home] == nullptr) continue;
      stream_->Fill(link.buffers.at[home], std::byte{0xff}, link.stage.layout().bytes[home]);
    }
  }

  void Load(Link& link, const TestBatch& batch, int32_t first_position = 0) {
    const StageLayout& layout = link.stage.layout();
    link.buffers.batch = packed_->shape();
    WritePositions(layout, packed_->shape(), link.image.data(), first_position);
    const MicrobatchTokens tokens = TokensOf(layout, link.image.data());
    std::copy(batch.inputs.begin(), batch.inputs.end(), tokens.inputs.begin());
    std::copy(batch.targets.begin(), batch.targets.end(), tokens.targets.begin());
    stream_->Upload(link.buffers.Of(Home::kBatch), link.image.data(),
                    static_cast<int64_t>(link.image.size()));
  }

  void CopyHome(const Link& source, Home from, Link& destination, Home to) {
    stream_->Copy(destination.buffers.Of(to), source.buffers.Of(from),
                  source.stage.layout().BytesOf(from));
  }

  // In descending order, with the embedding or head where a block touches the stage's border.
  static std::vector<UnitRange> Segments(const Link& link) {
    const StageLayout& layout = link.stage.layout();
    if (layout.recompute_blocks.empty()) return {layout.units};
    std::vector<UnitRange> segments(layout.recompute_blocks.rbegin(),
                                    layout.recompute_blocks.rend());
    segments.front().last = layout.units.last;
    segments.back().first = layout.units.first;
    return segments;
  }

  void BackwardSegment(Link& link, UnitRange segment) {
    if (!link.stage.layout().recompute_blocks.empty()) {
      stream_->Fill(link.buffers.Of(Home::kRecompute), std::byte{0xff},
                    link.stage.layout().BytesOf(Home::kRecompute));
      link.stage.Recompute(*stream_, segment, link.buffers);
    }
    if (options_.split) {
      link.stage.BackwardInput(*stream_, segment, link.buffers);
    } else {
      link.stage.Backward(*stream_, segment, link.buffers);
    }
  }

  const ChainOptions options_;
  const std::unique_ptr<Device> device_;
  const std::unique_ptr<Stream> stream_;
  const std::unique_ptr<Backend<T>> backend_;
  const std::unique_ptr<Beside> beside_;
  DeviceParameters<T> parameters_;
  const ShareLayout share_layout_;
  std::vector<double> share_;  // as of the last Finish
  const std::unique_ptr<DeviceMemory> device_share_;
  std::unique_ptr<PackedSequences> packed_;
  std::vector<std::unique_ptr<Link>> links_;
};

}  // namespace birkhoff
