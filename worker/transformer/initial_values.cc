// A generator gives one value at a time in the parameter's order, so that the size of the chunks
// does not show in the bits.
#include "worker/transformer/initial_values.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
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

// Values that are no list: the next one at each call.
std::function<double()> Generator(const ModelSpec& model, const ParameterSpec& parameter,
                                  uint64_t seed) {
  const auto from_list = [](std::vector<double> values) {
    return [values = std::move(values), next = size_t{0}]() mutable { return values[next++]; };
  };
  switch (parameter.initializer) {
    case Initializer::kNormal:
      return [rng = Rng(seed, parameter.name), scale = parameter.scale]() mutable {
        return scale * rng.Normal();
      };
    case Initializer::kConstant:
      if (parameter.name.ends_with(".alpha"))
        return from_list(Alpha(model.residual, parameter.scale));
      return [scale = parameter.scale] { return scale; };
    case Initializer::kOneHotBias:
      return from_list(OneHotBias(model, parameter));
    case Initializer::kHcBias:
      return from_list(HcBias(model, parameter));
  }
  BIRKHOFF_CHECK(false, "unknown initializer");
  return {};
}

}  // namespace

void FormInitialValues(const ModelSpec& model, const ParameterSpec& parameter, uint64_t seed,
                       std::span<float> chunk,
                       const std::function<void(std::span<const float> values)>& take) {
  const std::function<double()> next = Generator(model, parameter, seed);
  int64_t left = parameter.NumElements();
  while (left > 0) {
    const std::span<float> part = chunk.first(std::min<int64_t>(left, chunk.size()));
    for (float& value : part) value = static_cast<float>(next());
    take(part);
    left -= static_cast<int64_t>(part.size());
  }
}

}  // namespace birkhoff
