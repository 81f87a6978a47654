// The text form of what prometheus-cpp's sources say, as a page.
#include "core/net/metrics_endpoint.h"

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/net/channel.h"

namespace birkhoff {
namespace {

using Sources = std::vector<std::weak_ptr<prometheus::Collectable>>;

HttpPage Scrape(const Sources& sources) {
  std::vector<prometheus::MetricFamily> families;
  for (const auto& weak : sources) {
    const auto source = weak.lock();
    if (source == nullptr) continue;
    std::vector<prometheus::MetricFamily> more = source->Collect();
    families.insert(families.end(), std::make_move_iterator(more.begin()),
                    std::make_move_iterator(more.end()));
  }
  return {.type = "text/plain; version=0.0.4; charset=utf-8",
          .body = prometheus::TextSerializer().Serialize(families)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Start(
    const std::string& listen, const std::vector<std::shared_ptr<prometheus::Collectable>>& sources,
    bool allow_plaintext) {
  RETURN_IF_ERROR(CheckListenAddress("--metrics-listen", listen));
  RETURN_IF_ERROR(
      CheckPlaintext(absl::StrCat("metrics on ", listen, " are"), listen, allow_plaintext));
  auto server =
      HttpServer::Start(listen, {{"/metrics", [weak = Sources(sources.begin(), sources.end())](
                                                  const HttpQuery&) { return Scrape(weak); }}});
  if (server.ok()) return std::unique_ptr<MetricsEndpoint>(new MetricsEndpoint(*std::move(server)));
  return absl::UnavailableError(
      absl::StrCat("cannot serve metrics on ", listen, ": ", server.status().message()));
}

}  // namespace birkhoff
