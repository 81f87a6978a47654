// Figures as data, in the form that charts.js draws and `-o json` prints.  docs/formats.md has the
// keys.  What is not finite is null there: a gap in a line, an empty cell.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
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

Json LineFigure(const Heading& heading, const Axis& x_axis, const Axis& y_axis,
                std::vector<double> x, std::vector<Line> lines);

// Cells z[y][x]; colours go by the logarithm, with 1 in the middle.
Json HeatFigure(const Heading& heading, const std::string& x_label, const std::vector<double>& x,
                const std::string& y_label, const std::vector<std::vector<double>>& z);

// What stands for a figure that is not asked for: its heading.
Json FigureStub(const Json& figure);

struct SquareMatrix {
  std::string label;
  std::vector<double> values;  // row-major
};
Json MatrixFigure(const Heading& heading, const std::vector<SquareMatrix>& matrices);

// Cells are numbers, or words; as many in each row as there are columns.
Json TableFigure(const Heading& heading, const std::vector<std::string>& columns,
                 const std::vector<Json>& rows);

}  // namespace birkhoff
