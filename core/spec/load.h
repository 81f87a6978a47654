// YAML <-> JobSpec.  Syntax and types here; whether the values make sense is validate.h's business.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/spec/job_spec.h"
#include "core/spec/problem.h"

namespace birkhoff {

// Parses YAML text, then applies overrides ("model.residual.kind=hc", values are YAML scalars or
// flow collections).  Everything wrong with the text is appended to `problems`, all at once:
// unknown keys with the nearest valid name, wrong types with what is allowed, reserved keys by
// name.  The returned spec has defaults where a field was refused.
JobSpec LoadJobSpec(std::string_view yaml, const std::vector<std::string>& overrides,
                    std::vector<Problem>* problems);

// The resolved spec: every field, in the order of Fields(); loads back to the same values.
std::string JobSpecToYaml(const JobSpec& spec);

// The field, or every field of the section ("": all), with its meaning, what is allowed and its
// default, for `birkhoff explain`.
std::string ExplainField(std::string_view path);  // empty: unknown path

}  // namespace birkhoff
