// A report: one HTML page that holds all it shows, with no other host.
#pragma once

#include <string>
#include <vector>

#include "coordinator/page/figure.h"
#include "coordinator/page/run_series.h"

namespace birkhoff {

struct Report {
  std::string title;
  std::string words;  // a sentence or two below it
  std::vector<RunSeries> runs;
  std::vector<Json> figures;
};

// {title, words, labels, runs, figures}: what the page draws.
Json ReportToJson(const Report& report);
std::string ReportPage(const Report& report);

// The live page, which asks its own server for what it shows.
std::string LivePageHtml();

}  // namespace birkhoff
