// The mappings of mhc, one row each: what the spec, the planner and the kernels must agree on.  A
// mapping says how the arguments of a sub-layer's coefficients become H_pre, H_post and H_res:
//
//   [p | q | s] = v phi / r     n columns for H_pre, n for H_post, K_res for H_res (mapping.h in
//                               kernels: each mapping's function from s to H_res)
//   argument    = a p + b       of the first columns, those that depend on the token;
//                 b             of the others, which phi and alpha do not have
//
// To add one: its row here with its number in job.proto, its file in kernels/mappings, its line in
// kernels/mappings/all.h, its case in the tables of the tests.
#pragma once

#include <array>
#include <cstddef>

namespace birkhoff {

// K_res: 0, n, n^2, n!.
enum class MixLogits { kNone, kStreams, kSquare, kFactorial };
// Which columns depend on the token: the first 0, n, 2n, 2n + K_res.
enum class DynamicPart { kNothing, kRead, kReadWrite, kAll };
// H_pre of its argument: sigmoid, or sigmoid + kDeepSeekEps.
enum class ReadGate { kSigmoid, kSigmoidPlusEps };
// H_post of its argument: 2 sigmoid, or the argument itself.
enum class WriteGate { kTwiceSigmoid, kScalar };

// Added to H_pre, to the entries of H_res's softmax and to every sum that divides: `hc_eps` of
// DeepSeek's released checkpoints.
inline constexpr double kDeepSeekEps = 1e-6;
// What a stream keeps of itself with `retention`: never less than the floor; at the start 0.999,
// which is floor + (1 - floor) sigmoid(ln 99).
inline constexpr double kRetentionFloor = 0.9;
inline constexpr double kRetentionStart = 4.59511985013459;

// Where entry k of the K_res biases starts; `off` is model.residual.bias_res_off_diagonal.
constexpr double StartOnDiagonal(int k, int n, double off) { return k / n == k % n ? 0.0 : off; }
constexpr double StartAtFirst(int k, int, double off) { return k == 0 ? 0.0 : off; }
constexpr double StartAsIdentity(int k, int n, double) { return k / n == k % n ? 1.0 : 0.0; }
constexpr double StartRetaining(int, int, double) { return kRetentionStart; }

struct MappingTraits {
  const char* name;     // model.residual.mapping
  const char* meaning;  // one line
  const char* source;   // who says so
  MixLogits logits = MixLogits::kSquare;
  DynamicPart dynamic = DynamicPart::kAll;
  ReadGate read = ReadGate::kSigmoid;
  WriteGate write = WriteGate::kTwiceSigmoid;
  double (*start)(int k, int n, double off) = StartOnDiagonal;
  int most_streams = 8;
  int most_iterations = 0;    // of sinkhorn_iterations; 0: does not iterate
  bool rows_sum_to_1 = true;  // to rounding: then H_res x is x where all streams are equal
};

// The place of a row is its number in job.proto less 1: rows are appended, none ever moves.
#define BIRKHOFF_MAPPINGS(ROW)                                                                    \
  ROW(Sinkhorn, .name = "sinkhorn",                                                               \
      .meaning = "exp, then columns and rows divided by their sums, sinkhorn_iterations times",   \
      .source = "mHC, arXiv 2512.24880 eq. 8 and 9", .most_iterations = 1000)                     \
  ROW(Permutations, .name = "permutations",                                                       \
      .meaning = "softmax weights of all n! permutation matrices",                                \
      .source = "mHC-lite, arXiv 2601.05732", .logits = MixLogits::kFactorial,                    \
      .start = StartAtFirst, .most_streams = 4)                                                   \
  ROW(Identity, .name = "identity", .meaning = "every stream carries itself, unmixed",            \
      .source = "identity hyper-connections, arXiv 2607.28611", .logits = MixLogits::kNone)       \
  ROW(Unconstrained, .name = "unconstrained",                                                     \
      .meaning = "H_res is its logits, with the gates of mhc",                                    \
      .source = "hyper-connections, arXiv 2409.19606", .start = StartAsIdentity,                  \
      .rows_sum_to_1 = false)                                                                     \
  ROW(DeepSeek, .name = "deepseek",                                                               \
      .meaning =                                                                                  \
          "softmax of each column, then rows and columns by turns, 1e-6 added to every "          \
          "entry, to every sum and to H_pre; for DeepSeek's checkpoints",                         \
      .source = "DeepSeek-V4, arXiv 2606.19348, and deepseek-ai/TileKernels",                     \
      .read = ReadGate::kSigmoidPlusEps, .most_iterations = 32, .rows_sum_to_1 = false)           \
  ROW(Retention, .name = "retention",                                                             \
      .meaning = "every stream keeps a learned share of itself, from 0.9 to 1, 0.999 at first",   \
      .source = "wide residual with retention, NVIDIA/Megatron-LM #6716",                         \
      .logits = MixLogits::kStreams, .dynamic = DynamicPart::kReadWrite, .start = StartRetaining, \
      .rows_sum_to_1 = false)                                                                     \
  ROW(GatedResidual, .name = "gated",                                                             \
      .meaning =                                                                                  \
          "streams carry themselves, H_pre is a sigmoid of the token, H_post a learned "          \
          "number",                                                                               \
      .source = "gated residual, NVIDIA/Megatron-LM #7393", .logits = MixLogits::kNone,           \
      .dynamic = DynamicPart::kRead, .write = WriteGate::kScalar)                                 \
  ROW(Static, .name = "static",                                                                   \
      .meaning = "sinkhorn, and no coefficient depends on the token: biases alone",               \
      .source = "static hyper-connections, arXiv 2409.19606 section 3",                           \
      .dynamic = DynamicPart::kNothing, .most_iterations = 1000)

#define BIRKHOFF_ENUMERATOR(Name, ...) k##Name,
enum class MappingKind { BIRKHOFF_MAPPINGS(BIRKHOFF_ENUMERATOR) };
#undef BIRKHOFF_ENUMERATOR

#define BIRKHOFF_TRAITS(Name, ...) MappingTraits{__VA_ARGS__},
inline constexpr std::array kMappings = {BIRKHOFF_MAPPINGS(BIRKHOFF_TRAITS)};
#undef BIRKHOFF_TRAITS

inline constexpr MappingKind kLastMapping = static_cast<MappingKind>(kMappings.size() - 1);

constexpr const MappingTraits& TraitsOf(MappingKind mapping) {
  return kMappings[static_cast<size_t>(mapping)];
}

// K_res.
constexpr int NumMixLogits(MappingKind mapping, int streams) {
  int factorial = 1;
  for (int i = 2; i <= streams; ++i) factorial *= i;
  switch (TraitsOf(mapping).logits) {
    case MixLogits::kNone:
      return 0;
    case MixLogits::kStreams:
      return streams;
    case MixLogits::kSquare:
      return streams * streams;
    case MixLogits::kFactorial:
      return factorial;
  }
  return 0;
}

// Columns of phi: of the 2n + K_res arguments, the first so many.
constexpr int NumDynamicColumns(MappingKind mapping, int streams) {
  switch (TraitsOf(mapping).dynamic) {
    case DynamicPart::kNothing:
      return 0;
    case DynamicPart::kRead:
      return streams;
    case DynamicPart::kReadWrite:
      return 2 * streams;
    case DynamicPart::kAll:
      return 2 * streams + NumMixLogits(mapping, streams);
  }
  return 0;
}

}  // namespace birkhoff
