// The losses of a run in one line of text.
#pragma once

#include <string>
#include <vector>

namespace birkhoff {

// Of as many steps as there are, in bounded memory.
class LossCurve {
 public:
  void Add(double loss);  // one that is not finite is left out
  bool empty() const { return points_.empty(); }
  double first() const { return first_; }
  double last() const { return last_; }
  // At most `columns` characters, one per stretch of steps, from the lowest mean loss to the
  // highest: with `unicode` in bars, else in ASCII.
  std::string Sparkline(int columns, bool unicode) const;

 private:
  struct Point {
    double sum = 0.0;
    int count = 0;
  };
  std::vector<Point> points_;  // means of `stretch_` losses each; the last may hold fewer
  int stretch_ = 1;
  double first_ = 0.0, last_ = 0.0;
};

}  // namespace birkhoff
