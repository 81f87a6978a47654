// The version of all programs; CMake reads it from here.
#pragma once

namespace birkhoff {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace birkhoff
