// Figures as data, in the form that charts.js draws and `-o json` prints.  docs/formats.md has the
// keys.  What is not finite is null there: a gap in a line, an empty cell.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace birkhoff {

using Json = nlohmann::ordered_json;

struct Heading {
  std::string id;  // unique in a page, as FigureId makes it
  std::string title;
  std::string caption;  // what is shown, and how it was made
};

// Letters and digits as they are, '-' for all else: what can stand in an address.
std::string FigureId(std::string_view text);

struct Axis {
  std::string label;
  bool log = false;
};

// One curve over the x of its figure; `low` and `high`, the spread, are empty or as long as `y`.
struct Line {
  std::string label;
  std::vector<double> y = {}, low = {}, high = {};
};

// Long figures are thinned: of each run of neighbours the mean stays, in a band from the smallest
// to the largest.
inline constexpr size_t kMostPoints = 2000;

// How closely a line is looked at: of the stretch of x from `first` to `last`, and of the whole,
// so many points.  What lies beside the stretch is as coarse as it is without one.
struct Detail {
  size_t points = kMostPoints;  // > 0
  double first = -std::numeric_limits<double>::infinity();
  double last = std::numeric_limits<double>::infinity();
};

// x ascends.
Json LineFigure(const Heading& heading, const Axis& x_axis, const Axis& y_axis,
                std::vector<double> x, std::vector<Line> lines, const Detail& detail = {});

// Cells z[y][x]; colours go by the logarithm, with 1 in the middle.
Json HeatFigure(const Heading& heading, const std::string& x_label, const std::vector<double>& x,
                const std::string& y_label, const std::vector<std::vector<double>>& z);

struct SquareMatrix {
  std::string label;
  std::vector<double> values;  // row-major
};
Json MatrixFigure(const Heading& heading, const std::vector<SquareMatrix>& matrices);

// Cells are numbers, or words; as many in each row as there are columns.
Json TableFigure(const Heading& heading, const std::vector<std::string>& columns,
                 const std::vector<Json>& rows);

// What somebody wants to see of many figures: those that are named, and the first of the page.
struct FigureRequest {
  size_t first = std::numeric_limits<size_t>::max();  // all
  std::map<std::string, Detail> shown = {};           // by id
};

// The figures of a page in their order.  One that nobody asks for is a stub, its heading and axes:
// whoever adds it asks first, and leaves its numbers alone.
class FigureList {
 public:
  explicit FigureList(FigureRequest request) : request_(std::move(request)) {}

  bool Asks(const Heading& next) const;
  Detail DetailOf(const Heading& heading) const;
  void Add(Json figure) { figures_.push_back(std::move(figure)); }
  void AddStub(const Json& figure);  // what it holds beyond heading and axes is dropped
  std::vector<Json> Take() { return std::move(figures_); }

 private:
  const FigureRequest request_;
  std::vector<Json> figures_;
};

}  // namespace birkhoff
