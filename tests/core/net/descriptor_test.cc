// The wire must stay readable by programs of earlier releases: whatever birkhoff_v1.binpb has must
// still be there, with its number, type and label.  Things may be added; then renew the copy:
//   protoc -Iproto --descriptor_set_out=tests/core/net/birkhoff_v1.binpb proto/birkhoff/v1/*.proto
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "birkhoff/v1/job_service.pb.h"
#include "birkhoff/v1/worker_service.pb.h"

namespace birkhoff {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::DescriptorProto;
using google::protobuf::EnumDescriptorProto;
using google::protobuf::FieldDescriptorProto;
using google::protobuf::FileDescriptorProto;
using google::protobuf::FileDescriptorSet;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Breaks = std::vector<std::string>;

template <typename List>
auto* Find(const List& list, const std::string& name) {
  for (const auto& one : list) {
    if (one.name() == name) return &one;
  }
  return static_cast<decltype(&*list.begin())>(nullptr);
}

void CompareField(const std::string& path, const FieldDescriptorProto& old,
                  const FieldDescriptorProto& now, Breaks* breaks) {
  if (old.number() != now.number()) breaks->push_back(path + " was renumbered");
  if (old.type() != now.type() || old.type_name() != now.type_name()) {
    breaks->push_back(path + " was retyped");
  }
  if (old.label() != now.label() || old.has_oneof_index() != now.has_oneof_index()) {
    breaks->push_back(path + " has another label");
  }
}

void CompareEnum(const std::string& path, const EnumDescriptorProto& old,
                 const EnumDescriptorProto& now, Breaks* breaks) {
  for (const auto& value : old.value()) {
    const auto* found = Find(now.value(), value.name());
    if (found == nullptr) {
      breaks->push_back(path + "." + value.name() + " was removed");
    } else if (found->number() != value.number()) {
      breaks->push_back(path + "." + value.name() + " was renumbered");
    }
  }
}

// Calls compare(path, old, now) for whatever is in both, and reports what was removed.
template <typename List, typename Compare>
void Each(const std::string& path, const List& old, const List& now, Breaks* breaks,
          Compare compare) {
  for (const auto& one : old) {
    const auto* found = Find(now, one.name());
    if (found == nullptr) {
      breaks->push_back(path + one.name() + " was removed");
    } else {
      compare(path + one.name(), one, *found, breaks);
    }
  }
}

void CompareMessage(const std::string& path, const DescriptorProto& old, const DescriptorProto& now,
                    Breaks* breaks) {
  Each(path + ".", old.field(), now.field(), breaks, CompareField);
  Each(path + ".", old.nested_type(), now.nested_type(), breaks, CompareMessage);
  Each(path + ".", old.enum_type(), now.enum_type(), breaks, CompareEnum);
}

void CompareFile(const std::string&, const FileDescriptorProto& old, const FileDescriptorProto& now,
                 Breaks* breaks) {
  Each("", old.message_type(), now.message_type(), breaks, CompareMessage);
  Each("", old.enum_type(), now.enum_type(), breaks, CompareEnum);
  const auto same_method = [](const std::string& path, const auto& a, const auto& b, Breaks* out) {
    if (a.SerializeAsString() != b.SerializeAsString()) out->push_back(path + " was changed");
  };
  Each("", old.service(), now.service(), breaks,
       [&](const std::string& path, const auto& a, const auto& b, Breaks* out) {
         Each(path + ".", a.method(), b.method(), out, same_method);
       });
}

Breaks Compare(const FileDescriptorSet& old, const FileDescriptorSet& now) {
  Breaks breaks;
  Each("", old.file(), now.file(), &breaks, CompareFile);
  return breaks;
}

FileDescriptorSet Stored() {
  FileDescriptorSet set;
  std::ifstream file("tests/core/net/birkhoff_v1.binpb", std::ios::binary);
  EXPECT_TRUE(set.ParseFromIstream(&file));
  EXPECT_GE(set.file_size(), 4);
  return set;
}

// What this build speaks: the same as protoc's --descriptor_set_out.
FileDescriptorSet Built() {
  // Asking a message for its file links the file, and those that it imports.
  const DescriptorPool* pool = v1::GetJobRequest::descriptor()->file()->pool();
  EXPECT_EQ(pool, v1::ConnectRequest::descriptor()->file()->pool());
  const FileDescriptorSet stored = Stored();
  FileDescriptorSet set;
  for (const FileDescriptorProto& file : stored.file()) {
    const auto* found = pool->FindFileByName(file.name());
    if (found != nullptr) found->CopyTo(set.add_file());
  }
  return set;
}

FieldDescriptorProto* FirstField(FileDescriptorSet* set) {
  return set->mutable_file(0)->mutable_message_type(0)->mutable_field(0);
}

TEST(Descriptor, KeepsEverythingThatWasReleased) {
  EXPECT_THAT(Compare(Stored(), Built()), IsEmpty());
}

// What is not in the copy is not protected.
TEST(Descriptor, HasEverythingNewInTheCopy) {
  EXPECT_THAT(Compare(Built(), Stored()), IsEmpty()) << "renew the copy: see the top of this file";
}

TEST(Descriptor, AllowsAdditions) {
  FileDescriptorSet more = Built();
  auto* field = more.mutable_file(0)->mutable_message_type(0)->add_field();
  field->set_name("brand_new");
  field->set_number(1000);
  more.mutable_file(0)->add_message_type()->set_name("BrandNew");
  EXPECT_THAT(Compare(Stored(), more), IsEmpty());
}

TEST(Descriptor, SeesRenumberedRetypedAndRemovedFields) {
  FileDescriptorSet now = Built();
  FirstField(&now)->set_number(1000);
  EXPECT_THAT(Compare(Stored(), now), ElementsAre(HasSubstr("was renumbered")));
  now = Built();
  FirstField(&now)->set_type(FieldDescriptorProto::TYPE_FIXED32);
  EXPECT_THAT(Compare(Stored(), now), ElementsAre(HasSubstr("was retyped")));
  now = Built();
  FirstField(&now)->set_label(FieldDescriptorProto::LABEL_REPEATED);
  EXPECT_THAT(Compare(Stored(), now), ElementsAre(HasSubstr("another label")));
  now = Built();
  now.mutable_file(0)->mutable_message_type(0)->mutable_field()->DeleteSubrange(0, 1);
  EXPECT_THAT(Compare(Stored(), now), ElementsAre(HasSubstr("was removed")));
}

TEST(Descriptor, SeesChangedEnumsAndMethods) {
  FileDescriptorSet now = Built();
  for (auto& file : *now.mutable_file()) {
    if (file.enum_type_size() > 0) file.mutable_enum_type(0)->mutable_value(1)->set_number(77);
    if (file.service_size() > 0) file.mutable_service(0)->mutable_method()->DeleteSubrange(0, 1);
  }
  const Breaks breaks = Compare(Stored(), now);
  EXPECT_THAT(breaks, ::testing::Contains(HasSubstr("was renumbered")));
  EXPECT_THAT(breaks, ::testing::Contains(HasSubstr("JobService.CreateJob was removed")));
}

}  // namespace
}  // namespace birkhoff
