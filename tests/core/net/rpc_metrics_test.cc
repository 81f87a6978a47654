// What the server's interceptors count, and what the process says of itself.
#include "core/net/rpc_metrics.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <prometheus/collectable.h>
#include <prometheus/text_serializer.h>

#include <map>
#include <string>

#include "absl/time/clock.h"
#include "birkhoff/v1/job_service.grpc.pb.h"
#include "core/net/channel.h"
#include "core/net/process_metrics.h"
#include "core/net/server.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Answers GetVersion, does not find jobs, and lets watchers wait until they hang up.
class SmallService final : public v1::JobService::CallbackService {
  grpc::ServerUnaryReactor* GetVersion(grpc::CallbackServerContext* context,
                                       const v1::GetVersionRequest*,
                                       v1::GetVersionResponse*) override {
    return Finish(context, grpc::Status::OK);
  }
  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context, const v1::GetJobRequest*,
                                   v1::GetJobResponse*) override {
    return Finish(context, {grpc::NOT_FOUND, "there is none"});
  }
  grpc::ServerWriteReactor<v1::WatchJobResponse>* WatchJob(grpc::CallbackServerContext*,
                                                           const v1::WatchJobRequest*) override {
    class Silent final : public grpc::ServerWriteReactor<v1::WatchJobResponse> {
     public:
      Silent() { StartSendInitialMetadata(); }
      void OnCancel() override { Finish(grpc::Status::CANCELLED); }
      void OnDone() override { delete this; }
    };
    return new Silent;
  }
  static grpc::ServerUnaryReactor* Finish(grpc::CallbackServerContext* context,
                                          const grpc::Status& status) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(status);
    return reactor;
  }
};

class RpcMetricsTest : public ::testing::Test {
 protected:
  RpcMetricsTest() {
    auto server = RpcServer::Start({.listen = "127.0.0.1:0", .metrics = metrics_}, {&service_});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    stub_ = v1::JobService::NewStub(NewChannel(server_->address()));
  }
  std::string Scrape() {
    return prometheus::TextSerializer().Serialize(metrics_->collectable()->Collect());
  }
  static void Bound(grpc::ClientContext& context) {
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(30)));
  }

  const std::shared_ptr<RpcMetrics> metrics_ = std::make_shared<RpcMetrics>();
  SmallService service_;
  std::unique_ptr<RpcServer> server_;
  std::unique_ptr<v1::JobService::Stub> stub_;
};

std::string Method(const std::string& type, const std::string& name) {
  return "{grpc_type=\"" + type + "\",grpc_service=\"birkhoff.v1.JobService\",grpc_method=\"" +
         name + "\"";
}

TEST_F(RpcMetricsTest, CallsAreCountedByMethodAndCode) {
  for (int i = 0; i < 3; ++i) {
    grpc::ClientContext context, other;
    Bound(context);
    Bound(other);
    v1::GetVersionResponse version;
    EXPECT_TRUE(stub_->GetVersion(&context, {}, &version).ok());
    v1::GetJobResponse job;
    EXPECT_EQ(stub_->GetJob(&other, {}, &job).error_code(), grpc::NOT_FOUND);
  }
  server_->Shutdown(absl::Seconds(10));  // all calls have ended for the server too
  const std::string text = Scrape();
  EXPECT_THAT(text,
              HasSubstr("grpc_server_started_total" + Method("unary", "GetVersion") + "} 3\n"));
  EXPECT_THAT(text, HasSubstr("grpc_server_handled_total" + Method("unary", "GetVersion") +
                              ",grpc_code=\"OK\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("grpc_server_handled_total" + Method("unary", "GetJob") +
                              ",grpc_code=\"NotFound\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("grpc_server_handled_total" + Method("unary", "GetJob") +
                              ",grpc_code=\"OK\"} 0\n"));
  EXPECT_THAT(
      text, HasSubstr("grpc_server_handling_seconds_count" + Method("unary", "GetJob") + "} 3\n"));
}

TEST_F(RpcMetricsTest, AStreamIsOpenUntilItsClientHangsUp) {
  grpc::ClientContext context;
  Bound(context);
  const auto reader = stub_->WatchJob(&context, {});
  reader->WaitForInitialMetadata();
  const std::string open = "grpc_server_open_streams" + Method("stream", "WatchJob");
  EXPECT_THAT(Scrape(), HasSubstr(open + "} 1\n"));
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::CANCELLED);
  server_->Shutdown(absl::Seconds(10));
  EXPECT_THAT(Scrape(), HasSubstr(open + "} 0\n"));
  EXPECT_THAT(Scrape(), HasSubstr("grpc_server_handled_total" + Method("stream", "WatchJob") +
                                  ",grpc_code=\"Canceled\"} 1\n"));
  EXPECT_THAT(Scrape(), Not(HasSubstr("grpc_server_handling_seconds"))) << "how long is up to them";
}

TEST(ProcessMetrics, SaysWhatTheProcessUses) {
  std::map<std::string, double> values;
  for (const prometheus::MetricFamily& family : NewProcessMetrics()->Collect()) {
    values[family.name] = family.metric.at(0).gauge.value;
  }
  EXPECT_EQ(values.size(), 7u);
  EXPECT_GT(values["process_resident_memory_bytes"], 1e5);
  EXPECT_GT(values["process_virtual_memory_bytes"], values["process_resident_memory_bytes"]);
  EXPECT_GE(values["process_open_fds"], 3.0);
  EXPECT_GT(values["process_max_fds"], values["process_open_fds"]);
  EXPECT_GE(values["process_threads"], 1.0);
  const double now = absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch());
  EXPECT_NEAR(values["process_start_time_seconds"], now, 600.0);
  EXPECT_GE(values["process_cpu_seconds_total"], 0.0);
}

}  // namespace
}  // namespace birkhoff
