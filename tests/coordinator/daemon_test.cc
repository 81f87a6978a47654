// The daemon as a whole: what it says of its health, and how it stops.
#include "coordinator/daemon.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "tests/coordinator/service_fixture.h"
#include "tests/core/net/health_check.h"
#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

class DaemonStopTest : public ::testing::Test {
 protected:
  void SetUp() override {
    DaemonOptions options;
    options.listen = options.health.grpc = "127.0.0.1:0";
    options.metrics_listen = "";
    options.store_path = store_;
    auto daemon = Daemon::Start(options);
    ASSERT_TRUE(daemon.ok()) << daemon.status();
    daemon_ = *std::move(daemon);
  }
  // gRPC is told from a thread.
  bool EventuallySays(const std::string& service, const std::string& want) const {
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (absl::Now() < deadline) {
      const auto said = CheckHealth(daemon_->health().grpc_address(), service);
      if (said.value_or("") == want) return true;
    }
    return false;
  }

  const testing::TemporaryDirectory directory_;
  const std::string store_ = absl::StrCat(directory_.path(), "/store.db");
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(DaemonStopTest, IsReadyUntilItStopsAndAliveWhileItDrains) {
  EXPECT_TRUE(EventuallySays("startup", kServing));
  EXPECT_TRUE(EventuallySays("readiness", kServing));
  EXPECT_EQ(CheckHealth(daemon_->address()).value_or(""), kServing);
  daemon_->Shutdown(absl::ZeroDuration());
  EXPECT_TRUE(EventuallySays("readiness", kNotServing));
  EXPECT_TRUE(EventuallySays("liveness", kServing));
}

TEST_F(DaemonStopTest, WaitsForNobodyWhoOnlyWatches) {
  const auto jobs = v1::JobService::NewStub(NewChannel(daemon_->address()));
  Call create;
  v1::CreateJobRequest request;
  request.set_yaml("{name: tiny, data: {train: corpus}}");
  v1::CreateJobResponse created;
  ASSERT_TRUE(jobs->CreateJob(&create, request, &created).ok());
  Call call;
  v1::WatchJobRequest watch;
  watch.set_name("jobs/tiny");
  const auto stream = jobs->WatchJob(&call, watch);
  v1::WatchJobResponse response;
  ASSERT_TRUE(stream->Read(&response));
  const absl::Time begin = absl::Now();
  daemon_->Shutdown(absl::Minutes(10));
  EXPECT_LT(absl::Now() - begin, absl::Minutes(1));
  while (stream->Read(&response)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(DaemonStopTest, LeavesItsStoreClosed) {
  ASSERT_TRUE(std::filesystem::exists(store_ + "-wal"));
  daemon_->Shutdown(absl::ZeroDuration());
  daemon_.reset();
  EXPECT_TRUE(std::filesystem::exists(store_));
  EXPECT_FALSE(std::filesystem::exists(store_ + "-wal")) << "all of it is in the store itself";
}

}  // namespace
}  // namespace birkhoff
