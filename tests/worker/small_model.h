// A model small enough for central differences, with grouped queries and odd sizes.
#pragma once

#include <vector>

#include "core/spec/model.h"

namespace birkhoff {

inline ModelSpec SmallModel(ResidualKind kind, MappingKind mapping = MappingKind::kSinkhorn) {
  ModelSpec model;
  model.vocab_size = 13;
  model.hidden_size = 8;
  model.num_hidden_layers = 2;
  model.num_attention_heads = 4;
  model.num_key_value_heads = 2;
  model.intermediate_size = 10;
  model.residual.kind = kind;
  model.residual.mapping = mapping;
  model.residual.streams = mapping == MappingKind::kPermutations ? 3 : 4;
  // Equal streams would hide the mixing of the first sub-layer.
  model.residual.expand = ExpandKind::kOneHot;
  return model;
}

}  // namespace birkhoff
