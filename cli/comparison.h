// What a comparison trains: one base spec, varied.  Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

// A field of the spec, and the values that it takes in turn.
struct Sweep {
  std::string path;  // "optimizer.lr"
  std::vector<std::string> values;
};
// "optimizer.lr=1e-3,2e-3".  INVALID_ARGUMENT: no path, no value, or one twice.
absl::StatusOr<Sweep> ParseSweep(const std::string& text);

// The control among the residuals: plain, with the parameters of mhc.
inline constexpr char kWider[] = "wider";
// The fields of what `--residual` names: residual, wider, hc, mhc; of the last two also an ablation,
// "hc-no-post", "mhc-no-pre-no-res": that mapping is not learned.  INVALID_ARGUMENT: none of them.
absl::StatusOr<std::vector<std::string>> ResidualOverrides(const std::string& residual);

// One run: the base spec under these overrides.
struct Variant {
  std::string name;                    // unique in the comparison: "hc-s42", "mhc-lr-0-01-s43"
  std::string residual;                // as it was asked for
  std::vector<std::string> overrides;  // "path=value", for LoadJobSpec
};

// Every residual (sound for ResidualOverrides) under every combination of the sweeps with every seed: the seeds of weights
// from the base's on; data and its order are the same for all.  A sweep of model.residual leaves
// the plain residual as it is, once.
std::vector<Variant> MakeVariants(const JobSpec& base, const std::vector<std::string>& residuals,
                                  const std::vector<Sweep>& sweeps, int num_seeds);

// The control "plain, but wider": `plain` with as much more width as reaches the parameters of
// `target`: hidden_size as far as it goes in whole heads, the rest in intermediate_size.  Returns
// the overrides.
std::vector<std::string> WiderOverrides(const ModelSpec& plain, const ModelSpec& target);

// The name of a variant's job: at most 63 letters, of which the variant's name keeps all that fit.
std::string VariantJobName(const std::string& base, const Variant& variant);

}  // namespace birkhoff
