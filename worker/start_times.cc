// Tenths of seconds: what a person waits for.
#include "worker/start_times.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/time.h"

namespace birkhoff {

void StartTimes::Begin(std::string phase, Instant now) {
  phases_.push_back({std::move(phase), now});
}

std::string StartTimes::Describe(Instant now) const {
  if (phases_.empty()) return "";
  const auto seconds = [](Instant from, Instant to) { return absl::ToDoubleSeconds(to - from); };
  std::string text =
      absl::StrFormat("first step after %.1f s:", seconds(phases_.front().began, now));
  for (size_t i = 0; i < phases_.size(); ++i) {
    const Instant end = i + 1 < phases_.size() ? phases_[i + 1].began : now;
    absl::StrAppendFormat(&text, "%s %s %.1f", i == 0 ? "" : ",", phases_[i].name,
                          seconds(phases_[i].began, end));
  }
  return text;
}

}  // namespace birkhoff
