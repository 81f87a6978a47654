// Every text and list that a request can hold is refused beyond its bound, whatever field it is.
#include "core/net/bounds.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "birkhoff/v1/job_service.pb.h"
#include "birkhoff/v1/worker_service.pb.h"

namespace birkhoff {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Adds `count` values to a list, or sets a text of `count` bytes.
void Fill(Message& message, const FieldDescriptor& field, size_t count) {
  const auto& reflection = *message.GetReflection();
  if (!field.is_repeated()) return reflection.SetString(&message, &field, std::string(count, 'x'));
  for (size_t i = 0; i < count; ++i) {
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        reflection.AddString(&message, &field, "x");
        break;
      case FieldDescriptor::CPPTYPE_MESSAGE:
        reflection.AddMessage(&message, &field);
        break;
      case FieldDescriptor::CPPTYPE_DOUBLE:
        reflection.AddDouble(&message, &field, 1.0);
        break;
      case FieldDescriptor::CPPTYPE_FLOAT:
        reflection.AddFloat(&message, &field, 1.0f);
        break;
      case FieldDescriptor::CPPTYPE_INT32:
        reflection.AddInt32(&message, &field, 1);
        break;
      case FieldDescriptor::CPPTYPE_ENUM:
        reflection.AddEnumValue(&message, &field, 1);
        break;
      default:
        FAIL() << field.full_name();
    }
  }
}

// Calls `visit` for each field of `message` and of the messages in it, which lie within `whole`.
void VisitFields(
    const Message& whole, Message& message,
    const std::function<void(const Message&, Message&, const FieldDescriptor&)>& visit) {
  const auto& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const bool text = field.cpp_type() == FieldDescriptor::CPPTYPE_STRING;
    if (text || field.is_repeated()) visit(whole, message, field);
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const auto& reflection = *message.GetReflection();
    Message* inner = field.is_repeated() ? reflection.AddMessage(&message, &field)
                                         : reflection.MutableMessage(&message, &field);
    VisitFields(whole, *inner, visit);
    reflection.ClearField(&message, &field);
  }
}

int CheckAll(Message&& request) {
  int fields = 0;
  VisitFields(request, request,
              [&](const Message& whole, Message& message, const FieldDescriptor& field) {
                ++fields;
                Fill(message, field, BoundOf(field));
                EXPECT_TRUE(CheckBounds(whole).ok()) << field.full_name();
                message.GetReflection()->ClearField(&message, &field);
                Fill(message, field, BoundOf(field) + 1);
                const absl::Status status = CheckBounds(whole);
                EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field.full_name();
                EXPECT_NE(status.message().find(field.full_name()), std::string::npos);
                message.GetReflection()->ClearField(&message, &field);
              });
  return fields;
}

TEST(Bounds, EveryTextAndListOfEveryRequestHasOne) {
  EXPECT_GE(CheckAll(v1::CreateJobRequest()), 14);
  EXPECT_GE(CheckAll(v1::ListJobsRequest()), 2);
  EXPECT_GE(CheckAll(v1::GetJobRequest()), 1);
  EXPECT_GE(CheckAll(v1::CancelJobRequest()), 1);
  EXPECT_GE(CheckAll(v1::GetPlanRequest()), 1);
  EXPECT_GE(CheckAll(v1::WatchJobRequest()), 1);
  EXPECT_GE(CheckAll(v1::ListWorkersRequest()), 1);
  EXPECT_GE(CheckAll(v1::ConnectRequest()), 20);
}

// A worker would say it again after every refusal.
TEST(Bounds, WhatAnAgentHasShortenedIsTaken) {
  const std::string longest(16384, 'x');  // of worker/agent.cc
  v1::ConnectRequest ready, failed, exited, noticed;
  ready.mutable_rank_ready()->set_note(longest);
  ready.mutable_rank_ready()->set_notice(longest);
  failed.mutable_checkpoint_failed()->set_reason(longest);
  exited.mutable_rank_exited()->set_reason(longest);
  noticed.mutable_noticed()->set_sentence(longest);
  for (const v1::ConnectRequest& said : {ready, failed, exited, noticed}) {
    EXPECT_EQ(CheckBounds(said), absl::OkStatus());
  }
}

TEST(Bounds, TheItemsOfAListOfTextsAreBoundedToo) {
  v1::CreateJobRequest request;
  request.add_overrides(std::string(4097, 'x'));
  EXPECT_FALSE(CheckBounds(request).ok());
}

}  // namespace
}  // namespace birkhoff
