// The product of kinds, sweeps and seeds, and names for what comes out.
#include "cli/comparison.h"

#include <algorithm>
#include <cstdlib>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/spec/model.h"

namespace birkhoff {
namespace {

constexpr size_t kLongestName = 63;  // of a job

// As a job's name may hold it.
std::string NameWord(const std::string& text) {
  std::string word;
  for (const char c : text) {
    const bool plain = absl::ascii_isalnum(static_cast<unsigned char>(c));
    if (plain) word += absl::ascii_tolower(static_cast<unsigned char>(c));
    if (!plain && !word.empty() && word.back() != '-') word += '-';
  }
  while (!word.empty() && word.back() == '-') word.pop_back();
  return word;
}

// The override that keeps a mapping where it changes nothing.
std::string Unlearned(const std::string& kind, const std::string& mapping) {
  if (kind == "mhc" && mapping == "res") return "model.residual.mapping=identity";
  return absl::StrCat("model.residual.learn_", mapping, "=false");
}

bool IsPlain(const std::string& residual) { return residual == kWider || residual == "residual"; }

// Every combination of the sweeps, as a variant without kind and seed.
std::vector<Variant> Combinations(const std::vector<Sweep>& sweeps, bool plain) {
  std::vector<Variant> all(1);
  for (const Sweep& sweep : sweeps) {
    if (plain && absl::StartsWith(sweep.path, "model.residual.")) continue;
    std::vector<Variant> more;
    for (const Variant& before : all) {
      for (const std::string& value : sweep.values) {
        Variant& variant = more.emplace_back(before);
        const std::string last = sweep.path.substr(sweep.path.rfind('.') + 1);
        absl::StrAppend(&variant.name, "-", NameWord(last), "-", NameWord(value));
        variant.overrides.push_back(absl::StrCat(sweep.path, "=", value));
      }
    }
    all = std::move(more);
  }
  return all;
}

}  // namespace

absl::StatusOr<Sweep> ParseSweep(const std::string& text) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits('=', 1));
  Sweep sweep = {parts.first, absl::StrSplit(parts.second, ',')};
  const std::set<std::string> distinct(sweep.values.begin(), sweep.values.end());
  if (sweep.path.empty() || distinct.contains("") || distinct.size() < sweep.values.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--sweep: ", text, " is not allowed; need PATH=A,B,C, e.g. optimizer.lr=1e-3,2e-3"));
  }
  return sweep;
}

absl::StatusOr<std::vector<std::string>> ResidualOverrides(const std::string& residual) {
  std::vector<std::string> words = absl::StrSplit(residual, "-no-");
  const std::string kind = words[0];
  words.erase(words.begin());
  std::vector<std::string> overrides = {"model.residual.kind=" +
                                        (kind == kWider ? std::string("residual") : kind)};
  for (const std::string& word : words) overrides.push_back(Unlearned(kind, word));
  const auto is_mapping = [](const std::string& word) {
    return word == "pre" || word == "post" || word == "res";
  };
  const bool hyper = kind == "hc" || kind == "mhc";
  if (std::ranges::all_of(words, is_mapping) && (hyper || (IsPlain(kind) && words.empty()))) {
    return overrides;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "--residual: ", residual, " is not allowed; need residual, wider, hc or mhc, or ",
      "an ablation as hc-no-post, mhc-no-pre-no-res"));
}

std::vector<Variant> MakeVariants(const JobSpec& base, const std::vector<std::string>& residuals,
                                  const std::vector<Sweep>& sweeps, int num_seeds) {
  std::vector<Variant> variants;
  // Seeds outermost: a comparison that is stopped early has compared something.
  for (int i = 0; i < num_seeds; ++i) {
    const uint64_t seed = base.training.seed + i;
    for (const std::string& residual : residuals) {
      const std::vector<std::string> kind = ResidualOverrides(residual).value();
      for (Variant variant : Combinations(sweeps, IsPlain(residual))) {
        variant.name = absl::StrCat(residual, variant.name, "-s", seed);
        variant.residual = residual;
        variant.overrides.insert(variant.overrides.end(), kind.begin(), kind.end());
        variant.overrides.push_back(absl::StrCat("training.seed=", seed));
        variants.push_back(std::move(variant));
      }
    }
  }
  return variants;
}

std::vector<std::string> WiderOverrides(const ModelSpec& plain, const ModelSpec& target) {
  const int64_t wanted = NumParameters(target);
  ModelSpec wider = plain;
  const int step = 2 * plain.num_attention_heads;  // a head's size is even: rotary embedding
  for (ModelSpec next = wider; NumParameters(next) <= wanted; next.hidden_size += step) {
    wider = next;
  }
  const auto distance = [wanted](const ModelSpec& model) {
    return std::abs(NumParameters(model) - wanted);
  };
  for (ModelSpec next = wider; distance(next) <= distance(wider); ++next.intermediate_size) {
    wider = next;
  }
  return {absl::StrCat("model.hidden_size=", wider.hidden_size),
          absl::StrCat("model.intermediate_size=", wider.intermediate_size)};
}

std::string VariantJobName(const std::string& base, const Variant& variant) {
  const std::string tail = "-" + variant.name;
  if (tail.size() >= kLongestName) return NameWord(tail.substr(tail.size() - kLongestName));
  return NameWord(base.substr(0, kLongestName - tail.size()) + tail);
}

}  // namespace birkhoff
