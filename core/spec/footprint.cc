// LayoutBuilder puts one tensor after another at the end of its home: the order of calls in Build
// is the order in memory.
#include "core/spec/footprint.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/base/alignment.h"
#include "core/base/check.h"
#include "core/spec/model.h"
#include "core/spec/workspace.h"

namespace birkhoff {
namespace {

// Lays tensors back to back in each home.  Legend: T tokens of capacity, n streams, C hidden size,
// F inner size, Hq query heads, D head size, K residual logits, V vocabulary.
class LayoutBuilder {
 public:
  explicit LayoutBuilder(const LayoutRequest& request)
      : request_(request),
        model_(request.model),
        stream_(StreamType(request.precision)),
        scalar_(ScalarType(request.precision)),
        workspace_{request.processor, request.precision, request.deterministic, request.tokens,
                   request.sequence_length},
        T_(request.tokens),
        n_(NumStreams(model_)),
        C_(model_.hidden_size),
        F_(model_.intermediate_size),
        queries_(int64_t{model_.num_attention_heads} * HeadDim(model_)),
        qkv_(queries_ + 2 * int64_t{model_.num_key_value_heads} * HeadDim(model_)) {
    layout_.units = request.units;
    first_sublayer_ = std::max(request.units.first, 1);
    last_sublayer_ = std::min(request.units.last, NumUnits(model_) - 1);
  }

  StageLayout Build() {
    FindBlocks();
    AddBatch();
    AddMessages();
    for (int unit = first_sublayer_; unit < last_sublayer_; ++unit) AddSubLayer(unit);
    if (HasHead()) AddHead();
    AddRecompute();
    AddScratch();
    return std::move(layout_);
  }

 private:
  bool HasEmbedding() const { return request_.units.first == 0; }
  bool HasHead() const { return request_.units.last == NumUnits(model_); }
  bool Recomputes() const { return request_.recompute_block > 0; }
  bool IsAttention(int unit) const { return KindOfUnit(model_, unit) == UnitKind::kAttention; }
  bool IsPlain() const { return model_.residual.kind == ResidualKind::kResidual; }

  void AddBytes(int unit, Home home, std::string name, DType dtype, int64_t bytes) {
    int64_t& end = layout_.bytes[static_cast<int>(home)];
    layout_.tensors.push_back({std::move(name), unit, home, dtype, end, bytes});
    end += Aligned(bytes);
  }
  // A tensor of [T, columns] elements: of streams and activations, or of what is never rounded.
  void Add(int unit, Home home, std::string name, int64_t columns) {
    AddBytes(unit, home, std::move(name), stream_, T_ * columns * SizeOf(stream_));
  }
  void AddScalars(int unit, Home home, std::string name, int64_t columns) {
    AddBytes(unit, home, std::move(name), scalar_, T_ * columns * SizeOf(scalar_));
  }

  void FindBlocks() {
    if (!Recomputes()) return;
    for (int unit = first_sublayer_; unit < last_sublayer_; unit += request_.recompute_block) {
      layout_.recompute_blocks.push_back(
          {unit, std::min(unit + request_.recompute_block, last_sublayer_)});
    }
  }

  bool OpensBlock(int unit) const {
    for (const UnitRange& block : layout_.recompute_blocks) {
      if (block.first == unit) return true;
    }
    return false;
  }

  void AddBatch() {
    const int unit = request_.units.first;
    const int64_t word = sizeof(int32_t);
    AddBytes(unit, Home::kBatch, "positions", DType::kInt32, T_ * word);
    AddBytes(unit, Home::kBatch, "inputs", DType::kInt32, T_ * word);
    AddBytes(unit, Home::kBatch, "targets", DType::kInt32, T_ * word);
  }

  void AddParts(Home home, const std::vector<MessagePart>& parts) {
    for (const MessagePart& part : parts) {
      AddBytes(request_.units.first, home, part.name, part.dtype, part.bytes);
    }
  }

  bool HasSubLayers() const { return first_sublayer_ < last_sublayer_; }

  void AddMessages() {
    const auto activation = ActivationParts(model_, T_, request_.precision);
    const auto gradient = GradientParts(model_, T_, request_.precision);
    if (!HasEmbedding()) AddParts(Home::kInput, activation);
    if (!HasHead()) AddParts(Home::kOutput, activation);
    if (!HasHead()) AddParts(Home::kGradientIn, gradient);
    // The embedding alone reads its gradient and passes nothing on.
    if (HasSubLayers() || HasHead()) AddParts(Home::kGradientOut, gradient);
  }

  int64_t CoefficientColumns() const { return 2 * n_ + n_ * n_; }

  bool StoresX(int unit) const {
    if (unit == first_sublayer_ && !HasEmbedding()) return false;  // it stands in kInput
    return !Recomputes() || OpensBlock(unit);
  }

  void AddSubLayer(int unit) {
    if (StoresX(unit)) Add(unit, Home::kSaved, "x", n_ * C_);
    if (!IsPlain()) {
      AddScalars(unit, Home::kSaved, "coefficients", CoefficientColumns());
      AddScalars(unit, Home::kSaved, "logits", NumSavedLogits(model_));
    }
    AddScalars(unit, Home::kSaved, "inverse_rms", 1);  // of the norm
    Add(unit, Home::kSaved, "y", C_);
    Add(unit, Recomputes() ? Home::kPending : Home::kKept, "norm", C_);
    Add(unit, Home::kPending, "dy", C_);
    if (IsAttention(unit)) {
      Add(unit, Home::kSaved, "qkv", qkv_);
      AddScalars(unit, Home::kSaved, "log_sum_exp", model_.num_attention_heads);
      Add(unit, Home::kKept, "attention", queries_);
      Add(unit, Home::kPending, "dqkv", qkv_);
    } else {
      Add(unit, Home::kKept, "gate_up", 2 * F_);
      Add(unit, Home::kPending, "dgate_up", 2 * F_);
    }
  }

  void AddHead() {
    const int unit = request_.units.last - 1;
    Add(unit, Home::kSaved, "contracted", C_);  // all that its backward pass needs of X
    AddScalars(unit, Home::kSaved, "inverse_rms", 1);
    Add(unit, Home::kSaved, "dnorm", C_);  // the forward pass forms the gradient with the loss
  }

  // Blocks share one buffer: each starts at its beginning, the largest gives its size.
  void AddRecompute() {
    int64_t& end = layout_.bytes[static_cast<int>(Home::kRecompute)];
    int64_t largest = 0;
    for (const UnitRange& block : layout_.recompute_blocks) {
      end = 0;
      for (int unit = block.first; unit < block.last; ++unit) {
        if (unit > block.first) Add(unit, Home::kRecompute, "x", n_ * C_);
        Add(unit, Home::kRecompute, "norm", C_);
      }
      largest = std::max(largest, end);
    }
    end = largest;
  }

  // Each is used by the forward pass without a saved place (recompute, evaluation), and again, for
  // the gradient of the same thing, by the backward pass.
  void AddScratch() {
    if (!HasSubLayers() && !HasHead()) return AddEmbeddingScratch();
    AddScalarScratch("p", n_ * n_);
    AddScratch("x", n_ * C_);
    AddScratch("norm", C_);
    AddScalarScratch("inverse_rms", 1);
    if (HasSubLayers()) AddSubLayerScratch();
    AddWorkspace();
    AddTurns();
  }
  // Attention, feed-forward and head leave nothing to each other here: they share the last bytes.
  void AddTurns() {
    int64_t& end = layout_.bytes[static_cast<int>(Home::kScratch)];
    const int64_t begin = end;
    int64_t largest = end;
    const auto take_turn = [&](void (LayoutBuilder::*add)()) {
      end = begin;
      (this->*add)();
      largest = std::max(largest, end);
    };
    if (HasSubLayers()) take_turn(&LayoutBuilder::AddAttentionScratch);
    if (HasSubLayers()) take_turn(&LayoutBuilder::AddFeedForwardScratch);
    if (HasHead()) take_turn(&LayoutBuilder::AddHeadScratch);
    end = largest;
  }
  void AddWorkspace() {
    AddBytes(request_.units.first, Home::kScratch, "workspace", scalar_,
             WorkspaceBytes(model_, workspace_));
    const int64_t measures = MeasuresWorkspaceBytes(request_.processor);
    if (measures > 0) {
      AddBytes(request_.units.first, Home::kScratch, "measures", scalar_, measures);
    }
  }
  // An embedding alone: a GPU sorts its tokens by id.
  void AddEmbeddingScratch() {
    if (request_.processor == Processor::kCuda) AddWorkspace();
  }

  void AddScratch(const char* name, int64_t columns) {
    Add(request_.units.first, Home::kScratch, name, columns);
  }
  void AddScalarScratch(const char* name, int64_t columns) {
    AddScalars(request_.units.first, Home::kScratch, name, columns);
  }

  void AddSubLayerScratch() {
    AddScratch("y", C_);
    if (!IsPlain()) {
      AddScalarScratch("coefficients.0", CoefficientColumns());  // even sub-layers
      AddScalarScratch("coefficients.1", CoefficientColumns());  // odd sub-layers
      AddScalarScratch("logits", NumSavedLogits(model_));
    }
  }

  void AddAttentionScratch() {
    AddScratch("qkv", qkv_);
    AddScalarScratch("log_sum_exp", model_.num_attention_heads);
    AddScratch("attention", queries_);
  }

  void AddFeedForwardScratch() {
    AddScratch("gate_up", 2 * F_);
    AddScratch("hidden", F_);
  }

  // Logits of a few rows, and their gradient where it is of another type.
  void AddHeadScratch() {
    const int unit = request_.units.first;
    const int64_t elements = HeadRows(workspace_) * model_.vocab_size;
    AddScratch("contracted", C_);
    AddBytes(unit, Home::kScratch, "vocabulary", scalar_, elements * SizeOf(scalar_));
    if (stream_ != scalar_) {
      AddBytes(unit, Home::kScratch, "dvocabulary", stream_, elements * SizeOf(stream_));
    }
  }

  const LayoutRequest& request_;
  const ModelSpec& model_;
  const DType stream_, scalar_;
  const WorkspaceRequest workspace_;
  const int64_t T_, n_, C_, F_, queries_, qkv_;
  int first_sublayer_ = 0, last_sublayer_ = 0;  // sub-layer units [first, last) of the stage
  StageLayout layout_;
};

std::vector<MessagePart> Parts(const char* streams, const char* product, const ModelSpec& model,
                               int64_t tokens, Precision precision) {
  const DType stream = StreamType(precision), scalar = ScalarType(precision);
  const int64_t n = NumStreams(model);
  const int64_t streams_bytes = tokens * n * model.hidden_size * SizeOf(stream);
  return {{streams, stream, 0, streams_bytes},
          {product, scalar, Aligned(streams_bytes), tokens * n * n * SizeOf(scalar)}};
}

}  // namespace

const char* HomeName(Home home) {
  static constexpr const char* kNames[kNumHomes] = {
      "batch",       "input",        "saved",   "kept",      "output",
      "gradient-in", "gradient-out", "pending", "recompute", "scratch"};
  return kNames[static_cast<int>(home)];
}

const StoredTensor* StageLayout::Find(int unit, Home home, const std::string& name) const {
  for (const StoredTensor& tensor : tensors) {
    if (tensor.unit == unit && tensor.home == home && tensor.name == name) return &tensor;
  }
  return nullptr;
}

StageLayout MakeStageLayout(const LayoutRequest& request) {
  BIRKHOFF_CHECK(request.units.first >= 0 && request.units.first < request.units.last &&
                     request.units.last <= NumUnits(request.model),
                 "a stage is a non-empty run of units of its model");
  return LayoutBuilder(request).Build();
}

std::vector<MessagePart> ActivationParts(const ModelSpec& model, int64_t tokens,
                                         Precision precision) {
  return Parts("x", "p", model, tokens, precision);
}

std::vector<MessagePart> GradientParts(const ModelSpec& model, int64_t tokens,
                                       Precision precision) {
  return Parts("dx", "s", model, tokens, precision);
}

}  // namespace birkhoff
