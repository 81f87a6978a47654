// The order of samples as arithmetic: no table is kept, so the position of a job in its data is one
// number, however large the data.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace birkhoff {

// A permutation of [0, size) drawn by `key`: an eight-round Feistel network over the next even
// power of two, walked until it lands inside (Black and Rogaway 2002, cycle walking).  O(1), no
// memory.
class Permutation {
 public:
  Permutation(int64_t size, uint64_t key);  // size >= 1
  int64_t operator()(int64_t index) const;  // index in [0, size)

 private:
  uint64_t Mix(uint64_t value) const;

  uint64_t size_;
  std::array<uint64_t, 8> round_keys_;
  int half_bits_;
};

// Which source serves sample k of an endless blend, and the how-manieth of that source it is.
// Sources are halves of halves of a binary tree; on each level the share of the first k samples
// that goes left is floor(k p), so a source is never more than one sample per level away from its
// share.  A pure function of k: nothing is counted.
class Blend {
 public:
  explicit Blend(const std::vector<double>& weights);  // at least one; each > 0
  struct Pick {
    int source = 0;
    int64_t index = 0;  // 0, 1, 2, ... within the source
  };
  Pick operator()(int64_t sample) const;  // sample >= 0

 private:
  // cumulative_[i]: weight of the sources before i, as a whole number.
  std::vector<uint64_t> cumulative_;
};

}  // namespace birkhoff
