// One line for each figure that a test of the GPU compares with its limit: tests/gpu.sh shows them.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

namespace birkhoff {

// Fails the test where `worst` is above `limit`, or a NaN.
inline void CheckLine(const std::string& name, double worst, double limit) {
  std::printf("%-60s worst %.3g limit %.3g\n", name.c_str(), worst, limit);
  EXPECT_TRUE(worst <= limit) << name << ": " << worst << " > " << limit;
}

// The larger of two errors; a NaN stays.
inline void Raise(double& worst, double error) {
  if (!(error <= worst)) worst = error;
}

}  // namespace birkhoff
