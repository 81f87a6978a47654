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

// Neighbours in [begin, end) that become one point each `width`.
struct Stretch {
  size_t begin = 0, end = 0, width = 1;
};

// The stretch that is looked at closely, between what lies before and behind it.
std::vector<Stretch> Stretches(const std::vector<double>& x, const Detail& detail) {
  const auto width = [&detail](size_t length) {
    return std::max<size_t>(1, (length + detail.points - 1) / detail.points);
  };
  const size_t begin = std::ranges::lower_bound(x, detail.first) - x.begin();
  const size_t end = std::max<size_t>(begin, std::ranges::upper_bound(x, detail.last) - x.begin());
  return {{0, begin, width(x.size())},
          {begin, end, width(end - begin)},
          {end, x.size(), width(x.size())}};
}

// One number for each run of neighbours: what `fold` makes of those that are finite.
template <typename Fold>
std::vector<double> Thinned(const std::vector<double>& values,
                            const std::vector<Stretch>& stretches, const Fold& fold) {
  std::vector<double> kept, finite;
  for (const Stretch& stretch : stretches) {
    for (size_t begin = stretch.begin; begin < stretch.end; begin += stretch.width) {
      finite.clear();
      for (size_t i = begin; i < std::min(stretch.end, begin + stretch.width); ++i) {
        if (std::isfinite(values[i])) finite.push_back(values[i]);
      }
      kept.push_back(finite.empty() ? NAN : fold(finite));
    }
  }
  return kept;
}

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}
double Smallest(const std::vector<double>& values) { return *std::ranges::min_element(values); }
double Largest(const std::vector<double>& values) { return *std::ranges::max_element(values); }

void Thin(Line* line, const std::vector<Stretch>& stretches) {
  const std::vector<double>& low = line->low.empty() ? line->y : line->low;
  const std::vector<double>& high = line->high.empty() ? line->y : line->high;
  *line = {line->label, Thinned(line->y, stretches, Mean), Thinned(low, stretches, Smallest),
           Thinned(high, stretches, Largest)};
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
                std::vector<double> x, std::vector<Line> lines, const Detail& detail) {
  if (x.size() > detail.points) {
    const std::vector<Stretch> stretches = Stretches(x, detail);
    for (Line& line : lines) Thin(&line, stretches);
    x = Thinned(x, stretches, Largest);  // the last of each run
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

bool FigureList::Asks(const Heading& next) const {
  return figures_.size() < request_.first || request_.shown.contains(FigureId(next.id));
}

Detail FigureList::DetailOf(const Heading& heading) const {
  const auto detail = request_.shown.find(FigureId(heading.id));
  return detail == request_.shown.end() ? Detail() : detail->second;
}

void FigureList::AddStub(const Json& figure) {
  Json stub;
  for (const char* key : {"id", "type", "title", "caption", "x_axis", "y_axis"}) {
    if (figure.contains(key)) stub[key] = figure[key];
  }
  stub["stub"] = true;
  Add(std::move(stub));
}

}  // namespace birkhoff
