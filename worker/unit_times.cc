// Boundaries part the units: forward a unit begins with its own, backward it ends with it, and with
// the gain that is summed behind it.
#include "worker/unit_times.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "core/base/check.h"

namespace birkhoff {
namespace {

constexpr int kSubLayers = 2 * kMeasuredLayers;
constexpr int kHead = kSubLayers + 1;  // unit 0 is the embedding

const char* PhaseName(StepPhase phase) {
  switch (phase) {
    case StepPhase::kNone:
      break;
    case StepPhase::kForward:
      return "forward";
    case StepPhase::kBackward:
      return "backward";
    case StepPhase::kNorm:
      return "norm";
    case StepPhase::kUpdate:
      return "update";
    case StepPhase::kRecompute:
      return "recompute";
  }
  return "other";
}

class Walk {
 public:
  void Add(const KernelTime& call) {
    if (call.phase == StepPhase::kForward) AddForward(call);
    if (call.phase == StepPhase::kBackward) AddBackward(call);
    if (call.phase == StepPhase::kNorm) norm_ns_ += call.ns;
    if (call.phase == StepPhase::kUpdate) update_ns_ += call.ns;
    if (call.phase == StepPhase::kRecompute) recompute_ns_ += call.ns;
  }

  ShapeTimes Result(int64_t elements) const {
    BIRKHOFF_CHECK(forward_unit_ == kHead && backward_unit_ == 1,
                   "a step that is no walk over two layers");
    ShapeTimes times;
    times.first = SubLayer(1);
    times.attention = SubLayer(3);
    times.feed_forward = Mean(SubLayer(2), SubLayer(4));
    times.head = units_[kHead];
    times.norm_ns = static_cast<double>(norm_ns_) / static_cast<double>(elements);
    times.update_ns = static_cast<double>(update_ns_) / static_cast<double>(elements);
    return times;
  }

 private:
  void AddForward(const KernelTime& call) {
    if (call.kernel == kBoundaryForward) ++forward_unit_;
    BIRKHOFF_CHECK(forward_unit_ >= 1 && forward_unit_ <= kHead, "more boundaries than units");
    units_[forward_unit_].forward += call.ns;
  }

  void AddBackward(const KernelTime& call) {
    const bool boundary = call.kernel == kBoundaryBackward;
    const bool gain_behind = ended_ && call.kernel == kGain;
    if (ended_ && !gain_behind) --backward_unit_;
    ended_ = boundary || gain_behind;
    BIRKHOFF_CHECK(backward_unit_ >= 1, "more boundaries than units");
    UnitTimes& unit = units_[backward_unit_];
    (call.kernel == kWideProduct ? unit.backward_weight : unit.backward_input) += call.ns;
  }

  UnitTimes SubLayer(int unit) const {
    UnitTimes times = units_[unit];
    times.recompute = recompute_ns_ / kSubLayers;
    return times;
  }
  static UnitTimes Mean(const UnitTimes& a, const UnitTimes& b) {
    return {(a.forward + b.forward) / 2, (a.backward_input + b.backward_input) / 2,
            (a.backward_weight + b.backward_weight) / 2, (a.recompute + b.recompute) / 2};
  }

  UnitTimes units_[kHead + 1];
  int forward_unit_ = 0, backward_unit_ = kHead;
  bool ended_ = false;  // backward: the unit's boundary is behind us
  int64_t norm_ns_ = 0, update_ns_ = 0, recompute_ns_ = 0;
};

}  // namespace

ShapeTimes TimesOfUnits(const std::vector<KernelTime>& step, int64_t elements) {
  Walk walk;
  for (const KernelTime& call : step) walk.Add(call);
  return walk.Result(elements);
}

std::string KernelTable(const std::vector<KernelTime>& step) {
  struct Row {
    const KernelTime* call;
    int count = 0;
    int64_t ns = 0;
  };
  std::vector<Row> rows;
  for (const KernelTime& call : step) {
    if (call.phase == StepPhase::kNone) continue;
    auto row = std::ranges::find_if(rows, [&call](const Row& other) {
      return other.call->phase == call.phase && other.call->kernel == call.kernel &&
             other.call->shape == call.shape;
    });
    if (row == rows.end()) row = rows.insert(rows.end(), {&call, 0, 0});
    ++row->count;
    row->ns += call.ns;
  }
  std::string table;
  for (const Row& row : rows) {
    absl::StrAppendFormat(&table, "kernel: %s %s %s, %d times %.2f us\n",
                          PhaseName(row.call->phase), row.call->kernel, row.call->shape, row.count,
                          static_cast<double>(row.ns) * 1e-3 / row.count);
  }
  return table;
}

}  // namespace birkhoff
