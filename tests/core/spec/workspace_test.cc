// Sizes of workspaces worked out by hand, and that none shrinks where there is more to do.
#include "core/spec/workspace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "core/spec/model.h"

namespace birkhoff {
namespace {

constexpr int64_t kMiB = 1 << 20;

ModelSpec Model(ResidualKind kind, int streams) {
  ModelSpec model;
  model.vocab_size = 100;
  model.hidden_size = 64;
  model.num_attention_heads = 4;
  model.num_key_value_heads = 4;
  model.residual.kind = kind;
  model.residual.streams = streams;
  model.residual.sinkhorn_iterations = 5;
  return model;
}

WorkspaceRequest Cpu(int64_t tokens, int length) {
  return {.processor = Processor::kCpu, .tokens = tokens, .sequence_length = length};
}

WorkspaceRequest Cuda(int64_t tokens, int length, Precision precision, bool deterministic) {
  return {.processor = Processor::kCuda,
          .precision = precision,
          .deterministic = deterministic,
          .tokens = tokens,
          .sequence_length = length};
}

TEST(WorkspaceBytes, OnACpuIs64TokensOfABoundary) {
  // n = 4: streams' means of C, then 4, 8 and 16 coefficients and 25 logits; 8 tokens' iterations.
  const int64_t boundary = 64 * (64 + 4 + 8 + 16 + 25) + 2 * 4 * 5 * 8;
  EXPECT_EQ(WorkspaceBytes(Model(ResidualKind::kMhc, 4), Cpu(8, 8)), 4 * boundary);
  EXPECT_EQ(WorkspaceBytes(Model(ResidualKind::kMhc, 4), Cpu(1024, 1024)), 4 * boundary);
  // Plain: one stream, and 1 + 2 + 1 of what is 1 and one logit.
  EXPECT_EQ(WorkspaceBytes(Model(ResidualKind::kResidual, 4), Cpu(8, 8)),
            4 * (64 * (64 + 1 + 2 + 1 + 1) + 2 * 5 * 8));
  EXPECT_EQ(WorkspaceBytes(Model(ResidualKind::kHc, 2), Cpu(8, 8)),
            4 * (64 * (64 + 2 + 4 + 4 + 10) + 2 * 2 * 5 * 8));
}

// 64 rows of probabilities and as many of their gradients.
TEST(AttentionWorkspaceBytes, OnACpuAreRowsOfOneSequence) {
  const ModelSpec model = Model(ResidualKind::kMhc, 4);
  EXPECT_EQ(AttentionWorkspaceBytes(model, Cpu(8, 8)), 4 * 2 * 8 * 8);
  EXPECT_EQ(AttentionWorkspaceBytes(model, Cpu(1024, 1024)), 4 * 2 * 64 * 1024);
  EXPECT_EQ(AttentionWorkspaceBytes(model, Cpu(256, 1024)), 4 * 2 * 64 * 256)
      << "of a sequence, not more than there are tokens";
  EXPECT_EQ(AttentionWorkspaceBytes(model, Cpu(4096, 1024)), 4 * 2 * 64 * 1024)
      << "one sequence at a time";
}

TEST(WorkspaceBytes, OnACpuDoublesTakeTwice) {
  for (const auto bytes : {WorkspaceBytes, AttentionWorkspaceBytes}) {
    WorkspaceRequest request = Cpu(1024, 1024);
    const int64_t single = bytes(Model(ResidualKind::kMhc, 4), request);
    request.precision = Precision::kFp64;
    EXPECT_EQ(bytes(Model(ResidualKind::kMhc, 4), request), 2 * single);
  }
}

TEST(WorkspaceBytes, OnAGpuIsAtLeastWhatTheProductsAskFor) {
  for (const ResidualKind kind : {ResidualKind::kResidual, ResidualKind::kHc, ResidualKind::kMhc}) {
    EXPECT_EQ(WorkspaceBytes(Model(kind, 4), Cuda(16, 16, Precision::kFp32, true)),
              32 * kMiB + 256);
    EXPECT_EQ(WorkspaceBytes(Model(kind, 4), Cuda(0, 16, Precision::kBf16, true)), 32 * kMiB + 256);
  }
}

// 4 heads of 16 channels, 65,536 tokens in sequences of 1,000, padded to 1,024.
TEST(AttentionWorkspaceBytes, OnAGpuAreRowsAndSquaresOfScores) {
  const ModelSpec model = Model(ResidualKind::kResidual, 1);
  const auto bytes = [](const ModelSpec& of, Precision precision, bool deterministic) {
    return AttentionWorkspaceBytes(of, Cuda(200'000, 1000, precision, deterministic));
  };
  const auto whole = [](int64_t of_row) {
    return (200 * 4 * 1024 * of_row + kMiB + 63) / 64 * 64 + 256;
  };
  EXPECT_EQ(bytes(model, Precision::kFp32, false), whole(4 * (16 + 4)));
  EXPECT_EQ(bytes(model, Precision::kFp32, true), whole(4 * (16 + 4)));
  EXPECT_EQ(bytes(model, Precision::kBf16, false), whole(4 * (16 + 4)));
  EXPECT_EQ(bytes(model, Precision::kBf16, true), whole(4 * (16 + 4) + 2 * 1024));
  ModelSpec grouped = model;
  grouped.num_key_value_heads = 2;
  EXPECT_EQ(bytes(grouped, Precision::kFp32, false), whole(4 * (16 + 4) + 2 * 4 * 16));
}

struct Boundary {
  ResidualKind kind;
  int streams, width;
  int64_t tokens;
  int64_t of_token;    // floats: 2n + n^2 coefficients, logits, n + 4
  int64_t of_8;        // of 8 tokens' gradients of biases: 3 + 2n + max(logits of the mix, n^2)
  int64_t chunks;      // of 128 tokens and more; at most 1024 blocks of 64 channels, or 32 of n > 4
  int64_t projection;  // n C (2n + K) + (2 + n) C + C
};

TEST(WorkspaceBytes, OnAGpuABoundaryKeepsTokensAndPartialSums) {
  const Boundary cases[] = {
      {ResidualKind::kMhc, 4, 16, 1 << 18, 57, 27, 1024, 64 * 24 + 7 * 16},
      {ResidualKind::kMhc, 4, 16, 130'008, 57, 27, 1016, 64 * 24 + 7 * 16},
      {ResidualKind::kMhc, 4, 128, 1 << 20, 57, 27, 512, 512 * 24 + 7 * 128},
      {ResidualKind::kMhc, 8, 64, 1 << 18, 173, 83, 512, 512 * 80 + 11 * 64},
      {ResidualKind::kHc, 4, 16, 1 << 18, 60, 27, 1024, 64 * 24 + 7 * 16},
      {ResidualKind::kResidual, 1, 2048, 1 << 20, 9, 6, 32, 2048 * 2 + 4 * 2048},
  };
  for (const Boundary& c : cases) {
    ModelSpec model = Model(c.kind, c.streams);
    model.hidden_size = c.width;
    model.num_attention_heads = model.num_key_value_heads = 1;
    const WorkspaceRequest request = Cuda(c.tokens, 0, Precision::kFp32, false);
    const int64_t floats = c.tokens * c.of_token + c.tokens / 8 * c.of_8 + c.chunks * c.projection;
    EXPECT_EQ(WorkspaceBytes(model, request), (4 * floats + kMiB + 63) / 64 * 64 + 256)
        << c.streams << " " << c.width;
  }
}

TEST(WorkspaceBytes, NeverShrinksWithTokensStreamsOrWidth) {
  for (const ResidualKind kind : {ResidualKind::kResidual, ResidualKind::kHc, ResidualKind::kMhc}) {
    for (const Processor processor : {Processor::kCpu, Processor::kCuda}) {
      int64_t last = 0, last_attention = 0;
      for (int64_t tokens = 64; tokens <= 1 << 18; tokens *= 2) {
        WorkspaceRequest request = Cuda(tokens, 64, Precision::kFp32, true);
        request.processor = processor;
        const int64_t bytes = WorkspaceBytes(Model(kind, 4), request);
        const int64_t attention = AttentionWorkspaceBytes(Model(kind, 4), request);
        EXPECT_GE(bytes, last) << tokens;
        EXPECT_GE(attention, last_attention) << tokens;
        last = bytes;
        last_attention = attention;
      }
      last = 0;
      for (int streams = 1; streams <= 8; ++streams) {
        WorkspaceRequest request = Cuda(1 << 16, 64, Precision::kFp32, true);
        request.processor = processor;
        const int64_t bytes = WorkspaceBytes(Model(kind, streams), request);
        EXPECT_GE(bytes, last) << streams;
        last = bytes;
      }
    }
  }
}

TEST(NormWorkspaceBytes, IsOnePartialSumOf16BytesForEach16384Elements) {
  EXPECT_EQ(NormWorkspaceBytes(Processor::kCpu, 10, 1 << 20), 0);
  EXPECT_EQ(NormWorkspaceBytes(Processor::kCuda, 10, 0), 256);
  EXPECT_EQ(NormWorkspaceBytes(Processor::kCuda, 10, 1), 64 + 256);
  EXPECT_EQ(NormWorkspaceBytes(Processor::kCuda, 10, 4 * 16384), 64 + 256);
  EXPECT_EQ(NormWorkspaceBytes(Processor::kCuda, 10, 4 * 16384 + 1), 128 + 256);
  EXPECT_EQ(NormWorkspaceBytes(Processor::kCuda, 1, int64_t{1} << 40), (int64_t{1} << 30) + 256);
}

TEST(HeadRows, AreAllOnACpuAndFewOnAGpu) {
  for (const int64_t tokens : {0, 1, 2047, 2048, 2049, 1 << 20}) {
    EXPECT_EQ(HeadRows(Cpu(tokens, 1)), tokens);
    EXPECT_EQ(HeadRows(Cuda(tokens, 1, Precision::kBf16, false)), std::min<int64_t>(tokens, 2048));
  }
}

}  // namespace
}  // namespace birkhoff
