// A checkpoint: a directory of safetensors shards with a manifest.json that maps plan-independent
// tensor names to shards, so that any plan can load what any plan has written.  Its place and its
// removal: checkpoint_root.h.
//
// A parameter NAME is three fp32 tensors: "NAME", "NAME.adam_m", "NAME.adam_v".
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/disk.h"
#include "core/format/checkpoint_root.h"
#include "core/format/shard.h"
#include "core/format/token_file.h"

namespace birkhoff {

struct ManifestTensor {
  std::string shard;  // file name
  std::vector<int64_t> shape;
  std::string dtype;
  std::string checksum;
};

struct ManifestShard {
  std::string file;
  int64_t bytes = 0;
  std::string checksum;         // of the whole file
  std::string header_checksum;  // of its header: tensors have their own
};

// Where the weights of a run came from before its first step.
struct WeightsOrigin {
  std::string directory;   // as it was asked for; empty: they were drawn from training.seed
  std::string checkpoint;  // the one that was read
};

struct Manifest {
  std::string job;
  int attempt = 0;
  int64_t step = 0;  // steps finished, skipped ones too
  int64_t tokens = 0;
  int64_t skipped = 0;
  int64_t skipped_in_a_row = 0;
  int64_t commit = 0;       // commits into the root up to this one; 0: written before they counted
  int64_t next_sample = 0;  // of the training order: the data position
  std::vector<TokenFacts> train_files, validation_files;  // none: written before they were kept
  uint64_t data_seed = 0;  // the generators hold no other state: they follow from seed and step
  uint64_t training_seed = 0;
  WeightsOrigin origin;
  std::string model_hash;
  std::string plan_hash;
  std::string spec;  // resolved YAML
  std::map<std::string, ManifestTensor> tensors;
  std::vector<ManifestShard> shards;
};

// JSON with a checksum of itself as the last key.
std::string ManifestToJson(const Manifest& manifest);
absl::StatusOr<Manifest> ManifestFromJson(std::string_view json);  // DATA_LOSS says what is wrong

// Reads the shard and adds its tensors and itself; `written` is what the writer said, and is
// compared with the bytes that are there.
// DATA_LOSS: the file is not what was written.
absl::Status AddShard(Disk& disk, const std::string& directory, const std::string& file,
                      const WrittenShard& written, Manifest& manifest);

// Writes the manifest beside the shards in the partial directory, makes everything durable, and
// commits by one rename; numbers the commit.  Returns the manifest's checksum.  A committed
// checkpoint of the same step (damaged, or it would have been resumed) gives way: it is removed, or
// set aside where it holds files of others.
absl::StatusOr<std::string> CommitCheckpointDirectory(Disk& disk, const std::string& root,
                                                      Manifest manifest);

// Not thread-safe.
class CheckpointReader {
 public:
  // Verifies the manifest, that all shards are there with their sizes, and their headers.
  // DATA_LOSS names the file or the tensor.
  static absl::StatusOr<std::unique_ptr<CheckpointReader>> Open(Disk& disk,
                                                                const std::string& directory);
  const Manifest& manifest() const { return manifest_; }
  // Reads fp32 values of exactly this shape.  DATA_LOSS names the tensor and its shard.
  absl::Status Read(const std::string& name, const std::vector<int64_t>& shape, float* out);

 private:
  CheckpointReader(Disk& disk, std::string directory)
      : disk_(disk), directory_(std::move(directory)) {}
  absl::Status OpenShard(const ManifestShard& shard);
  absl::Status CheckTensors() const;

  Disk& disk_;
  const std::string directory_;
  Manifest manifest_;
  std::map<std::string, ShardHeader> headers_;  // by file
};

}  // namespace birkhoff
