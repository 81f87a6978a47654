// The stages of one model, joined by their buffers as a plan joins them: what leaves a stage is
// copied into the next.  Every buffer starts as NaN, so that a read of what nobody wrote shows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

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
};

template <typename T>
class StageChain {
 public:
  StageChain(const ChainOptions& options, Parameters<T>& parameters) : options_(options) {
    std::vector<int> bounds = options.cuts;
    bounds.insert(bounds.begin(), 0);
    bounds.push_back(NumUnits(options.model));
    for (size_t i = 0; i + 1 < bounds.size(); ++i) {
      const LayoutRequest request = {.model = options.model,
                                     .units = {bounds[i], bounds[i + 1]},
                                     .recompute_block = options.recompute_block,
                                     .tokens = options.capacity,
                                     .sequence_length = options.sequence_length,
                                     .element_bytes = sizeof(T)};
      links_.push_back(std::make_unique<Link>(request, parameters.Lookup()));
    }
  }

  // Sum of the losses of the batch.
  double Forward(const TestBatch& batch, StageMode mode) {
    const double before = links_.back()->stage.sums().loss;
    for (size_t i = 0; i < links_.size(); ++i) {
      Link& link = *links_[i];
      link.Poison();
      WriteMicrobatch(link.stage.layout(), batch.sequence_lengths, batch.inputs, batch.targets,
                      link.buffers.Of(Home::kBatch));
      if (i > 0) Copy(*links_[i - 1], Home::kOutput, link, Home::kInput);
      link.stage.Forward(link.buffers, mode);
    }
    return links_.back()->stage.sums().loss - before;
  }

  void Backward(int64_t target_tokens) {
    for (size_t i = links_.size(); i-- > 0;) {
      Link& link = *links_[i];
      if (i + 1 < links_.size()) {
        Copy(*links_[i + 1], Home::kGradientOut, link, Home::kGradientIn);
      }
      for (const UnitRange& segment : Segments(link)) BackwardSegment(link, segment, target_tokens);
      if (!options_.split) continue;
      for (const UnitRange& segment : Segments(link)) {
        link.stage.BackwardWeight(segment, link.buffers);
      }
    }
  }

  double Train(const TestBatch& batch) {
    const double loss = Forward(batch, StageMode::kTrain);
    Backward(batch.NumTargets());
    return loss;
  }

  // Sums of thousands of batches would hide the last digits of the next one.
  void ResetSums() {
    for (const auto& link : links_) link->stage.ResetSums();
  }

  // The sums of all sub-layers, stage after stage.
  std::vector<StageSums::SubLayer> Sums() const {
    std::vector<StageSums::SubLayer> sums;
    for (const auto& link : links_) {
      const auto& own = link->stage.sums().sublayers;
      sums.insert(sums.end(), own.begin(), own.end());
    }
    return sums;
  }

  TransformerStage<T>& stage(int index) { return links_[index]->stage; }
  const StageBuffers& buffers(int index) const { return links_[index]->buffers; }

  // A tensor of the last micro-batch.
  const T* Find(int index, int unit, Home home, const char* name) const {
    const StoredTensor* tensor = links_[index]->stage.layout().Find(unit, home, name);
    return tensor == nullptr ? nullptr
                             : reinterpret_cast<const T*>(buffers(index).Of(home) + tensor->offset);
  }

 private:
  struct Link {
    Link(const LayoutRequest& request, const WeightLookup<T>& lookup) : stage(request, lookup) {
      for (int home = 0; home < kNumHomes; ++home) {
        const int64_t bytes = stage.layout().bytes[home];
        if (bytes == 0) continue;
        memory.push_back(std::make_unique<Line[]>(bytes / sizeof(Line)));
        buffers.at[home] = memory.back()[0].bytes;
      }
    }
    void Poison() {
      for (int home = 0; home < kNumHomes; ++home) {
        if (buffers.at[home] == nullptr) continue;
        std::memset(buffers.at[home], 0xff, stage.layout().bytes[home]);
      }
    }
    struct alignas(64) Line {
      std::byte bytes[64];
    };
    TransformerStage<T> stage;
    std::vector<std::unique_ptr<Line[]>> memory;
    StageBuffers buffers;
  };

  static void Copy(const Link& source, Home from, Link& destination, Home to) {
    std::memcpy(destination.buffers.Of(to), source.buffers.Of(from),
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

  void BackwardSegment(Link& link, UnitRange segment, int64_t target_tokens) {
    if (!link.stage.layout().recompute_blocks.empty()) {
      std::memset(link.buffers.Of(Home::kRecompute), 0xff,
                  link.stage.layout().BytesOf(Home::kRecompute));
      link.stage.Recompute(segment, link.buffers);
    }
    if (options_.split) {
      link.stage.BackwardInput(segment, link.buffers, target_tokens);
    } else {
      link.stage.Backward(segment, link.buffers, target_tokens);
    }
  }

  const ChainOptions options_;
  std::vector<std::unique_ptr<Link>> links_;
};

}  // namespace birkhoff
