// The figures that docs/correctness.md quotes.  A test program prints the worst of each as it ends:
//   ctest --test-dir build -V | grep -o 'figure .*'
#pragma once

#include <cstdio>
#include <map>
#include <string>

namespace birkhoff {

// Notes a value of which only the largest is of interest.  From the thread of the tests.
inline void Worst(const std::string& figure, double value) {
  struct Figures {
    ~Figures() {
      for (const auto& [name, worst] : values)
        std::printf("figure %s: %.3g\n", name.c_str(), worst);
    }
    std::map<std::string, double> values;
  };
  static Figures figures;
  const auto [found, is_new] = figures.values.emplace(figure, value);
  if (!is_new && !(value <= found->second)) found->second = value;  // a NaN stays
}

}  // namespace birkhoff
