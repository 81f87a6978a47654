// Whether a spec can run: every rule, every problem at once.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/spec/job_spec.h"
#include "core/spec/problem.h"

namespace birkhoff {

// Rules that need nothing but the spec.
std::vector<Problem> ValidateJobSpec(const JobSpec& spec);

// What is odd about a spec that can run, one sentence each.
std::vector<std::string> SpecNotices(const JobSpec& spec);

// LoadJobSpec and ValidateJobSpec in one: all that is wrong with a job file, each field once.
std::vector<Problem> ReadJobSpec(std::string_view yaml, const std::vector<std::string>& overrides,
                                 JobSpec* spec);

// What a spec may hold in any form, YAML and overrides or protobuf.
inline constexpr size_t kMaxSpecBytes = 1 << 20;
inline constexpr size_t kMaxOverrides = 1024;
inline constexpr size_t kMaxListItems = 4096;  // of data.train and the like
inline constexpr size_t kMaxTextBytes = 4096;  // of a path
std::vector<Problem> CheckSpecBytes(size_t bytes);
// A path, also outside of a spec.  Paths go into messages, logs and file names: no line breaks or
// escapes, and no end.
void CheckText(const std::string& field, const std::string& text, std::vector<Problem>* problems);

// Tokens of the bytes tokenizer: 256 bytes and the end of a document.
inline constexpr int kBytesVocabulary = 257;

// Replaces model.vocab_size 0 where the spec itself says what it is (tokenizer bytes).  False: it
// is still 0, because data.tokenizer is a file that has to be asked.
bool ResolveVocabulary(JobSpec* spec);

}  // namespace birkhoff
