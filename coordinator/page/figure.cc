// Figures become JSON; curves of many points are thinned on the way, peaks kept as spread.
#include "coordinator/page/figure.h"

#include <algorithm>
#include <cmath>
#include <numeric>

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

// One number for each run of `width` neighbours: what `fold` makes of those that are finite.
template <typename Fold>
std::vector<double> Thinned(const std::vector<double>& values, size_t width, const Fold& fold) {
  std::vector<double> kept;
  for (size_t begin = 0; begin < values.size(); begin += width) {
    std::vector<double> finite;
    for (size_t i = begin; i < std::min(values.size(), begin + width); ++i) {
      if (std::isfinite(values[i])) finite.push_back(values[i]);
    }
    kept.push_back(finite.empty() ? NAN : fold(finite));
  }
  return kept;
}

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}
double Smallest(const std::vector<double>& values) { return *std::ranges::min_element(values); }
double Largest(const std::vector<double>& values) { return *std::ranges::max_element(values); }

void Thin(Line* line, size_t width) {
  const std::vector<double>& low = line->low.empty() ? line->y : line->low;
  const std::vector<double>& high = line->high.empty() ? line->y : line->high;
  *line = {line->label, Thinned(line->y, width, Mean), Thinned(low, width, Smallest),
           Thinned(high, width, Largest)};
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
    const size_t width = (x.size() + kMostPoints - 1) / kMostPoints;
    for (Line& line : lines) Thin(&line, width);
    x = Thinned(x, width, Largest);  // the last of each run
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

Json FigureStub(const Json& figure) {
  Json stub = {{"id", figure["id"]},
               {"type", figure["type"]},
               {"title", figure["title"]},
               {"caption", figure["caption"]},
               {"stub", true}};
  for (const char* axis : {"x_axis", "y_axis"}) {
    if (figure.contains(axis)) stub[axis] = figure[axis];
  }
  return stub;
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
