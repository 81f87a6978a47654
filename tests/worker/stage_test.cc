// What a stage promises beside right gradients: recompute, split backward, padding, accumulation,
// evaluation, and the identity with the plain residual.
#include "worker/stage.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "kernels/cpu/paths.h"
#include "tests/testing/figure.h"
#include "tests/worker/small_model.h"
#include "tests/worker/stage_chain.h"
#include "worker/transformer/initial_values.h"

namespace birkhoff {
namespace {

const ResidualKind kKinds[] = {ResidualKind::kResidual, ResidualKind::kHc, ResidualKind::kMhc};

ModelSpec DeepModel(ResidualKind kind) {
  ModelSpec model = SmallModel(kind);
  model.num_hidden_layers = 4;
  return model;
}

// Gradients and loss of one batch at the same random point.
struct Outcome {
  double loss = 0.0;
  std::map<std::string, std::vector<float>> gradients;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome TrainOnce(const ChainOptions& options, const TestBatch& batch) {
  Parameters<float> parameters = RandomParameters<float>(options.model, /*seed=*/5);
  const double loss = StageChain<float>(options, parameters).Train(batch);
  return {loss, parameters.gradients};
}

TEST(Stage, RecomputeGivesTheSameBits) {
  for (const ResidualKind kind : kKinds) {
    const ModelSpec model = DeepModel(kind);
    const TestBatch batch = RandomBatch({7, 9}, model.vocab_size, /*seed=*/6);
    for (const std::vector<int>& cuts : {std::vector<int>{}, {4}, {1, 3, 9}}) {
      const Outcome stored = TrainOnce({.model = model, .cuts = cuts}, batch);
      for (const int block : {1, 2, 3, 100}) {
        for (const bool split : {false, true}) {
          const Outcome rebuilt = TrainOnce(
              {.model = model, .cuts = cuts, .recompute_block = block, .split = split}, batch);
          EXPECT_TRUE(rebuilt == stored) << block << (split ? " split" : "");
        }
      }
    }
  }
}

TEST(Stage, SplitBackwardGivesTheSameBits) {
  for (const ResidualKind kind : kKinds) {
    const ModelSpec model = DeepModel(kind);
    const TestBatch batch = RandomBatch({16}, model.vocab_size, /*seed=*/7);
    EXPECT_TRUE(TrainOnce({.model = model, .split = true}, batch) ==
                TrainOnce({.model = model}, batch));
  }
}

TEST(Stage, RunsTwiceToTheSameBits) {
  const ModelSpec model = DeepModel(ResidualKind::kMhc);
  const TestBatch batch = RandomBatch({16}, model.vocab_size, /*seed=*/8);
  EXPECT_TRUE(TrainOnce({.model = model}, batch) == TrainOnce({.model = model}, batch));
}

// Wider than the vectors of any processor, with odd rests; long enough to be shared out.
ChainOptions WideChain(ResidualKind kind) {
  ModelSpec model = SmallModel(kind);
  model.vocab_size = 83;
  model.num_hidden_layers = 1;
  model.hidden_size = 152;
  model.intermediate_size = 301;
  return {.model = model, .capacity = 140, .sequence_length = 75};
}

TEST(Stage, InstructionsOfLoopsChangeNoBit) {
  const cpu::Paths before = cpu::ThisProcess();
  for (const ResidualKind kind : kKinds) {
    const ChainOptions options = WideChain(kind);
    const TestBatch batch = RandomBatch({75, 63}, options.model.vocab_size, /*seed=*/8);
    const Outcome best = TrainOnce(options, batch);
    for (const Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
      if (isa > BestIsa()) continue;
      cpu::SetPaths({isa, before.products});
      EXPECT_TRUE(TrainOnce(options, batch) == best) << cpu::Describe(cpu::ThisProcess());
    }
    cpu::SetPaths(before);
  }
}

TEST(Stage, ThreadsChangeNoBit) {
  const cpu::Paths before = cpu::ThisProcess();
  for (const auto products : {cpu::ProductLibrary::kOneDnn, cpu::ProductLibrary::kOpenBlas}) {
    cpu::SetPaths({before.isa, products});
    for (const ResidualKind kind : kKinds) {
      ChainOptions options = WideChain(kind);
      const TestBatch batch = RandomBatch({75, 63}, options.model.vocab_size, /*seed=*/8);
      const Outcome alone = TrainOnce(options, batch);
      for (const int threads : {2, 5}) {
        options.threads = threads;
        EXPECT_TRUE(TrainOnce(options, batch) == alone) << threads;
      }
    }
  }
  cpu::SetPaths(before);
}

double RelativeDifference(const std::vector<double>& a, const std::vector<double>& b) {
  double scale = 0.0, worst = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    scale = std::max(scale, std::abs(a[i]));
    worst = std::max(worst, std::abs(a[i] - b[i]));
  }
  return worst / scale;
}

TEST(Stage, CapacityBeyondTheTokensChangesNothing) {
  const ModelSpec model = SmallModel(ResidualKind::kMhc);
  const TestBatch batch = RandomBatch({6, 4}, model.vocab_size, /*seed=*/9);
  const Outcome exact = TrainOnce({.model = model, .cuts = {3}, .capacity = 10}, batch);
  const Outcome padded = TrainOnce({.model = model, .cuts = {3}, .capacity = 37}, batch);
  EXPECT_TRUE(exact == padded);
}

TEST(Stage, MicrobatchesAddUp) {
  for (const ResidualKind kind : kKinds) {
    const ModelSpec model = SmallModel(kind);
    const TestBatch first = RandomBatch({5, 3}, model.vocab_size, /*seed=*/10);
    const TestBatch second = RandomBatch({4, 2}, model.vocab_size, /*seed=*/11);
    TestBatch both = first;
    both.sequence_lengths.insert(both.sequence_lengths.end(), second.sequence_lengths.begin(),
                                 second.sequence_lengths.end());
    both.inputs.insert(both.inputs.end(), second.inputs.begin(), second.inputs.end());
    both.targets.insert(both.targets.end(), second.targets.begin(), second.targets.end());

    Parameters<double> whole = RandomParameters<double>(model, /*seed=*/5), sum = whole;
    const double want = StageChain<double>({.model = model}, whole).Train(both);
    StageChain<double> chain({.model = model}, sum);
    double loss = 0.0;
    for (const TestBatch* batch : {&first, &second}) {
      loss += chain.Forward(*batch, StageMode::kTrain, both.NumTargets());
      chain.Backward();
    }
    EXPECT_NEAR(loss, want, 1e-12 * want);
    for (const auto& [name, gradient] : whole.gradients) {
      EXPECT_LE(RelativeDifference(gradient, sum.gradients.at(name)), 1e-12) << name;
    }
  }
}

TEST(Stage, TheFirstGradientsOfAStepAreAssignedWhereProductsAloneMakeThem) {
  ModelSpec model = SmallModel(ResidualKind::kMhc);
  const TestBatch batch = RandomBatch({6, 4}, model.vocab_size, /*seed=*/13);
  for (const bool tied : {false, true}) {
    for (const bool split : {false, true}) {
      model.tie_embeddings = tied;
      const ChainOptions options = {.model = model, .recompute_block = 2, .split = split};
      Parameters<float> parameters = RandomParameters<float>(model, /*seed=*/5);
      StageChain<float> chain(options, parameters);
      const auto spoil = [&] {
        parameters.ClearGradients();
        for (int unit = 0; unit < NumUnits(model); ++unit) {
          for (const ParameterSpec& parameter : ParametersOfUnit(model, unit)) {
            if (!AssignsGradient(parameter)) continue;
            std::vector<float>& gradient = parameters.gradients.at(parameter.name);
            gradient.assign(gradient.size(), std::nanf(""));
          }
        }
      };
      const std::map<std::string, std::vector<float>> want = TrainOnce(options, batch).gradients;
      spoil();
      chain.Train(batch);
      EXPECT_EQ(parameters.gradients, want) << tied << split;
      // The second of a step is added, the first of the next is not.
      chain.Train(batch);
      for (const auto& [name, gradient] : want) {
        const std::vector<float>& sum = parameters.gradients.at(name);
        const std::vector<double> got(sum.begin(), sum.end());
        std::vector<double> twice(gradient.begin(), gradient.end());
        for (double& value : twice) value *= 2.0;
        EXPECT_LE(RelativeDifference(got, twice), 1e-6) << name;
      }
      spoil();
      chain.stage(0).StartGradients();
      chain.Train(batch);
      EXPECT_EQ(parameters.gradients, want) << tied << split;
    }
  }
}

TEST(Stage, MeasuresBesideTheComputeStreamChangeNoBit) {
  for (const ResidualKind kind : kKinds) {
    const ModelSpec model = DeepModel(kind);
    for (const int block : {0, 2}) {
      for (const bool split : {false, true}) {
        ChainOptions options = {
            .model = model, .cuts = {4}, .recompute_block = block, .split = split};
        const TestBatch batches[] = {RandomBatch({7, 9}, model.vocab_size, /*seed=*/14),
                                     RandomBatch({16}, model.vocab_size, /*seed=*/15)};
        Parameters<float> parameters[2];
        std::vector<std::vector<SubLayerSums>> sums;
        for (const bool beside : {false, true}) {
          options.beside = beside;
          parameters[beside] = RandomParameters<float>(model, /*seed=*/5);
          StageChain<float> chain(options, parameters[beside]);
          for (const TestBatch& batch : batches) chain.Train(batch);
          sums.push_back(chain.Sums());
        }
        EXPECT_EQ(parameters[0].gradients, parameters[1].gradients);
        EXPECT_TRUE(sums[0] == sums[1]) << block << split;
      }
    }
  }
}

TEST(Stage, TokensSeeTheirOwnSequenceOnly) {
  const ModelSpec model = SmallModel(ResidualKind::kMhc);
  TestBatch batch = RandomBatch({5, 5}, model.vocab_size, /*seed=*/12);
  std::copy_n(batch.inputs.begin(), 5, batch.inputs.begin() + 5);
  std::copy_n(batch.targets.begin(), 5, batch.targets.begin() + 5);
  TestBatch half = batch;
  half.sequence_lengths = {5};
  half.inputs.resize(5);
  half.targets.resize(5);
  const double once = TrainOnce({.model = model}, half).loss;
  EXPECT_NEAR(TrainOnce({.model = model}, batch).loss, 2 * once, 1e-5 * once);
}

TEST(Stage, EvaluationHasTheLossOfTrainingAndTouchesNothing) {
  for (const ResidualKind kind : kKinds) {
    const ModelSpec model = DeepModel(kind);
    for (const int block : {0, 3}) {
      Parameters<float> parameters = RandomParameters<float>(model, /*seed=*/13);
      const Parameters<float> before = parameters;
      StageChain<float> chain({.model = model,
                               .cuts = {3, 6},
                               .recompute_block = block,
                               .capacity = 150,
                               .sequence_length = 150},
                              parameters);
      // More than a block of logits, and not a multiple of it.
      const TestBatch batch = RandomBatch({100, 31}, model.vocab_size, /*seed=*/14);
      const double evaluated = chain.Forward(batch, StageMode::kEvaluate);
      EXPECT_EQ(chain.target_tokens(), batch.NumTargets());
      EXPECT_EQ(chain.Sums()[0].single_forward, 0.0);
      EXPECT_EQ(parameters.gradients, before.gradients);
      EXPECT_EQ(parameters.values, before.values);
      EXPECT_NEAR(chain.Forward(batch, StageMode::kTrain), evaluated, 1e-6 * evaluated);
    }
  }
}

// An evaluation forward gets no buffers but these: of what is saved as much as it is said to need.
TEST(Stage, EvaluationNeedsNoBuffersThatAreKept) {
  const ModelSpec model = SmallModel(ResidualKind::kMhc);
  Parameters<float> parameters = RandomParameters<float>(model, /*seed=*/15);
  StageChain<float> chain({.model = model}, parameters);
  const TestBatch batch = RandomBatch({16}, model.vocab_size, /*seed=*/16);
  const double loss = chain.Forward(batch, StageMode::kEvaluate);
  StageBuffers few;
  for (const Home home : {Home::kBatch, Home::kScratch}) {
    few.at[static_cast<int>(home)] = chain.buffers(0).Of(home);
  }
  const StageLayout& layout = chain.stage(0).layout();
  EXPECT_LT(layout.evaluation_bytes, layout.BytesOf(Home::kSaved));
  const auto evaluation = chain.device().Allocate(layout.evaluation_bytes).value();
  few.at[static_cast<int>(Home::kSaved)] = evaluation->data();
  few.batch = chain.buffers(0).batch;
  chain.ResetSums();
  chain.stage(0).Forward(chain.stream(), few, StageMode::kEvaluate, batch.NumTargets());
  chain.Finish();
  EXPECT_EQ(chain.loss(), loss);
}

TEST(Stage, HasNoGradientWithoutTargets) {
  const ModelSpec model = SmallModel(ResidualKind::kMhc);
  TestBatch batch = RandomBatch({4}, model.vocab_size, /*seed=*/17);
  std::fill(batch.targets.begin(), batch.targets.end(), -1);
  const Outcome outcome = TrainOnce({.model = model}, batch);
  EXPECT_EQ(outcome.loss, 0.0);
  for (const auto& [name, gradient] : outcome.gradients) {
    for (const float value : gradient) ASSERT_EQ(value, 0.0f) << name;
  }
}

// H_pre = 1/n, H_post = 1, H_res = I: every stream is the plain residual.
TEST(Stage, MhcWithFixedCoefficientsIsThePlainResidual) {
  const ModelSpec plain = SmallModel(ResidualKind::kResidual);
  ModelSpec mhc = SmallModel(ResidualKind::kMhc, MappingKind::kIdentity);
  mhc.residual.expand = ExpandKind::kCopy;
  Parameters<double> plain_parameters = RandomParameters<double>(plain, /*seed=*/18);
  Parameters<double> mhc_parameters = RandomParameters<double>(mhc, /*seed=*/18);
  for (auto& [name, values] : mhc_parameters.values) {
    if (EndsWith(name, ".phi")) std::fill(values.begin(), values.end(), 0.0);
    if (!EndsWith(name, ".bias")) continue;
    std::fill(values.begin(), values.begin() + 4, -std::log(3.0));  // sigmoid: 1/4
    std::fill(values.begin() + 4, values.end(), 0.0);               // 2 sigmoid: 1
  }
  const TestBatch batch = RandomBatch({7, 5}, plain.vocab_size, /*seed=*/19);
  const double want = StageChain<double>({.model = plain}, plain_parameters).Train(batch);
  const double got = StageChain<double>({.model = mhc}, mhc_parameters).Train(batch);
  EXPECT_NEAR(got, want, 1e-12 * want);
  Worst("mhc as the identity against the plain residual, loss", std::abs(got / want - 1.0));
  for (const auto& [name, gradient] : plain_parameters.gradients) {
    const std::vector<double>& other = mhc_parameters.gradients.at(name);
    for (size_t i = 0; i < gradient.size(); ++i) {
      ASSERT_NEAR(other[i], gradient[i], 1e-12) << name;
      Worst("mhc as the identity against the plain residual, gradients",
            std::abs(other[i] - gradient[i]));
    }
  }
}

Parameters<double> InitialParameters(const ModelSpec& model, uint64_t seed) {
  Parameters<double> parameters;
  for (int unit = 0; unit < NumUnits(model); ++unit) {
    for (const ParameterSpec& parameter : ParametersOfUnit(model, unit)) {
      std::vector<double> values;
      std::vector<float> chunk(7);
      FormInitialValues(model, parameter, seed, chunk, [&values](std::span<const float> part) {
        values.insert(values.end(), part.begin(), part.end());
      });
      parameters.Add(parameter.name, std::move(values));
    }
  }
  return parameters;
}

// HC starts as the pre-norm residual: arXiv 2409.19606 eq. 14.
TEST(Stage, HcStartsAsThePlainResidual) {
  const ModelSpec plain = SmallModel(ResidualKind::kResidual);
  ModelSpec hc = SmallModel(ResidualKind::kHc);
  hc.residual.expand = ExpandKind::kCopy;
  Parameters<double> plain_parameters = InitialParameters(plain, /*seed=*/20);
  Parameters<double> hc_parameters = InitialParameters(hc, /*seed=*/20);
  const TestBatch batch = RandomBatch({16}, plain.vocab_size, /*seed=*/21);
  const double want = StageChain<double>({.model = plain}, plain_parameters).Train(batch);
  EXPECT_NEAR(StageChain<double>({.model = hc}, hc_parameters).Train(batch), want, 1e-12 * want);
}

// Read and write gates that are not learned are 1/n and 1, so equal streams under whatever keeps
// them equal are the plain residual; and nothing moves the gates.
TEST(Stage, GatesThatAreNotLearnedAreThePlainResidualsAndStay) {
  const ModelSpec plain = SmallModel(ResidualKind::kResidual);
  Parameters<double> plain_parameters = InitialParameters(plain, /*seed=*/22);
  const TestBatch batch = RandomBatch({16}, plain.vocab_size, /*seed=*/23);
  const double want = StageChain<double>({.model = plain}, plain_parameters).Train(batch);
  std::vector<ModelSpec> models = {SmallModel(ResidualKind::kHc)};
  for (size_t kind = 0; kind < kMappings.size(); ++kind) {
    models.push_back(SmallModel(ResidualKind::kMhc, static_cast<MappingKind>(kind)));
  }
  for (ModelSpec& model : models) {
    model.residual.expand = ExpandKind::kCopy;
    model.residual.learn_pre = model.residual.learn_post = false;
    const MappingKind mapping = model.residual.mapping;
    SCOPED_TRACE(TraitsOf(mapping).name);
    Parameters<double> parameters = InitialParameters(model, /*seed=*/22);
    const double got = StageChain<double>({.model = model}, parameters).Train(batch);
    // DeepSeek's epsilons and what retention forgets are no identity.
    const bool exact = mapping != MappingKind::kDeepSeek && mapping != MappingKind::kRetention;
    EXPECT_NEAR(got, want, (exact ? 1e-12 : 1e-3) * want);
    for (const auto& [name, gradient] : parameters.gradients) {
      const bool alpha = EndsWith(name, "hc.alpha");
      if (!alpha && !EndsWith(name, "hc.bias")) continue;
      const size_t gates = alpha ? 2 : 2 * static_cast<size_t>(model.residual.streams);
      EXPECT_TRUE(std::all_of(gradient.begin(), gradient.begin() + gates, [](double value) {
        return value == 0.0;
      })) << name;
    }
  }
}

}  // namespace
}  // namespace birkhoff
