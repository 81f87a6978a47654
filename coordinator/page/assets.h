// The files of report and page, as they stand in this folder, within the program (cmake/Embed.cmake).
#pragma once

#include "absl/strings/string_view.h"

namespace birkhoff {

extern const absl::string_view kReportHtml;  // a shell with {{names}}
extern const absl::string_view kLiveHtml;    // likewise, of the live page
extern const absl::string_view kPageCss;
extern const absl::string_view kTimelineJs;  // one of the charts
extern const absl::string_view kChartsJs;    // figures become charts; needs uPlot and that
extern const absl::string_view kReportJs;
extern const absl::string_view kLiveJs;
extern const absl::string_view kUPlotIifeMinJs;
extern const absl::string_view kUPlotMinCss;
extern const absl::string_view kLICENSE;  // of uPlot; goes wherever uPlot goes

}  // namespace birkhoff
