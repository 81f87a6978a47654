// Fills any protobuf message with random values by reflection: every field, every oneof once.
#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "core/base/rng.h"

namespace birkhoff::testing {

// Numbers that stand for enums of ours have few values: the largest one, by the field's name in the
// message; 0 where any number will do.
struct NumberRange {
  int first = 0;
  int last = 0;
};
inline NumberRange RangeOf(const google::protobuf::FieldDescriptor& field) {
  const std::string& name = field.full_name();
  if (name == "birkhoff.v1.Instruction.op") return {1, 20};
  if (name == "birkhoff.v1.Instruction.phase") return {0, 4};
  if (name == "birkhoff.v1.Instruction.stream") return {0, 4};
  if (name == "birkhoff.v1.Channel.kind") return {0, 1};
  if (name == "birkhoff.v1.Buffer.home") return {0, 9};
  if (name == "birkhoff.v1.PlannedParameter.initializer") return {0, 3};
  if (name == "birkhoff.v1.PlannedParameter.kind") return {0, 1};
  if (name == "birkhoff.v1.RankExited.code") return {70, 73};
  if (name == "birkhoff.v1.JobEnded.code") return {70, 73};
  return {-1'000'000, 1'000'000};
}

class MessageFiller {
 public:
  explicit MessageFiller(uint64_t seed) : rng_(seed) {}

  // Of a oneof, the member with index `choice` is filled and the others are left out.
  void Fill(google::protobuf::Message& message, int choice = 0) {
    for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
      const google::protobuf::FieldDescriptor& field = *message.GetDescriptor()->field(i);
      const auto* oneof = field.real_containing_oneof();
      if (oneof != nullptr && oneof->field(choice) != &field) continue;
      const uint64_t count = field.is_repeated() ? 1 + rng_.Below(3) : 1;
      for (uint64_t k = 0; k < count; ++k) FillField(message, field);
    }
  }

 private:
  using Field = google::protobuf::FieldDescriptor;

  int Number(const Field& field) {
    const NumberRange range = RangeOf(field);
    return range.first + static_cast<int>(rng_.Below(range.last - range.first + 1));
  }
  std::string Text() {
    std::string text(rng_.Below(12), 'x');
    for (char& c : text) c = static_cast<char>('a' + rng_.Below(26));
    return text;
  }

  void FillField(google::protobuf::Message& message, const Field& field) {
    const google::protobuf::Reflection& r = *message.GetReflection();
    const bool many = field.is_repeated();
    switch (field.cpp_type()) {
      case Field::CPPTYPE_INT32:
        return many ? r.AddInt32(&message, &field, Number(field))
                    : r.SetInt32(&message, &field, Number(field));
      case Field::CPPTYPE_INT64: {
        const auto value = static_cast<int64_t>(rng_.Next());
        return many ? r.AddInt64(&message, &field, value) : r.SetInt64(&message, &field, value);
      }
      case Field::CPPTYPE_UINT64:
        return r.SetUInt64(&message, &field, rng_.Next());
      case Field::CPPTYPE_DOUBLE:
        return many ? r.AddDouble(&message, &field, rng_.Normal())
                    : r.SetDouble(&message, &field, rng_.Normal());
      case Field::CPPTYPE_BOOL:
        return r.SetBool(&message, &field, rng_.Below(2) == 1);
      case Field::CPPTYPE_ENUM: {
        const int value = 1 + static_cast<int>(rng_.Below(field.enum_type()->value_count() - 1));
        return r.SetEnumValue(&message, &field, value);
      }
      case Field::CPPTYPE_STRING:
        return many ? r.AddString(&message, &field, Text())
                    : r.SetString(&message, &field, Text());
      default:
        return Fill(*(many ? r.AddMessage(&message, &field) : r.MutableMessage(&message, &field)));
    }
  }

  Rng rng_;
};

}  // namespace birkhoff::testing
