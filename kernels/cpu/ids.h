// Token ids, which a backend that reads them checks: beyond the vocabulary there is no row.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/arguments.h"

namespace birkhoff::cpu {

inline absl::Status CheckIds(const char* op, const int32_t* ids, int64_t tokens,
                             int64_t vocabulary) {
  for (int64_t t = 0; t < tokens; ++t) {
    if (ids[t] >= 0 && ids[t] < vocabulary) continue;
    return RefuseArgument(op, absl::StrCat("ids[", t, "]=", ids[t]),
                          absl::StrCat("0 <= id < ", vocabulary).c_str());
  }
  return absl::OkStatus();
}

}  // namespace birkhoff::cpu
