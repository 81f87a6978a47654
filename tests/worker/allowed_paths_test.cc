// Jobs touch what a worker's operator allows.
#include "worker/allowed_paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class AllowedPathsTest : public ::testing::Test {
 protected:
  AllowedPathsTest() {
    for (const char* name : {"data", "runs", "secret"}) {
      std::filesystem::create_directory(std::string(directory_ / name));
    }
    assignment_.output_directory = directory_ / "runs/a";
    assignment_.spec.data.train = {{directory_ / "data/one", 1.0}, {directory_ / "data/two", 1.0}};
  }
  absl::Status Check() {
    return CheckAllowedPaths({directory_ / "data", directory_ / "runs"}, assignment_);
  }

  testing::TemporaryDirectory directory_;
  Assignment assignment_;
};

TEST_F(AllowedPathsTest, WhatLiesWithinIsTouched) {
  EXPECT_EQ(Check(), absl::OkStatus());
  assignment_.init_from = directory_ / "runs/b/checkpoints";
  assignment_.spec.data.validation = directory_ / "data/../data/three.bin";
  assignment_.spec.checkpoint.directory = directory_ / "runs/c";
  EXPECT_EQ(Check(), absl::OkStatus());
}

TEST_F(AllowedPathsTest, EverythingElseIsNamed) {
  assignment_.output_directory = directory_ / "runs/../secret";
  assignment_.spec.checkpoint.directory = directory_ / "secret/c";
  assignment_.init_from = directory_ / "secret/i";
  assignment_.spec.data.train[1].path = "/etc/passwd";
  assignment_.spec.data.validation = directory_ / "secret/v";
  const absl::Status status = Check();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("output_directory: "), HasSubstr("checkpoint.directory: "),
                    HasSubstr("init_from: "), HasSubstr("data.train[1]: /etc/passwd.bin"),
                    HasSubstr("data.validation: "), Not(HasSubstr("data.train[0]"))));
  EXPECT_EQ(CheckAllowedPaths({}, assignment_), absl::OkStatus()) << "no bounds were set";
}

TEST_F(AllowedPathsTest, LinksLeadNowhereElse) {
  std::filesystem::create_directory_symlink(directory_ / "secret",
                                            std::string(directory_ / "runs/link"));
  assignment_.init_from = directory_ / "runs/link";
  EXPECT_THAT(Check().ToString(), HasSubstr("init_from: "));
  assignment_.init_from = "";
  std::filesystem::create_symlink("/etc/passwd", std::string(directory_ / "data/one.bin"));
  EXPECT_THAT(Check().ToString(), HasSubstr("data.train[0]: "));
}

}  // namespace
}  // namespace birkhoff
