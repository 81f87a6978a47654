// The wire must stay readable for programs of earlier releases: every field, enum value and method
// that was ever released keeps its name, number and type.  They stand, one a line, in
// golden/wire.txt; a new one is added there, and none is ever changed or removed.
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <string>

#include "birkhoff/v1/job_service.pb.h"
#include "birkhoff/v1/worker_service.pb.h"

namespace birkhoff {
namespace {

using Lines = std::set<std::string>;

std::string TypeOf(const google::protobuf::FieldDescriptor& field) {
  std::string type = field.is_repeated() ? "repeated " : "";
  if (field.message_type() != nullptr) return type + field.message_type()->full_name();
  if (field.enum_type() != nullptr) return type + field.enum_type()->full_name();
  return type + field.type_name();
}

void Describe(const google::protobuf::EnumDescriptor& description, Lines* lines) {
  for (int i = 0; i < description.value_count(); ++i) {
    const auto& value = *description.value(i);
    lines->insert(description.full_name() + " " + value.name() + " = " +
                  std::to_string(value.number()));
  }
}

void Describe(const google::protobuf::Descriptor& message, Lines* lines) {
  for (int i = 0; i < message.field_count(); ++i) {
    const auto& field = *message.field(i);
    const auto* oneof = field.real_containing_oneof();
    lines->insert(message.full_name() + "." + field.name() + " = " +
                  std::to_string(field.number()) + " " + TypeOf(field) +
                  (oneof != nullptr ? " in " + oneof->name() : ""));
  }
  for (int i = 0; i < message.nested_type_count(); ++i) Describe(*message.nested_type(i), lines);
  for (int i = 0; i < message.enum_type_count(); ++i) Describe(*message.enum_type(i), lines);
}

void Describe(const google::protobuf::ServiceDescriptor& service, Lines* lines) {
  for (int i = 0; i < service.method_count(); ++i) {
    const auto& method = *service.method(i);
    lines->insert(method.full_name() + (method.client_streaming() ? " (stream " : " (") +
                  method.input_type()->full_name() +
                  (method.server_streaming() ? ") -> stream " : ") -> ") +
                  method.output_type()->full_name());
  }
}

void DescribeFile(const google::protobuf::FileDescriptor& file, Lines* lines) {
  if (file.package() != "birkhoff.v1") return;
  for (int i = 0; i < file.message_type_count(); ++i) Describe(*file.message_type(i), lines);
  for (int i = 0; i < file.enum_type_count(); ++i) Describe(*file.enum_type(i), lines);
  for (int i = 0; i < file.service_count(); ++i) Describe(*file.service(i), lines);
  for (int i = 0; i < file.dependency_count(); ++i) DescribeFile(*file.dependency(i), lines);
}

Lines CompiledIn() {
  Lines lines;
  DescribeFile(*v1::CreateJobRequest::descriptor()->file(), &lines);
  DescribeFile(*v1::ConnectRequest::descriptor()->file(), &lines);
  return lines;
}

Lines Released() {
  std::ifstream file("tests/core/net/golden/wire.txt");
  Lines lines;
  for (std::string line; std::getline(file, line);) lines.insert(line);
  return lines;
}

TEST(Compatibility, NothingReleasedHasChanged) {
  const Lines compiled = CompiledIn(), released = Released();
  ASSERT_GT(released.size(), 200u);
  for (const std::string& line : released) {
    EXPECT_TRUE(compiled.contains(line)) << "changed or removed: " << line;
  }
}

TEST(Compatibility, EverythingNewIsWrittenDown) {
  const Lines released = Released();
  for (const std::string& line : CompiledIn()) {
    EXPECT_TRUE(released.contains(line)) << "add to tests/core/net/golden/wire.txt: " << line;
  }
}

}  // namespace
}  // namespace birkhoff
