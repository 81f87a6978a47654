// A switch over the kind of unit for each question; a sub-layer's own parameters come before those
// of its connection.
#include "core/spec/model.h"

#include <set>
#include <string>
#include <vector>

#include "core/base/check.h"

namespace birkhoff {
namespace {

constexpr char kEmbedding[] = "embedding.weight";

ParameterSpec Matrix(std::string name, int64_t rows, int64_t columns, double std) {
  return {std::move(name), {rows, columns}, /*decay=*/true, Initializer::kNormal, std};
}

// A matrix that products read.
ParameterSpec Operand(std::string name, int64_t rows, int64_t columns, double std) {
  ParameterSpec spec = Matrix(std::move(name), rows, columns, std);
  spec.product = true;
  return spec;
}

ParameterSpec Vector(std::string name, int64_t size, Initializer initializer, double scale) {
  return {std::move(name), {size}, /*decay=*/false, initializer, scale};
}

// The coefficients of the hyper-connection around one sub-layer; none for the plain residual.
void AppendConnection(const ModelSpec& model, const std::string& prefix,
                      std::vector<ParameterSpec>& parameters) {
  const ResidualSpec& residual = model.residual;
  const int64_t n = NumStreams(model), columns = 2 * n + NumResidualLogits(model);
  switch (residual.kind) {
    case ResidualKind::kResidual:
      return;
    case ResidualKind::kHc:
      parameters.push_back(
          Matrix(prefix + "hc.theta", 2 + n, model.hidden_size, residual.phi_init_std));
      parameters.push_back(
          Vector(prefix + "hc.alpha", 3, Initializer::kConstant, residual.alpha_init));
      parameters.push_back(Vector(prefix + "hc.bias", columns, Initializer::kHcBias, 0.0));
      return;
    case ResidualKind::kMhc:
      if (const int dynamic = NumProjectionColumns(model); dynamic > 0) {
        parameters.push_back(
            Matrix(prefix + "mhc.phi", n * model.hidden_size, dynamic, residual.phi_init_std));
        parameters.push_back(
            Vector(prefix + "mhc.alpha", 3, Initializer::kConstant, residual.alpha_init));
      }
      parameters.push_back(Vector(prefix + "mhc.bias", columns, Initializer::kOneHotBias, 0.0));
      return;
  }
}

std::vector<ParameterSpec> ParametersOfSubLayer(const ModelSpec& model, int sublayer) {
  const std::string prefix = "sublayers." + std::to_string(sublayer) + ".";
  const int64_t width = model.hidden_size, inner = model.intermediate_size;
  const int64_t queries = int64_t{model.num_attention_heads} * HeadDim(model);
  const int64_t keys = int64_t{model.num_key_value_heads} * HeadDim(model);
  std::vector<ParameterSpec> parameters;
  parameters.push_back(Vector(prefix + "norm.weight", width, Initializer::kConstant, 1.0));
  if (sublayer % 2 == 0) {
    parameters.push_back(
        Operand(prefix + "attention.qkv.weight", queries + 2 * keys, width, model.init_std));
    parameters.push_back(Operand(prefix + "attention.out.weight", width, queries, model.init_std));
  } else {
    parameters.push_back(Operand(prefix + "ffn.gate_up.weight", 2 * inner, width, model.init_std));
    parameters.push_back(Operand(prefix + "ffn.down.weight", width, inner, model.init_std));
  }
  AppendConnection(model, prefix, parameters);
  return parameters;
}

}  // namespace

int NumSubLayers(const ModelSpec& model) { return 2 * model.num_hidden_layers; }

int NumUnits(const ModelSpec& model) { return NumSubLayers(model) + 2; }

UnitKind KindOfUnit(const ModelSpec& model, int unit) {
  BIRKHOFF_CHECK(unit >= 0 && unit < NumUnits(model), "no such unit");
  if (unit == 0) return UnitKind::kEmbedding;
  if (unit == NumUnits(model) - 1) return UnitKind::kHead;
  return (unit - 1) % 2 == 0 ? UnitKind::kAttention : UnitKind::kFeedForward;
}

int HeadDim(const ModelSpec& model) { return model.hidden_size / model.num_attention_heads; }

int NumStreams(const ModelSpec& model) {
  return model.residual.kind == ResidualKind::kResidual ? 1 : model.residual.streams;
}

int NumResidualLogits(const ModelSpec& model) {
  const int n = NumStreams(model);
  if (model.residual.kind == ResidualKind::kResidual) return 0;
  if (model.residual.kind == ResidualKind::kHc) return n * n;
  return NumMixLogits(model.residual.mapping, n);
}

int NumProjectionColumns(const ModelSpec& model) {
  const int n = NumStreams(model);
  if (model.residual.kind == ResidualKind::kResidual) return 0;
  if (model.residual.kind == ResidualKind::kHc) return 2 + n;
  return NumDynamicColumns(model.residual.mapping, n);
}

int NumSavedLogits(const ModelSpec& model) {
  const int n = NumStreams(model);
  if (model.residual.kind == ResidualKind::kHc) return n * (n + 3);
  return NumProjectionColumns(model) + 1;
}

int64_t ParameterSpec::NumElements() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

bool AssignsGradient(const ParameterSpec& parameter) {
  return parameter.product && parameter.name != kEmbedding;
}

std::vector<ParameterSpec> ParametersOfUnit(const ModelSpec& model, int unit) {
  const ParameterSpec embedding =
      Operand(kEmbedding, model.vocab_size, model.hidden_size, model.init_std);
  switch (KindOfUnit(model, unit)) {
    case UnitKind::kEmbedding:
      return {embedding};
    case UnitKind::kHead: {
      ParameterSpec head = embedding;
      if (!model.tie_embeddings) head.name = "head.weight";
      return {Vector("final_norm.weight", model.hidden_size, Initializer::kConstant, 1.0), head};
    }
    case UnitKind::kAttention:
    case UnitKind::kFeedForward:
      break;
  }
  return ParametersOfSubLayer(model, unit - 1);
}

int64_t NumParameters(const ModelSpec& model) {
  int64_t count = 0;
  std::set<std::string> seen;
  for (int unit = 0; unit < NumUnits(model); ++unit) {
    for (const ParameterSpec& parameter : ParametersOfUnit(model, unit)) {
      if (seen.insert(parameter.name).second) count += parameter.NumElements();
    }
  }
  return count;
}

double ForwardFlopsPerToken(const ModelSpec& model, int unit, int sequence_length) {
  const double width = model.hidden_size, inner = model.intermediate_size;
  const double queries = double{1} * model.num_attention_heads * HeadDim(model);
  const double keys = double{1} * model.num_key_value_heads * HeadDim(model);
  switch (KindOfUnit(model, unit)) {
    case UnitKind::kEmbedding:
      return 0.0;
    case UnitKind::kAttention:
      // Scores and their product with the values: 4 T per query channel, half of it masked.
      return 2.0 * width * (queries + 2.0 * keys) + 2.0 * sequence_length * queries +
             2.0 * queries * width;
    case UnitKind::kFeedForward:
      return 6.0 * width * inner;
    case UnitKind::kHead:
      return 2.0 * width * model.vocab_size;
  }
  return 0.0;
}

double TrainFlopsPerToken(const ModelSpec& model, int sequence_length) {
  double flops = 0.0;
  for (int unit = 0; unit < NumUnits(model); ++unit) {
    flops += ForwardFlopsPerToken(model, unit, sequence_length);
  }
  return 3.0 * flops;
}

}  // namespace birkhoff
