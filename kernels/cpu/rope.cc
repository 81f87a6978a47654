// Rotary position embedding on the CPU: angles in double, one table row per token for all heads.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "core/base/status_macros.h"
#include "kernels/attention.h"
#include "kernels/cpu/for_tokens.h"
#include "kernels/cpu/loops.h"

namespace birkhoff::cpu {
namespace {

constexpr int kMaxHalf = 64;  // channels rotated at a time
constexpr int kSteps = 8;     // of a position, the part that is looked up

// Cosines and sines of one angle for channels [first, first + count) of the lower half.
template <typename T>
struct Angles {
  std::array<T, kMaxHalf> cosine, sine;
};

void SetAngles(const std::array<double, kMaxHalf>& frequency, int count, int64_t position,
               Angles<double>& angles) {
  for (int i = 0; i < count; ++i) {
    const double angle = double(position) * frequency[size_t(i)];
    angles.cosine[size_t(i)] = std::cos(angle);
    angles.sine[size_t(i)] = std::sin(angle);
  }
}

// The angle of a position as the sum of two, of a multiple of kSteps and of the rest: neighbours
// share them, and what a position gets depends on nothing else.
template <typename T>
class AngleRows {
 public:
  // direction: 1 rotates, -1 rotates back.
  AngleRows(const RopeArgs<T>& args, int first, int count, double direction) : count_(count) {
    const int pairs = args.head_dim / 2;
    const double half = pairs;
    for (int i = 0; i < count; ++i) {
      frequency_[size_t(i)] = direction * std::pow(args.theta, -double(first + i) / half);
    }
    for (int r = 0; r < kSteps; ++r) SetAngles(frequency_, count, r, rest_[size_t(r)]);
  }
  const Angles<T>& Of(int64_t position) {
    const int64_t multiple = position / kSteps * kSteps;
    if (multiple != multiple_) SetAngles(frequency_, count_, multiple_ = multiple, base_);
    const Angles<double>& rest = rest_[size_t(position - multiple)];
    BIRKHOFF_INDEPENDENT
    for (int i = 0; i < count_; ++i) {
      const double c = base_.cosine[size_t(i)], s = base_.sine[size_t(i)];
      row_.cosine[size_t(i)] = T(c * rest.cosine[size_t(i)] - s * rest.sine[size_t(i)]);
      row_.sine[size_t(i)] = T(s * rest.cosine[size_t(i)] + c * rest.sine[size_t(i)]);
    }
    return row_;
  }

 private:
  const int count_;
  std::array<double, kMaxHalf> frequency_;
  std::array<Angles<double>, kSteps> rest_;
  int64_t multiple_ = -1;  // of which base_ is
  Angles<double> base_;
  Angles<T> row_;
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

template <typename T>
void RotateSlice(const RopeArgs<T>& args, Piece run, int first, int count, double direction) {
  const int half = args.head_dim / 2;
  AngleRows<T> rows(args, first, count, direction);
  for (int64_t t = run.first; t < run.end; ++t) {
    // A row of the table, then all heads by it.
    const Angles<T>& angles = rows.Of(args.positions[t]);
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
  ForTokens<T>(args.tokens, [&](Piece run) {
    for (int first = 0; first < half; first += kMaxHalf) {
      RotateSlice(args, run, first, std::min(kMaxHalf, half - first), direction);
    }
  });
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
