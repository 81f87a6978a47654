// Which tokens stand in which sample: shares, shuffling, held-out data, and errors.
#include "worker/data_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/format/token_file.h"
#include "tests/testing/temporary_directory.h"
#include "worker/shuffle.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;

constexpr int kLength = 8;

class DataSourceTest : public ::testing::Test {
 protected:
  // A file whose token i is (first + i): a token says where it stands.
  std::string WriteFile(const std::string& name, int first, int count) {
    auto writer =
        *TokenWriter::Create(disk_, {directory_ / name, TokenFormat::kMegatron, kVocabulary});
    std::vector<int32_t> tokens(static_cast<size_t>(count));
    std::iota(tokens.begin(), tokens.end(), first);
    EXPECT_TRUE(writer->AddDocument(tokens).ok() && writer->Finish().ok());
    return directory_ / name;
  }
  static JobSpec Spec(const std::vector<WeightedPath>& train) {
    JobSpec spec;
    spec.model.vocab_size = kVocabulary;
    spec.data.train = train;
    spec.training.sequence_length = kLength;
    return spec;
  }
  static std::unique_ptr<DataSource> Open(const JobSpec& spec) {
    auto source = DataSource::Open(spec);
    EXPECT_TRUE(source.ok()) << source.status();
    return source.ok() ? *std::move(source) : nullptr;
  }
  static std::string ErrorOf(const JobSpec& spec) {
    return std::string(DataSource::Open(spec).status().message());
  }
  static std::vector<int32_t> Train(const DataSource& source, int64_t index) {
    std::vector<int32_t> inputs(kLength), targets(kLength);
    EXPECT_TRUE(source.Train(index, inputs, targets).ok());
    for (int i = 0; i + 1 < kLength; ++i) EXPECT_EQ(targets[i], inputs[i + 1]);
    inputs.push_back(targets.back());
    return inputs;
  }
  static std::vector<int32_t> Validation(const DataSource& source, int64_t index) {
    std::vector<int32_t> inputs(kLength), targets(kLength);
    EXPECT_TRUE(source.Validation(index, inputs, targets).ok());
    inputs.push_back(targets.back());
    return inputs;
  }

  static constexpr int kVocabulary = 60000;
  testing::TemporaryDirectory directory_;
  PosixDisk disk_;
};

TEST_F(DataSourceTest, EachEpochShowsEveryWindowOnceInAnotherOrder) {
  const int windows = 50;
  const auto source = Open(Spec({{WriteFile("a", 0, windows * kLength + 1), 1.0}}));
  std::vector<std::vector<int32_t>> epochs(2);
  for (int64_t index = 0; index < 2 * windows; ++index) {
    const std::vector<int32_t> sample = Train(*source, index);
    for (int i = 0; i <= kLength; ++i) ASSERT_EQ(sample[i], sample[0] + i);
    epochs[static_cast<size_t>(index / windows)].push_back(sample[0]);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  for (auto& epoch : epochs) {
    EXPECT_FALSE(std::is_sorted(epoch.begin(), epoch.end()));
    std::sort(epoch.begin(), epoch.end());
    for (int window = 0; window < windows; ++window) EXPECT_EQ(epoch[window], window * kLength);
  }
}

TEST_F(DataSourceTest, SampleIsAFunctionOfSpecAndIndexAlone) {
  const JobSpec spec = Spec({{WriteFile("a", 0, 900), 1.0}, {WriteFile("b", 900, 500), 2.0}});
  const auto first = Open(spec), second = Open(spec);
  std::vector<std::vector<int32_t>> forwards;
  for (int64_t index = 0; index < 200; ++index) forwards.push_back(Train(*first, index));
  for (int64_t index = 199; index >= 0; --index) {
    EXPECT_EQ(Train(*second, index), forwards[static_cast<size_t>(index)]) << index;
  }
  EXPECT_NO_FATAL_FAILURE(Train(*first, int64_t{1} << 55));  // a position far away costs nothing
}

TEST_F(DataSourceTest, TargetsAreCountedBeforeTheyAreRead) {
  const auto source = Open(Spec({{WriteFile("a", 0, 900), 1.0}}));
  std::vector<int32_t> inputs(kLength), targets(kLength);
  int64_t count = 0;
  for (int64_t index = 30; index < 50; ++index) {
    EXPECT_TRUE(source->Train(index, inputs, targets).ok());
    count += std::ranges::count_if(targets, [](int32_t target) { return target >= 0; });
  }
  EXPECT_EQ(source->TrainTargets(30, 20), count);
}

TEST_F(DataSourceTest, SeedChangesTheOrder) {
  JobSpec spec = Spec({{WriteFile("a", 0, 1000), 1.0}});
  const auto first = Open(spec);
  spec.data.seed = 43;
  const auto second = Open(spec);
  int different = 0;
  for (int64_t index = 0; index < 100; ++index) {
    different += Train(*first, index) != Train(*second, index);
  }
  EXPECT_GT(different, 80);
}

TEST_F(DataSourceTest, BlendKeepsSharesAtEveryMoment) {
  const std::vector<double> weights = {5.0, 1.0, 3.0, 0.5};
  std::vector<WeightedPath> train;
  for (size_t i = 0; i < weights.size(); ++i) {
    train.push_back(
        {WriteFile(absl::StrCat("f", i), static_cast<int>(i) * 10000, 2001), weights[i]});
  }
  const auto source = Open(Spec(train));
  std::map<int, int> seen;
  for (int64_t index = 0; index < 4000; ++index) {
    ++seen[Train(*source, index)[0] / 10000];
    for (size_t i = 0; i < weights.size(); ++i) {
      const double share = weights[i] / 9.5 * static_cast<double>(index + 1);
      ASSERT_NEAR(seen[static_cast<int>(i)], share, 2.0) << "after " << index + 1 << " samples";
    }
  }
}

TEST_F(DataSourceTest, HeldOutTokensNeverStandInTraining) {
  JobSpec spec = Spec({{WriteFile("a", 0, 1000), 1.0}, {WriteFile("b", 20000, 777), 1.0}});
  spec.data.validation_split = 0.1;
  const auto source = Open(spec);
  std::set<int32_t> training, held_out;
  for (int64_t index = 0; index < 1000; ++index) {
    for (const int32_t token : Train(*source, index)) training.insert(token);
  }
  ASSERT_NEAR(static_cast<double>(source->num_validation_samples()), 0.1 * (124 + 97), 2.0);
  for (int64_t index = 0; index < source->num_validation_samples(); ++index) {
    for (const int32_t token : Validation(*source, index)) {
      EXPECT_FALSE(training.contains(token)) << token;
      held_out.insert(token);
    }
  }
  // Nothing is lost but the rests of windows: of 1777 tokens, at most one window per border.
  EXPECT_GT(training.size() + held_out.size(), 1777u - 4 * kLength);
}

TEST_F(DataSourceTest, ValidationOrderIsFixedAndWrapsAround) {
  JobSpec spec = Spec({{WriteFile("a", 0, 1000), 1.0}});
  spec.data.validation = WriteFile("v", 30000, 20 * kLength + 1);
  const auto source = Open(spec), again = Open(spec);
  ASSERT_EQ(source->num_validation_samples(), 20);
  std::set<int32_t> starts;
  for (int64_t index = 0; index < 20; ++index) {
    EXPECT_EQ(Validation(*source, index), Validation(*again, index + 20));
    starts.insert(Validation(*source, index)[0]);
  }
  EXPECT_EQ(starts.size(), 20u);
}

TEST_F(DataSourceTest, NoValidationWhereNoneIsAsked) {
  EXPECT_EQ(Open(Spec({{WriteFile("a", 0, 100), 1.0}}))->num_validation_samples(), 0);
}

TEST_F(DataSourceTest, MissingFileNamesTheCommandThatPreparesIt) {
  const std::string path = directory_ / "nothing";
  const JobSpec spec = Spec({{path, 1.0}});
  EXPECT_EQ(DataSource::Open(spec).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(ErrorOf(spec), HasSubstr(path + ".bin: No such file"));
  EXPECT_THAT(ErrorOf(spec), HasSubstr("birkhoff data tokenize --input TEXT --tokenizer bytes "
                                       "--output " +
                                       path));
}

TEST_F(DataSourceTest, ErrorsNameFileAndNeed) {
  JobSpec spec = Spec({{WriteFile("short", 0, kLength), 1.0}});
  EXPECT_THAT(ErrorOf(spec), HasSubstr("8 tokens leave no training sample; need at least 9"));
  spec = Spec({{WriteFile("a", 0, 100), 1.0}});
  spec.data.validation = WriteFile("v", 0, 3);
  EXPECT_THAT(ErrorOf(spec), HasSubstr("3 tokens leave no validation sample"));
  spec.data.validation.clear();
  spec.data.validation_split = 0.01;
  EXPECT_THAT(ErrorOf(spec), HasSubstr("data.validation_split: 0.01"));
  EXPECT_THAT(ErrorOf(Spec({})), HasSubstr("data.train: is empty"));
}

// A device does not check them; reading all of a corpus before the first step takes minutes.
TEST_F(DataSourceTest, ChecksTokensWhenItHandsThemOut) {
  JobSpec spec = Spec({{WriteFile("a", 0, 100), 1.0}});
  spec.data.validation = WriteFile("v", 45, 20);
  spec.model.vocab_size = 50;
  const auto source = Open(spec);
  std::vector<int32_t> inputs(kLength), targets(kLength);
  int refused = 0;
  for (int64_t index = 0; index < 12; ++index) {
    const absl::Status status = source->Train(index, inputs, targets);
    refused += status.ok() ? 0 : 1;
    for (const int32_t token : targets) EXPECT_TRUE(!status.ok() || token < 50);
    EXPECT_THAT(std::string(status.message()), HasSubstr(status.ok() ? "" : "need 0 to 49"));
  }
  EXPECT_EQ(refused, 6);  // windows from token 41 on
  EXPECT_EQ(source->Validation(0, inputs, targets).code(), absl::StatusCode::kInvalidArgument);
}

TEST(PermutationTest, IsOneForEverySizeAndKey) {
  for (int64_t size = 1; size <= 300; ++size) {
    const Permutation order(size, static_cast<uint64_t>(size) * 77);
    std::set<int64_t> seen;
    for (int64_t index = 0; index < size; ++index) {
      const int64_t value = order(index);
      ASSERT_GE(value, 0);
      ASSERT_LT(value, size);
      seen.insert(value);
    }
    ASSERT_EQ(static_cast<int64_t>(seen.size()), size);
  }
}

TEST(PermutationTest, IsSpreadEvenly) {
  // Of many keys, each place of the order gets each element about equally often.
  constexpr int kSize = 10, kKeys = 20000;
  std::vector<std::vector<int>> counts(kSize, std::vector<int>(kSize));
  for (int key = 0; key < kKeys; ++key) {
    const Permutation order(kSize, static_cast<uint64_t>(key));
    for (int index = 0; index < kSize; ++index) ++counts[index][order(index)];
  }
  for (const auto& row : counts) {
    for (const int count : row) EXPECT_NEAR(count, kKeys / kSize, 250);  // 6 standard deviations
  }
}

TEST(BlendTest, CountsEachSourceWithoutGaps) {
  const Blend blend({0.2, 0.5, 0.3, 1e-12, 4.0});
  std::vector<int64_t> next(5);
  for (int64_t sample = 0; sample < 20000; ++sample) {
    const Blend::Pick pick = blend(sample);
    ASSERT_EQ(pick.index, next[static_cast<size_t>(pick.source)]++) << sample;
  }
  EXPECT_LE(next[3], 1);
}

}  // namespace
}  // namespace birkhoff
