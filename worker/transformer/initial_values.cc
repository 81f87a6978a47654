// The value of an element follows from its place alone, so that neither the size of the chunks nor
// the number of threads shows in the bits: a billion normal numbers take a minute of one core.
#include "worker/transformer/initial_values.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/check.h"
#include "core/base/rng.h"

namespace birkhoff {
namespace {

// l of "sublayers.{l}.mhc.bias".
int SubLayerOf(const std::string& name) {
  static constexpr char kPrefix[] = "sublayers.";
  BIRKHOFF_CHECK(name.rfind(kPrefix, 0) == 0, "a bias initializer belongs to a sub-layer");
  return std::atoi(name.c_str() + sizeof(kPrefix) - 1);
}

// What is not learned has no part that depends on data.
std::vector<double> Alpha(const ResidualSpec& residual, double scale) {
  return {residual.learn_pre ? scale : 0.0, residual.learn_post ? scale : 0.0,
          residual.learn_res ? scale : 0.0};
}

// Streams are told apart from the start: with equal b_post they would stay equal for ever, and
// H_res would have no gradient.
std::vector<double> OneHotBias(const ModelSpec& model, const ParameterSpec& parameter) {
  const ResidualSpec& residual = model.residual;
  const int n = NumStreams(model), chosen = SubLayerOf(parameter.name) % n;
  const MappingTraits& mapping = TraitsOf(residual.mapping);
  std::vector<double> bias(2 * n, residual.bias_off);
  bias[chosen] = bias[n + chosen] = residual.bias_on;
  // sigmoid(b) = 1/n; what is written whole is 1, or 2 sigmoid(0).
  if (!residual.learn_pre) std::fill_n(bias.begin(), n, -std::log(n - 1.0));
  const bool scalar = mapping.write == WriteGate::kScalar;
  if (scalar || !residual.learn_post) std::fill_n(bias.begin() + n, n, scalar ? 1.0 : 0.0);
  for (int k = 0; k < NumResidualLogits(model); ++k) {
    bias.push_back(mapping.start(k, n, residual.bias_res_off_diagonal));
  }
  return bias;
}

std::vector<double> HcBias(const ModelSpec& model, const ParameterSpec& parameter) {
  const int n = NumStreams(model), chosen = SubLayerOf(parameter.name) % n;
  std::vector<double> bias;
  const bool learned = model.residual.learn_pre;
  for (int i = 0; i < n; ++i) bias.push_back(learned ? double(i == chosen) : 1.0 / n);
  bias.insert(bias.end(), n, 1.0);
  for (int k = 0; k < n * n; ++k) bias.push_back(k / n == k % n ? 1.0 : 0.0);
  return bias;
}

// Values of a parameter's elements from `first` on, into `values`.
using Filler = std::function<void(int64_t first, std::span<float> values)>;

Filler FillList(std::vector<double> list) {
  return [list = std::move(list)](int64_t first, std::span<float> values) {
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(list[static_cast<size_t>(first) + i]);
    }
  };
}

Filler FillerOf(const ModelSpec& model, const ParameterSpec& parameter, uint64_t seed) {
  switch (parameter.initializer) {
    case Initializer::kNormal:
      return [start = Rng(seed, parameter.name), scale = parameter.scale](int64_t first,
                                                                          std::span<float> values) {
        Rng rng = start;
        rng.Skip(2 * static_cast<uint64_t>(first));  // draws of a normal number
        for (float& value : values) value = static_cast<float>(scale * rng.Normal());
      };
    case Initializer::kConstant:
      if (parameter.name.ends_with(".alpha"))
        return FillList(Alpha(model.residual, parameter.scale));
      return [scale = parameter.scale](int64_t, std::span<float> values) {
        std::ranges::fill(values, static_cast<float>(scale));
      };
    case Initializer::kOneHotBias:
      return FillList(OneHotBias(model, parameter));
    case Initializer::kHcBias:
      return FillList(HcBias(model, parameter));
  }
  BIRKHOFF_CHECK(false, "unknown initializer");
  return {};
}

// By all cores where there is something to share: the job does nothing else yet.
void FillShared(const Filler& fill, int64_t first, std::span<float> values) {
  constexpr int64_t kLeast = 1 << 16;  // elements of a thread, a few milliseconds
  const auto count = static_cast<int64_t>(values.size());
  const int64_t cores = std::max(1u, std::thread::hardware_concurrency());
  const int64_t shares = std::clamp<int64_t>(count / kLeast, 1, cores);
  const auto share = [&](int64_t k) {
    const int64_t begin = count * k / shares, end = count * (k + 1) / shares;
    fill(first + begin, values.subspan(begin, end - begin));
  };
  std::vector<std::jthread> others;
  for (int64_t k = 1; k < shares; ++k) others.emplace_back(share, k);
  share(0);
}

}  // namespace

void FormInitialValues(const ModelSpec& model, const ParameterSpec& parameter, uint64_t seed,
                       std::span<float> chunk,
                       const std::function<void(std::span<const float> values)>& take) {
  const Filler fill = FillerOf(model, parameter, seed);
  const int64_t count = parameter.NumElements();
  for (int64_t at = 0; at < count;) {
    const std::span<float> part = chunk.first(std::min<int64_t>(count - at, chunk.size()));
    FillShared(fill, at, part);
    take(part);
    at += static_cast<int64_t>(part.size());
  }
}

}  // namespace birkhoff
