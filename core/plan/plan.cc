// The hashes: of a plan's text, and of what shapes a model's tensors.
#include "core/plan/plan.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/rng.h"
#include "core/plan/schedule.h"
#include "core/plan/text.h"

namespace birkhoff {
namespace {

std::string Hex(uint64_t hash) { return absl::StrFormat("%016x", hash); }

}  // namespace

int Plan::RankOf(int stage, int microbatch, int microbatches) const {
  return HolderOf(stages[stage].ranks, microbatch, microbatches);
}

std::string PlanHash(const Plan& plan) { return Hex(StableHash(PlanToText(plan))); }

std::string ModelHash(const ModelSpec& model) {
  // A mapping's own name where its shapes do not follow from the number of its logits.
  const bool usual = model.residual.kind != ResidualKind::kMhc ||
                     TraitsOf(model.residual.mapping).dynamic == DynamicPart::kAll;
  return Hex(StableHash(absl::StrCat(
      model.vocab_size, " ", model.hidden_size, " ", model.num_hidden_layers, " ",
      model.num_attention_heads, " ", model.num_key_value_heads, " ", model.intermediate_size, " ",
      model.tie_embeddings, " ", static_cast<int>(model.residual.kind), " ", NumStreams(model), " ",
      NumResidualLogits(model),
      usual ? "" : absl::StrCat(" ", TraitsOf(model.residual.mapping).name))));
}

}  // namespace birkhoff
