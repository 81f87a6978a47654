// birkhoff report: the paper's figures from output directories, as one page.
#include "cli/report.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "cli/local_workers.h"
#include "cli/run_directory.h"
#include "cli/spec_file.h"
#include "coordinator/page/run_figures.h"
#include "core/base/disk.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

struct ReportOptions {
  std::vector<std::string> runs;
  ReportOutput output;
};

// The first of these programs in PATH; empty: none.
std::string FindProgram(const std::vector<std::string>& names) {
  const char* path = std::getenv("PATH");
  for (const std::string& name : names) {
    for (const absl::string_view folder : absl::StrSplit(path == nullptr ? "" : path, ':')) {
      std::string candidate = absl::StrCat(folder, "/", name);
      if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    }
  }
  return "";
}

// Runs it to its end; false: it could not be started, failed, or took longer than a minute.
bool Succeeds(std::vector<std::string> command, const std::string& log) {
  constexpr absl::Duration kPatience = absl::Minutes(1), kInterval = absl::Milliseconds(20);
  ChildProcess child(std::move(command), log);
  if (!child.Start().ok()) return false;
  for (absl::Duration waited; child.running(); waited += kInterval) {
    if (waited > kPatience) return false;  // the destructor kills it
    absl::SleepFor(kInterval);
  }
  return child.wait_status() == 0;
}

// One PNG per figure, for a paper, at twice the size on the screen.
absl::Status TakePictures(const Report& report, const ReportOutput& output,
                          const Invocation& invocation) {
  const std::string browser = FindProgram({"chromium", "chromium-browser", "google-chrome"});
  if (browser.empty()) {
    *invocation.console.err << "pictures left out: no chromium in PATH\n";
    return absl::OkStatus();
  }
  PosixDisk disk;
  RETURN_IF_ERROR(disk.CreateDirectories(output.pictures));
  for (const Json& figure : report.figures) {
    const std::string id = figure["id"];
    const std::string picture = absl::StrCat(output.pictures, "/", id, ".png");
    std::vector<std::string> command = {browser,
                                        "--headless",
                                        "--hide-scrollbars",
                                        "--window-size=900,560",
                                        "--force-device-scale-factor=2",
                                        "--virtual-time-budget=2000",
                                        absl::StrCat("--screenshot=", picture),
                                        absl::StrCat("file://", output.path, "#only=", id)};
    if (::geteuid() == 0) command.push_back("--no-sandbox");  // it refuses root otherwise
    const std::string log = output.pictures + "/chromium.log";
    if (!Succeeds(std::move(command), log) || !disk.Exists(picture)) {
      return absl::UnavailableError(
          absl::StrCat(browser, " took no picture of ", id, "; see ", log));
    }
  }
  *invocation.console.err << report.figures.size() << " pictures in " << output.pictures << "\n";
  return absl::OkStatus();
}

void OpenInBrowser(const std::string& path, const Invocation& invocation) {
  const bool desktop =
      std::getenv("DISPLAY") != nullptr || std::getenv("WAYLAND_DISPLAY") != nullptr;
  const std::string opener = FindProgram({"xdg-open"});
  if (!desktop || opener.empty() || !Succeeds({opener, path}, "/dev/null")) {
    *invocation.console.err << "not opened: " << (desktop ? "no working xdg-open" : "no desktop")
                            << "; the page is " << path << "\n";
  }
}

absl::Status MakeReport(ReportOptions options, const Invocation& invocation) {
  PosixDisk disk;
  Report report;
  ASSIGN_OR_RETURN(report.runs, ReadRuns(disk, options.runs, invocation));
  report.title = report.runs.size() == 1
                     ? report.runs[0].name
                     : absl::StrCat(report.runs[0].name, " and ", report.runs.size() - 1, " more");
  report.words = absl::StrCat("What ", report.runs.size() == 1 ? "a run has" : "runs have",
                              " measured.  Sub-layers count from 0, attention and feed-forward "
                              "each on their own; a gain of 1 keeps a signal as it is.");
  report.figures = RunFigures(ListOf(report.runs));
  if (invocation.output == "json") *invocation.console.out << ReportToJson(report).dump() << "\n";
  std::string& path = options.output.path;
  if (path.empty() && invocation.output == "json") return absl::OkStatus();
  const bool alone = report.runs.size() == 1;
  if (path.empty()) path = alone ? report.runs[0].directory + "/report.html" : "report.html";
  path = AbsolutePath(path);
  return WriteReport(report, options.output, invocation);
}

}  // namespace

absl::Status WriteReport(const Report& report, const ReportOutput& output,
                         const Invocation& invocation) {
  PosixDisk disk;
  RETURN_IF_ERROR(ReplaceFile(disk, output.path, ReportPage(report)));
  *invocation.console.err << "report: " << output.path << "\n";
  if (!output.pictures.empty()) RETURN_IF_ERROR(TakePictures(report, output, invocation));
  if (output.open) OpenInBrowser(output.path, invocation);
  return absl::OkStatus();
}

void AddReport(CLI::App& verb, Invocation& invocation) {
  auto options = std::make_shared<ReportOptions>();
  verb.add_option("runs", options->runs, "Output directories, or jobs of a service")->required();
  verb.add_option("--out", options->output.path,
                  "The page; DIR/report.html of a single run, else report.html");
  verb.add_option("--pictures", options->output.pictures,
                  "Also one PNG per figure in this directory, by chromium");
  verb.add_flag("--open", options->output.open, "Open it in the desktop's browser");
  verb.callback([options, &invocation] {
    invocation.chosen = [options, &invocation] {
      return Finish(invocation.console, MakeReport(*options, invocation));
    };
  });
}

}  // namespace birkhoff
