// What may change between a checkpoint and the job that resumes from it: every field of the spec
// has one of three rules, and here is the only place that knows them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "core/spec/job_spec.h"
#include "core/spec/problem.h"

namespace birkhoff {

enum class ChangeRule {
  kNoticed,       // the same training goes on: said, never refused
  kWhenAsked,     // it goes on in another way: only where somebody asks for it (--change FIELD)
  kAnotherModel,  // what was trained so far is of no use to it: refused
};

// In the order of Fields(), each field once.  data.train: kNoticed is for its paths; the worker
// sees to it that the same data lie there, as behind data.validation.
const std::vector<std::pair<std::string_view, ChangeRule>>& ChangeRules();

// The field whose data, beyond its path, may change when asked for: nothing is trained on them.
inline constexpr char kValidationData[] = "data.validation";

struct FieldChange {
  std::string path;
  std::string before, now;  // as the resolved YAML writes them; long ones are shortened
  ChangeRule rule = ChangeRule::kAnotherModel;
};

// Every field whose value is another one, in the order of Fields().  Rules are those of the table,
// but for what follows from several fields: other weights or another number of training files make
// another model, and so does holding out another share of them, by data.validation or
// data.validation_split.
std::vector<FieldChange> CompareSpecs(const JobSpec& before, const JobSpec& now);

// "optimizer.lr: 0.001 there, 0.002 now"; several are joined by "; ".
std::string ChangesInWords(const std::vector<FieldChange>& changes);

// Whether `asked`, paths of fields or sections, has this field.
bool IsAskedFor(std::string_view field, const std::vector<std::string>& asked);

// What is wrong with a list of fields that may change: one problem, of `field`, for each that is
// unknown or can never change.
std::vector<Problem> CheckAskedChanges(const std::vector<std::string>& asked,
                                       const std::string& field);

struct Resumption {
  JobSpec before;                  // of the run that is resumed
  JobSpec now;                     // of the job that resumes it
  std::vector<std::string> asked;  // fields and sections that somebody wants to change
  int64_t step = 0;                // finished so far; 0: unknown
};

// What has changed, in words, and what the learning rate does where it follows from that; empty:
// nothing.  INVALID_ARGUMENT: a field may not change, or nobody has asked for it; names all of
// them, with both values and the remedy.
absl::StatusOr<std::string> AdmitChanges(const Resumption& resumption);

}  // namespace birkhoff
