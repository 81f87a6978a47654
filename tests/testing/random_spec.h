// Job specs with any values that single fields allow, ends of ranges included, by the table of
// fields: what a text, a message or a comparison must carry whatever the rules between fields say.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <string>
#include <type_traits>
#include <variant>

#include "core/base/rng.h"
#include "core/spec/field.h"

namespace birkhoff {

class RandomSpec {
 public:
  explicit RandomSpec(uint64_t seed) : rng_(seed, "spec") {}

  // Each call gives another.
  JobSpec Next() {
    JobSpec spec;
    for (const Field& field : Fields()) {
      spec_ = &spec;
      std::visit([this](const auto& kind) { Draw(kind); }, field.kind);
    }
    return spec;
  }

 private:
  int64_t Whole(int64_t min, int64_t max) {
    const uint64_t width = static_cast<uint64_t>(max) - static_cast<uint64_t>(min);
    switch (rng_.Below(4)) {
      case 0:
        return min;
      case 1:
        return max;
      case 2:
        return static_cast<int64_t>(static_cast<uint64_t>(min) +
                                    rng_.Below(std::min<uint64_t>(width, 9) + 1));
      default:
        return static_cast<int64_t>(static_cast<uint64_t>(min) + rng_.Below(width));
    }
  }
  double Real(double min, double max) {
    const double share = std::pow(10.0, -30.0 * rng_.Uniform());  // spread over the exponents
    const double values[] = {min, max, rng_.Uniform(), share * max, share * min};
    return std::clamp(values[rng_.Below(std::size(values))], min, max);
  }
  // Of letters that YAML, a shell or a terminal may take for something else.
  std::string Text() {
    static constexpr const char* kPieces[] = {"a",
                                              "Z",
                                              "0",
                                              "7",
                                              "/",
                                              ".",
                                              "-",
                                              "_",
                                              " ",
                                              ":",
                                              ": ",
                                              "#",
                                              " #",
                                              "'",
                                              "\"",
                                              "\\",
                                              "\\n",
                                              "[",
                                              "]",
                                              "{",
                                              "}",
                                              ",",
                                              "&",
                                              "*",
                                              "!",
                                              "|",
                                              ">",
                                              "%",
                                              "@",
                                              "`",
                                              "~",
                                              "?",
                                              "=",
                                              "<<",
                                              "\t",
                                              "\n",
                                              "\r",
                                              "\x7f",
                                              "\x01",
                                              "no",
                                              "true",
                                              "null",
                                              "\xc3\xa9",
                                              "\xe2\x82\xac",
                                              "\xf0\x9f\x98\x80",
                                              "\xc2\x85",
                                              "\xe2\x80\xa8"};
    std::string text;
    for (uint64_t left = rng_.Below(8); left > 0; --left)
      text += kPieces[rng_.Below(std::size(kPieces))];
    return text;
  }

  void Draw(const IntField& field) {
    field.at(*spec_) = static_cast<int>(Whole(field.min, field.max));
  }
  void Draw(const LongField& field) { field.at(*spec_) = Whole(field.min, field.max); }
  void Draw(const SeedField& field) { field.at(*spec_) = rng_.Next() >> rng_.Below(64); }
  void Draw(const RealField& field) {
    const double value = Real(field.min, field.max);
    field.at(*spec_) = field.open && value == field.min ? field.max : value;
  }
  void Draw(const SwitchField& field) { field.at(*spec_) = rng_.Below(2) == 1; }
  void Draw(const TextField& field) { field.at(*spec_) = Text(); }
  void Draw(const ChoiceField& field) {
    field.set(*spec_, static_cast<int>(rng_.Below(field.names.size())));
  }
  void Draw(const RecomputeField& field) {
    field.at(*spec_) =
        static_cast<int>(Whole(ParallelismSpec::kRecomputeAuto, std::numeric_limits<int>::max()));
  }
  void Draw(const RealsField& field) {
    field.at(*spec_).resize(rng_.Below(5));
    for (double& value : field.at(*spec_)) value = Real(-1e300, 1e300);
  }
  void Draw(const SourcesField& field) {
    field.at(*spec_).resize(rng_.Below(5));
    for (WeightedPath& source : field.at(*spec_)) source = {Text(), Real(1e-300, 1e300)};
  }

  Rng rng_;
  JobSpec* spec_ = nullptr;
};

// The first field whose value is not the same, bit by bit; empty: none.
inline std::string FirstDifference(JobSpec a, JobSpec b) {
  for (const Field& field : Fields()) {
    const bool equal = std::visit(
        [&](const auto& kind) {
          using Kind = std::decay_t<decltype(kind)>;
          if constexpr (std::is_same_v<Kind, ChoiceField>) {
            return kind.get(a) == kind.get(b);
          } else if constexpr (std::is_same_v<Kind, SourcesField>) {
            return std::ranges::equal(kind.at(a), kind.at(b), [](const auto& x, const auto& y) {
              return x.path == y.path && x.weight == y.weight;
            });
          } else {
            return kind.at(a) == kind.at(b);
          }
        },
        field.kind);
    if (!equal) return field.path;
  }
  return "";
}

}  // namespace birkhoff
