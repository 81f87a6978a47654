// Enums that count from 0 in our structs and from 1 on the wire, where 0 means absent.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace birkhoff {

template <typename Wire, typename Value>
Wire WireEnum(Value value) {
  return static_cast<Wire>(static_cast<int>(value) + 1);
}

// Stores the value of `number`, or says which field holds an unknown one.  `last` is the largest
// value of the enum.
template <typename Value>
absl::Status ReadEnum(int number, Value last, const char* field, Value* out) {
  if (number < 1 || number > static_cast<int>(last) + 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        field, ": enum number ", number, " is not known; need 1 to ", static_cast<int>(last) + 1));
  }
  *out = static_cast<Value>(number - 1);
  return absl::OkStatus();
}

// The same for enums that have their wire numbers in our structs, between `first` and `last`.
template <typename Value>
absl::Status ReadNumber(int number, Value first, Value last, const char* field, Value* out) {
  if (number < static_cast<int>(first) || number > static_cast<int>(last)) {
    return absl::InvalidArgumentError(absl::StrCat(field, ": number ", number,
                                                   " is not known; need ", static_cast<int>(first),
                                                   " to ", static_cast<int>(last)));
  }
  *out = static_cast<Value>(number);
  return absl::OkStatus();
}

}  // namespace birkhoff
