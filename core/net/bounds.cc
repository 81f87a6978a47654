// A walk by reflection, so that a field added to the protocol is bounded without a word here;
// kOthers has those whose bound is another one.
#include "core/net/bounds.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr size_t kText = 4096;   // a name, a path
constexpr size_t kList = 16384;  // one value per sub-layer of the deepest model

struct Bound {
  const char* field;  // full name
  size_t bound;
};
constexpr Bound kOthers[] = {
    {"birkhoff.v1.CreateJobRequest.yaml", size_t{1} << 20},
    {"birkhoff.v1.CreateJobRequest.overrides", 1024},
    {"birkhoff.v1.CreateJobRequest.changes", 256},
    {"birkhoff.v1.ListJobsRequest.states", 8},
    {"birkhoff.v1.Meet.contribution", size_t{1} << 20},
    {"birkhoff.v1.RankActivity.what", size_t{64} << 10},
    {"birkhoff.v1.RankReady.note", size_t{64} << 10},
    {"birkhoff.v1.RankReady.notice", size_t{64} << 10},
    {"birkhoff.v1.CheckpointFailed.reason", size_t{64} << 10},
    {"birkhoff.v1.RankExited.reason", size_t{64} << 10},
    {"birkhoff.v1.Noticed.sentence", size_t{64} << 10},
};

absl::Status TooMuch(const FieldDescriptor& field, size_t size) {
  return absl::InvalidArgumentError(absl::StrCat(field.full_name(), ": ", size,
                                                 field.is_repeated() ? " items" : " bytes",
                                                 "; need at most ", BoundOf(field)));
}

absl::Status CheckText(const FieldDescriptor& field, size_t size, size_t bound) {
  return size > bound ? absl::InvalidArgumentError(absl::StrCat(field.full_name(), ": ", size,
                                                                " bytes; need at most ", bound))
                      : absl::OkStatus();
}

absl::Status CheckList(const Message& message, const FieldDescriptor& field) {
  const auto& reflection = *message.GetReflection();
  const int size = reflection.FieldSize(message, &field);
  if (static_cast<size_t>(size) > BoundOf(field)) return TooMuch(field, size);
  for (int i = 0; i < size; ++i) {
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      std::string scratch;
      const std::string& text = reflection.GetRepeatedStringReference(message, &field, i, &scratch);
      RETURN_IF_ERROR(CheckText(field, text.size(), kText));
    } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      RETURN_IF_ERROR(CheckBounds(reflection.GetRepeatedMessage(message, &field, i)));
    } else {
      break;
    }
  }
  return absl::OkStatus();
}

}  // namespace

size_t BoundOf(const FieldDescriptor& field) {
  for (const Bound& other : kOthers) {
    if (field.full_name() == other.field) return other.bound;
  }
  return field.is_repeated() ? kList : kText;
}

absl::Status CheckBounds(const Message& message) {
  const auto& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->is_repeated()) {
      RETURN_IF_ERROR(CheckList(message, *field));
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      std::string scratch;
      const size_t size = reflection.GetStringReference(message, field, &scratch).size();
      RETURN_IF_ERROR(CheckText(*field, size, BoundOf(*field)));
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      RETURN_IF_ERROR(CheckBounds(reflection.GetMessage(message, field)));
    }
  }
  return absl::OkStatus();
}

}  // namespace birkhoff
