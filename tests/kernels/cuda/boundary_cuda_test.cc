// The boundary on a GPU against the reference in double.  Each step is compared on what the step
// before it gave on the GPU, so that a limit holds one step's roundings alone.
#include <gtest/gtest.h>

#include "kernels/cuda/single_pass_launch.h"
#include "tests/kernels/cuda/boundary_cuda_fixture.h"

namespace birkhoff {
namespace {

// The path of the test at hand; what no path changes goes the chosen way.
cuda::BoundaryPath path = cuda::BoundaryPath::kStreaming;

template <typename T>
absl::Status Forward(const BoundaryForwardArgs<T>& args) {
  return cuda::BoundaryForward(args, nullptr, path);
}
template <typename T>
absl::Status Recompute(const BoundaryRecomputeArgs<T>& args) {
  return cuda::BoundaryRecompute(args, nullptr, path);
}
template <typename T>
absl::Status Backward(const BoundaryBackwardArgs<T>& args) {
  return cuda::BoundaryBackward(args, nullptr, path);
}
bool IsSinglePass() { return path == cuda::BoundaryPath::kSinglePass; }

template <typename T>
std::string Group(const char* what) {
  const std::string type = kDTypeOf<T> == DType::kBfloat16 ? "bf16 " : "fp32 ";
  return type + (IsSinglePass() ? "single pass " : "") + what;
}

// Of a single pass those that it does: the others stream by either path.
std::vector<BoundaryCase> Cases() {
  std::vector<BoundaryCase> cases;
  for (const BoundaryCase& c : CudaCases()) {
    if (IsSinglePass() && !cuda::ConfigOf({.shape = c.shape()}, path).single_pass) continue;
    cases.push_back(c);
  }
  return cases;
}

// The single pass rounds phi to 11 bits.
constexpr double kPhiRounding = 0x1p-11;
double PhiRounding() { return IsSinglePass() ? kPhiRounding : 0.0; }
// And it merges on the tensor cores, where coefficients are two bf16.
bool MergesMixed(const BoundaryShape& shape) {
  return cuda::MergeConfig({.shape = shape}, path).mixed;
}
double MergeRounding(const BoundaryShape& shape) { return MergesMixed(shape) ? 0x1p-16 : 0.0; }

// 1 / rms of u and norm_out, where u = weights X.
template <typename T>
void CheckNorm(const std::string& where, const BoundaryShape& shape,
               const BoundaryWeights<double>& weights, const std::vector<double>& x,
               const std::vector<double>& gates, const ForwardOutputs<T>& out) {
  const int64_t C = shape.channels;
  const std::vector<double> u = ReadReference(shape, x, gates);
  const std::vector<double> sizes = ReadReference(shape, Magnitudes(x), Magnitudes(gates));
  std::vector<double> inverse(size_t(shape.tokens)), relative(size_t(shape.tokens));
  for (int64_t t = 0; t < shape.tokens; ++t) {
    double squares = 0.0, moved = 0.0, of_sizes = 0.0;
    for (int64_t c = 0; c < C; ++c) {
      const size_t at = size_t(t * C + c);
      squares += u[at] * u[at];
      of_sizes += sizes[at] * sizes[at];
      moved += 2.0 * std::abs(u[at]) * sizes[at] * shape.streams * kFloat;
    }
    inverse[size_t(t)] = 1.0 / std::sqrt(squares / double(C) + shape.norm_eps);
    // A thread adds at most C / 32 + 8 squares, then the warps; half of it after the root.
    relative[size_t(t)] = (double(C) / 32 + 32) * kFloat + moved / (squares + 1e-30);
    // Its sum is of products of streams, which may cancel.
    if (IsSinglePass()) {
      relative[size_t(t)] += (double(C) / 32 + 64) * kFloat * of_sizes / (squares + 1e-30);
    }
  }
  const std::vector<float> got = out.norm_inv_rms.ToHost();
  ExpectWithin(Group<T>("1 / rms"), where, got, inverse,
               [&](size_t t) { return inverse[t] * relative[t]; });
  std::vector<double> want(u.size());
  for (size_t i = 0; i < u.size(); ++i) {
    want[i] = u[i] * double(got[i / size_t(C)]) * weights.gamma[i % size_t(C)];
  }
  ExpectWithin(Group<T>("norm_out"), where, out.norm_out.ToHost(), want, [&](size_t i) {
    const double scale = double(got[i / size_t(C)]) * weights.gamma[i % size_t(C)];
    return kRounding<T> * std::abs(want[i]) * 1.01 +
           (shape.streams + 3) * kFloat * std::abs(sizes[i] * scale);
  });
}

template <typename T>
void CheckForward(const BoundaryCase& c) {
  const BoundaryShape shape = c.shape();
  const BoundaryInputs<T> in(shape);
  const DeviceInputs<T> device(in);
  const ForwardOutputs<T> out(shape);
  const std::string where = Name(c);
  ASSERT_OK(Forward(out.args(shape, device.merge(), BoundarySink::kSubLayer, device)));
  const int n = shape.streams;

  // The merge.
  const std::vector<double> want =
      MergeReference(shape, Doubles(in.x), Doubles(in.y), Doubles(in.coefficients));
  const std::vector<double> sizes =
      MergeReference(shape, Magnitudes(in.x), Magnitudes(in.y), Magnitudes(in.coefficients));
  ExpectWithin(Group<T>("merge"), where, out.x.ToHost(), want, [&](size_t i) {
    return kRounding<T> * std::abs(want[i]) * 1.01 +
           ((n + 2) * kFloat + MergeRounding(shape)) * sizes[i];
  });

  // The products of what was stored.
  const std::vector<double> x = Doubles(out.x.ToHost());
  const BoundaryWeights<double> weights = Doubles(in.weights);
  const std::vector<float> logits = out.logits.ToHost(), coefficients = out.coefficients.ToHost();
  if (shape.kind != BoundaryKind::kResidual) {
    BoundaryWeights<double> positive = weights;
    for (double& phi : positive.projection) phi = std::abs(phi);
    const std::vector<double> products = LogitsReference(shape, weights, x);
    const std::vector<double> terms = LogitsReference(shape, positive, Magnitudes(out.x.ToHost()));
    // Eight warps add an eighth of the terms each; the root halves the error of r.
    const double k = double(n * shape.channels) / 8 + 16;
    ExpectWithin(Group<T>("logits"), where, logits, products,
                 [&](size_t i) { return (1.5 * k * kFloat + 1.01 * PhiRounding()) * terms[i]; });
    const std::vector<double> gates = CoefficientsFrom(shape, weights, Doubles(logits));
    const double largest = LargestAbs(logits) * 1.5 + LargestAbs(in.weights.bias);
    ExpectWithin(Group<T>("coefficients"), where, coefficients, gates, [&](size_t i) {
      return 8 * kFloat * (1.0 + largest) * (1.0 + std::abs(gates[i]));
    });
  }
  CheckNorm(where, shape, weights, x, Gates(shape, Doubles(coefficients), 0), out);
}

template <typename T>
void CheckForwardBits(const BoundaryCase& c) {
  const BoundaryShape shape = c.shape();
  const BoundaryInputs<T> in(shape);
  const DeviceInputs<T> device(in), consumed(in);
  const ForwardOutputs<T> out(shape), again(shape), received(shape);
  const std::string where = Name(c);
  ASSERT_OK(Forward(out.args(shape, device.merge(), BoundarySink::kSubLayer, device)));

  // In place, which is a second run too.
  BoundaryForwardArgs<T> args =
      again.args(shape, consumed.merge(), BoundarySink::kSubLayer, consumed);
  args.x = consumed.x.data();
  args.prefix = consumed.matrices.data();
  ASSERT_OK(Forward(args));
  ExpectSameBits("x in place of " + where, consumed.x.ToHost(), out.x.ToHost());
  ExpectSameBits("prefix in place of " + where, consumed.matrices.ToHost(), out.prefix.ToHost());
  ExpectSameBits("logits again of " + where, again.logits.ToHost(), out.logits.ToHost());
  ExpectSameBits("coefficients of " + where, again.coefficients.ToHost(),
                 out.coefficients.ToHost());
  ExpectSameBits("norm_out again of " + where, again.norm_out.ToHost(), out.norm_out.ToHost());

  // A stage that ends here, and one that begins.
  args = received.args(shape, device.merge(), BoundarySink::kNone, device);
  ASSERT_OK(Forward(args));
  ExpectSameBits("x of a cut of " + where, received.x.ToHost(), out.x.ToHost());
  args = received.args(shape, {}, BoundarySink::kSubLayer, device);
  ASSERT_OK(Forward(args));
  ExpectSameBits("x received of " + where, received.x.ToHost(), out.x.ToHost());
  ExpectSameBits("prefix kept of " + where, received.prefix.ToHost(), out.prefix.ToHost());
  ExpectSameBits("logits received of " + where, received.logits.ToHost(), out.logits.ToHost());
  ExpectSameBits("norm_out received of " + where, received.norm_out.ToHost(),
                 out.norm_out.ToHost());
}

template <typename T>
void CheckRecompute(const BoundaryCase& c, const BoundarySourceArgs<T>& source, BoundarySink sink,
                    const DeviceInputs<T>& device) {
  const BoundaryShape shape = c.shape();
  const ForwardOutputs<T> out(shape), again(shape);
  const std::string where = Name(c);
  ASSERT_OK(Forward(out.args(shape, source, sink, device)));
  BoundaryRecomputeArgs<T> args;
  args.shape = shape;
  args.source = source;
  const bool received = source.kind == BoundarySource::kReceived;
  args.x = received ? out.x.data() : again.x.data();
  args.sink = sink;
  args.gamma = device.gamma.data();
  args.coefficients = out.coefficients.data();
  args.norm_inv_rms = out.norm_inv_rms.data();
  args.norm_out = again.norm_out.data();
  ASSERT_OK(Recompute(args));
  if (!received) ExpectSameBits("x recomputed of " + where, again.x.ToHost(), out.x.ToHost());
  ExpectSameBits("norm_out recomputed of " + where, again.norm_out.ToHost(), out.norm_out.ToHost());
}

template <typename T>
void CheckRecomputes(const BoundaryCase& c) {
  const BoundaryInputs<T> in(c.shape());
  const DeviceInputs<T> device(in);
  for (const BoundarySink sink : {BoundarySink::kSubLayer, BoundarySink::kHead}) {
    CheckRecompute(c, device.merge(), sink, device);
    CheckRecompute(c, device.embed(StreamExpand::kCopy), sink, device);
    CheckRecompute(c, device.embed(StreamExpand::kOneHot), sink, device);
  }
}

// Prefix and suffix are sums in double, rounded once.
template <typename T>
void CheckProducts(const BoundaryCase& c) {
  const BoundaryShape shape = c.shape();
  const BoundaryInputs<T> in(shape);
  const DeviceInputs<T> device(in);
  const ForwardOutputs<T> out(shape);
  const BackwardOutputs<T> back(shape);
  ASSERT_OK(Forward(out.args(shape, device.merge(), BoundarySink::kSubLayer, device)));
  ASSERT_OK(Backward(back.args(shape, device, out)));
  const std::vector<float> prefix = out.prefix.ToHost(), suffix = back.suffix.ToHost();
  const std::vector<float> made = out.coefficients.ToHost();
  const int n = shape.streams, stride = int(CoefficientsPerToken(shape));
  std::vector<double> want_prefix(prefix.size()), want_suffix(suffix.size());
  const auto h = [&](const std::vector<float>& from, int64_t t, int i, int j) {
    return stride == 0 ? 1.0 : double(from[size_t(t * stride + 2 * n + i * n + j)]);
  };
  for (int64_t t = 0; t < shape.tokens; ++t) {
    const float* p = in.matrices.data() + t * n * n;
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) {
        for (int k = 0; k < n; ++k) {
          const size_t at = size_t(t * n * n + i * n + j);
          want_prefix[at] += h(in.coefficients, t, i, k) * double(p[k * n + j]);
          want_suffix[at] += double(p[i * n + k]) * h(made, t, k, j);
        }
      }
    }
  }
  const auto rounding = [](const std::vector<double>& want) {
    return [&want](size_t i) { return 1.01 * kFloat * std::abs(want[i]) + 1e-14; };
  };
  ExpectWithin("prefix", Name(c), prefix, want_prefix, rounding(want_prefix));
  ExpectWithin("suffix", Name(c), suffix, want_suffix, rounding(want_suffix));
}

template <typename T>
void CheckEnds(const BoundaryCase& c) {
  const BoundaryShape shape = c.shape();
  const BoundaryInputs<T> in(shape);
  const DeviceInputs<T> device(in);
  const std::string where = Name(c);
  const int64_t n = shape.streams, C = shape.channels;
  for (const StreamExpand expand : {StreamExpand::kCopy, StreamExpand::kOneHot}) {
    const ForwardOutputs<T> out(shape);
    ASSERT_OK(Forward(out.args(shape, device.embed(expand), BoundarySink::kSubLayer, device)));
    std::vector<T> want(size_t(shape.tokens * n * C));
    std::vector<float> identity(size_t(shape.tokens * n * n));
    for (int64_t i = 0; i < shape.tokens * n * C; ++i) {
      const int64_t t = i / (n * C), j = i / C % n;
      if (j > 0 && expand == StreamExpand::kOneHot) continue;
      want[size_t(i)] = in.embedding[size_t(in.ids[size_t(t)] * C + i % C)];
    }
    for (size_t i = 0; i < identity.size(); ++i) {
      identity[i] = int64_t(i) / n % n == int64_t(i) % n ? 1.0f : 0.0f;
    }
    ExpectSameBits("embedding of " + where, out.x.ToHost(), want);
    ExpectSameBits("identity of " + where, out.prefix.ToHost(), identity);
  }
  for (const StreamContract contract : {StreamContract::kMean, StreamContract::kSum}) {
    const ForwardOutputs<T> out(shape);
    BoundaryForwardArgs<T> args = out.args(shape, device.merge(), BoundarySink::kHead, device);
    args.contract = contract;
    ASSERT_OK(Forward(args));
    const std::vector<double> x = Doubles(out.x.ToHost());
    const double weight = contract == StreamContract::kMean ? 1.0 / double(n) : 1.0;
    const std::vector<double> weights(size_t(shape.tokens * n), weight);
    const std::vector<double> h = ReadReference(shape, x, weights);
    const std::vector<double> sizes = ReadReference(shape, Magnitudes(out.x.ToHost()), weights);
    ExpectWithin(Group<T>("head"), where, out.contracted.ToHost(), h, [&](size_t i) {
      return kRounding<T> * std::abs(h[i]) * 1.01 + double(n + 2) * kFloat * sizes[i];
    });
    CheckNorm(where, shape, Doubles(in.weights), x, weights, out);
  }
}

// Everything the reference's backward pass writes, started as the device's.
struct BackwardReference {
  BackwardReference(const BoundaryShape& shape, const BoundaryWeights<double>& given)
      : weights(given),
        dx(size_t(shape.tokens * shape.streams * shape.channels)),
        workspace(size_t(cpu::BoundaryWorkspaceElements(shape))) {
    gradients.projection = Doubles(BackwardOutputs<float>::Start(ProjectionElements(shape)));
    gradients.alpha = Doubles(BackwardOutputs<float>::Start(3));
    gradients.bias = Doubles(BackwardOutputs<float>::Start(BiasElements(shape)));
    gradients.gamma = Doubles(BackwardOutputs<float>::Start(shape.channels));
  }
  BoundaryWeights<double> weights, gradients;
  std::vector<double> dx, workspace;
};

// gradients.X less what it started with, of got and want: the start would hide small gradients.
template <typename T>
void CheckGradient(const char* what, const std::string& where, const DeviceBuffer<float>& got,
                   const std::vector<double>& want) {
  const std::vector<float> start = BackwardOutputs<T>::Start(int64_t(want.size()));
  std::vector<double> moved = want;
  for (size_t i = 0; i < want.size(); ++i) moved[i] -= double(start[i]);
  const double largest = LargestAbs(moved);
  if (want.empty() || largest == 0.0) return;
  // The sum with the start is rounded once more.
  const std::vector<float> sum = got.ToHost();
  double worst = 0.0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double rounding = 2 * kFloat * (std::abs(want[i]) + std::abs(double(start[i])));
    double error = std::abs(double(sum[i]) - want[i]) - rounding;
    if (error < 0.0) error = 0.0;
    if (!(error / largest <= worst)) worst = error / largest;
  }
  NoteGroup(Group<T>(what) + " (of the largest entry)", worst, kGradientBar);
  EXPECT_LE(worst, kGradientBar) << what << " of " << where;
}

// dy = H_post dX of the dX that was stored.
template <typename T>
void CheckMergeBackward(const std::string& where, const BoundaryShape& shape,
                        const BoundaryInputs<T>& in, const BackwardOutputs<T>& out) {
  const std::vector<T> dx = out.dx.ToHost();
  const std::vector<double> want =
      ReadReference(shape, Doubles(dx), Gates(shape, Doubles(in.coefficients), shape.streams));
  const std::vector<double> sizes = ReadReference(
      shape, Magnitudes(dx), Gates(shape, Magnitudes(in.coefficients), shape.streams));
  ExpectWithin(Group<T>("dy"), where, out.dy_below.ToHost(), want, [&](size_t i) {
    return kRounding<T> * std::abs(want[i]) * 1.01 + (shape.streams + 1) * kFloat * sizes[i];
  });
}

template <typename T>
void CheckBackward(const BoundaryCase& c) {
  const BoundaryShape shape = c.shape();
  const BoundaryInputs<T> in(shape);
  const DeviceInputs<T> device(in), consumed(in);
  const ForwardOutputs<T> forward(shape);
  const std::string where = Name(c);
  ASSERT_OK(Forward(forward.args(shape, device.merge(), BoundarySink::kSubLayer, device)));
  const BackwardOutputs<T> out(shape), again(shape), cut(shape);
  ASSERT_OK(Backward(out.args(shape, device, forward)));

  BackwardReference want(shape, Doubles(in.weights));
  const std::vector<double> above = Doubles(in.above), x = Doubles(forward.x.ToHost()),
                            y = Doubles(in.y), dnorm = Doubles(in.dnorm),
                            inverse = Doubles(forward.norm_inv_rms.ToHost()),
                            coefficients = Doubles(forward.coefficients.ToHost()),
                            logits = Doubles(forward.logits.ToHost());
  BoundaryBackwardArgs<double> args;
  args.shape = shape;
  args.dx_above = above.data();
  args.x = x.data();
  args.y = y.data();
  args.dnorm = dnorm.data();
  args.norm_inv_rms = inverse.data();
  args.coefficients = coefficients.data();
  args.logits = logits.data();
  args.parameters = want.weights.view();
  args.gradients = want.gradients.gradient_view();
  args.dx = want.dx.data();
  args.workspace = want.workspace.data();
  ASSERT_OK(cpu::BoundaryBackward(args));
  ExpectGradientBar(Group<T>("dx"), where, out.dx.ToHost(), want.dx, kGradientBar + PhiRounding());
  CheckGradient<T>("dprojection", where, out.projection, want.gradients.projection);
  CheckGradient<T>("dalpha", where, out.alpha, want.gradients.alpha);
  CheckGradient<T>("dbias", where, out.bias, want.gradients.bias);
  CheckGradient<T>("dgamma", where, out.gamma, want.gradients.gamma);
  CheckMergeBackward(where, shape, in, out);

  // In place, which is a second run too; and cut between sub-layer and merge.
  BoundaryBackwardArgs<T> in_place = again.args(shape, consumed, forward);
  in_place.dx = consumed.above.data();
  in_place.suffix = consumed.matrices.data();
  ASSERT_OK(Backward(in_place));
  ExpectSameBits("dx in place of " + where, consumed.above.ToHost(), out.dx.ToHost());
  ExpectSameBits("suffix in place of " + where, consumed.matrices.ToHost(), out.suffix.ToHost());
  BoundaryBackwardArgs<T> upper = cut.args(shape, device, forward), lower = upper;
  upper.source = BoundarySource::kReceived;
  lower.sink = BoundarySink::kNone;
  ASSERT_OK(Backward(upper));
  ASSERT_OK(Backward(lower));
  ExpectSameBits("a cut backward of " + where, cut, out);
}

template <typename T>
void CheckHeadBackward(const BoundaryCase& c, StreamContract contract) {
  const BoundaryShape shape = c.shape();
  const BoundaryInputs<T> in(shape);
  const DeviceInputs<T> device(in);
  const ForwardOutputs<T> forward(shape);
  const std::string where = Name(c);
  BoundaryForwardArgs<T> head = forward.args(shape, device.merge(), BoundarySink::kHead, device);
  head.contract = contract;
  ASSERT_OK(Forward(head));
  const BackwardOutputs<T> out(shape), again(shape);
  BackwardReference want(shape, Doubles(in.weights));
  for (const BackwardOutputs<T>* each : {&out, &again}) {
    BoundaryBackwardArgs<T> args = each->args(shape, device, forward);
    args.sink = BoundarySink::kHead;
    args.contract = contract;
    ASSERT_OK(Backward(args));
  }
  ExpectSameBits("head backward again of " + where, out, again);
  const std::vector<double> h = Doubles(forward.contracted.ToHost()), dnorm = Doubles(in.dnorm),
                            inverse = Doubles(forward.norm_inv_rms.ToHost());
  BoundaryBackwardArgs<double> args;
  args.shape = shape;
  args.sink = BoundarySink::kHead;
  args.contract = contract;
  args.contracted = h.data();
  args.dnorm = dnorm.data();
  args.norm_inv_rms = inverse.data();
  args.parameters = want.weights.view();
  args.gradients = want.gradients.gradient_view();
  args.dx = want.dx.data();
  ASSERT_OK(cpu::BoundaryBackward(args));
  ExpectGradientBar(Group<T>("dx of a head"), where, out.dx.ToHost(), want.dx);
  CheckGradient<T>("dgamma of a head", where, out.gamma, want.gradients.gamma);
  CheckMergeBackward(where, shape, in, out);
}

template <typename T>
void CheckEmbedBackward(const BoundaryCase& c, StreamExpand expand) {
  const BoundaryShape shape = c.shape();
  const BoundaryInputs<T> in(shape);
  const DeviceInputs<T> device(in);
  const ForwardOutputs<T> forward(shape);
  const BackwardOutputs<T> out(shape), again(shape);
  const int64_t n = shape.streams, C = shape.channels;
  for (const BackwardOutputs<T>* each : {&out, &again}) {
    BoundaryBackwardArgs<T> args = each->args(shape, device, forward);
    args.sink = BoundarySink::kNone;
    args.source = BoundarySource::kEmbed;
    args.expand = expand;
    CudaOk(
        cudaMemcpy(args.dx, in.above.data(), in.above.size() * sizeof(T), cudaMemcpyHostToDevice));
    ASSERT_OK(Backward(args));
  }
  ExpectSameBits("embedding backward again", out.dembedding.ToHost(), again.dembedding.ToHost());
  const std::vector<double> start = Doubles(BackwardOutputs<T>::Start(out.dembedding.size()));
  std::vector<double> want = start, sizes = start;
  for (double& size : sizes) size = std::abs(size);
  const std::vector<double> dx = Doubles(in.above);
  for (int64_t i = 0; i < int64_t(dx.size()); ++i) {
    if (expand == StreamExpand::kOneHot && i / C % n > 0) continue;
    const size_t at = size_t(in.ids[size_t(i / (n * C))] * C + i % C);
    want[at] += dx[size_t(i)];
    sizes[at] += std::abs(dx[size_t(i)]);
  }
  ExpectWithin(Group<T>("dembedding"), Name(c), out.dembedding.ToHost(), want,
               [&](size_t i) { return double(shape.tokens + n + 1) * kFloat * sizes[i]; });
}

// One test a kind of check, type and path, over all cases.
template <typename Type, cuda::BoundaryPath kPath>
struct Variant {
  using T = Type;
  static constexpr cuda::BoundaryPath kOf = kPath;
};
template <typename V>
class BoundaryCuda : public testing::Test {
 protected:
  using T = typename V::T;
  void SetUp() override { path = V::kOf; }
  void TearDown() override { path = cuda::BoundaryPath::kStreaming; }
};
using Variants = testing::Types<Variant<float, cuda::BoundaryPath::kStreaming>,
                                Variant<bf16, cuda::BoundaryPath::kStreaming>,
                                Variant<bf16, cuda::BoundaryPath::kSinglePass>>;
TYPED_TEST_SUITE(BoundaryCuda, Variants);

TYPED_TEST(BoundaryCuda, ForwardMatchesTheReference) {
  for (const BoundaryCase& c : Cases()) CheckForward<typename TestFixture::T>(c);
}

TYPED_TEST(BoundaryCuda, ForwardGivesTheSameBitsInPlaceAndAcrossACut) {
  for (const BoundaryCase& c : Cases()) CheckForwardBits<typename TestFixture::T>(c);
}

TYPED_TEST(BoundaryCuda, RecomputeGivesTheBitsOfForward) {
  for (const BoundaryCase& c : Cases()) CheckRecomputes<typename TestFixture::T>(c);
}

TYPED_TEST(BoundaryCuda, EmbeddingOpensAndHeadClosesTheStreams) {
  for (const BoundaryCase& c : Cases()) CheckEnds<typename TestFixture::T>(c);
}

TYPED_TEST(BoundaryCuda, PrefixAndSuffixAreRoundedOnce) {
  for (const BoundaryCase& c : Cases()) {
    if (c.channels == 64) CheckProducts<typename TestFixture::T>(c);
  }
}

TYPED_TEST(BoundaryCuda, BackwardMatchesTheReference) {
  for (const BoundaryCase& c : Cases()) CheckBackward<typename TestFixture::T>(c);
}

TYPED_TEST(BoundaryCuda, HeadBackwardMatchesTheReference) {
  for (const BoundaryCase& c : Cases()) {
    if (c.kind == BoundaryKind::kMhc && c.mapping == MappingKind::kPermutations) continue;
    CheckHeadBackward<typename TestFixture::T>(c, StreamContract::kMean);
    CheckHeadBackward<typename TestFixture::T>(c, StreamContract::kSum);
  }
}

TYPED_TEST(BoundaryCuda, EmbeddingBackwardAddsRepeatedIds) {
  for (const BoundaryCase& c : Cases()) {
    if (c.kind == BoundaryKind::kMhc && c.mapping != MappingKind::kSinkhorn) continue;
    CheckEmbedBackward<typename TestFixture::T>(c, StreamExpand::kCopy);
    CheckEmbedBackward<typename TestFixture::T>(c, StreamExpand::kOneHot);
  }
}

TYPED_TEST(BoundaryCuda, RowsOfZerosGiveNoNaN) {
  const BoundaryCase c = {BoundaryKind::kMhc, MappingKind::kSinkhorn, 4, 5, 64, 1.0};
  const BoundaryShape shape = c.shape();
  BoundaryInputs<typename TestFixture::T> in(shape);
  in.x.assign(in.x.size(), typename TestFixture::T{});
  in.y.assign(in.y.size(), typename TestFixture::T{});
  const DeviceInputs<typename TestFixture::T> device(in);
  const ForwardOutputs<typename TestFixture::T> out(shape);
  const BackwardOutputs<typename TestFixture::T> back(shape);
  ASSERT_OK(Forward(out.args(shape, device.merge(), BoundarySink::kSubLayer, device)));
  ASSERT_OK(Backward(back.args(shape, device, out)));
  for (const double value : Doubles(out.norm_out.ToHost())) ASSERT_EQ(value, 0.0);
  for (const double value : Doubles(back.dx.ToHost())) ASSERT_TRUE(std::isfinite(value));
  for (const float value : back.projection.ToHost()) ASSERT_TRUE(std::isfinite(value));
  for (const float value : back.bias.ToHost()) ASSERT_TRUE(std::isfinite(value));
}

// Or in its group of tokens, where these share a product (device/tensor_mix.cuh).
TYPED_TEST(BoundaryCuda, ANaNStaysInItsToken) {
  const BoundaryCase c = {BoundaryKind::kMhc, MappingKind::kSinkhorn, 4, 5, 64, 1.0};
  const BoundaryShape shape = c.shape();
  BoundaryInputs<typename TestFixture::T> in(shape);
  std::vector<float> x = Widen(in.x);
  x[size_t(2 * 4 * 64 + 7)] = std::nanf("");
  in.x = Narrow<typename TestFixture::T>(x);
  const DeviceInputs<typename TestFixture::T> device(in);
  const ForwardOutputs<typename TestFixture::T> out(shape);
  ASSERT_OK(Forward(out.args(shape, device.merge(), BoundarySink::kSubLayer, device)));
  const std::vector<double> norm_out = Doubles(out.norm_out.ToHost());
  const bool grouped = MergesMixed(shape);
  for (size_t i = 0; i < norm_out.size(); ++i) {
    EXPECT_EQ(std::isnan(norm_out[i]), grouped ? i / 64 < 4 : i / 64 == 2) << i;
  }
}

TEST(BoundaryCudaRefusals, NameWhatIsMissing) {
  BoundaryForwardArgs<float> args;
  args.shape = {.tokens = 1, .channels = 8};
  ExpectRefused(cuda::BoundaryForward(args, nullptr), "boundary forward: x is null; need a buffer");
  float some = 0.0f;
  BoundaryBackwardArgs<float> back;
  back.shape = args.shape;
  back.sink = BoundarySink::kHead;
  back.dx = back.gradients.gamma = &some;
  back.contracted = back.dnorm = back.norm_inv_rms = back.parameters.gamma = &some;
  ExpectRefused(cuda::BoundaryBackward(back, nullptr),
                "boundary backward: workspace is null; need a buffer");
}

// Else a single pass would stream, and its tests show nothing.
TEST(BoundaryCudaSinglePass, FindsRoomOnTheGpu) {
  for (const int64_t channels : {64, 768, 2048, 2560, 4096, 8192}) {
    const BoundaryShape shape = {.tokens = 16384, .channels = channels};
    for (const auto pass : {cuda::BoundaryPass::kForward, cuda::BoundaryPass::kBackward}) {
      const cuda::BoundaryConfig config = cuda::ConfigOf(
          {.pass = pass, .shape = shape}, cuda::BoundaryPath::kSinglePass, /*most_partials=*/64);
      if (!config.single_pass) continue;
      const auto residence = pass == cuda::BoundaryPass::kForward
                                 ? cuda::ForwardResidence(config, /*merge=*/true)
                                 : cuda::BackwardResidence(config, shape);
      ASSERT_OK(residence.status());
      EXPECT_GE(residence->clusters, 1) << "C " << channels << ": " << ToString(config);
    }
  }
}

TEST(BoundaryCudaWorkspace, StaysSmall) {
  const BoundaryShape shape = {.streams = 4, .tokens = 16384, .channels = 2560};
  EXPECT_LE(cuda::BoundaryWorkspaceBytes(shape), int64_t{64} << 20);
  NoteGroup("workspace of 16384 tokens, C 2560, n 4, in MB",
            double(cuda::BoundaryWorkspaceBytes(shape)) / 1048576.0, 64.0);
}

}  // namespace
}  // namespace birkhoff
