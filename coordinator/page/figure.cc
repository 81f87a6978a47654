// Figures become JSON; curves of many points are thinned on the way, peaks kept.
#include "coordinator/page/figure.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "absl/strings/ascii.h"

namespace birkhoff {
namespace {

Json HeadingToJson(const Heading& heading, const char* type) {
  return {{"id", FigureId(heading.id)},
          {"type", type},
          {"title", heading.title},
          {"caption", heading.caption}};
}

Json AxisToJson(const Axis& axis) { return {{"label", axis.label}, {"log", axis.log}}; }

// Smallest and largest number of some neighbours, in the order in which they stand.
std::pair<double, double> Extremes(std::span<const double> values) {
  const double *least = nullptr, *most = nullptr;
  for (const double& value : values) {
    if (!std::isfinite(value)) continue;
    if (least == nullptr || value < *least) least = &value;
    if (most == nullptr || value > *most) most = &value;
  }
  if (least == nullptr) return {NAN, NAN};
  return least < most ? std::pair(*least, *most) : std::pair(*most, *least);
}

// Two points for each run of `width` neighbours.
std::vector<double> Thinned(const std::vector<double>& values, size_t width) {
  std::vector<double> kept;
  for (size_t begin = 0; begin < values.size(); begin += width) {
    const size_t count = std::min(width, values.size() - begin);
    const auto [first, second] = Extremes(std::span(values).subspan(begin, count));
    kept.push_back(first);
    if (count > 1) kept.push_back(second);
  }
  return kept;
}

// The first and the last x of each run.
std::vector<double> ThinnedX(const std::vector<double>& x, size_t width) {
  std::vector<double> kept;
  for (size_t begin = 0; begin < x.size(); begin += width) {
    const size_t count = std::min(width, x.size() - begin);
    kept.push_back(x[begin]);
    if (count > 1) kept.push_back(x[begin + count - 1]);
  }
  return kept;
}

}  // namespace

std::string FigureId(std::string_view text) {
  std::string id(text);
  for (char& c : id) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c))) c = '-';
  }
  return id;
}

Json LineFigure(const Heading& heading, const Axis& x_axis, const Axis& y_axis,
                std::vector<double> x, std::vector<Line> lines) {
  if (x.size() > kMostPoints) {
    const size_t width = 2 * ((x.size() + kMostPoints - 1) / kMostPoints);
    for (Line& line : lines) {
      for (std::vector<double>* values : {&line.y, &line.low, &line.high}) {
        *values = Thinned(*values, width);
      }
    }
    x = ThinnedX(x, width);
  }
  Json figure = HeadingToJson(heading, "lines");
  figure["x_axis"] = AxisToJson(x_axis);
  figure["y_axis"] = AxisToJson(y_axis);
  figure["x"] = std::move(x);
  figure["lines"] = Json::array();
  for (Line& line : lines) {
    Json json = {{"label", line.label}, {"y", std::move(line.y)}};
    if (!line.low.empty()) {
      json["low"] = std::move(line.low);
      json["high"] = std::move(line.high);
    }
    figure["lines"].push_back(std::move(json));
  }
  return figure;
}

Json HeatFigure(const Heading& heading, const std::string& x_label, const std::vector<double>& x,
                const std::string& y_label, const std::vector<std::vector<double>>& z) {
  Json figure = HeadingToJson(heading, "heat");
  figure["x_axis"] = AxisToJson({x_label});
  figure["y_axis"] = AxisToJson({y_label});
  figure["x"] = x;
  figure["z"] = z;
  return figure;
}

Json MatrixFigure(const Heading& heading, const std::vector<SquareMatrix>& matrices) {
  Json figure = HeadingToJson(heading, "matrices");
  figure["matrices"] = Json::array();
  for (const SquareMatrix& matrix : matrices) {
    figure["matrices"].push_back({{"label", matrix.label}, {"values", matrix.values}});
  }
  return figure;
}

Json TableFigure(const Heading& heading, const std::vector<std::string>& columns,
                 const std::vector<Json>& rows) {
  Json figure = HeadingToJson(heading, "table");
  figure["columns"] = columns;
  figure["rows"] = rows;
  return figure;
}

}  // namespace birkhoff
