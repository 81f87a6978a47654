// The page as text: whole, self-contained, and closed to what a run is called.
#include "coordinator/page/report_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "coordinator/page/assets.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Report WithTitle(const std::string& title) {
  Report report;
  report.title = title;
  report.runs.resize(1);
  report.runs[0].name = title;
  return report;
}

// What stands between two marks.
std::string Between(const std::string& text, const std::string& from, const std::string& to) {
  const size_t begin = text.find(from);
  if (begin == std::string::npos) return "";
  return text.substr(begin + from.size(), text.find(to, begin) - begin - from.size());
}

TEST(ReportPage, HoldsItsDataAndAsksNoOtherHost) {
  const std::string page = ReportPage(WithTitle("tiny"));
  const std::string data =
      Between(page, R"(<script type="application/json" id="report">)", "</script>");
  EXPECT_EQ(Json::parse(data)["runs"][0]["name"], "tiny");
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  for (const char* outside : {"src=\"http", "href=\"http", "@import", "fetch("}) {
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  }
  EXPECT_THAT(page, Not(HasSubstr("{{"))) << "every place is filled";
}

TEST(ReportPage, NamesAreTextWhateverStandsInThem) {
  const std::string name = "</script><img src=x onerror=alert(1)>{{report}}\xff";
  const std::string page = ReportPage(WithTitle(name));
  EXPECT_THAT(page, Not(HasSubstr("<img")));
  const std::string data =
      Between(page, R"(<script type="application/json" id="report">)", "</script>");
  EXPECT_THAT(Json::parse(data)["title"].get<std::string>(), HasSubstr("</script><img"));
}

TEST(ReportPage, CarriesTheLicenceOfItsChartLibrary) {
  EXPECT_TRUE(
      absl::StartsWith(kUPlotIifeMinJs, "/*! https://github.com/leeoniya/uPlot (v1.6.32) */"));
  EXPECT_THAT(ReportPage({}), HasSubstr("Copyright (c) 2022 Leon Sorokin\n\nPermission is hereby"));
}

}  // namespace
}  // namespace birkhoff
