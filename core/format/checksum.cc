// Blocks go through the lanes as they come; what is less than one waits in tail_.
#include "core/format/checksum.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "absl/strings/str_format.h"

namespace birkhoff {
namespace {

static_assert(std::endian::native == std::endian::little, "words are read as they stand");

constexpr uint64_t kPrime = 0x100000001b3ULL;

uint64_t Mix(uint64_t h, uint64_t word) {
  h = (h ^ word) * kPrime;
  return h ^ (h >> 32);
}

}  // namespace

void Checksum::Block(const unsigned char* block) {
  for (int i = 0; i < 4; ++i) {
    uint64_t word;
    std::memcpy(&word, block + 8 * i, sizeof(word));
    lanes_[i] = Mix(lanes_[i], word);
  }
}

void Checksum::Update(std::string_view bytes) {
  size_t used = bytes_ % kBlock;
  bytes_ += bytes.size();
  const auto* next = reinterpret_cast<const unsigned char*>(bytes.data());
  size_t left = bytes.size();
  // What waits becomes a block first, if there are bytes enough.
  if (used > 0) {
    const size_t taken = std::min(left, kBlock - used);
    std::memcpy(tail_ + used, next, taken);
    next += taken;
    left -= taken;
    if (used + taken < kBlock) return;
    Block(tail_);
  }
  for (; left >= kBlock; next += kBlock, left -= kBlock) Block(next);
  if (left > 0) std::memcpy(tail_, next, left);
}

std::string Checksum::Hex() const {
  Checksum padded = *this;
  const size_t used = bytes_ % kBlock;
  if (used > 0) {
    std::memset(padded.tail_ + used, 0, kBlock - used);
    padded.Block(padded.tail_);
  }
  uint64_t h = 0xcbf29ce484222325ULL;
  for (const uint64_t lane : padded.lanes_) h = Mix(h, lane);
  return absl::StrFormat("%016x", Mix(h, bytes_));
}

std::string ChecksumOf(std::string_view bytes) {
  Checksum checksum;
  checksum.Update(bytes);
  return checksum.Hex();
}

}  // namespace birkhoff
