// The model as a row of units: what the partition cuts, the planner weighs and the worker builds.
//
//   unit 0         embedding
//   unit 1 .. 2N   sub-layers l = unit - 1: even l attention, odd l feed-forward
//   unit 2N + 1    head: contraction of the streams, final norm, logits, loss
//
// N is num_hidden_layers.  Everything here follows from the ModelSpec alone, never from the plan.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/spec/job_spec.h"

namespace birkhoff {

enum class UnitKind { kEmbedding, kAttention, kFeedForward, kHead };

int NumSubLayers(const ModelSpec& model);  // L = 2 N
int NumUnits(const ModelSpec& model);      // L + 2
UnitKind KindOfUnit(const ModelSpec& model, int unit);
int HeadDim(const ModelSpec& model);     // hidden_size / num_attention_heads
int NumStreams(const ModelSpec& model);  // n; 1 for the plain residual
// K: the stream-mixing logits: of mhc as its mapping says (core/base/mapping.h), n^2 of hc, 0 of
// residual.
int NumResidualLogits(const ModelSpec& model);
// Columns of the projection: D of mhc (core/base/mapping.h), 2 + n of hc, 0 of residual.
int NumProjectionColumns(const ModelSpec& model);
// What the backward pass of the coefficients needs beside themselves, of one token
// (kernels/boundary.h).
int NumSavedLogits(const ModelSpec& model);

// How a parameter starts.  Seeded by (training.seed, name) alone.
enum class Initializer {
  kNormal,      // N(0, scale^2)
  kConstant,    // scale
  kOneHotBias,  // sub-layer l: bias_on at stream l mod n, bias_off elsewhere, for pre then post
                // (1 where the mapping's post is a plain number); then the residual part
  kHcBias,      // hc: pre one-hot at l mod n, post 1, residual identity
};

struct ParameterSpec {
  std::string name;  // plan-independent, e.g. "sublayers.3.ffn.gate_up.weight"; checkpoints use it
  std::vector<int64_t> shape;  // row-major
  bool decay = false;          // weight decay: matrices and phi; not norms, biases, alphas
  Initializer initializer = Initializer::kConstant;
  double scale = 0.0;  // of the initializer
  // An operand of products or a table of embeddings: read in the type of streams (resolve.h).  The
  // others are read as they are.
  bool product = false;

  int64_t NumElements() const;
};

// Whether its gradient is that of products alone, so that the first of a step can be assigned.
bool AssignsGradient(const ParameterSpec& parameter);

// In a fixed order.  With tied embeddings, unit 0 and the head both list "embedding.weight": one
// logical parameter.  Units multiply by a weight as y = x W^T, but by phi as x phi.
//
//   embedding.weight                     [V, C]
//   sublayers.{l}.norm.weight            [C]
//   sublayers.{l}.attention.qkv.weight   [(Hq + 2 Hkv) D, C]   rows: q heads, k heads, v heads
//   sublayers.{l}.attention.out.weight   [C, Hq D]
//   sublayers.{l}.ffn.gate_up.weight     [2 F, C]              rows: gate, then up
//   sublayers.{l}.ffn.down.weight        [C, F]
//   sublayers.{l}.mhc.phi                [n C, D]              D = NumProjectionColumns
//   sublayers.{l}.mhc.alpha, .bias       [3], [2n + K]         K = NumResidualLogits
//   sublayers.{l}.hc.theta               [2 + n, C]            rows: pre, post, res
//   sublayers.{l}.hc.alpha, .bias        [3], [2n + n^2]
// (without phi and alpha where D = 0)
//   final_norm.weight                    [C]
//   head.weight                          [V, C]
std::vector<ParameterSpec> ParametersOfUnit(const ModelSpec& model, int unit);

// Distinct logical parameters of the model.
int64_t NumParameters(const ModelSpec& model);

// Floating-point operations of the matrix products of one unit's forward pass, per token of a full
// sequence; causal attention counts half, the embedding look-up and mHC count nothing (MFU's
// definition, docs/metrics.md).
double ForwardFlopsPerToken(const ModelSpec& model, int unit, int sequence_length);

// Forward and backward (three times forward) of the whole model, per token.
double TrainFlopsPerToken(const ModelSpec& model, int sequence_length);

}  // namespace birkhoff
