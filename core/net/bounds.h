// How much a request may hold.  The server takes no message above kLargestRequestBytes; within it
// every text and every list has a bound of its own, so that no handler works on more than that.
#pragma once

#include <cstddef>

#include "absl/status/status.h"

namespace google::protobuf {
class FieldDescriptor;
class Message;
}  // namespace google::protobuf

namespace birkhoff {

inline constexpr int kLargestRequestBytes = 4 << 20;

// Bytes of a text, items of a list.
size_t BoundOf(const google::protobuf::FieldDescriptor& field);

// INVALID_ARGUMENT names the first field, of the message or of one within it, that holds more than
// its bound.  Costs as much as reading the message.
absl::Status CheckBounds(const google::protobuf::Message& message);

}  // namespace birkhoff
