// What the start of a rank takes, phase by phase, as a line for people.
#pragma once

#include <string>
#include <vector>

#include "core/base/clock.h"

namespace birkhoff {

class StartTimes {
 public:
  // A phase that lasts until the next begins.
  void Begin(std::string phase, Instant now);
  // "first step after 9.1 s: model 3.4, data 0.1, first step 5.6", where the last phase ends now.
  std::string Describe(Instant now) const;

 private:
  struct Phase {
    std::string name;
    Instant began;
  };
  std::vector<Phase> phases_;
};

}  // namespace birkhoff
