// What follows from the specs alone: the traffic of boundaries (table 2 of arXiv 2512.24880) and
// the memory of streams under recomputation (table 3), counted from our own list of tensors.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "absl/strings/str_cat.h"
#include "coordinator/page/run_figures.h"
#include "core/spec/footprint.h"
#include "core/spec/model.h"
#include "core/spec/resolve.h"

namespace birkhoff {
namespace {

// One run stands for all of its label.
RunList Distinct(const RunList& runs) {
  std::set<std::string> seen;
  RunList kept;
  for (const RunSeries* run : runs) {
    if (seen.insert(run->label).second) kept.push_back(run);
  }
  return kept;
}

Precision PrecisionOf(const JobSpec& spec) {
  return spec.training.precision == PrecisionKind::kBf16 ? Precision::kBf16 : Precision::kFp32;
}

// Elements per token and sub-layer, of C-wide tensors and of coefficients.
struct Traffic {
  const char* what;
  double wide_read, small_read, wide_write, small_write;  // wide: in units of C
};

std::vector<Traffic> Table2(double n) {
  const double coefficients = n * n + 2.0 * n;
  return {{"plain residual, merge: table 2", 2.0, 0.0, 1.0, 0.0},
          {"HC, one kernel per operation: table 2", 5.0 * n + 1.0, coefficients, 3.0 * n + 1.0,
           coefficients},
          // Coefficients, H_pre, and the fused kernel of H_post, H_res and merge.
          {"mHC, fused: section 4.3.1", 3.0 * n + 1.0, coefficients, n + 1.0, coefficients}};
}

// What a boundary of ours reads and writes forward: X and y of below, then the new X, what its
// norm gives, and what is saved for the backward pass, which is counted from the footprint.
double CountedSmallWrite(const StageLayout& layout, int unit) {
  double bytes = 0.0;
  for (const char* name : {"coefficients", "logits", "inverse_rms"}) {
    const StoredTensor* tensor = layout.Find(unit, Home::kSaved, name);
    if (tensor != nullptr) bytes += static_cast<double>(tensor->bytes);
  }
  return bytes;
}

StageLayout WholeModel(const JobSpec& spec, int recompute_block) {
  LayoutRequest request;
  request.model = spec.model;
  request.units = {0, NumUnits(spec.model)};
  request.recompute_block = recompute_block;
  request.sequence_length = spec.training.sequence_length;
  request.tokens = int64_t{spec.training.micro_batch_size} * spec.training.sequence_length;
  request.precision = PrecisionOf(spec);
  return MakeStageLayout(request);
}

void AddTraffic(const RunSeries& run, std::vector<Json>* rows) {
  const JobSpec& spec = run.spec;
  const double n = NumStreams(spec.model), width = spec.model.hidden_size;
  const auto element = static_cast<double>(SizeOf(StreamType(PrecisionOf(spec))));
  const auto scalar = static_cast<double>(SizeOf(ScalarType(PrecisionOf(spec))));
  const auto add = [&](const std::string& what, double read, double write) {
    rows->push_back({run.label, what, std::round(read), std::round(write), std::round(read + write),
                     (read + write) / (width * element)});
  };
  for (const Traffic& traffic : Table2(spec.model.residual.streams)) {
    add(traffic.what, traffic.wide_read * width * element + traffic.small_read * scalar,
        traffic.wide_write * width * element + traffic.small_write * scalar);
  }
  const StageLayout layout = WholeModel(spec, 0);
  const double tokens = double{1} * spec.training.micro_batch_size * spec.training.sequence_length;
  constexpr int kInner = 2;  // a unit that merges what another sub-layer made
  const double coefficients = n > 1.0 ? (n * n + 2.0 * n) * scalar : 0.0;
  add("Birkhoff's boundary and its norm, forward: by its tensors",
      (n + 1.0) * width * element + coefficients,
      (n + 1.0) * width * element + CountedSmallWrite(layout, kInner) / tokens);
}

// Bytes of X per token: at the first sub-layer of each block, and of one block made anew.
double CountedStreams(const JobSpec& spec, int block) {
  const StageLayout layout = WholeModel(spec, block);
  double stored = 0.0;
  for (const StoredTensor& tensor : layout.tensors) {
    if (tensor.home == Home::kSaved && tensor.name == "x") {
      stored += static_cast<double>(tensor.bytes);
    }
  }
  stored += static_cast<double>(layout.BytesOf(Home::kRecompute));
  return stored / (double{1} * spec.training.micro_batch_size * spec.training.sequence_length);
}

void AddRecompute(const RunSeries& run, FigureList* figures) {
  const JobSpec& spec = run.spec;
  const double n = NumStreams(spec.model), width = spec.model.hidden_size;
  const int depth = NumSubLayers(spec.model);
  const double best = std::sqrt(n * depth / (n + 2.0));
  const Heading heading = {
      absl::StrCat("recompute-", run.name), absl::StrCat("Memory of recomputation: ", run.label),
      absl::StrCat("Bytes of streams per token against the length of a recompute block: table 3's "
                   "formula, and what our list of tensors holds: X at the first sub-layer of each "
                   "block, X of the others and the norms of one block.  The formula is least near ",
                   std::round(best * 10.0) / 10.0, ".  L = ", depth,
                   ", one stage, one micro-batch.")};
  const Axis x_axis = {"sub-layers in a block, L_r"}, y_axis = {"bytes per token"};
  if (!figures->Asks(heading)) return figures->AddStub(LineFigure(heading, x_axis, y_axis, {}, {}));
  const auto element = static_cast<double>(SizeOf(StreamType(PrecisionOf(spec))));
  std::vector<double> x;
  Line formula = {"n C ceil(L / L_r) + (n + 2) C L_r"}, counted = {"counted"};
  const int longest = std::min(depth, static_cast<int>(4.0 * best) + 4);  // the rest only climbs
  for (int block = 1; block <= longest; ++block) {
    x.push_back(block);
    const double blocks = std::ceil(double{1} * depth / block);
    formula.y.push_back(width * element * (n * blocks + (n + 2.0) * block));
    counted.y.push_back(CountedStreams(spec, block));
  }
  figures->Add(
      LineFigure(heading, x_axis, y_axis, std::move(x), {std::move(formula), std::move(counted)}));
}

void AddTrafficTable(const RunList& runs, FigureList* figures) {
  const Heading heading = {
      "traffic", "Traffic of a boundary",
      "Bytes per token and sub-layer, forward: the paper's formulas at this width and number of "
      "streams, and ours counted by the shapes of what a boundary reads and writes.  Ours also "
      "norms what the sub-layer reads, and saves what its backward pass needs.  A unit is C "
      "elements."};
  if (!figures->Asks(heading)) return figures->AddStub(TableFigure(heading, {}, {}));
  std::vector<Json> rows;
  for (const RunSeries* run : runs) AddTraffic(*run, &rows);
  figures->Add(
      TableFigure(heading, {"run", "what", "bytes read", "bytes written", "bytes", "units"}, rows));
}

}  // namespace

void AddCostFigures(const RunList& runs, FigureList* figures) {
  const RunList distinct = Distinct(runs);
  if (!distinct.empty()) AddTrafficTable(distinct, figures);
  for (const RunSeries* run : distinct) {
    if (run->spec.model.residual.kind != ResidualKind::kResidual) AddRecompute(*run, figures);
  }
}

}  // namespace birkhoff
