// The CPU behind the seam: each op once, on memory of a device, against the function itself.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/backend.h"
#include "kernels/boundary.h"
#include "tests/kernels/tensors.h"

namespace birkhoff {
namespace {

// One operand: what it holds before the call.
struct Operand {
  template <typename T>
  explicit Operand(const std::vector<T>& values) : bytes(values.size() * sizeof(T)) {
    std::memcpy(bytes.data(), values.data(), bytes.size());
  }
  std::vector<std::byte> bytes;
};
Operand Random(int64_t count, uint64_t seed) { return Operand(Normal<float>(count, seed)); }
Operand Poisoned(int64_t count) { return Operand(std::vector<float>(size_t(count), -7.0f)); }

// Where the operands of a call stand.
class Addresses {
 public:
  void Add(std::byte* address) { addresses_.push_back(address); }
  template <typename T = float>
  T* at(size_t i) const {
    return reinterpret_cast<T*>(addresses_.at(i));
  }

 private:
  std::vector<std::byte*> addresses_;
};

class CpuBackendTest : public testing::TestWithParam<bool> {
 protected:
  CpuBackendTest()
      : device_(GetParam() ? NewGuardedCpuDevice() : NewCpuDevice()),
        stream_(device_->NewStream("a")) {
    auto backend = NewBackend<float>(*device_, {});
    EXPECT_TRUE(backend.ok()) << backend.status();
    backend_ = *std::move(backend);
  }

  // Runs `function` on copies of `operands`, `method` on the same in device memory, and compares
  // all of them.  `args_of` gives the arguments for operands at those addresses, and may put into
  // an operand what holds addresses itself (such an operand comes last, and is not compared).
  template <typename Args, typename Method>
  void ExpectSameBits(std::vector<Operand> operands,
                      const std::function<Args(const Addresses&, std::vector<Operand>&)>& args_of,
                      absl::Status (*function)(const Args&), Method method,
                      size_t not_compared = 0) {
    std::vector<Operand> here = operands;
    Addresses host, device;
    for (Operand& operand : here) host.Add(operand.bytes.data());
    ASSERT_OK(function(args_of(host, here)));

    std::vector<std::unique_ptr<DeviceMemory>> memory;
    for (const Operand& operand : operands) {
      memory.push_back(*device_->Allocate(int64_t(operand.bytes.size())));
      device.Add(memory.back()->data().address());
    }
    const Args args = args_of(device, operands);
    for (size_t i = 0; i < operands.size(); ++i) {
      stream_->Upload(memory[i]->data(), operands[i].bytes.data(), memory[i]->size());
    }
    ASSERT_OK((backend_.get()->*method)(*stream_, args));
    for (size_t i = 0; i < operands.size(); ++i) {
      stream_->Download(operands[i].bytes.data(), memory[i]->data(), memory[i]->size());
    }
    stream_->Synchronize();
    for (size_t i = 0; i + not_compared < operands.size(); ++i) {
      EXPECT_EQ(operands[i].bytes, here[i].bytes) << "operand " << i;
    }
  }

  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Backend<float>> backend_;
};

using Floats = Backend<float>;
using Operands = std::vector<Operand>;

constexpr BoundaryShape kBoundary = {.streams = 4, .tokens = 5, .channels = 6};
const int64_t kX = 5 * 4 * 6, kY = 5 * 6, kCoefficients = 5 * 24, kLogits = 5 * 25;

TEST_P(CpuBackendTest, BoundaryForward) {
  ExpectSameBits<BoundaryForwardArgs<float>>(
      {Random(kX, 1), Random(ProjectionElements(kBoundary), 2), Random(3, 3),
       Random(BiasElements(kBoundary), 4), Random(6, 5), Poisoned(kCoefficients), Poisoned(kLogits),
       Poisoned(kY), Poisoned(5)},
      [](const Addresses& a, Operands&) {
        return BoundaryForwardArgs<float>{.shape = kBoundary,
                                          .x = a.at(0),
                                          .parameters = {a.at(1), a.at(2), a.at(3), a.at(4)},
                                          .coefficients = a.at(5),
                                          .logits = a.at(6),
                                          .norm_out = a.at(7),
                                          .norm_inv_rms = a.at(8)};
      },
      cpu::BoundaryForward<float>, &Floats::BoundaryForward);
}

TEST_P(CpuBackendTest, BoundaryRecompute) {
  ExpectSameBits<BoundaryRecomputeArgs<float>>(
      {Operand(std::vector<int32_t>{0, 2, 1, 2, 0}), Random(3 * 6, 1), Poisoned(kX), Random(6, 2),
       Random(kCoefficients, 3), Random(5, 4), Poisoned(kY)},
      [](const Addresses& a, Operands&) {
        return BoundaryRecomputeArgs<float>{.shape = kBoundary,
                                            .source = {.kind = BoundarySource::kEmbed,
                                                       .embedding = a.at(1),
                                                       .ids = a.at<int32_t>(0),
                                                       .vocabulary = 3},
                                            .x = a.at(2),
                                            .gamma = a.at(3),
                                            .coefficients = a.at(4),
                                            .norm_inv_rms = a.at(5),
                                            .norm_out = a.at(6)};
      },
      cpu::BoundaryRecompute<float>, &Floats::BoundaryRecompute);
}

TEST_P(CpuBackendTest, BoundaryBackward) {
  const int64_t workspace = backend_->BoundaryWorkspaceBytes(kBoundary) / int64_t{sizeof(float)};
  EXPECT_EQ(workspace, cpu::BoundaryWorkspaceElements(kBoundary));
  const int64_t projection = ProjectionElements(kBoundary), bias = BiasElements(kBoundary);
  ExpectSameBits<BoundaryBackwardArgs<float>>(
      {Random(kX, 1), Random(kX, 2), Random(kY, 3), Random(kY, 4), Random(5, 5),
       Random(kCoefficients, 6), Random(kLogits, 7), Random(projection, 8), Random(3, 9),
       Random(bias, 10), Random(6, 11), Random(projection, 12), Random(3, 13), Random(bias, 14),
       Random(6, 15), Poisoned(kX), Poisoned(workspace)},
      [](const Addresses& a, Operands&) {
        return BoundaryBackwardArgs<float>{.shape = kBoundary,
                                           .dx_above = a.at(0),
                                           .x = a.at(1),
                                           .y = a.at(2),
                                           .dnorm = a.at(3),
                                           .norm_inv_rms = a.at(4),
                                           .coefficients = a.at(5),
                                           .logits = a.at(6),
                                           .parameters = {a.at(7), a.at(8), a.at(9), a.at(10)},
                                           .gradients = {a.at(11), a.at(12), a.at(13), a.at(14)},
                                           .dx = a.at(15),
                                           .workspace = a.at(16)};
      },
      cpu::BoundaryBackward<float>, &Floats::BoundaryBackward);
}

GemmArgs<float> Product(const Addresses& a, Operands&) {
  return {.transpose_b = true,
          .m = 3,
          .n = 5,
          .k = 4,
          .alpha = 1.5,
          .a = a.at(0),
          .lda = 4,
          .b = a.at(1),
          .ldb = 4,
          .beta = 0.5,
          .c = a.at(2),
          .ldc = 5};
}

TEST_P(CpuBackendTest, Gemm) {
  const Operands operands = {Random(12, 1), Random(20, 2), Random(15, 3)};
  ExpectSameBits<GemmArgs<float>>(operands, Product, cpu::Gemm<float>, &Floats::Gemm);
  ExpectSameBits<GemmArgs<float>>(operands, Product, cpu::Gemm<float>, &Floats::GemmWide);
  EXPECT_EQ(backend_->GemmWorkspaceBytes(), 0);
}

RopeArgs<float> Rotation(const Addresses& a, Operands&) {
  return {.tokens = 3,
          .heads = 2,
          .head_dim = 4,
          .positions = a.at<int32_t>(0),
          .x = a.at(1),
          .stride = 9};
}

TEST_P(CpuBackendTest, Rope) {
  const Operands operands = {Operand(std::vector<int32_t>{0, 5, 900}), Random(27, 1)};
  ExpectSameBits<RopeArgs<float>>(operands, Rotation, cpu::RopeForward<float>,
                                  &Floats::RopeForward);
  ExpectSameBits<RopeArgs<float>>(operands, Rotation, cpu::RopeBackward<float>,
                                  &Floats::RopeBackward);
}

constexpr int32_t kStarts[] = {0, 3, 7};
constexpr AttentionShape kAttention = {.tokens = 7,
                                       .heads = 4,
                                       .kv_heads = 2,
                                       .head_dim = 3,
                                       .num_sequences = 2,
                                       .sequence_starts = kStarts,
                                       .qkv_stride = 24};

TEST_P(CpuBackendTest, Attention) {
  const int64_t workspace = backend_->AttentionWorkspaceBytes(kAttention) / int64_t{sizeof(float)};
  EXPECT_EQ(workspace, cpu::AttentionWorkspaceElements(kAttention));
  ExpectSameBits<AttentionForwardArgs<float>>(
      {Random(7 * 24, 1), Poisoned(7 * 12), Poisoned(7 * 4), Poisoned(workspace)},
      [](const Addresses& a, Operands&) {
        return AttentionForwardArgs<float>{.shape = kAttention,
                                           .q = a.at(0),
                                           .k = a.at(0) + 12,
                                           .v = a.at(0) + 18,
                                           .out = a.at(1),
                                           .lse = a.at(2),
                                           .workspace = a.at(3)};
      },
      cpu::AttentionForward<float>, &Floats::AttentionForward);
  ExpectSameBits<AttentionBackwardArgs<float>>(
      {Random(7 * 24, 1), Random(7 * 12, 2), Random(7 * 4, 3), Random(7 * 12, 4), Poisoned(7 * 24),
       Poisoned(workspace)},
      [](const Addresses& a, Operands&) {
        return AttentionBackwardArgs<float>{.shape = kAttention,
                                            .q = a.at(0),
                                            .k = a.at(0) + 12,
                                            .v = a.at(0) + 18,
                                            .out = a.at(1),
                                            .lse = a.at(2),
                                            .dout = a.at(3),
                                            .dq = a.at(4),
                                            .dk = a.at(4) + 12,
                                            .dv = a.at(4) + 18,
                                            .workspace = a.at(5)};
      },
      cpu::AttentionBackward<float>, &Floats::AttentionBackward);
}

TEST_P(CpuBackendTest, SwiGlu) {
  ExpectSameBits<SwiGluForwardArgs<float>>(
      {Random(3 * 14, 1), Poisoned(3 * 7)},
      [](const Addresses& a, Operands&) {
        return SwiGluForwardArgs<float>{3, 7, a.at(0), a.at(1)};
      },
      cpu::SwiGluForward<float>, &Floats::SwiGluForward);
  ExpectSameBits<SwiGluBackwardArgs<float>>(
      {Random(3 * 14, 1), Random(3 * 7, 2), Poisoned(3 * 14)},
      [](const Addresses& a, Operands&) {
        return SwiGluBackwardArgs<float>{3, 7, a.at(0), a.at(1), a.at(2)};
      },
      cpu::SwiGluBackward<float>, &Floats::SwiGluBackward);
}

TEST_P(CpuBackendTest, CrossEntropy) {
  ExpectSameBits<CrossEntropyArgs<float>>(
      {Random(3 * 9, 1), Operand(std::vector<int32_t>{8, -1, 0}),
       Operand(std::vector<CrossEntropySums>{{1.0, 2.0}}), Poisoned(3 * 9)},
      [](const Addresses& a, Operands&) {
        return CrossEntropyArgs<float>{.tokens = 3,
                                       .vocabulary = 9,
                                       .logits = a.at(0),
                                       .targets = a.at<int32_t>(1),
                                       .sums = a.at<CrossEntropySums>(2),
                                       .scale = 0.5,
                                       .dlogits = a.at(3)};
      },
      cpu::CrossEntropy<float>, &Floats::CrossEntropy);
  EXPECT_EQ(backend_->CrossEntropyWorkspaceBytes(3, 9), 0);
}

TEST_P(CpuBackendTest, AccumulateGain) {
  ExpectSameBits<GainArgs<float>>(
      {Random(5 * 24, 1), Operand(std::vector<GainSums>(1)), Operand(std::vector<double>(16, 2.0))},
      [](const Addresses& a, Operands&) {
        return GainArgs<float>{4, 5, a.at(0) + 8, 24, a.at<GainSums>(1), a.at<double>(2)};
      },
      cpu::AccumulateGain<float>, &Floats::AccumulateGain);
  EXPECT_EQ(backend_->GainWorkspaceBytes(4, 5), 0);
}

// ---- the end of a step --------------------------------------------------------------------------

// Two parameters of 3 and 2 elements: weights, gradients and moments are operands 0 to 3, the spans
// are written into the last.
ParameterSpans<float> WriteSpans(const Addresses& a, Operands& operands) {
  const size_t last = operands.size() - 1;
  const auto span = [&a](int64_t count, int64_t begin) {
    return ParameterSpan<float>{.weight = a.at(0) + begin,
                                .gradient = a.at(1) + begin,
                                .first_moment = a.at(2) + begin,
                                .second_moment = a.at(3) + begin,
                                .count = count,
                                .begin = begin,
                                .weight_decay = begin == 0 ? 0.1 : 0.0};
  };
  const ParameterSpan<float> spans[] = {span(3, 0), span(2, 3)};
  std::memcpy(operands[last].bytes.data(), spans, sizeof(spans));
  return {a.at<ParameterSpan<float>>(last), 2, 5};
}
Operand Spans() { return Operand(std::vector<ParameterSpan<float>>(2)); }

TEST_P(CpuBackendTest, AccumulateNorm) {
  ExpectSameBits<GradientNormArgs<float>>(
      {Random(5, 1), Random(5, 2), Poisoned(5), Poisoned(5),
       Operand(std::vector<GradientNorm>{{1.0, 2.0}}), Spans()},
      [](const Addresses& a, Operands& operands) {
        return GradientNormArgs<float>{WriteSpans(a, operands), a.at<GradientNorm>(4)};
      },
      cpu::AccumulateNorm<float>, &Floats::AccumulateNorm, 1);
  EXPECT_EQ(backend_->NormWorkspaceBytes({}), 0);
}

TEST_P(CpuBackendTest, DecideStep) {
  ExpectSameBits<DecideStepArgs>(
      {Operand(std::vector<double>{1, 1, 9, 0, 1, 1, 16, 0}),
       Operand(std::vector<StepScalars>{{.lr = 0.5, .update = 3}})},
      [](const Addresses& a, Operands&) {
        return DecideStepArgs{
            .shares = a.at<double>(0), .ranks = 2, .clip_grad = 1.0, .step = a.at<StepScalars>(1)};
      },
      cpu::DecideStep, &Floats::DecideStep);
}

TEST_P(CpuBackendTest, AdamW) {
  ExpectSameBits<AdamWArgs<float>>(
      {Random(5, 1), Random(5, 2), Random(5, 3), Operand(std::vector<float>(5, 0.5f)),
       Operand(std::vector<StepScalars>{{.lr = 0.5, .clip_scale = 0.25, .update = 3}}), Spans()},
      [](const Addresses& a, Operands& operands) {
        return AdamWArgs<float>{.parameters = WriteSpans(a, operands),
                                .step = a.at<StepScalars>(4)};
      },
      cpu::AdamW<float>, &Floats::AdamW, 1);
}

TEST_P(CpuBackendTest, RoundWeightsHasNothingToDo) {
  ASSERT_OK(backend_->RoundWeights(*stream_, {}));
}

INSTANTIATE_TEST_SUITE_P(Devices, CpuBackendTest, testing::Bool(),
                         [](const auto& each) { return each.param ? "Guarded" : "Plain"; });

// ---- refusals -----------------------------------------------------------------------------------

TEST(CpuBackend, RefusesShapesAtOnce) {
  const auto device = NewCpuDevice();
  const auto stream = device->NewStream("a");
  const auto backend = cpu::NewBackend<double>();
  ExpectRefused(backend->SwiGluForward(*stream, {.tokens = -2, .features = 3}),
                "swiglu forward: tokens=-2; need tokens >= 0");
}

TEST(CpuBackend, IsThereForFloatAndDouble) {
  const auto device = NewCpuDevice();
  EXPECT_TRUE(NewBackend<double>(*device, {}).ok());
  const absl::Status status = NewBackend<bf16>(*device, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(status.message(), "no backend on cpu for bf16");
}

TEST(CpuBackendDeathTest, AnIdBeyondTheVocabularyEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        const auto device = NewCpuDevice();
        const auto stream = device->NewStream("a");
        const std::vector<float> logits(3);
        const std::vector<int32_t> targets = {3};
        CrossEntropySums sums;
        const absl::Status status =
            cpu::NewBackend<float>()->CrossEntropy(*stream, {.tokens = 1,
                                                             .vocabulary = 3,
                                                             .logits = logits.data(),
                                                             .targets = targets.data(),
                                                             .sums = &sums});
        stream->Synchronize();
      },
      "targets\\[0\\]=3; need target < 3");
}

}  // namespace
}  // namespace birkhoff
