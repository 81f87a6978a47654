// All ranks walk down rank 0's list of checkpoints together: each loads the next one, then all
// judge it (Judge), so that every rank leaves every turn the same way.
#include "worker/resume.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "core/base/printable.h"
#include "core/base/rng.h"
#include "core/base/status_macros.h"
#include "core/format/checkpoint.h"
#include "core/spec/load.h"
#include "core/spec/spec_change.h"

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
  Shortened(std::string(words), kMaxWords - 1).copy(speech.words, kMaxWords - 1);
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

// The first `tensors` of weight, first and second moment.
absl::Status LoadSlot(CheckpointReader& reader, const ParameterStore::Slot& slot, size_t tensors,
                      Stream& stream) {
  std::vector<float> values(static_cast<size_t>(slot.count));
  const std::pair<const char*, DevicePtr<float>> all[] = {
      {"", slot.weight}, {".adam_m", slot.first_moment}, {".adam_v", slot.second_moment}};
  for (const auto& [suffix, target] : std::span(all).first(tensors)) {
    RETURN_IF_ERROR(
        reader.Read(absl::StrCat(slot.spec.name, suffix), slot.spec.shape, values.data()));
    Upload(stream, target, values.data(), slot.count);
    stream.Synchronize();  // the values are read anew
  }
  return absl::OkStatus();
}

absl::StatusOr<JobSpec> SpecOf(const std::string& directory, const Manifest& manifest) {
  std::vector<Problem> problems;
  JobSpec spec = LoadJobSpec(manifest.spec, {}, &problems);
  if (problems.empty()) return spec;
  return absl::InvalidArgumentError(absl::StrCat(
      directory, ": this release cannot read the spec in its manifest: ",
      ProblemToString(problems.front()), "; give another --out, or --fresh to forget it"));
}

// INVALID_ARGUMENT with `words` in front.
absl::Status WrongRun(const std::string& directory, absl::string_view words) {
  return absl::InvalidArgumentError(absl::StrCat(directory, ": ", words));
}

std::string WithoutSlash(absl::string_view path) {
  while (path.size() > 1 && absl::ConsumeSuffix(&path, "/")) {
  }
  return std::string(path);
}

// A run has one beginning: --init-from means the one that it had, or a new run.
absl::Status CheckOrigin(const std::string& directory, const WeightsOrigin& origin,
                         const std::string& init_from) {
  if (init_from.empty() || WithoutSlash(init_from) == origin.directory) return absl::OkStatus();
  return WrongRun(
      directory,
      absl::StrCat("began with ",
                   origin.directory.empty() ? "random weights"
                                            : absl::StrCat("the weights of ", origin.directory),
                   "; now --init-from says ", init_from,
                   ": leave it out to train on, or give another --out, or --fresh to forget it"));
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
                       const Assignment& assignment, const DataFacts& data) {
  const size_t before = manifest.train_files.size();
  if (before > 0 && before != data.train.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        directory, ": was trained on ", before, " files; data.train now names ", data.train.size(),
        ": name the same ones, or use another output directory, or --fresh"));
  }
  RETURN_IF_ERROR(CheckFiles(directory, manifest.train_files, data.train));
  if (IsAskedFor(kValidationData, assignment.changes)) return absl::OkStatus();
  const absl::Status validation = CheckFiles(directory, manifest.validation_files, data.validation);
  if (validation.ok()) return validation;
  return absl::InvalidArgumentError(absl::StrCat(std::string(validation.message()),
                                                 "; or ask for it: --change ", kValidationData));
}

// INVALID_ARGUMENT: of another run.  Anything else that is not OK: damaged.
absl::StatusOr<ResumePoint> Load(Disk& disk, const std::string& directory,
                                 const Assignment& assignment, const ParameterStore& store,
                                 const DataFacts& data, Stream& stream) {
  ASSIGN_OR_RETURN(const std::unique_ptr<CheckpointReader> reader,
                   CheckpointReader::Open(disk, directory));
  const Manifest& manifest = reader->manifest();
  ASSIGN_OR_RETURN(JobSpec before, SpecOf(directory, manifest));
  const bool moved = !std::ranges::equal(before.data.train, assignment.spec.data.train, {},
                                         &WeightedPath::path, &WeightedPath::path);
  const absl::StatusOr<std::string> changes =
      AdmitChanges({std::move(before), assignment.spec, assignment.changes, manifest.step});
  if (!changes.ok()) return WrongRun(directory, changes.status().message());
  if (moved && manifest.train_files.empty()) {
    return WrongRun(directory, absl::StrCat(*changes,
                                            ": it was written before checkpoints said "
                                            "what their data hold, so the data cannot move"));
  }
  if (manifest.model_hash != assignment.plan.model_hash) {
    return WrongRun(directory, absl::StrCat("is of model ", manifest.model_hash,
                                            "; this job has model ", assignment.plan.model_hash,
                                            ": use another output directory, or --fresh"));
  }
  RETURN_IF_ERROR(CheckOrigin(directory, manifest.origin, assignment.init_from));
  RETURN_IF_ERROR(CheckData(directory, manifest, assignment, data));
  for (const ParameterStore::Slot& slot : store.slots()) {
    RETURN_IF_ERROR(LoadSlot(*reader, slot, 3, stream));
  }
  ResumePoint point;
  point.progress = {manifest.step, manifest.tokens, manifest.skipped, manifest.skipped_in_a_row};
  if (!changes->empty()) point.notice = absl::StrCat("changed since: ", *changes);
  point.origin = manifest.origin;
  return point;
}

bool ShapesTensors(const std::string& field) {
  for (const char* shaping :
       {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "intermediate_size", "tie_embeddings", "residual.kind",
        "residual.streams", "residual.mapping"}) {
    if (field == absl::StrCat("model.", shaping)) return true;
  }
  return false;
}

// A new run with the weights that stand there.
absl::StatusOr<ResumePoint> LoadWeights(Disk& disk, const std::string& directory,
                                        const Assignment& assignment, const ParameterStore& store,
                                        Stream& stream) {
  ASSIGN_OR_RETURN(const std::unique_ptr<CheckpointReader> reader,
                   CheckpointReader::Open(disk, directory));
  const Manifest& manifest = reader->manifest();
  ASSIGN_OR_RETURN(const JobSpec before, SpecOf(directory, manifest));
  const bool same_shapes = manifest.model_hash == assignment.plan.model_hash;
  std::vector<FieldChange> changes = CompareSpecs(before, assignment.spec);
  std::erase_if(changes, [&](const FieldChange& change) {
    return !change.path.starts_with("model.") || (!same_shapes && !ShapesTensors(change.path));
  });
  if (!same_shapes) {
    return WrongRun(directory,
                    absl::StrCat("its weights have other shapes: ", ChangesInWords(changes),
                                 "; --init-from needs these ", "fields as they are there"));
  }
  for (const ParameterStore::Slot& slot : store.slots()) {
    RETURN_IF_ERROR(LoadSlot(*reader, slot, 1, stream));
  }
  ResumePoint point;
  point.origin = {WithoutSlash(assignment.init_from), directory};
  point.notice = absl::StrCat("with the weights of ", directory, " (step ", manifest.step, " of ",
                              manifest.job, "); moments, schedule and data begin anew");
  if (!changes.empty()) {
    absl::StrAppend(&point.notice, "; another model than there: ", ChangesInWords(changes));
  }
  return point;
}

// What all ranks make of it: the own error, or that another rank has one.
absl::Status Agree(Council& council, const absl::Status& mine) {
  ASSIGN_OR_RETURN(const auto judged,
                   Judge(council, mine.ok() ? kUsable : kDamaged, mine.message()));
  if (judged.first == kUsable || !mine.ok()) return mine;
  return absl::UnavailableError(judged.second);
}

absl::StatusOr<ResumePoint> BeginFrom(const Assignment& assignment, const ParameterStore& store,
                                      Disk& disk, Council& council, Stream& stream) {
  const absl::StatusOr<std::string> found = FindWeights(disk, assignment.init_from);
  RETURN_IF_ERROR(Agree(council, found.status()));
  const int64_t hash = static_cast<int64_t>(StableHash(*found));
  ASSIGN_OR_RETURN(const std::vector<int64_t> all,
                   Gather(council, std::span<const int64_t>(&hash, 1)));
  if (std::ranges::count(all, hash) != static_cast<int64_t>(all.size())) {
    return absl::UnavailableError(absl::StrCat(
        assignment.init_from, ": a newer checkpoint came while the ranks looked for weights"));
  }
  const absl::StatusOr<ResumePoint> point = LoadWeights(disk, *found, assignment, store, stream);
  RETURN_IF_ERROR(Agree(council, point.status()));
  return point;
}

absl::Status StartFresh(const Assignment& assignment, const std::string& root, Disk& disk,
                        Council& council) {
  if (!assignment.init_from.empty() && WouldForget(root, assignment.init_from)) {
    return absl::InvalidArgumentError(absl::StrCat("--init-from ", assignment.init_from,
                                                   ": --fresh would forget these weights; give "
                                                   "another --out"));
  }
  const absl::Status removed =
      council.index() == 0 ? RemoveAllCheckpoints(disk, root) : absl::OkStatus();
  ASSIGN_OR_RETURN(const auto judged,
                   Judge(council, removed.ok() ? kUsable : kDamaged, removed.message()));
  return judged.first == kUsable ? absl::OkStatus() : Unreadable(removed, judged.second);
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

// The newest checkpoint of ROOT that all can use; nothing: there is none.
absl::StatusOr<std::optional<ResumePoint>> ResumeOwn(const Assignment& assignment,
                                                     const ParameterStore& store,
                                                     const DataFacts& data, Disk& disk,
                                                     Council& council, Stream& stream) {
  const std::string root = CheckpointRoot(assignment);
  std::vector<int64_t> steps;  // rank 0's count
  if (assignment.rank == 0) {
    // Only room on the disk: training goes on without.
    RemovePartials(disk, root, assignment.job, assignment.attempt).IgnoreError();
    ASSIGN_OR_RETURN(steps, ListCheckpoints(disk, root));
  }
  std::string note;
  std::vector<int64_t> passed_over;
  for (size_t i = 0;; ++i) {
    ASSIGN_OR_RETURN(const int64_t step, WordOfRankZero(council, i < steps.size() ? steps[i] : 0));
    if (step == 0) break;
    const std::string directory = absl::StrCat(root, "/", CheckpointName(step));
    absl::StatusOr<ResumePoint> point = Load(disk, directory, assignment, store, data, stream);
    const Verdict verdict = VerdictOn(point.status());
    ASSIGN_OR_RETURN(const auto judged, Judge(council, verdict, point.status().message()));
    if (judged.first == kUnreadable) return Unreadable(point.status(), judged.second);
    if (judged.first == kOtherModel) {  // the own words are whole
      return verdict == kOtherModel ? point.status() : absl::InvalidArgumentError(judged.second);
    }
    if (judged.first == kUsable) {
      for (const int64_t over : passed_over) {
        if (assignment.rank == 0) note += SetAsideWithWords(disk, root, over);
      }
      point->note = note;
      return *std::move(point);
    }
    absl::StrAppend(&note, note.empty() ? "" : "; ", judged.second);
    passed_over.push_back(step);
  }
  if (!note.empty()) return NoneLeft(note);
  return std::nullopt;
}

}  // namespace

absl::StatusOr<ResumePoint> Resume(const Assignment& assignment, const ParameterStore& store,
                                   const DataFacts& data, Disk& disk, Transport& transport,
                                   Device& device) {
  const std::string root = CheckpointRoot(assignment);
  Council& council = transport.council();
  const std::unique_ptr<Stream> stream = device.NewStream("resume");
  if (assignment.fresh) {
    RETURN_IF_ERROR(StartFresh(assignment, root, disk, council));
  } else {
    ASSIGN_OR_RETURN(const std::optional<ResumePoint> point,
                     ResumeOwn(assignment, store, data, disk, council, *stream));
    if (point.has_value()) return *point;
  }
  if (assignment.init_from.empty()) return ResumePoint{};
  return BeginFrom(assignment, store, disk, council, *stream);
}

}  // namespace birkhoff
