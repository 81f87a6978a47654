// The checksum of checkpoints: 64 bits, a few bytes per clock, for accidents and not for enemies.
//
// Format (never to change): the bytes are cut into blocks of 32, each four 64-bit little-endian
// words w0..w3; lane i starts at (FNV basis + i) and takes h = (h ^ w) * FNV prime, then
// h ^= h >> 32, for its word of every block.  The last block is padded with zeros.  The result is
// FNV-1a (word-wise, same step) over the four lanes and the number of bytes, as 16 hex digits.
// Every step is a bijection of h, so a change within one word is always seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace birkhoff {

class Checksum {
 public:
  void Update(std::string_view bytes);
  std::string Hex() const;  // of everything so far

 private:
  void Block(const unsigned char* block);

  static constexpr size_t kBlock = 32;
  uint64_t lanes_[4] = {0xcbf29ce484222325ULL, 0xcbf29ce484222326ULL, 0xcbf29ce484222327ULL,
                        0xcbf29ce484222328ULL};
  unsigned char tail_[kBlock] = {};  // bytes_ % 32 of them wait for their block
  uint64_t bytes_ = 0;
};

std::string ChecksumOf(std::string_view bytes);

}  // namespace birkhoff
