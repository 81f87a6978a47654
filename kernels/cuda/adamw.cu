// The end of a step on the GPU: the decision, AdamW over all parameters in one launch, and the
// rounding of weights for products.
#include "core/base/status_macros.h"
#include "kernels/arguments.h"
#include "kernels/cuda/device/group.cuh"
#include "kernels/cuda/device/scalar.cuh"
#include "kernels/cuda/device/spans.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/status.h"

namespace birkhoff::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kChunk = 8192;  // elements of a block: 8 sweeps, so that finding the span and two
                                  // powers in double are little beside them

unsigned NumBlocks(int64_t count) { return unsigned((count + kChunk - 1) / kChunk); }

// ---- the decision -------------------------------------------------------------------------------

// One thread.  Reads the head of each rank's share.
__global__ void DecideStepKernel(DecideStepArgs args) {
  // The shares of all ranks, in ascending order.
  StepShare sum;
  for (int r = 0; r < args.ranks; ++r) {
    const double* share = args.shares + r * args.length;
    sum.loss += share[0];
    sum.norm.squared += share[2];
    sum.norm.non_finite += share[3];
  }
  // What follows for all of them alike: to skip, or to count an update and clip.
  const double norm = sqrt(sum.norm.squared);
  const bool finite = sum.norm.non_finite == 0.0 && isfinite(sum.loss) && isfinite(norm);
  args.step->skip = finite ? 0 : 1;
  args.step->update += finite ? 1 : 0;
  args.step->clip_scale =
      args.clip_grad > 0.0 && norm > args.clip_grad ? args.clip_grad / norm : 1.0;
}

// ---- AdamW --------------------------------------------------------------------------------------

// Of a step, as cpu::AdamW has them; the decay is a span's.
struct Rates {
  float scale, eps, beta1, rest1, beta2, rest2, rate, root;
};

// In double; by one thread of a block.
template <typename T>
__device__ Rates RatesOf(const AdamWArgs<T>& args) {
  const double update = double(args.step->update);
  return {.scale = float(args.step->clip_scale),
          .eps = float(args.eps),
          .beta1 = float(args.beta1),
          .rest1 = float(1.0 - args.beta1),
          .beta2 = float(args.beta2),
          .rest2 = float(1.0 - args.beta2),
          .rate = float(args.step->lr / (1.0 - pow(args.beta1, update))),
          .root = float(1.0 / sqrt(1.0 - pow(args.beta2, update)))};
}

// In the order of cpu::AdamW and with none of its products fused: both give the same bits.
__device__ void Update(const Rates& r, float decay, float gradient, float& w, float& m, float& v) {
  const float g = __fmul_rn(r.scale, gradient);
  m = __fadd_rn(__fmul_rn(r.beta1, m), __fmul_rn(r.rest1, g));
  v = __fadd_rn(__fmul_rn(r.beta2, v), __fmul_rn(r.rest2, __fmul_rn(g, g)));
  const float divisor = __fadd_rn(__fmul_rn(__fsqrt_rn(v), r.root), r.eps);
  const float step = __fdiv_rn(__fmul_rn(r.rate, m), divisor);
  w = __fsub_rn(w, __fadd_rn(__fmul_rn(decay, w), step));
}

template <typename T>
__device__ void UpdateOne(const ParameterSpan<T>& span, const Rates& rates, float decay,
                          int64_t i) {
  Update(rates, decay, span.gradient[i], span.weight[i], span.first_moment[i],
         span.second_moment[i]);
  if (span.copy != nullptr) span.copy[i] = Store<T>(span.weight[i]);
  if (span.cleared != 0) span.gradient[i] = 0.0f;
}

template <typename T>
__device__ void UpdateFour(const ParameterSpan<T>& span, const Rates& rates, float decay,
                           int64_t i) {
  auto& gradient = GroupAt<4>(span.gradient, i);
  auto& weight = GroupAt<4>(span.weight, i);
  auto& first = GroupAt<4>(span.first_moment, i);
  auto& second = GroupAt<4>(span.second_moment, i);
  const Group<float, 4> g = gradient;
  Group<float, 4> w = weight, m = first, v = second;
  Group<T, 4> rounded;
  for (int k = 0; k < 4; ++k) {
    Update(rates, decay, g.at[k], w.at[k], m.at[k], v.at[k]);
    rounded.at[k] = Store<T>(w.at[k]);
  }
  weight = w, first = m, second = v;
  if (span.copy != nullptr) GroupAt<4>(span.copy, i) = rounded;
  if (span.cleared != 0) gradient = {};
}

template <typename T>
__device__ bool AllAligned(const ParameterSpan<T>& span) {
  return IsAligned(span.weight) && IsAligned(span.copy) && IsAligned(span.gradient) &&
         IsAligned(span.first_moment) && IsAligned(span.second_moment);
}

// A block owns kChunk elements of the concatenation.  grid: NumBlocks; block: kThreads; shared: 32
// bytes; reads weights, gradients and moments once and writes them once, with the copy.
template <typename T>
__global__ __launch_bounds__(kThreads, 4) void AdamWKernel(AdamWArgs<T> args) {
  __shared__ Rates shared_rates;
  const bool skip = args.step->skip != 0;
  const double lr = args.step->lr;
  if (!skip && threadIdx.x == 0) shared_rates = RatesOf(args);
  __syncthreads();
  const Rates rates = shared_rates;
  const int64_t begin = int64_t{blockIdx.x} * kChunk;
  ForPieces(args.parameters, begin, min(begin + kChunk, args.parameters.count),
            [&](const ParameterSpan<T>& span, int64_t first, int64_t last) {
              if (skip) {
                if (span.cleared == 0) return;
                ForElements<kThreads>(
                    first, last, IsAligned(span.gradient),
                    [&](int64_t i) { GroupAt<4>(span.gradient, i) = {}; },
                    [&](int64_t i) { span.gradient[i] = 0.0f; });
                return;
              }
              const float decay = float(lr * span.weight_decay);
              ForElements<kThreads>(
                  first, last, AllAligned(span),
                  [&](int64_t i) { UpdateFour(span, rates, decay, i); },
                  [&](int64_t i) { UpdateOne(span, rates, decay, i); });
            });
}

// ---- rounding -----------------------------------------------------------------------------------

// A block owns kChunk elements of the concatenation.  grid: NumBlocks; block: kThreads; reads
// weights once, writes copies once.
template <typename T>
__global__ __launch_bounds__(kThreads, 6) void RoundWeightsKernel(ParameterSpans<T> parameters) {
  const int64_t begin = int64_t{blockIdx.x} * kChunk;
  ForPieces(parameters, begin, min(begin + kChunk, parameters.count),
            [&](const ParameterSpan<T>& span, int64_t first, int64_t last) {
              if (span.copy == nullptr) return;
              ForElements<kThreads>(
                  first, last, IsAligned(span.weight) && IsAligned(span.copy),
                  [&](int64_t i) {
                    const Group<float, 4> weight = GroupAt<4>(span.weight, i);
                    Group<T, 4> rounded;
                    for (int k = 0; k < 4; ++k) rounded.at[k] = Store<T>(weight.at[k]);
                    GroupAt<4>(span.copy, i) = rounded;
                  },
                  [&](int64_t i) { span.copy[i] = Store<T>(span.weight[i]); });
            });
}

}  // namespace

absl::Status DecideStep(const DecideStepArgs& args, StreamHandle stream) {
  RETURN_IF_ERROR(Validate(args));
  DecideStepKernel<<<1, 1, 0, stream>>>(args);
  return LaunchStatus("decide step: DecideStepKernel");
}

template <typename T>
absl::Status AdamW(const AdamWArgs<T>& args, StreamHandle stream) {
  RETURN_IF_ERROR(Validate(args));
  if (args.parameters.num == 0) return absl::OkStatus();
  AdamWKernel<<<NumBlocks(args.parameters.count), kThreads, 0, stream>>>(args);
  return LaunchStatus("adamw: AdamWKernel");
}

template <typename T>
absl::Status RoundWeights(const ParameterSpans<T>& parameters, StreamHandle stream) {
  if (parameters.num < 0 || parameters.count < parameters.num) {
    return RefuseArgument("round weights",
                          absl::StrCat("spans=", parameters.num, " count=", parameters.count),
                          "spans of at least one element");
  }
  if (parameters.num == 0) return absl::OkStatus();
  RETURN_IF_ERROR(RequirePointers("round weights", {{"spans", parameters.spans}}));
  RoundWeightsKernel<<<NumBlocks(parameters.count), kThreads, 0, stream>>>(parameters);
  return LaunchStatus("round weights: RoundWeightsKernel");
}

template absl::Status AdamW(const AdamWArgs<float>&, StreamHandle);
template absl::Status AdamW(const AdamWArgs<bf16>&, StreamHandle);
template absl::Status RoundWeights(const ParameterSpans<float>&, StreamHandle);
template absl::Status RoundWeights(const ParameterSpans<bf16>&, StreamHandle);

}  // namespace birkhoff::cuda
