// The words of the text form that have no function of their own, by enumerator value.
#pragma once

namespace birkhoff {

inline constexpr const char* kPhaseNames[] = {"whole", "attention", "dispatch", "experts",
                                              "combine"};
inline constexpr const char* kChannelKindNames[] = {"activation", "gradient"};
inline constexpr const char* kParameterKindNames[] = {"gradient", "accumulated"};
inline constexpr const char* kInitializerNames[] = {"normal", "constant", "one-hot-bias",
                                                    "hc-bias"};

}  // namespace birkhoff
