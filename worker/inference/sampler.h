// From logits to the next token.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/rng.h"

namespace birkhoff {

struct SamplingOptions {
  double temperature = 0.8;  // logits are divided by it; 0: the likeliest token, always
  int top_k = 0;             // only the k likeliest tokens; 0: all
  double top_p = 1.0;        // of those the likeliest that hold this share; 1: all
  uint64_t seed = 42;
};

// Every value that is not allowed, as it is called on the command line: INVALID_ARGUMENT.
absl::Status Validate(const SamplingOptions& options);

// The same options and logits give the same tokens, on every machine that agrees on exp.  Not
// thread-safe.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options)  // valid
      : options_(options), rng_(options.seed, "generated tokens") {}

  // `logits` is not empty.  Of equal ones the token with the smaller number is the likelier.
  // OUT_OF_RANGE with exit code 73: one is NaN or infinite.
  absl::StatusOr<int32_t> Next(std::span<const float> logits);

 private:
  struct Candidate {
    double weight;  // logit, then its exponential
    int32_t token;
  };
  void KeepLikeliest(std::span<const float> logits);
  int32_t Draw();

  const SamplingOptions options_;
  Rng rng_;
  std::vector<Candidate> candidates_;
};

}  // namespace birkhoff
