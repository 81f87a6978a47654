// The words of the text form that have no function of their own, by enumerator value.
#pragma once

#include <cstddef>

namespace birkhoff {

inline constexpr const char* kPhaseNames[] = {"whole", "attention", "dispatch", "experts",
                                              "combine"};
inline constexpr const char* kChannelKindNames[] = {"activation", "gradient"};
inline constexpr const char* kParameterKindNames[] = {"gradient", "accumulated"};
inline constexpr const char* kInitializerNames[] = {"normal", "constant", "one-hot-bias",
                                                    "hc-bias"};

// The word for an enumerator, "unknown" for a number that is none.
template <typename Enum, size_t kCount>
constexpr const char* NameIn(const char* const (&names)[kCount], Enum value) {
  const int index = static_cast<int>(value);
  return index >= 0 && index < static_cast<int>(kCount) ? names[index] : "unknown";
}

}  // namespace birkhoff
