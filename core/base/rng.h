// Seeded random numbers whose bits depend on nothing but (seed, name): not on the plan, the rank or
// the standard library.
#pragma once

#include <cstdint>
#include <string_view>

namespace birkhoff {

// splitmix64 (Steele, Lea, Flood 2014): a full-period mix of a counter.  Not for secrets.
class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed) {}
  Rng(uint64_t seed, std::string_view name);  // an independent sequence for each name

  uint64_t Next();                 // uniform over all 64-bit values
  uint64_t Below(uint64_t limit);  // uniform in [0, limit), limit > 0, without modulo bias
  double Uniform();                // [0, 1)
  double Normal();                 // mean 0, variance 1 (Box-Muller, one value per two draws)
  void Skip(uint64_t draws);       // as if Next had been called so many times, at once

 private:
  uint64_t state_;
};

// 64-bit FNV-1a of the bytes; stable for ever, since files depend on it.
uint64_t StableHash(std::string_view bytes, uint64_t basis = 0xcbf29ce484222325ULL);

}  // namespace birkhoff
