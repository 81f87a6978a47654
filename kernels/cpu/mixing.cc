// The measures of mixing on the CPU: one token of the sample after the other.
#include "kernels/mixing.h"

#include "core/base/status_macros.h"
#include "kernels/cpu/dot.h"
#include "kernels/mixing_token.h"
#include "kernels/with_streams.h"

namespace birkhoff::cpu {
namespace {

template <int N, typename T>
StreamMeasures StreamsOf(const MixingArgs<T>& args, int64_t token) {
  const int64_t C = args.shape.channels;
  const T* x = args.x + token * N * C;
  const T* rows[N];
  for (int j = 0; j < N; ++j) rows[j] = x + j * C;
  T gram[N][N];
  for (int i = 0; i < N; ++i) DotMany<N>(rows[i], rows, C, gram[i]);
  return MeasureStreams<N>(args.prefix + token * N * N,
                           [&](int i, int j) { return double(gram[i][j]); });
}

template <int N, typename T>
void Measure(const MixingArgs<T>& args) {
  const MixingRules rules = MixingRulesOf(args.shape);
  const int64_t tokens = args.shape.tokens;
  CoefficientMeasures opened;
  StreamMeasures merged;
  for (int64_t k = 0; k < NumMixingTokens(tokens); ++k) {
    const int64_t t = MixingToken(k, tokens);
    if (args.coefficients != nullptr) {
      Add(MeasureCoefficients<N>(rules, args.coefficients + t * CoefficientsPerToken(args.shape),
                                 args.logits + t * LogitsPerToken(args.shape), args.alpha,
                                 args.bias),
          &opened);
    }
    if (args.prefix != nullptr) Add(StreamsOf<N>(args, t), &merged);
  }
  if (args.coefficients != nullptr) Add(opened, args.opened);
  if (args.prefix != nullptr) Add(merged, args.merged);
}

}  // namespace

template <typename T>
absl::Status AccumulateMixing(const MixingArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  WithStreams(args.shape.streams, [&](auto n) {
    if constexpr (n() >= 2) Measure<n()>(args);
  });
  return absl::OkStatus();
}

template absl::Status AccumulateMixing(const MixingArgs<float>&);
template absl::Status AccumulateMixing(const MixingArgs<double>&);

}  // namespace birkhoff::cpu
