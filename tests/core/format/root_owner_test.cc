// Who may write checkpoints into a root.
#include "core/format/root_owner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;

class RootOwnerTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<RootOwner>> Take(const RootClaim& claim,
                                                  const std::string& name = "k") {
    return RootOwner::Take(disk_, directory_ / name, claim);
  }
  testing::TemporaryDirectory directory_;
  PosixDisk disk_;
};

TEST_F(RootOwnerTest, RefusesAnotherLivingJobUnderEveryNameOfTheRoot) {
  const auto owner = Take({"jobs/a", "/runs/a", 2});
  ASSERT_TRUE(owner.ok()) << owner.status();
  ASSERT_EQ(::symlink("k", (directory_ / "link").c_str()), 0);
  for (const std::string name : {"k", "./k", "k/", "k/../k", "link"}) {
    // Another job; one of the same name under another coordinator; an attempt of the past.
    for (const RootClaim& claim : {RootClaim{"jobs/b", "/runs/a", 3},
                                   {"jobs/a", "/runs/b", 3},
                                   {"jobs/a", "/runs/a", 2},
                                   {"jobs/a", "/runs/a", 1}}) {
      const absl::Status status = Take(claim, name).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << name;
      EXPECT_THAT(std::string(status.message()), HasSubstr("attempt 2 of jobs/a with output in"));
    }
  }
  EXPECT_TRUE((*owner)->Check().ok());
}

TEST_F(RootOwnerTest, ALaterAttemptTakesOverAndTheEarlierOneIsFenced) {
  const auto first = Take({"jobs/a", "/runs/a", 2});
  const auto second = Take({"jobs/a", "/runs/a", 3});
  ASSERT_TRUE(first.ok() && second.ok()) << second.status();
  EXPECT_EQ((*first)->Check().code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string((*first)->Check().message()), HasSubstr("attempt 3 of jobs/a has taken"));
  EXPECT_TRUE((*second)->Check().ok());
  EXPECT_FALSE(Take({"jobs/b", "/runs/b", 1}).ok()) << "the lock has come along";
}

TEST_F(RootOwnerTest, WhatNobodyHoldsAnyMoreIsFree) {
  ASSERT_TRUE(Take({"jobs/a", "/runs/a", 7}).ok());
  ASSERT_TRUE(Take({"jobs/b", "/runs/b", 1}).ok());
  const auto file = *disk_.Create(directory_ / "k/.owner");  // as a crash may leave it
  ASSERT_TRUE(file->Append("{\"job\": 5").ok());
  EXPECT_TRUE(Take({"jobs/c", "/runs/c", 1}).ok());
}

TEST_F(RootOwnerTest, ARootThatWasRemovedIsNoticed) {
  const auto owner = Take({"jobs/a", "/runs/a", 1});
  ASSERT_TRUE(owner.ok() && disk_.RemoveFile(directory_ / "k/.owner").ok());
  ASSERT_TRUE(disk_.RemoveDirectory(directory_ / "k").ok());
  EXPECT_EQ((*owner)->Check().code(), absl::StatusCode::kUnavailable);
  ASSERT_TRUE((*owner)->Restore().ok());
  EXPECT_TRUE((*owner)->Check().ok());
  EXPECT_FALSE(Take({"jobs/b", "/runs/b", 1}).ok()) << "it is held again";
}

TEST_F(RootOwnerTest, OneThatWasTakenOverIsNotRestored) {
  const auto first = Take({"jobs/a", "/runs/a", 2});
  const auto second = Take({"jobs/a", "/runs/a", 3});
  ASSERT_TRUE(first.ok() && second.ok()) << second.status();
  EXPECT_TRUE(absl::IsAborted((*first)->Restore()));
  EXPECT_TRUE((*second)->Check().ok());
}

}  // namespace
}  // namespace birkhoff
