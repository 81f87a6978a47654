// Generation by a cache of keys and values against the whole sequence in one pass, for every kind
// of connection.
#include "worker/transformer/key_value_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/testing/figure.h"
#include "tests/worker/small_model.h"
#include "tests/worker/stage_chain.h"

namespace birkhoff {
namespace {

constexpr int kLength = 16;

std::vector<ModelSpec> Models() {
  std::vector<ModelSpec> models = {SmallModel(ResidualKind::kResidual),
                                   SmallModel(ResidualKind::kHc)};
  for (const MappingKind mapping :
       {MappingKind::kSinkhorn, MappingKind::kPermutations, MappingKind::kIdentity}) {
    models.push_back(SmallModel(ResidualKind::kMhc, mapping));
  }
  models.push_back(models[2]);
  models.back().tie_embeddings = true;
  models.push_back(models[2]);
  models.back().num_key_value_heads = models.back().num_attention_heads;
  return models;
}

// Row t: logits after token t, by evaluation of the whole sequence.
template <typename T>
std::vector<T> LogitsOfAll(StageChain<T>& chain, const TestBatch& batch) {
  chain.Forward(batch, StageMode::kEvaluate);
  return chain.Find(0, 0, Home::kScratch, "vocabulary");
}

// The worst difference of `logits` from row `token`, of the row's largest.
template <typename T>
double Difference(const std::vector<T>& logits, const std::vector<T>& all, int token) {
  const T* row = all.data() + token * int64_t(logits.size());
  double worst = 0.0, largest = 0.0;
  for (size_t v = 0; v < logits.size(); ++v) {
    const double difference = std::abs(double(logits[v]) - double(row[v]));
    if (!(difference <= worst)) worst = difference;  // a NaN stays
    largest = std::max(largest, std::abs(double(row[v])));
  }
  return worst / largest;
}

// Reads the batch as `first` tokens at once and then in steps of `stride`.
template <typename T>
double WorstOf(const ModelSpec& model, const TestBatch& batch, int first, int stride) {
  Parameters<T> parameters = RandomParameters<T>(model, /*seed=*/5);
  StageChain<T> chain({.model = model, .capacity = kLength, .sequence_length = kLength},
                      parameters);
  const std::vector<T> all = LogitsOfAll(chain, batch);
  KeyValueCache<T> cache = chain.NewCache(kLength);
  double worst = 0.0;
  for (int begin = 0, end = first; begin < kLength; begin = end, end = begin + stride) {
    end = std::min(end, kLength);
    const std::vector<T> logits =
        chain.Extend({batch.inputs.begin() + begin, batch.inputs.begin() + end}, cache);
    worst = std::max(worst, Difference(logits, all, end - 1));
    EXPECT_EQ(cache.length(), end);
  }
  return worst;
}

// Roundings of one sub-layer: sums over the streams' channels, the inner width and the sequence,
// and one of Sinkhorn's sums per turn.  Logits at random points are of order 1 before and after.
double Bound(const ModelSpec& model, double epsilon) {
  const double terms = double{1} * NumStreams(model) * model.hidden_size + model.intermediate_size +
                       kLength + model.residual.sinkhorn_iterations;
  return NumSubLayers(model) * terms * epsilon;
}

TEST(KeyValueCache, GivesTheLogitsOfTheWholeSequence) {
  for (const ModelSpec& model : Models()) {
    const TestBatch batch = RandomBatch({kLength}, model.vocab_size, /*seed=*/6);
    for (const auto& [first, stride] : {std::pair{1, 1}, {7, 1}, {5, 4}, {16, 1}}) {
      const double in_double = WorstOf<double>(model, batch, first, stride);
      const double in_float = WorstOf<float>(model, batch, first, stride);
      EXPECT_LE(in_double, Bound(model, std::numeric_limits<double>::epsilon())) << first;
      EXPECT_LE(in_float, Bound(model, std::numeric_limits<float>::epsilon())) << first;
      Worst("logits by a cache, float64", in_double);
      Worst("logits by a cache, float32", in_float);
    }
  }
}

TEST(KeyValueCache, BeginsAnewOnceItIsCleared) {
  const ModelSpec model = SmallModel(ResidualKind::kMhc);
  const TestBatch batch = RandomBatch({kLength}, model.vocab_size, /*seed=*/7);
  Parameters<float> parameters = RandomParameters<float>(model, /*seed=*/5);
  StageChain<float> chain({.model = model}, parameters);
  KeyValueCache<float> cache = chain.NewCache(kLength);
  const std::vector<float> first = chain.Extend(batch.inputs, cache);
  cache.Clear();
  EXPECT_EQ(chain.Extend(batch.inputs, cache), first);
}

}  // namespace
}  // namespace birkhoff
