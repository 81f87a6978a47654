// The algorithms that a search has found for the products of a GPU, as data and as lines of a card
// file (docs/calibration.md).  An algorithm is what its library makes of it: it holds for one
// version of the library on one kind of card.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"

namespace birkhoff {

struct GemmChoice {
  std::array<uint64_t, 8> algorithm = {};  // cublasLtMatmulAlgo_t
  double us = 0.0;                         // that it took, for people
  double first_us = 0.0;                   // what the heuristics' first took
  friend bool operator==(const GemmChoice&, const GemmChoice&) = default;
};

struct GemmChoices {
  std::string library;                           // "cuBLASLt 130100 on NVIDIA H200"; empty: none
  std::map<std::string, GemmChoice> by_problem;  // key: types, shape, strides, alignment
  friend bool operator==(const GemmChoices&, const GemmChoices&) = default;
};

// A line "products: LIBRARY", then for each problem
//   "product: PROBLEM = 16 hexadecimal digits eight times, 12.3 us, first 13.4 us".
// Nothing where there is no choice.
std::string GemmChoicesToText(const GemmChoices& choices);

// Takes those lines from a text and leaves the others alone.  INVALID_ARGUMENT: one of them is no
// such line, which is named.
absl::StatusOr<GemmChoices> GemmChoicesFromText(const std::string& text);

}  // namespace birkhoff
