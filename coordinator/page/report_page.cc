// The shell with its places filled; nothing that a run is called can leave its place.
#include "coordinator/page/report_page.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "coordinator/page/assets.h"
#include "core/base/version.h"
#include "core/spec/load.h"

namespace birkhoff {
namespace {

std::string Escaped(const std::string& text) {
  return absl::StrReplaceAll(text,
                             {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

// With its licence, which goes wherever the library goes.
std::string ChartScripts() {
  return absl::StrCat("/*\n", kLICENSE, "*/\n", kUPlotIifeMinJs, "\n", kTimelineJs, "\n", kChartsJs,
                      "\n");
}

std::string Styles() { return absl::StrCat(kUPlotMinCss, "\n", kPageCss); }

}  // namespace

Json ReportToJson(const Report& report) {
  Json json = {{"title", report.title}, {"words", report.words}};
  std::set<std::string> seen;
  json["labels"] = Json::array();
  json["runs"] = Json::array();
  for (const RunSeries& run : report.runs) {
    if (seen.insert(run.label).second) json["labels"].push_back(run.label);
    json["runs"].push_back({{"name", run.name},
                            {"label", run.label},
                            {"directory", run.directory},
                            {"yaml", JobSpecToYaml(run.spec)}});
  }
  json["figures"] = report.figures;
  return json;
}

std::string ReportPage(const Report& report) {
  const std::string json =
      ReportToJson(report).dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
  return absl::StrReplaceAll(kReportHtml,
                             {{"{{title}}", Escaped(report.title)},
                              {"{{words}}", Escaped(report.words)},
                              {"{{version}}", kVersion},
                              {"{{style}}", Styles()},
                              {"{{scripts}}", absl::StrCat(ChartScripts(), kReportJs)},
                              // Inside a script element only "<" could end it.
                              {"{{report}}", absl::StrReplaceAll(json, {{"<", "\\u003c"}})}});
}

std::string LivePageHtml() {
  return absl::StrReplaceAll(kLiveHtml, {{"{{version}}", kVersion},
                                         {"{{style}}", Styles()},
                                         {"{{scripts}}", absl::StrCat(ChartScripts(), kLiveJs)}});
}

}  // namespace birkhoff
