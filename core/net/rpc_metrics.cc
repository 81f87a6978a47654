// One interceptor per call: it is made when the call begins, sees the status that is sent, and goes
// when the call has ended.  A call that ends without a status was cancelled.
#include "core/net/rpc_metrics.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/server_interceptor.h>
#include <prometheus/collectable.h>

#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "core/base/clock.h"
#include "core/base/guarded.h"
#include "core/base/histogram.h"
#include "core/net/metric_family.h"

namespace birkhoff {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::ServerRpcInfo;

constexpr double kSecondsBounds[] = {0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0};
constexpr const char* kCodes[] = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};
constexpr size_t kNumCodes = std::size(kCodes);

}  // namespace

class RpcCounts {
 public:
  struct Method {
    bool streams = false;
    uint64_t started = 0;
    std::array<uint64_t, kNumCodes> handled = {};
    Histogram seconds{kSecondsBounds};
  };

  void Started(const std::string& name, bool streams) {
    absl::MutexLock lock(&mutex_);
    Method& method = methods_[name];
    method.streams = streams;
    ++method.started;
  }
  void Ended(const std::string& name, grpc::StatusCode code, double seconds) {
    absl::MutexLock lock(&mutex_);
    Method& method = methods_[name];
    const auto index = static_cast<size_t>(code);
    ++method.handled[index < kNumCodes ? index : static_cast<size_t>(grpc::UNKNOWN)];
    method.seconds.Observe(seconds);
  }
  std::map<std::string, Method> Read() const {
    absl::MutexLock lock(&mutex_);
    return methods_;
  }
  const Clock& clock() const { return clock_; }

 private:
  SystemClock clock_;
  mutable absl::Mutex mutex_;
  // By "/birkhoff.v1.JobService/GetJob"; only registered methods come here.
  std::map<std::string, Method> methods_ ABSL_GUARDED_BY(mutex_);
};

namespace {

class CallInterceptor final : public grpc::experimental::Interceptor {
 public:
  CallInterceptor(std::shared_ptr<RpcCounts> counts, const ServerRpcInfo& info)
      : counts_(std::move(counts)), method_(info.method()), began_(counts_->clock().Now()) {
    counts_->Started(method_, info.type() != ServerRpcInfo::Type::UNARY);
  }
  ~CallInterceptor() override {
    counts_->Ended(method_, code_, absl::ToDoubleSeconds(counts_->clock().Now() - began_));
  }
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      code_ = methods->GetSendStatus().error_code();
    }
    methods->Proceed();
  }

 private:
  const std::shared_ptr<RpcCounts> counts_;
  const std::string method_;
  const Instant began_;
  grpc::StatusCode code_ = grpc::CANCELLED;
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit Factory(std::shared_ptr<RpcCounts> counts) : counts_(std::move(counts)) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    return new CallInterceptor(counts_, *info);  // gRPC owns it, until the call has ended
  }

 private:
  const std::shared_ptr<RpcCounts> counts_;
};

MetricLabels LabelsOf(const std::string& name, const RpcCounts::Method& method) {
  const std::vector<std::string> parts = absl::StrSplit(absl::StripPrefix(name, "/"), '/');
  return {{"grpc_type", method.streams ? "stream" : "unary"},
          {"grpc_service", parts.front()},
          {"grpc_method", parts.back()}};
}

class CallFamilies final : public prometheus::Collectable {
 public:
  explicit CallFamilies(std::shared_ptr<const RpcCounts> counts) : counts_(std::move(counts)) {}
  std::vector<prometheus::MetricFamily> Collect() const override {
    using Families = std::vector<prometheus::MetricFamily>;
    return Guarded("gRPC metrics", [this] { return absl::StatusOr<Families>(All()); })
        .value_or(Families());
  }

 private:
  std::vector<prometheus::MetricFamily> All() const {
    MetricFamily started = MetricFamily::Counter("grpc_server_started_total", "Calls begun.");
    MetricFamily handled =
        MetricFamily::Counter("grpc_server_handled_total", "Calls ended, by code.");
    MetricFamily seconds =
        MetricFamily::Histograms("grpc_server_handling_seconds", "How long unary calls took.");
    MetricFamily open = MetricFamily::Gauge("grpc_server_open_streams", "Streams that are open.");
    for (const auto& [name, method] : counts_->Read()) {
      const MetricLabels labels = LabelsOf(name, method);
      started.Add(labels, static_cast<double>(method.started));
      uint64_t ended = 0;
      for (size_t code = 0; code < kNumCodes; ++code) {
        ended += method.handled[code];
        if (method.handled[code] == 0 && code != static_cast<size_t>(grpc::OK)) continue;
        MetricLabels with_code = labels;
        with_code.push_back({"grpc_code", kCodes[code]});
        handled.Add(with_code, static_cast<double>(method.handled[code]));
      }
      if (method.streams) {
        open.Add(labels, static_cast<double>(method.started - ended));
      } else {
        seconds.Add(labels, method.seconds);
      }
    }
    std::vector<prometheus::MetricFamily> families;
    for (MetricFamily* family : {&started, &handled, &seconds, &open}) family->MoveTo(&families);
    return families;
  }

  const std::shared_ptr<const RpcCounts> counts_;
};

}  // namespace

RpcMetrics::RpcMetrics() : counts_(std::make_shared<RpcCounts>()) {}

std::shared_ptr<prometheus::Collectable> RpcMetrics::collectable() const {
  return std::make_shared<CallFamilies>(counts_);
}

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> RpcMetrics::Interceptors()
    const {
  return std::make_unique<Factory>(counts_);
}

}  // namespace birkhoff
