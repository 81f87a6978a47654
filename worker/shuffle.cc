// A permutation mixes and walks on until it lands inside; a blend goes down its tree of sources and
// keeps, on each level, how many of the samples so far went the same way.
#include "worker/shuffle.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/base/check.h"
#include "core/base/rng.h"

namespace birkhoff {
namespace {

constexpr double kUnits = 1 << 30;  // resolution of a weight's share of the whole

}  // namespace

Permutation::Permutation(int64_t size, uint64_t key) : size_(static_cast<uint64_t>(size)) {
  BIRKHOFF_CHECK(size >= 1, "a permutation needs at least one element");
  Rng rng(key);
  for (uint64_t& round_key : round_keys_) round_key = rng.Next();
  half_bits_ = (std::bit_width(size_ - 1) + 1) / 2;
}

uint64_t Permutation::Mix(uint64_t value) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t left = value >> half_bits_, right = value & mask;
  for (const uint64_t round_key : round_keys_) {
    const uint64_t next = left ^ (Rng(round_key ^ right).Next() & mask);
    left = right;
    right = next;
  }
  return (left << half_bits_) | right;
}

int64_t Permutation::operator()(int64_t index) const {
  uint64_t value = static_cast<uint64_t>(index);
  BIRKHOFF_CHECK(value < size_, "index outside the permutation");
  do {
    value = Mix(value);
  } while (value >= size_);
  return static_cast<int64_t>(value);
}

Blend::Blend(const std::vector<double>& weights) : cumulative_(1, 0) {
  BIRKHOFF_CHECK(!weights.empty(), "a blend needs a source");
  double sum = 0.0;
  for (const double weight : weights) sum += weight;
  for (const double weight : weights) {
    const double units = std::round(weight / sum * kUnits);
    cumulative_.push_back(cumulative_.back() + std::max<uint64_t>(1, static_cast<uint64_t>(units)));
  }
}

Blend::Pick Blend::operator()(int64_t sample) const {
  size_t first = 0, last = cumulative_.size() - 1;
  uint64_t index = static_cast<uint64_t>(sample);
  while (last - first > 1) {
    // Of the first k samples here, floor(k left / both) go left.
    const size_t middle = (first + last) / 2;
    const uint64_t left = cumulative_[middle] - cumulative_[first];
    const uint64_t both = cumulative_[last] - cumulative_[first];
    const auto gone_left = [&](uint64_t k) {
      return static_cast<uint64_t>(static_cast<unsigned __int128>(k) * left / both);
    };
    // This one goes left if it raises that number; its index is how many went its way before it.
    const uint64_t before = gone_left(index);
    if (gone_left(index + 1) > before) {
      index = before;
      last = middle;
    } else {
      index -= before;
      first = middle;
    }
  }
  return {static_cast<int>(first), static_cast<int64_t>(index)};
}

}  // namespace birkhoff
