// A named sequence starts at the hash of its name, with one draw of the seed as the hash's basis.
#include "core/base/rng.h"

#include <cmath>
#include <numbers>

namespace birkhoff {
namespace {

constexpr uint64_t kStride = 0x9e3779b97f4a7c15ULL;  // of the counter that Next mixes

}  // namespace

Rng::Rng(uint64_t seed, std::string_view name) : state_(seed) { state_ = StableHash(name, Next()); }

void Rng::Skip(uint64_t draws) { state_ += draws * kStride; }

uint64_t Rng::Next() {
  state_ += kStride;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

uint64_t Rng::Below(uint64_t limit) {
  // 2^64 mod limit: draws below it would favour small values.
  const uint64_t rest = (0 - limit) % limit;
  uint64_t draw = Next();
  while (draw < rest) draw = Next();
  return draw % limit;
}

double Rng::Uniform() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }

double Rng::Normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - Uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * Uniform());
}

uint64_t StableHash(std::string_view bytes, uint64_t basis) {
  uint64_t hash = basis;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

}  // namespace birkhoff
