#include "worker/resume.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/format/checkpoint.h"

namespace birkhoff {
namespace {

// How a rank fares with one checkpoint.
enum Verdict { kUsable = 0, kDamaged = 1, kOtherModel = 2 };

constexpr int kMaxWords = 512;  // of a rank's complaint that reach the others

// All ranks of the attempt, speaking through all-gathers.
class Council {
 public:
  Council(const Assignment& assignment, Transport& transport, Device& device)
      : transport_(transport), rank_(assignment.rank), stream_(device.NewStream("resume")) {
    std::vector<int> world(assignment.world_size);
    std::iota(world.begin(), world.end(), 0);
    group_ = transport.group(world);
  }

  // Everybody's values, by rank.
  absl::StatusOr<std::vector<double>> Gather(const std::vector<double>& mine) {
    std::vector<double> all(mine.size() * group_->size());
    group_->AllGather(*stream_, mine.data(), static_cast<int64_t>(mine.size()), all.data(), -1);
    stream_->Synchronize();
    RETURN_IF_ERROR(transport_.status());
    return all;
  }
  absl::StatusOr<double> WordOfRankZero(double mine) {
    ASSIGN_OR_RETURN(const std::vector<double> all, Gather({mine}));
    return all.front();
  }
  // The worst verdict, and everybody's complaint (one character per value: all that is needed).
  absl::StatusOr<std::pair<Verdict, std::string>> Judge(Verdict mine, const std::string& words) {
    std::vector<double> speech(1 + kMaxWords, 0.0);
    speech[0] = mine;
    for (size_t i = 0; i < std::min<size_t>(words.size(), kMaxWords); ++i) {
      speech[1 + i] = static_cast<unsigned char>(words[i]);
    }
    ASSIGN_OR_RETURN(const std::vector<double> all, Gather(speech));
    double worst = kUsable;
    std::string complaints;
    for (size_t begin = 0; begin < all.size(); begin += speech.size()) {
      worst = std::max(worst, all[begin]);
      std::string text;
      for (int i = 0; i < kMaxWords && all[begin + 1 + i] != 0.0; ++i) {
        text.push_back(static_cast<char>(static_cast<unsigned char>(all[begin + 1 + i])));
      }
      if (text.empty() || complaints.find(text) != std::string::npos) continue;
      absl::StrAppend(&complaints, complaints.empty() ? "" : "; ", text);
    }
    return std::make_pair(static_cast<Verdict>(worst), complaints);
  }
  int rank() const { return rank_; }

 private:
  Transport& transport_;
  const int rank_;
  Group* group_ = nullptr;
  std::unique_ptr<Stream> stream_;
};

absl::Status LoadSlot(CheckpointReader& reader, const ParameterStore::Slot& slot) {
  const std::string& name = slot.spec.name;
  RETURN_IF_ERROR(reader.Read(name, slot.spec.shape, slot.weight));
  RETURN_IF_ERROR(reader.Read(absl::StrCat(name, ".adam_m"), slot.spec.shape, slot.first_moment));
  return reader.Read(absl::StrCat(name, ".adam_v"), slot.spec.shape, slot.second_moment);
}

// INVALID_ARGUMENT: of another model.  Anything else that is not OK: damaged.
absl::StatusOr<Progress> Load(Disk& disk, const std::string& directory,
                              const Assignment& assignment, const ParameterStore& store) {
  ASSIGN_OR_RETURN(const std::unique_ptr<CheckpointReader> reader,
                   CheckpointReader::Open(disk, directory));
  const Manifest& manifest = reader->manifest();
  if (manifest.model_hash != assignment.plan.model_hash) {
    return absl::InvalidArgumentError(
        absl::StrCat(directory, ": is of model ", manifest.model_hash, "; this job has model ",
                     assignment.plan.model_hash, ": use another output directory, or --fresh"));
  }
  for (const ParameterStore::Slot& slot : store.slots()) {
    RETURN_IF_ERROR(LoadSlot(*reader, slot));
  }
  return Progress{manifest.step, manifest.tokens, manifest.skipped, manifest.skipped_in_a_row};
}

absl::StatusOr<ResumePoint> StartFresh(const std::string& root, Disk& disk, Council& council) {
  const absl::Status removed = council.rank() == 0 ? disk.RemoveAll(root) : absl::OkStatus();
  ASSIGN_OR_RETURN(const auto judged, council.Judge(removed.ok() ? kUsable : kDamaged,
                                                    std::string(removed.message())));
  if (judged.first != kUsable) return absl::InternalError(judged.second);
  return ResumePoint{};
}

absl::Status NoneLeft(const std::string& note) {
  return absl::InvalidArgumentError(
      absl::StrCat("no committed checkpoint can be used: ", note,
                   "; restore the files, or start over with --fresh"));
}

}  // namespace

absl::StatusOr<ResumePoint> Resume(const Assignment& assignment, const ParameterStore& store,
                                   Disk& disk, Transport& transport, Device& device) {
  const std::string root = CheckpointRoot(assignment);
  Council council(assignment, transport, device);
  if (assignment.fresh) return StartFresh(root, disk, council);

  std::vector<int64_t> steps;  // rank 0's count
  if (assignment.rank == 0) {
    ASSIGN_OR_RETURN(steps, ListCheckpoints(disk, root));
  }
  ResumePoint point;
  for (size_t i = 0;; ++i) {
    const double mine = i < steps.size() ? static_cast<double>(steps[i]) : 0.0;
    ASSIGN_OR_RETURN(const double step, council.WordOfRankZero(mine));
    if (step == 0.0) break;
    const std::string directory =
        absl::StrCat(root, "/", CheckpointName(static_cast<int64_t>(step)));
    const absl::StatusOr<Progress> loaded = Load(disk, directory, assignment, store);
    const Verdict verdict = loaded.ok()                                ? kUsable
                            : absl::IsInvalidArgument(loaded.status()) ? kOtherModel
                                                                       : kDamaged;
    ASSIGN_OR_RETURN(const auto judged,
                     council.Judge(verdict, std::string(loaded.status().message())));
    if (judged.first == kOtherModel) return absl::InvalidArgumentError(judged.second);
    if (judged.first == kUsable) {
      point.progress = *loaded;
      return point;
    }
    absl::StrAppend(&point.note, point.note.empty() ? "" : "; ", judged.second);
  }
  if (!point.note.empty()) return NoneLeft(point.note);
  return point;
}

}  // namespace birkhoff
