// Evaluation needs the micro-batch, its part of what is saved, and scratch: nothing is kept.
#include "worker/inference/whole_model.h"

#include "core/base/status_macros.h"
#include "core/spec/footprint.h"
#include "core/spec/step_share.h"

namespace birkhoff {

absl::StatusOr<std::unique_ptr<WholeModel>> WholeModel::Create(const TrainedModel& trained,
                                                               int64_t tokens, int sequence_length,
                                                               Device& device) {
  const ModelSpec& model = trained.spec().model;
  std::unique_ptr<WholeModel> whole(new WholeModel());
  whole->device_ = &device;
  whole->stream_ = device.NewStream("model");
  ASSIGN_OR_RETURN(whole->backend_, NewBackend<float>(device, {}));
  const int64_t share_bytes = ShareLayout(model).length() * int64_t{sizeof(double)};
  ASSIGN_OR_RETURN(whole->share_, device.Allocate(share_bytes));
  whole->stream_->Fill(whole->share_->data(), std::byte{0}, share_bytes);
  ASSIGN_OR_RETURN(whole->logits_, device.Allocate(model.vocab_size * int64_t{sizeof(float)}));
  whole->stage_ = std::make_unique<TransformerStage<float>>(
      LayoutRequest{.model = model,
                    .units = {0, NumUnits(model)},
                    .tokens = tokens,
                    .sequence_length = sequence_length,
                    .processor = device.processor()},
      trained.Lookup(), *whole->backend_, whole->share_->data().As<double>(), whole->beside_);
  const StageLayout& layout = whole->stage_->layout();
  ASSIGN_OR_RETURN(whole->batch_, device.Allocate(layout.BytesOf(Home::kBatch)));
  ASSIGN_OR_RETURN(whole->evaluation_, device.Allocate(layout.evaluation_bytes));
  ASSIGN_OR_RETURN(whole->scratch_, device.Allocate(layout.BytesOf(Home::kScratch)));
  ASSIGN_OR_RETURN(whole->image_, device.AllocateHost(layout.BytesOf(Home::kBatch)));
  whole->buffers_.at[static_cast<int>(Home::kBatch)] = whole->batch_->data();
  whole->buffers_.at[static_cast<int>(Home::kSaved)] = whole->evaluation_->data();
  whole->buffers_.at[static_cast<int>(Home::kScratch)] = whole->scratch_->data();
  return whole;
}

void WholeModel::Load(const MicrobatchShape& shape, int32_t first_position) {
  WritePositions(stage_->layout(), shape, image_->data(), first_position);
  stream_->Upload(batch_->data(), image_->data(), image_->size());
  buffers_.batch = shape;
}

absl::StatusOr<WholeModel::Loss> WholeModel::AddLoss(const MicrobatchShape& shape) {
  Load(shape, /*first_position=*/0);
  stage_->Forward(*stream_, buffers_, StageMode::kEvaluate, /*target_tokens=*/0);
  double sums[2] = {};
  static_assert(ShareLayout::kTargets == ShareLayout::kLoss + 1);
  Download(*stream_, sums,
           DevicePtr<const double>(share_->data().As<double>() + ShareLayout::kLoss), 2);
  stream_->Synchronize();
  RETURN_IF_ERROR(device_->status());
  return Loss{sums[0], sums[1]};
}

absl::Status WholeModel::Extend(int64_t count, KeyValueCache<float>& cache,
                                std::span<float> logits) {
  const int lengths[] = {static_cast<int>(count)};
  const PackedSequences sequence(lengths);
  Load(sequence.shape(), static_cast<int32_t>(cache.length()));
  stage_->Extend(*stream_, buffers_, cache, logits_->data().As<float>());
  Download(*stream_, logits.data(), DevicePtr<const float>(logits_->data().As<float>()),
           static_cast<int64_t>(logits.size()));
  stream_->Synchronize();
  return device_->status();
}

}  // namespace birkhoff
