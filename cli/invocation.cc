// The top of the command line: global options, and the verbs below them.
#include "cli/invocation.h"

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "cli/command_line.h"
#include "cli/hand_over.h"
#include "cli/service_client.h"
#include "cli/verbs.h"
#include "core/base/version.h"

namespace birkhoff {

void BuildCommandLine(CLI::App& app, Invocation& invocation) {
  PrepareCommandLine(app);
  app.fallthrough();
  app.set_version_flag("--version", absl::StrCat("birkhoff ", kVersion));
  invocation.server = kDefaultServer;
  app.add_option("--server", invocation.server,
                 "Address of the coordinator, for the verbs of a service")
      ->envname("BIRKHOFF_SERVER")
      ->type_name("HOST:PORT");
  app.add_option("-o,--output", invocation.output, "Print for programs, or more")
      ->check(CLI::IsMember({"json", "yaml", "wide"}));
  app.footer("birkhoff help VERB shows its options and an example.");
  AddVerbs(app, invocation);
}

int RunProgram(int argc, const char* const* argv, Invocation invocation) {
  // What stands behind some verbs is known to another program.
  if (argc > 3 && argv[1] == absl::string_view(kCompleteWord)) {
    if (const OtherProgram* other = FindOtherProgram(argv[2])) {
      return BecomeCompletion(*other, {argv + 3, argv + argc}, invocation.console);
    }
  }
  CLI::App app("Birkhoff trains transformers with manifold-constrained hyper-connections.",
               "birkhoff");
  BuildCommandLine(app, invocation);
  const std::optional<int> ended = ParseCommandLine(app, argc, argv, invocation.console);
  return CloseOutput(invocation.console, ended ? *ended : invocation.chosen());
}

}  // namespace birkhoff
