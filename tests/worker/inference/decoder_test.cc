// The window of a text that grows beyond the context.
#include "worker/inference/decoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/base/rng.h"
#include "tests/testing/fault_disk.h"
#include "tests/worker/inference/random_checkpoint.h"

namespace birkhoff {
namespace {

constexpr size_t kContext = 16;

class DecoderTest : public ::testing::Test {
 protected:
  DecoderTest() {
    testing::FaultDisk disk;
    testing::CommitRandomCheckpoint(disk, "/out", testing::SmallSpecOfBytes());
    model_ = TrainedModel::Load(disk, "/out", *device_).value();
    Rng rng(11);
    for (int i = 0; i < 60; ++i) text_.push_back(static_cast<int32_t>(rng.Below(257)));
  }
  std::unique_ptr<Decoder> New() { return Decoder::Create(*model_, *device_).value(); }
  // Logits after the tokens before `end`, of which the last `count` are read at once.
  std::vector<float> Reread(size_t end, size_t count) {
    const std::unique_ptr<Decoder> decoder = New();
    EXPECT_TRUE(decoder->Read(std::span<const int32_t>(text_).subspan(end - count, count)).ok());
    return {decoder->logits().begin(), decoder->logits().end()};
  }
  // Rounding apart (key_value_cache_test has the derived bound).
  static void ExpectNear(std::span<const float> got, const std::vector<float>& want, size_t at) {
    for (size_t v = 0; v < want.size(); ++v)
      ASSERT_NEAR(got[v], want[v], 1e-4) << v << " at " << at;
  }

  const std::unique_ptr<Device> device_ = NewCpuDevice();
  std::unique_ptr<TrainedModel> model_;
  std::vector<int32_t> text_;
};

TEST_F(DecoderTest, ForgetsTheOlderHalfWhenTheWindowIsFull) {
  const std::unique_ptr<Decoder> decoder = New();
  ASSERT_EQ(decoder->context(), int64_t{kContext});
  size_t window = 0;
  for (size_t at = 0; at < text_.size(); ++at) {
    ASSERT_TRUE(decoder->Read(std::span<const int32_t>(text_).subspan(at, 1)).ok());
    window = window == kContext ? kContext / 2 : window + 1;
    ExpectNear(decoder->logits(), Reread(at + 1, window), at);
  }
}

TEST_F(DecoderTest, APromptBeyondTheContextIsReadFromItsEnd) {
  const std::unique_ptr<Decoder> decoder = New();
  ASSERT_TRUE(decoder->Read(std::span<const int32_t>(text_).first(40)).ok());
  ExpectNear(decoder->logits(), Reread(40, kContext), 40);
  ASSERT_TRUE(decoder->Read(std::span<const int32_t>(text_).subspan(40, 1)).ok());
  ExpectNear(decoder->logits(), Reread(41, kContext / 2), 41);
  ASSERT_TRUE(decoder->Read(std::span<const int32_t>(text_).subspan(41, 12)).ok());
  ExpectNear(decoder->logits(), Reread(53, 12), 53);
}

}  // namespace
}  // namespace birkhoff
