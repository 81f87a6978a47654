// DIR of `birkhoff run --out DIR`: job.yaml, metrics.jsonl, checkpoints/ and logs/, and whose they
// are.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/disk.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

// Holds a lock on DIR/.lock as long as it lives: one run per directory.
class OutputDirectory {
 public:
  struct Options {
    std::string path;
    bool fresh = false;  // forget an earlier run: its checkpoints go before job.yaml is written
    std::vector<std::string> changes;  // fields that may differ from its spec beside the free ones
    std::string init_from;             // weights that must not be forgotten
  };
  // Creates DIR, and writes the resolved spec to DIR/job.yaml.  Errors: FAILED_PRECONDITION another
  // run is using DIR; INVALID_ARGUMENT DIR holds a run whose spec may not change into this one
  // (AdmitChanges), or the weights of init_from, with `fresh`.
  static absl::StatusOr<std::unique_ptr<OutputDirectory>> Open(const Options& options,
                                                               const JobSpec& spec, Disk& disk);
  ~OutputDirectory();
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;

  const std::string& path() const { return path_; }
  bool resumes() const { return resumes_; }  // a run of this spec was there before

 private:
  OutputDirectory(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}

  const std::string path_;
  const int lock_;  // file descriptor
  bool resumes_ = false;
};

}  // namespace birkhoff
