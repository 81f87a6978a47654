#include "worker/resume.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/base/status_macros.h"
#include "core/format/checkpoint.h"

namespace birkhoff {
namespace {

// How a rank fares with one checkpoint.
enum Verdict { kUsable = 0, kDamaged = 1, kOtherModel = 2, kUnreadable = 3 };

constexpr int kMaxWords = 512;  // of a rank's complaint that reach the others

// What one rank says of a checkpoint.
struct Speech {
  int64_t verdict = kUsable;
  char words[kMaxWords] = {};
};

absl::StatusOr<int64_t> WordOfRankZero(Council& council, int64_t mine) {
  ASSIGN_OR_RETURN(const std::vector<int64_t> all,
                   Gather(council, std::span<const int64_t>(&mine, 1)));
  return all.front();
}

// The worst verdict, and everybody's complaint.
absl::StatusOr<std::pair<Verdict, std::string>> Judge(Council& council, Verdict mine,
                                                      absl::string_view words) {
  Speech speech;
  speech.verdict = mine;
  words.copy(speech.words, kMaxWords - 1);
  ASSIGN_OR_RETURN(const std::vector<Speech> all,
                   Gather(council, std::span<const Speech>(&speech, 1)));
  int64_t worst = kUsable;
  std::string complaints;
  for (const Speech& each : all) {
    worst = std::max(worst, each.verdict);
    const std::string text(each.words, strnlen(each.words, kMaxWords));
    if (text.empty() || absl::StrContains(complaints, text)) continue;
    absl::StrAppend(&complaints, complaints.empty() ? "" : "; ", text);
  }
  return std::make_pair(static_cast<Verdict>(worst), complaints);
}

// A disk that fails says nothing about the checkpoint: it is neither damaged nor passed over.
Verdict VerdictOn(const absl::Status& loaded) {
  if (IsDiskTrouble(loaded)) return kUnreadable;
  if (absl::IsInvalidArgument(loaded)) return kOtherModel;
  return loaded.ok() ? kUsable : kDamaged;
}

// Of a rank that has met the trouble itself, or has heard of it.
absl::Status Unreadable(const absl::Status& mine, const std::string& complaints) {
  return mine.ok() ? absl::UnavailableError(complaints) : mine;
}

absl::Status LoadSlot(CheckpointReader& reader, const ParameterStore::Slot& slot, Stream& stream) {
  std::vector<float> values(static_cast<size_t>(slot.count));
  const std::pair<const char*, DevicePtr<float>> tensors[] = {
      {"", slot.weight}, {".adam_m", slot.first_moment}, {".adam_v", slot.second_moment}};
  for (const auto& [suffix, target] : tensors) {
    RETURN_IF_ERROR(
        reader.Read(absl::StrCat(slot.spec.name, suffix), slot.spec.shape, values.data()));
    Upload(stream, target, values.data(), slot.count);
    stream.Synchronize();  // the values are read anew
  }
  return absl::OkStatus();
}

std::string ToText(const TokenFacts& file) {
  return absl::StrCat(file.path, " (", file.tokens, " ", file.type, " tokens, sample ", file.sample,
                      ")");
}

// Position and order of training follow from what the files hold.
absl::Status CheckFiles(const std::string& directory, const std::vector<TokenFacts>& before,
                        const std::vector<TokenFacts>& now) {
  for (size_t i = 0; i < before.size() && i < now.size(); ++i) {
    const bool same = before[i].tokens == now[i].tokens && before[i].type == now[i].type &&
                      before[i].sample == now[i].sample;
    if (same) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        directory, ": was trained on ", ToText(before[i]), "; now that file is ", ToText(now[i]),
        ": put the data back, or use another output directory, or --fresh"));
  }
  return absl::OkStatus();
}

absl::Status CheckData(const std::string& directory, const Manifest& manifest,
                       const DataFacts& data) {
  const size_t before = manifest.train_files.size();
  if (before > 0 && before != data.train.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        directory, ": was trained on ", before, " files; data.train now names ", data.train.size(),
        ": name the same ones, or use another output directory, or --fresh"));
  }
  RETURN_IF_ERROR(CheckFiles(directory, manifest.train_files, data.train));
  return CheckFiles(directory, manifest.validation_files, data.validation);
}

// INVALID_ARGUMENT: of another model, or on other data.  Anything else that is not OK: damaged.
absl::StatusOr<Progress> Load(Disk& disk, const std::string& directory,
                              const Assignment& assignment, const ParameterStore& store,
                              const DataFacts& data, Stream& stream) {
  ASSIGN_OR_RETURN(const std::unique_ptr<CheckpointReader> reader,
                   CheckpointReader::Open(disk, directory));
  const Manifest& manifest = reader->manifest();
  if (manifest.model_hash != assignment.plan.model_hash) {
    return absl::InvalidArgumentError(
        absl::StrCat(directory, ": is of model ", manifest.model_hash, "; this job has model ",
                     assignment.plan.model_hash, ": use another output directory, or --fresh"));
  }
  RETURN_IF_ERROR(CheckData(directory, manifest, data));
  for (const ParameterStore::Slot& slot : store.slots()) {
    RETURN_IF_ERROR(LoadSlot(*reader, slot, stream));
  }
  return Progress{manifest.step, manifest.tokens, manifest.skipped, manifest.skipped_in_a_row};
}

absl::StatusOr<ResumePoint> StartFresh(const std::string& root, Disk& disk, Council& council) {
  const absl::Status removed =
      council.index() == 0 ? RemoveAllCheckpoints(disk, root) : absl::OkStatus();
  ASSIGN_OR_RETURN(const auto judged,
                   Judge(council, removed.ok() ? kUsable : kDamaged, removed.message()));
  if (judged.first != kUsable) return Unreadable(removed, judged.second);
  return ResumePoint{};
}

// So that it counts for nothing from here on: its number is free, and it is no longer looked at.
std::string SetAsideWithWords(Disk& disk, const std::string& root, int64_t step) {
  const absl::StatusOr<std::string> aside = SetAside(disk, root, step);
  if (aside.ok()) return absl::StrCat("; set aside as ", root, "/", *aside);
  return absl::StrCat("; cannot be set aside: ", std::string(aside.status().message()));
}

absl::Status NoneLeft(const std::string& note) {
  return absl::InvalidArgumentError(
      absl::StrCat("no committed checkpoint can be used: ", note,
                   "; restore the files, or start over with --fresh"));
}

}  // namespace

absl::StatusOr<ResumePoint> Resume(const Assignment& assignment, const ParameterStore& store,
                                   const DataFacts& data, Disk& disk, Transport& transport,
                                   Device& device) {
  const std::string root = CheckpointRoot(assignment);
  Council& council = transport.council();
  const std::unique_ptr<Stream> stream = device.NewStream("resume");
  if (assignment.fresh) return StartFresh(root, disk, council);

  std::vector<int64_t> steps;  // rank 0's count
  if (assignment.rank == 0) {
    // Only room on the disk: training goes on without.
    RemovePartials(disk, root, assignment.job, assignment.attempt).IgnoreError();
    ASSIGN_OR_RETURN(steps, ListCheckpoints(disk, root));
  }
  ResumePoint point;
  std::vector<int64_t> passed_over;
  for (size_t i = 0;; ++i) {
    ASSIGN_OR_RETURN(const int64_t step, WordOfRankZero(council, i < steps.size() ? steps[i] : 0));
    if (step == 0) break;
    const std::string directory = absl::StrCat(root, "/", CheckpointName(step));
    const absl::StatusOr<Progress> loaded = Load(disk, directory, assignment, store, data, *stream);
    ASSIGN_OR_RETURN(const auto judged,
                     Judge(council, VerdictOn(loaded.status()), loaded.status().message()));
    if (judged.first == kUnreadable) return Unreadable(loaded.status(), judged.second);
    if (judged.first == kOtherModel) return absl::InvalidArgumentError(judged.second);
    if (judged.first == kUsable) {
      point.progress = *loaded;
      for (const int64_t over : passed_over) {
        if (assignment.rank == 0) point.note += SetAsideWithWords(disk, root, over);
      }
      return point;
    }
    absl::StrAppend(&point.note, point.note.empty() ? "" : "; ", judged.second);
    passed_over.push_back(step);
  }
  if (!point.note.empty()) return NoneLeft(point.note);
  return point;
}

}  // namespace birkhoff
