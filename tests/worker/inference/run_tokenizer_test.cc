// Which tokenizer a model speaks, and what is said where it is not known.
#include "worker/inference/run_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace birkhoff {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RunTokenizerTest : public ::testing::Test {
 protected:
  RunTokenizerTest() { spec_.model.vocab_size = 257; }
  std::string Words(const std::string& asked) {
    return std::string(OpenTokenizerOf(spec_, asked, disk_).status().message());
  }
  JobSpec spec_;
  PosixDisk disk_;
};

TEST_F(RunTokenizerTest, IsTheRunsUnlessAnotherIsAskedFor) {
  EXPECT_EQ(OpenTokenizerOf(spec_, "", disk_).value()->vocab_size(), 257);
  spec_.data.tokenizer = "/nowhere/m.model";
  EXPECT_EQ(OpenTokenizerOf(spec_, "bytes", disk_).value()->vocab_size(), 257);
}

TEST_F(RunTokenizerTest, WhatIsNotKnownIsRefusedWithTheFlag) {
  spec_.data.tokenizer = "none";
  EXPECT_THAT(Words(""), AllOf(HasSubstr("data.tokenizer: none"), HasSubstr("--tokenizer bytes")));
  spec_.data.tokenizer = "/nowhere/m.model";
  EXPECT_THAT(Words(""),
              AllOf(HasSubstr("the run's tokenizer: /nowhere/m.model: open: No such file"),
                    HasSubstr("--tokenizer names another place")));
  EXPECT_THAT(Words("/elsewhere/m.model"), HasSubstr("/elsewhere/m.model: open: No such file"));
  spec_.model.vocab_size = 100;
  EXPECT_THAT(Words("bytes"), HasSubstr("has 257 tokens, the model 100"));
}

TEST_F(RunTokenizerTest, NoneIsNumbers) {
  const std::unique_ptr<Tokenizer> numbers = OpenTokenizerOf(spec_, "none", disk_).value();
  EXPECT_THAT(*numbers->Encode(" 17, 4\n0 "), ElementsAre(17, 4, 0));
  EXPECT_EQ(*numbers->Decode(std::vector<int32_t>{17, 4, 0}), "17 4 0");
  EXPECT_LT(numbers->end_of_document(), 0);
  for (const char* const wrong : {"257", "-1", "x", "1.5"}) {
    EXPECT_THAT(std::string(numbers->Encode(wrong).status().message()),
                HasSubstr("is no token; need numbers from 0 to 256"))
        << wrong;
  }
}

}  // namespace
}  // namespace birkhoff
