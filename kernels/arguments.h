// How every kernel refuses its arguments: INVALID_ARGUMENT "op: what was given; need what is
// needed".
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace birkhoff {

inline absl::Status RefuseArgument(const char* op, const std::string& given, const char* needed) {
  return absl::InvalidArgumentError(absl::StrCat(op, ": ", given, "; need ", needed));
}

struct NamedPointer {
  const char* name;
  const void* pointer;
};

// OK when none of them is null.
inline absl::Status RequirePointers(const char* op, std::initializer_list<NamedPointer> pointers) {
  for (const NamedPointer& each : pointers) {
    if (each.pointer == nullptr) {
      return RefuseArgument(op, absl::StrCat(each.name, " is null"), "a buffer");
    }
  }
  return absl::OkStatus();
}

}  // namespace birkhoff
