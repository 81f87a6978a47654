// PosixDisk against the real file system: every operation, and what each says when it cannot.
#include "core/base/disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <thread>

#include "core/base/exit_status.h"
#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TemporaryDirectory;

class DiskTest : public ::testing::Test {
 protected:
  void Write(const std::string& path, const std::string& bytes) {
    const auto file = disk_.Create(path);
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE((*file)->Append(bytes).ok());
    ASSERT_TRUE((*file)->Sync().ok());
    ASSERT_TRUE((*file)->Close().ok());
  }
  std::string Read(const std::string& path) { return disk_.Read(path).value_or("(none)"); }

  const TemporaryDirectory directory_;
  PosixDisk disk_;
};

TEST_F(DiskTest, GivesBackWhatWasWritten) {
  const std::string bytes("a\0b\xff", 4);
  Write(directory_ / "file", bytes);
  EXPECT_EQ(Read(directory_ / "file"), bytes);
  EXPECT_EQ(disk_.Size(directory_ / "file").value_or(-1), 4);
  EXPECT_EQ(disk_.ReadRange(directory_ / "file", 1, 2).value_or(""), std::string("\0b", 2));
}

TEST_F(DiskTest, CreateTruncatesAndOpenAppendGoesOn) {
  Write(directory_ / "file", "long text");
  Write(directory_ / "file", "ab");
  const auto file = disk_.OpenAppend(directory_ / "file");
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*file)->Append("cd").ok());
  EXPECT_EQ(Read(directory_ / "file"), "abcd");
  ASSERT_TRUE(disk_.OpenAppend(directory_ / "new").ok());
  EXPECT_EQ(Read(directory_ / "new"), "");
}

// Item 24: nobody waits for a writer that may never come.
TEST_F(DiskTest, APipeIsNoFileAndNobodyWaitsForIt) {
  const std::string pipe = directory_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  for (const absl::Status& status : {disk_.Read(pipe).status(), disk_.Size(pipe).status(),
                                     disk_.ReadRange(pipe, 0, 1).status()}) {
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(status.message(), HasSubstr("pipe: is a pipe; need a file"));
  }
}

// Item 34: neither a bug nor wrong for ever.
TEST(DiskErrorTest, WhatADiskIsInTroubleWithIsMarkedThroughOtherWords) {
  for (const int error : {ENOSPC, EDQUOT, EROFS, EACCES, EIO, ESTALE, EMFILE, ETIMEDOUT}) {
    const absl::Status status = DiskError("/out/x", "write", error);
    EXPECT_TRUE(IsDiskTrouble(status)) << status;
    EXPECT_TRUE(IsDiskTrouble(Reworded(status, "checkpoint of step 5: /out/x"))) << status;
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kInfrastructure) << status;
  }
  for (const int error : {ENOENT, ENOTDIR, EISDIR, ENAMETOOLONG, EEXIST}) {
    EXPECT_FALSE(IsDiskTrouble(DiskError("/out/x", "open", error))) << error;
  }
  EXPECT_FALSE(IsDiskTrouble(absl::UnavailableError("a peer is gone")));
  EXPECT_FALSE(IsDiskTrouble(absl::OkStatus()));
  EXPECT_EQ(DiskError("/out/x", "write", ENOSPC).message(),
            "/out/x: write: No space left on device");
  EXPECT_EQ(DiskError("/x", "", ENOENT).message(), "/x: No such file or directory");
}

TEST_F(DiskTest, ListsNamesInOrder) {
  for (const char* name : {"b", "a", "c"}) Write(directory_ / name, "");
  EXPECT_THAT(*disk_.List(directory_.path()), ElementsAre("a", "b", "c"));
}

TEST_F(DiskTest, RemovesOneNameAndNeverWhatLiesBelow) {
  ASSERT_TRUE(disk_.CreateDirectories(directory_ / "x/y/z").ok());
  ASSERT_TRUE(disk_.CreateDirectories(directory_ / "x/y/z").ok());  // again: harmless
  Write(directory_ / "x/y/file", "1");
  EXPECT_THAT(std::string(disk_.RemoveDirectory(directory_ / "x/y").message()),
              HasSubstr("is not empty, and stays"));
  EXPECT_THAT(std::string(disk_.RemoveFile(directory_ / "x/y").message()),
              HasSubstr("is a directory; need a file"));
  EXPECT_TRUE(disk_.RemoveDirectory(directory_ / "x/y/z").ok());
  EXPECT_TRUE(disk_.RemoveFile(directory_ / "x/y/file").ok());
  EXPECT_TRUE(disk_.RemoveDirectory(directory_ / "x/y").ok());
  EXPECT_FALSE(disk_.Exists(directory_ / "x/y"));
  EXPECT_TRUE(disk_.RemoveFile(directory_ / "x/y").ok());  // nothing is there
  EXPECT_TRUE(disk_.RemoveDirectory(directory_ / "x/y").ok());
}

TEST_F(DiskTest, KnowsWhatStandsUnderAName) {
  Write(directory_ / "file", "1");
  ASSERT_EQ(::symlink(".", (directory_ / "link").c_str()), 0);
  EXPECT_EQ(disk_.KindOf(directory_ / "file"), FileKind::kFile);
  EXPECT_EQ(disk_.KindOf(directory_.path()), FileKind::kDirectory);
  EXPECT_EQ(disk_.KindOf(directory_ / "link"), FileKind::kOther);
  EXPECT_EQ(disk_.KindOf(directory_ / "none"), FileKind::kNone);
}

TEST_F(DiskTest, CreateNewTakesNoNameThatIsTaken) {
  Write(directory_ / "precious", "1");
  ASSERT_EQ(::symlink("precious", (directory_ / "link").c_str()), 0);
  for (const char* name : {"precious", "link"}) {
    EXPECT_EQ(disk_.CreateNew(directory_ / name).status().code(), absl::StatusCode::kAlreadyExists);
  }
  EXPECT_EQ(Read(directory_ / "precious"), "1");
}

TEST_F(DiskTest, ReplaceFileFollowsNoLink) {
  Write(directory_ / "precious", "1");
  ASSERT_EQ(::symlink("precious", (directory_ / "file.new").c_str()), 0);
  ASSERT_TRUE(ReplaceFile(disk_, directory_ / "file", "2").ok());
  EXPECT_EQ(Read(directory_ / "precious"), "1");
  EXPECT_EQ(Read(directory_ / "file"), "2");
  EXPECT_THAT(*disk_.List(directory_.path()), ElementsAre("file", "precious"));
}

TEST_F(DiskTest, KnowsWhatLiesWithinADirectoryHoweverItIsWritten) {
  ASSERT_TRUE(disk_.CreateDirectories(directory_ / "a/b").ok());
  ASSERT_EQ(::symlink("a", (directory_ / "link").c_str()), 0);
  for (const char* path : {"a", "a/", "a/b", "a/b/none", "link", "link/b/../none", "./a"}) {
    EXPECT_TRUE(LiesWithin(directory_ / path, directory_ / "a")) << path;
    EXPECT_TRUE(LiesWithin(directory_ / path, directory_ / "link/")) << path;
  }
  for (const char* path : {"", "ab", "a/..", "link/../none", "none"}) {
    EXPECT_FALSE(LiesWithin(directory_ / path, directory_ / "a")) << path;
  }
  EXPECT_TRUE(LiesWithin("/anything", "/"));
  EXPECT_TRUE(LiesWithin("none/below", "none")) << "from the working directory on";
}

TEST_F(DiskTest, ReadsWhatHasNoSizeToItsEnd) {
  ASSERT_EQ(::mkfifo((directory_ / "pipe").c_str(), 0600), 0);
  std::thread writer([&] {
    const auto pipe = disk_.OpenAppend(directory_ / "pipe");
    EXPECT_TRUE(pipe.ok() && (*pipe)->Append(std::string(200'000, 'x')).ok());
  });
  const auto file = disk_.OpenRead(directory_ / "pipe");
  ASSERT_TRUE(file.ok()) << file.status();
  std::string all;
  for (std::string next = *(*file)->Read(1000); !next.empty(); next = *(*file)->Read(1000)) {
    all += next;
  }
  writer.join();
  EXPECT_EQ(all.size(), 200'000u);
}

TEST_F(DiskTest, RenameReplacesAFile) {
  Write(directory_ / "old", "old");
  Write(directory_ / "new", "new");
  ASSERT_TRUE(disk_.Rename(directory_ / "new", directory_ / "old").ok());
  EXPECT_EQ(Read(directory_ / "old"), "new");
  EXPECT_FALSE(disk_.Exists(directory_ / "new"));
  EXPECT_TRUE(disk_.SyncDirectory(directory_.path()).ok());
}

TEST_F(DiskTest, NamesPathAndActionWhereNothingIs) {
  const std::string none = directory_ / "none";
  const auto says = [&](const absl::Status& status, const std::string& action) {
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(none), HasSubstr(action)));
  };
  says(disk_.Read(none).status(), "open");
  says(disk_.Size(none).status(), "open");
  says(disk_.ReadRange(none, 0, 1).status(), "open");
  says(disk_.List(none).status(), "list");
  says(disk_.Create(none + "/below").status(), "open");
  says(disk_.Rename(none, directory_ / "to"), "rename");
  says(disk_.SyncDirectory(none), "open");
}

TEST_F(DiskTest, RefusesRangesOutsideTheFile) {
  Write(directory_ / "file", "1234");
  for (const auto& [offset, length] : {std::pair<int64_t, int64_t>{-1, 1},
                                       {0, -1},
                                       {0, 5},
                                       {4, 1},
                                       {5, 0},
                                       {1, int64_t{1} << 62}}) {
    const auto bytes = disk_.ReadRange(directory_ / "file", offset, length);
    EXPECT_THAT(std::string(bytes.status().message()), HasSubstr("holds 4 bytes; need"))
        << offset << " " << length;
  }
}

TEST_F(DiskTest, RefusesToReadADirectory) {
  EXPECT_THAT(std::string(disk_.Read(directory_.path()).status().message()),
              HasSubstr("is a directory; need a file"));
}

TEST_F(DiskTest, ReportsAFullDisk) {
  const auto file = disk_.OpenAppend("/dev/full");
  ASSERT_TRUE(file.ok()) << file.status();
  const absl::Status status = (*file)->Append("x");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("/dev/full: write"));
}

}  // namespace
}  // namespace birkhoff
