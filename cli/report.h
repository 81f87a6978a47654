// Writing reports: shared by `birkhoff report` and `birkhoff compare`.
#pragma once

#include <string>
#include <vector>

#include "cli/invocation.h"
#include "coordinator/page/report_page.h"

namespace birkhoff {

struct ReportOutput {
  std::string path;      // of the page
  std::string pictures;  // directory for one PNG per figure; empty: none
  bool open = false;     // in the desktop's browser, where there is a desktop
};

// Writes the page, then what else was asked for.  Where a browser is missing the page stands
// nonetheless, and err says what was left out.  Errors: the disk's.
absl::Status WriteReport(const Report& report, const ReportOutput& output,
                         const Invocation& invocation);

}  // namespace birkhoff
