#include "worker/stage.h"

#include <memory>
#include <utility>

#include "core/base/check.h"
#include "worker/transformer/transformer_stage.h"

namespace birkhoff {
namespace {

// Puts the computation on streams; everything else is TransformerStage.
class CpuStage final : public StageModule {
 public:
  CpuStage(const LayoutRequest& request, const WeightLookup<float>& lookup)
      : stage_(request, lookup) {}

  const StageLayout& layout() const override { return stage_.layout(); }
  const StageSums& sums() const override { return stage_.sums(); }

  void ResetSums(Stream& stream) override {
    stream.Submit([this] { stage_.ResetSums(); });
  }
  void Forward(Stream& stream, const StageBuffers& buffers, StageMode mode) override {
    stream.Submit([this, buffers, mode] { stage_.Forward(buffers, mode); });
  }
  void Recompute(Stream& stream, UnitRange block, const StageBuffers& buffers) override {
    stream.Submit([this, block, buffers] { stage_.Recompute(block, buffers); });
  }
  void BackwardInput(Stream& stream, UnitRange segment, const StageBuffers& buffers,
                     int64_t target_tokens) override {
    stream.Submit([this, segment, buffers, target_tokens] {
      stage_.BackwardInput(segment, buffers, target_tokens);
    });
  }
  void BackwardWeight(Stream& stream, UnitRange segment, const StageBuffers& buffers) override {
    stream.Submit([this, segment, buffers] { stage_.BackwardWeight(segment, buffers); });
  }
  void Backward(Stream& stream, UnitRange segment, const StageBuffers& buffers,
                int64_t target_tokens) override {
    stream.Submit([this, segment, buffers, target_tokens] {
      stage_.Backward(segment, buffers, target_tokens);
    });
  }

 private:
  TransformerStage<float> stage_;
};

}  // namespace

std::unique_ptr<StageModule> NewCpuStage(const LayoutRequest& request,
                                         const ParameterStore& store) {
  return std::make_unique<CpuStage>(request, [&store](const std::string& name) {
    const ParameterStore::Slot* slot = store.Find(name);
    BIRKHOFF_CHECK(slot != nullptr, name.c_str());
    return Weight<float>{slot->weight, slot->gradient};
  });
}

}  // namespace birkhoff
