// A committed checkpoint of random weights: as if some run had trained them, on as many ranks.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/format/checkpoint.h"
#include "core/spec/load.h"
#include "tests/worker/random_parameters.h"

namespace birkhoff::testing {

// A small model of bytes with grouped queries, whose context is 16 tokens.
inline JobSpec SmallSpecOfBytes() {
  JobSpec spec;
  spec.name = "small";
  spec.model.vocab_size = 257;
  spec.model.hidden_size = 16;
  spec.model.num_hidden_layers = 2;
  spec.model.num_attention_heads = 4;
  spec.model.num_key_value_heads = 2;
  spec.model.intermediate_size = 24;
  spec.training.sequence_length = 16;
  spec.data.train = {{"/nowhere/train", 1.0}};
  return spec;
}

// Into ROOT, with the parameters dealt out to `shards` files; returns the checkpoint's directory.
inline std::string CommitRandomCheckpoint(Disk& disk, const std::string& root, const JobSpec& spec,
                                          int64_t step = 7, int shards = 1, uint64_t seed = 3) {
  const Parameters<float> parameters = RandomParameters<float>(spec.model, seed);
  Manifest manifest;
  manifest.job = "jobs/" + spec.name;
  manifest.attempt = 1;
  manifest.step = step;
  manifest.spec = JobSpecToYaml(spec);
  const std::string partial =
      absl::StrCat(root, "/", PartialCheckpointName(step, manifest.job, manifest.attempt));
  EXPECT_TRUE(disk.CreateDirectories(partial).ok());
  std::map<std::string, std::vector<int64_t>> shapes;
  for (int unit = 0; unit < NumUnits(spec.model); ++unit) {
    for (const ParameterSpec& each : ParametersOfUnit(spec.model, unit)) {
      shapes[each.name] = each.shape;
    }
  }
  for (int shard = 0; shard < shards; ++shard) {
    std::vector<TensorView> tensors;
    int index = 0;
    for (const auto& [name, values] : parameters.values) {
      if (index++ % shards == shard) tensors.push_back({name, shapes.at(name), values.data()});
    }
    const std::string file = ShardFileName(shard);
    const auto written = WriteShard(disk, absl::StrCat(partial, "/", file), tensors);
    EXPECT_TRUE(written.ok()) << written.status();
    EXPECT_TRUE(AddShard(disk, partial, file, *written, manifest).ok());
  }
  const auto committed = CommitCheckpointDirectory(disk, root, std::move(manifest));
  EXPECT_TRUE(committed.ok()) << committed.status();
  return absl::StrCat(root, "/", CheckpointName(step));
}

}  // namespace birkhoff::testing
