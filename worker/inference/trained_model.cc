// One region holds all parameters, each from a multiple of 64 bytes on.
#include "worker/inference/trained_model.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/alignment.h"
#include "core/base/check.h"
#include "core/base/exit_status.h"
#include "core/base/rounding.h"
#include "core/base/status_macros.h"
#include "core/format/checkpoint.h"
#include "core/spec/model.h"
#include "core/spec/validate.h"

namespace birkhoff {
namespace {

// Floats of a parameter with what lies between it and the next.
int64_t PaddedElements(const ParameterSpec& parameter) {
  return RoundUp(parameter.NumElements(), kMemoryAlignment / int64_t{sizeof(float)});
}

// Each logical parameter once: a tied head is the embedding.
std::vector<ParameterSpec> ParametersOf(const ModelSpec& model) {
  std::vector<ParameterSpec> all;
  for (int unit = 0; unit < NumUnits(model); ++unit) {
    for (ParameterSpec& parameter : ParametersOfUnit(model, unit)) {
      const bool tied = unit > 0 && parameter.name == all.front().name;
      if (!tied) all.push_back(std::move(parameter));
    }
  }
  return all;
}

absl::StatusOr<std::string> FindCheckpoint(Disk& disk, const std::string& path) {
  if (!disk.Exists(path)) {
    return absl::NotFoundError(absl::StrCat(
        path, ": there is no such directory; need an output directory, or a checkpoint in it"));
  }
  if (disk.KindOf(path) == FileKind::kFile) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": is a file; need an output directory, or a checkpoint in it"));
  }
  if (absl::EndsWith(absl::StripSuffix(path, "/"), ".partial")) {
    return absl::NotFoundError(
        absl::StrCat(path, ": this checkpoint was never finished; need a committed one (step-N)"));
  }
  return FindWeights(disk, path);
}

absl::StatusOr<JobSpec> SpecOf(const std::string& directory, const Manifest& manifest) {
  JobSpec spec;
  const std::vector<Problem> problems = ReadJobSpec(manifest.spec, {}, &spec);
  if (!problems.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(directory, ": this release cannot read the spec in its manifest: ",
                     ProblemToString(problems.front())));
  }
  if (!ResolveVocabulary(&spec)) {
    return absl::InvalidArgumentError(
        absl::StrCat(directory, ": the spec in its manifest has no model.vocab_size"));
  }
  return spec;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TrainedModel>> TrainedModel::Load(Disk& disk,
                                                                 const std::string& path,
                                                                 Device& device) {
  std::unique_ptr<TrainedModel> model(new TrainedModel());
  ASSIGN_OR_RETURN(model->directory_, FindCheckpoint(disk, path));
  const absl::Status read = model->Read(disk, device);
  if (read.ok()) return model;
  if (!absl::IsDataLoss(read) || model->directory_ == path) return read;
  return Reworded(
      read, absl::StrCat(std::string(read.message()), "; or name an earlier checkpoint beside it"));
}

absl::Status TrainedModel::Read(Disk& disk, Device& device) {
  ASSIGN_OR_RETURN(const std::unique_ptr<CheckpointReader> reader,
                   CheckpointReader::Open(disk, directory_));
  step_ = reader->manifest().step;
  ASSIGN_OR_RETURN(spec_, SpecOf(directory_, reader->manifest()));
  const std::vector<ParameterSpec> parameters = ParametersOf(spec_.model);
  int64_t elements = 0;
  for (const ParameterSpec& parameter : parameters) elements += PaddedElements(parameter);
  ASSIGN_OR_RETURN(memory_, device.Allocate(elements * int64_t{sizeof(float)}));
  const std::unique_ptr<Stream> stream = device.NewStream("weights");
  DevicePtr<float> next = memory_->data().As<float>();
  std::vector<float> values;
  for (const ParameterSpec& parameter : parameters) {
    const int64_t count = parameter.NumElements();
    values.resize(static_cast<size_t>(count));
    RETURN_IF_ERROR(reader->Read(parameter.name, parameter.shape, values.data()));
    Upload(*stream, next, values.data(), count);
    stream->Synchronize();  // the values are read anew
    weights_[parameter.name] = next;
    next = next + PaddedElements(parameter);
  }
  return absl::OkStatus();
}

WeightLookup<float> TrainedModel::Lookup() const {
  const auto find = [this](const std::string& name) {
    const auto weight = weights_.find(name);
    BIRKHOFF_CHECK(weight != weights_.end(), name.c_str());
    return Weight<float>{weight->second, nullptr};
  };
  return {find, find};
}

}  // namespace birkhoff
