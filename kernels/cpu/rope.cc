// Rotary position embedding on the CPU: angles in double, one table row per token for all heads.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "core/base/status_macros.h"
#include "kernels/attention.h"
#include "kernels/cpu/loops.h"

namespace birkhoff::cpu {
namespace {

constexpr int kMaxHalf = 64;  // channels rotated at a time

// Cosines and sines of one token for channels [first, first + count) of the lower half.
template <typename T>
struct Angles {
  std::array<T, kMaxHalf> cosine, sine;
};

template <typename T>
void RotateHead(const Angles<T>& angles, int count, T* low, T* high) {
  BIRKHOFF_INDEPENDENT
  for (int i = 0; i < count; ++i) {
    const T a = low[i], b = high[i];
    const T c = angles.cosine[size_t(i)], s = angles.sine[size_t(i)];
    low[i] = a * c - b * s;
    high[i] = b * c + a * s;
  }
}

// direction: 1 rotates, -1 rotates back.
template <typename T>
void RotateSlice(const RopeArgs<T>& args, int first, int count, double direction) {
  const int half = args.head_dim / 2;
  // Frequencies of the slice, once.
  std::array<double, kMaxHalf> frequency;
  for (int i = 0; i < count; ++i) {
    frequency[size_t(i)] = direction * std::pow(args.theta, -double(first + i) / double(half));
  }
  Angles<T> angles;
  for (int64_t t = 0; t < args.tokens; ++t) {
    // A row of the table, then all heads by it.
    for (int i = 0; i < count; ++i) {
      const double angle = double(args.positions[t]) * frequency[size_t(i)];
      angles.cosine[size_t(i)] = T(std::cos(angle));
      angles.sine[size_t(i)] = T(std::sin(angle));
    }
    for (int head = 0; head < args.heads; ++head) {
      T* low = args.x + t * args.stride + int64_t{head} * args.head_dim + first;
      RotateHead(angles, count, low, low + half);
    }
  }
}

template <typename T>
absl::Status Rotate(const RopeArgs<T>& args, double direction) {
  RETURN_IF_ERROR(Validate(args));
  const int half = args.head_dim / 2;
  for (int first = 0; first < half; first += kMaxHalf) {
    RotateSlice(args, first, std::min(kMaxHalf, half - first), direction);
  }
  return absl::OkStatus();
}

}  // namespace

template <typename T>
absl::Status RopeForward(const RopeArgs<T>& args) {
  return Rotate(args, 1.0);
}

template <typename T>
absl::Status RopeBackward(const RopeArgs<T>& args) {
  return Rotate(args, -1.0);
}

template absl::Status RopeForward(const RopeArgs<float>&);
template absl::Status RopeForward(const RopeArgs<double>&);
template absl::Status RopeBackward(const RopeArgs<float>&);
template absl::Status RopeBackward(const RopeArgs<double>&);

}  // namespace birkhoff::cpu
