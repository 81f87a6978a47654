// A line each, of a word, a colon and what follows: what reads one kind passes over the others.
#include "core/spec/card_rates.h"

#include <cmath>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "core/base/mapping.h"
#include "core/spec/resolve.h"

namespace birkhoff {
namespace {

constexpr char kHeading[] = "birkhoff card 1";
constexpr char kCard[] = "card: ", kShape[] = "shape: ", kTime[] = "time: ", kStep[] = "step: ";

struct NamedUnit {
  const char* name;
  UnitTimes ShapeTimes::*times;
};
constexpr NamedUnit kUnits[] = {{"first", &ShapeTimes::first},
                                {"attention", &ShapeTimes::attention},
                                {"feed-forward", &ShapeTimes::feed_forward},
                                {"head", &ShapeTimes::head}};

std::string ResidualKey(const ResidualSpec& residual) {
  if (residual.kind == ResidualKind::kResidual) return "residual";
  std::string key = absl::StrCat("hc n=", residual.streams);
  if (residual.kind == ResidualKind::kMhc) {
    const MappingTraits& traits = TraitsOf(residual.mapping);
    key = absl::StrCat("mhc ", traits.name, " n=", residual.streams);
    if (traits.most_iterations > 0) absl::StrAppend(&key, " it=", residual.sinkhorn_iterations);
  }
  const auto add = [&key](bool there, const char* what) {
    if (there) absl::StrAppend(&key, " ", what);
  };
  add(residual.expand == ExpandKind::kOneHot, "one-hot");
  add(!residual.learn_pre, "fixed-pre");
  add(!residual.learn_post, "fixed-post");
  add(!residual.learn_res, "fixed-res");
  return key;
}

bool ParseTime(absl::string_view text, ShapeTimes* shape) {
  const std::vector<absl::string_view> words = absl::StrSplit(text, ' ');
  if (words.size() != 5) return false;
  int64_t ns[4] = {};
  for (size_t i = 0; i < 4; ++i) {
    if (!absl::SimpleAtoi(words[i + 1], &ns[i]) || ns[i] < 0) return false;
  }
  for (const NamedUnit& unit : kUnits) {
    if (unit.name != words[0]) continue;
    shape->*unit.times = {ns[0], ns[1], ns[2], ns[3]};
    return true;
  }
  return false;
}

bool ParseStep(absl::string_view text, ShapeTimes* shape) {
  const std::vector<absl::string_view> words = absl::StrSplit(text, ' ');
  const auto parse = [](absl::string_view word, double* ns) {
    return absl::SimpleAtod(word, ns) && std::isfinite(*ns) && *ns >= 0.0;
  };
  return words.size() == 2 && parse(words[0], &shape->norm_ns) &&
         parse(words[1], &shape->update_ns);
}

}  // namespace

std::string ShapeKey(const JobSpec& spec, const Numerics& numerics) {
  const ModelSpec& model = spec.model;
  return absl::StrCat(
      ResidualKey(model.residual), " C=", model.hidden_size, " heads=", model.num_attention_heads,
      "/", model.num_key_value_heads, " F=", model.intermediate_size, " V=", model.vocab_size,
      model.tie_embeddings ? " tied" : "", ", ", spec.training.micro_batch_size, " x ",
      spec.training.sequence_length, " tokens, ", PrecisionName(numerics.precision), " on ",
      ProcessorName(numerics.processor), numerics.deterministic ? ", deterministic" : "");
}

std::string CardRatesToText(const CardRates& rates) {
  std::string text = absl::StrCat(kHeading, "\n", kCard, rates.card, "\n");
  for (const auto& [key, shape] : rates.by_shape) {
    absl::StrAppend(&text, kShape, key, "\n");
    for (const NamedUnit& unit : kUnits) {
      const UnitTimes& times = shape.*unit.times;
      absl::StrAppend(&text, kTime, unit.name, " ", times.forward, " ", times.backward_input, " ",
                      times.backward_weight, " ", times.recompute, "\n");
    }
    absl::StrAppendFormat(&text, "%s%.9g %.9g\n", kStep, shape.norm_ns, shape.update_ns);
  }
  return text;
}

absl::StatusOr<CardRates> CardRatesFromText(const std::string& text) {
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  if (lines.front() != kHeading) {
    return absl::InvalidArgumentError(
        absl::StrCat("no card file: need the first line '", kHeading, "'"));
  }
  CardRates rates;
  ShapeTimes* shape = nullptr;
  for (const std::string& whole : lines) {
    absl::string_view line = whole;
    bool good = true;
    if (absl::ConsumePrefix(&line, kCard)) {
      rates.card = std::string(line);
    } else if (absl::ConsumePrefix(&line, kShape)) {
      shape = &rates.by_shape[std::string(line)];
    } else if (absl::ConsumePrefix(&line, kTime)) {
      good = shape != nullptr && ParseTime(line, shape);
    } else if (absl::ConsumePrefix(&line, kStep)) {
      good = shape != nullptr && ParseStep(line, shape);
    }
    if (!good) return absl::InvalidArgumentError(absl::StrCat("no line of a card file: ", whole));
  }
  return rates;
}

}  // namespace birkhoff
