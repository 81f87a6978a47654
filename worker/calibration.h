// Measures what the kernels of a job take on a device: a model of two layers of the job's shape
// trains on random tokens for a few steps, and every kernel is timed where it runs.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "core/spec/job_spec.h"
#include "kernels/device.h"

namespace birkhoff {

// `spec`: sound, with its vocabulary.  `known`: a card file's text, or empty.  Returns it anew: with
// the job's shape, with algorithms of products that it did not have (on a GPU), and with a table of
// this shape's kernels.  `card`: the device and its libraries, for people.
//
// Errors: INVALID_ARGUMENT `known` is no card file; FAILED_PRECONDITION it is of another card or
// other libraries; RESOURCE_EXHAUSTED two layers do not fit; what the backend says.
absl::StatusOr<std::string> Calibrate(const JobSpec& spec, Device& device, const std::string& card,
                                      const std::string& known);

}  // namespace birkhoff
