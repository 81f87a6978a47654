// LayoutBuilder puts one tensor after another at the end of its home: the order of calls in Build
// is the order in memory.
#include "core/spec/footprint.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
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
    AddEvaluation();
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

  // Adds to a home from `start` on, over what stands there and is not alive at once; the end of it.
  template <typename Add>
  int64_t AddTurn(Home home, int64_t start, Add add) {
    int64_t& end = layout_.bytes[static_cast<int>(home)];
    const int64_t before = std::exchange(end, start);
    add();
    const int64_t after = end;
    end = std::max(before, after);
    return after;
  }

  // Blocks share one buffer.
  void AddRecompute() {
    for (const UnitRange& block : layout_.recompute_blocks) {
      AddTurn(Home::kRecompute, 0, [&] {
        for (int unit = block.first; unit < block.last; ++unit) {
          if (unit > block.first) Add(unit, Home::kRecompute, "x", n_ * C_);
          Add(unit, Home::kRecompute, "norm", C_);
        }
      });
    }
  }

  // A pass that keeps nothing has the buffer of what is saved to itself.  Attention, feed-forward
  // and head leave nothing to each other there.
  void AddEvaluation() {
    const int64_t begin = AddTurn(Home::kSaved, 0, [&] { AddEvaluatedAlways(); });
    layout_.evaluation_bytes = begin;
    const auto add_turn = [&](auto add) {
      layout_.evaluation_bytes =
          std::max(layout_.evaluation_bytes, AddTurn(Home::kSaved, begin, add));
    };
    if (HasSubLayers()) {
      add_turn([&] {
        AddEvaluated("qkv", qkv_);
        AddEvaluatedScalars("log_sum_exp", model_.num_attention_heads);
        AddEvaluated("attention", queries_);
      });
      add_turn([&] { AddEvaluated("gate_up", 2 * F_); });
    }
    if (HasHead()) add_turn([&] { AddEvaluated("contracted", C_); });
  }
  void AddEvaluatedAlways() {
    if (!HasSubLayers() && !HasHead()) return;
    AddEvaluated("norm", C_);
    AddEvaluatedScalars("inverse_rms", 1);
    if (!HasSubLayers()) return;
    AddEvaluated("x", n_ * C_);
    AddEvaluated("y", C_);
    if (IsPlain()) return;
    AddEvaluatedScalars("coefficients.0", CoefficientColumns());  // even sub-layers
    AddEvaluatedScalars("coefficients.1", CoefficientColumns());  // odd sub-layers
    AddEvaluatedScalars("logits", NumSavedLogits(model_));
  }
  void AddEvaluated(const char* name, int64_t columns) {
    Add(request_.units.first, Home::kSaved, absl::StrCat("evaluation.", name), columns);
  }
  void AddEvaluatedScalars(const char* name, int64_t columns) {
    AddScalars(request_.units.first, Home::kSaved, absl::StrCat("evaluation.", name), columns);
  }

  void AddScratch() {
    // An embedding alone: a GPU sorts its tokens by id.
    const bool embeds = !HasSubLayers() && !HasHead();
    if (embeds && request_.processor != Processor::kCuda) return;
    if (HasHead()) AddScratchScalars("p", n_ * n_);
    AddScratchBytes("workspace", WorkspaceBytes(model_, workspace_));
    const int64_t measures = MeasuresWorkspaceBytes(request_.processor);
    if (measures > 0) AddScratchBytes("measures", measures);
    if (!embeds) AddTurns();
  }

  // What is not alive at once has the same bytes; here a line is an order of offsets.
  //   forward:   the larger of norm, hidden and attention's workspace | x
  //   head:      norm | vocabulary | dvocabulary
  //   backward:  norm | dy | dqkv | attention's workspace
  //              norm | dy | dhidden
  // Backward, norm is first the gradient of attention's output and then that of the norm.
  void AddTurns() {
    const int64_t begin = layout_.BytesOf(Home::kScratch);
    const auto add_from = [&](int64_t start, auto add) {
      return AddTurn(Home::kScratch, start, add);
    };
    const int64_t attention = AttentionWorkspaceBytes(model_, workspace_);
    const int64_t after_norm = add_from(begin, [&] { AddScratch("norm", C_); });
    if (HasSubLayers()) {
      add_from(begin, [&] { AddScratchBytes("workspace.attention", attention); });
      add_from(begin, [&] { AddScratch("hidden", F_); });
      if (ForwardNeedsX()) AddScratch("x", n_ * C_);  // behind all of these
      const int64_t after_dy = add_from(after_norm, [&] { AddScratch("dy", C_); });
      add_from(after_dy, [&] {
        AddScratch("dqkv", qkv_);
        AddScratchBytes("workspace.dattention", attention);
      });
      add_from(after_dy, [&] { AddScratch("dhidden", F_); });
    }
    if (HasHead()) add_from(after_norm, [&] { AddVocabulary(); });
  }
  // X that is not saved, on its way up; at the head it ends.
  bool ForwardNeedsX() const { return HasHead() || Recomputes(); }

  // Logits of a few rows, and their gradient where it is of another type.
  void AddVocabulary() {
    const int64_t elements = HeadRows(workspace_) * model_.vocab_size;
    AddScratchBytes("vocabulary", elements * SizeOf(scalar_));
    if (stream_ != scalar_) {
      AddBytes(request_.units.first, Home::kScratch, "dvocabulary", stream_,
               elements * SizeOf(stream_));
    }
  }

  void AddScratch(const char* name, int64_t columns) {
    Add(request_.units.first, Home::kScratch, name, columns);
  }
  void AddScratchScalars(const char* name, int64_t columns) {
    AddScalars(request_.units.first, Home::kScratch, name, columns);
  }
  void AddScratchBytes(const char* name, int64_t bytes) {
    AddBytes(request_.units.first, Home::kScratch, name, scalar_, bytes);
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
