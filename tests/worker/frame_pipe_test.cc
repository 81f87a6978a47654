// Frames of every size through a real socket pair, both ways, and ends that go.
#include "worker/frame_pipe.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/base/rng.h"

namespace birkhoff {
namespace {

std::string Bytes(size_t count, uint64_t seed) {
  Rng rng(seed);
  std::string bytes(count, '\0');
  for (char& byte : bytes) byte = static_cast<char>(rng.Next());
  return bytes;
}

class FramePipeTest : public ::testing::Test {
 protected:
  FramePipeTest() {
    const absl::StatusOr<FrameSockets> sockets = NewFrameSockets();
    EXPECT_TRUE(sockets.ok()) << sockets.status();
    fd_ = sockets->childs;
    ours_ = std::make_unique<FramePipe>(sockets->ours);
    childs_ = std::make_unique<FramePipe>(sockets->childs);
  }

  // Bytes that are not a frame.
  void SendRaw(const std::string& bytes) {
    ASSERT_EQ(::send(fd_, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  }

  int fd_ = -1;  // of childs_
  std::unique_ptr<FramePipe> ours_, childs_;
};

TEST_F(FramePipeTest, CarriesFramesOfAnySizeBothWays) {
  const std::vector<std::string> frames = {
      "", "x", Bytes(255, 1), Bytes(65536, 2), Bytes(1 << 20, 3), ""};
  // A megabyte is more than the socket holds: each end writes on a thread of its own.
  const auto write = [&frames](FramePipe& pipe) {
    for (const std::string& frame : frames) EXPECT_TRUE(pipe.Write(frame).ok());
  };
  std::thread there([&] { write(*ours_); }), back([&] { write(*childs_); });
  for (const std::string& frame : frames) {
    EXPECT_TRUE(childs_->Read().value_or("nothing") == frame) << frame.size() << " bytes there";
    EXPECT_TRUE(ours_->Read().value_or("nothing") == frame) << frame.size() << " bytes back";
  }
  there.join();
  back.join();
}

TEST_F(FramePipeTest, KeepsFramesWholeWhenSeveralThreadsWrite) {
  constexpr int kThreads = 4, kFrames = 50;
  std::vector<std::thread> writers;
  for (int t = 0; t < kThreads; ++t) {
    writers.emplace_back([this, t] {
      for (int i = 0; i < kFrames; ++i) {
        EXPECT_TRUE(ours_->Write(std::string(1000 * (t + 1), static_cast<char>('a' + t))).ok());
      }
    });
  }
  std::vector<int> seen(kThreads);
  for (int i = 0; i < kThreads * kFrames; ++i) {
    const std::string frame = childs_->Read().value_or("");
    const int t = frame.empty() ? 0 : frame[0] - 'a';
    ASSERT_EQ(frame, std::string(1000 * (t + 1), static_cast<char>('a' + t)));
    ++seen[t];
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(seen, std::vector<int>(kThreads, kFrames));
}

TEST_F(FramePipeTest, ReadsWhatWasWrittenBeforeTheOtherEndClosed) {
  ASSERT_TRUE(childs_->Write("last words").ok());
  childs_.reset();
  EXPECT_EQ(ours_->Read().value_or(""), "last words");
  EXPECT_TRUE(absl::IsOutOfRange(ours_->Read().status()));
}

TEST_F(FramePipeTest, WriteToAClosedEndIsUnavailable) {
  childs_.reset();
  EXPECT_TRUE(absl::IsUnavailable(ours_->Write("anybody?")));
}

TEST_F(FramePipeTest, AFrameCutShortIsTheEnd) {
  SendRaw(std::string("\x05\0\0\0ab", 6));
  childs_.reset();
  EXPECT_TRUE(absl::IsOutOfRange(ours_->Read().status()));
}

TEST_F(FramePipeTest, RefusesALengthThatNobodyWrites) {
  SendRaw("\xff\xff\xff\xff");
  EXPECT_TRUE(absl::IsDataLoss(ours_->Read().status()));
}

TEST_F(FramePipeTest, ShutdownWakesAReader) {
  absl::Status read;
  std::thread reader([&] { read = ours_->Read().status(); });
  ours_->Shutdown();
  reader.join();
  EXPECT_TRUE(absl::IsOutOfRange(read)) << read;
}

TEST(NewFrameSocketsTest, OnlyTheChildsEndSurvivesExec) {
  const absl::StatusOr<FrameSockets> sockets = NewFrameSockets();
  ASSERT_TRUE(sockets.ok()) << sockets.status();
  const FramePipe ours(sockets->ours), childs(sockets->childs);
  EXPECT_EQ(::fcntl(sockets->ours, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  EXPECT_EQ(::fcntl(sockets->childs, F_GETFD) & FD_CLOEXEC, 0);
}

}  // namespace
}  // namespace birkhoff
