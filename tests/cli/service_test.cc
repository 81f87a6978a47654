// The verbs of a service, against a coordinator in this process: what people and programs get.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "coordinator/daemon.h"
#include "core/spec/load.h"
#include "tests/cli/verb.h"
#include "tests/coordinator/fakes.h"

namespace birkhoff {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Json = nlohmann::json;

// Heartbeats are off the tests' way: they have no workers but those that they make up.
class ServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    DaemonOptions options;
    options.listen = "127.0.0.1:0";
    options.metrics_listen = "";
    options.store_path = ":memory:";
    auto daemon = Daemon::Start(options);
    ASSERT_TRUE(daemon.ok()) << daemon.status();
    daemon_ = *std::move(daemon);
  }
  VerbResult Run(std::vector<std::string> words) {
    words.insert(words.begin(), {"--server", daemon_->address()});
    return RunVerb(words);
  }
  VerbResult Submit(const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {"submit", "--spec-only", "configs/tiny.yaml"};
    words.insert(words.end(), more.begin(), more.end());
    return Run(words);
  }

  std::unique_ptr<Daemon> daemon_;
};

TEST_F(ServiceTest, SubmitPrintsTheNameAndTheJobCanBeSeen) {
  const VerbResult submit = Submit();
  ASSERT_EQ(submit.code, 0) << submit.err;
  EXPECT_EQ(submit.out, "jobs/tiny\n");
  EXPECT_EQ(Run({"list"}).out,
            "NAME       STATE   STEP   LOSS  ATTEMPT\njobs/tiny  QUEUED  0/300  -     0\n");
  EXPECT_EQ(Run({"get", "tiny"}).out, Run({"get", "jobs/tiny"}).out);
}

TEST_F(ServiceTest, JsonAndYamlHoldTheWholeJob) {
  ASSERT_EQ(Submit({"--priority", "7", "--out", "/out/of/tiny"}).code, 0);
  const Json job = Json::parse(Run({"get", "tiny", "-o", "json"}).out);
  EXPECT_EQ(job["state"], "QUEUED");
  EXPECT_EQ(job["priority"], 7);
  EXPECT_EQ(job["output_directory"], "/out/of/tiny");
  EXPECT_EQ(job["spec"]["model"]["vocab_size"], 257);
  EXPECT_EQ(job["reason"]["code"], "WAITING_FOR_WORKERS");
  const Json list = Json::parse(Run({"list", "-o", "json"}).out);
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0], job);
  EXPECT_THAT(Run({"get", "tiny", "-o", "yaml"}).out,
              AllOf(StartsWith("name: \"jobs/tiny\"\n"), HasSubstr("\n    hidden_size: 128\n")));
  EXPECT_THAT(Run({"list", "-o", "wide"}).out, HasSubstr("waits for 2 idle workers"));
}

TEST_F(ServiceTest, YamlOfAJobHoldsItsJobFile) {
  ASSERT_EQ(Submit({"--set", "training.steps=50"}).code, 0);
  const std::string yaml = Run({"get", "tiny", "-o", "yaml"}).out;
  const size_t begin = yaml.find("\nspec:\n");
  ASSERT_NE(begin, std::string::npos) << yaml;
  std::vector<Problem> problems;
  const JobSpec spec =
      LoadJobSpec(absl::StrReplaceAll(yaml.substr(begin + 6), {{"\n  ", "\n"}}), {}, &problems);
  EXPECT_TRUE(problems.empty()) << problems[0].field;
  EXPECT_EQ(spec.training.steps, 50);
  EXPECT_EQ(spec.model.vocab_size, 257);
  EXPECT_EQ(spec.model.residual.kind, ResidualKind::kMhc);
}

TEST_F(ServiceTest, OverridesAndSubmitsAgainUnderTheNextName) {
  ASSERT_EQ(Submit({"--set", "training.steps=50"}).code, 0);
  EXPECT_EQ(Json::parse(Run({"get", "tiny", "-o", "json"}).out)["spec"]["training"]["steps"], 50);
  const VerbResult twice = Submit();
  EXPECT_EQ(twice.code, 64);
  EXPECT_THAT(twice.err, HasSubstr("jobs/tiny is QUEUED; need another name, or cancel it first"));
  ASSERT_EQ(Run({"cancel", "tiny"}).code, 0);
  EXPECT_EQ(Submit().out, "jobs/tiny-2\n");
  const Json list = Json::parse(Run({"list", "-o", "json"}).out);  // newest first
  EXPECT_EQ(list[0]["name"], "jobs/tiny-2");
  EXPECT_EQ(list[1]["name"], "jobs/tiny");
}

// Programs get numbers as numbers, whatever their width, and states by one name.
TEST_F(ServiceTest, JsonHasNumbersAndTheStatesOfTheTable) {
  ASSERT_EQ(Submit().code, 0);
  FakeLink link;
  Hello hello;
  hello.resources.memory_bytes = int64_t{1} << 40;
  ASSERT_TRUE(daemon_->coordinator().Handle({"workers/w", uint64_t{1} << 63, hello}, &link).ok());
  const Json workers = Json::parse(Run({"workers", "-o", "json"}).out);
  EXPECT_EQ(workers[0]["memory_bytes"], int64_t{1} << 40);
  EXPECT_EQ(workers[0]["state"], "IDLE");
  EXPECT_THAT(Run({"workers"}).out, HasSubstr("  IDLE  "));
  const Json job = Json::parse(Run({"get", "tiny", "-o", "json"}).out);
  EXPECT_EQ(job["total_steps"], 300);
  EXPECT_EQ(job["last_event_id"], 1);
  EXPECT_EQ(job["spec"]["training"]["seed"], 42);
  EXPECT_EQ(job["create_time"].type(), Json::value_t::string);
  const std::string yaml = Run({"get", "tiny", "-o", "yaml"}).out;
  EXPECT_THAT(yaml, HasSubstr("state: \"QUEUED\"\n"));
  EXPECT_THAT(yaml, HasSubstr("total_steps: 300\n"));
}

TEST_F(ServiceTest, CancelSaysHowToGoOn) {
  ASSERT_EQ(Submit({"--out", "/out/of tiny"}).code, 0);
  EXPECT_EQ(Run({"cancel", "tiny"}).err,
            absl::StrCat("to go on: birkhoff --server ", daemon_->address(),
                         " get jobs/tiny -o yaml | sed '1,/^spec:/d; s/^  //' | birkhoff --server ",
                         daemon_->address(), " submit - --out '/out/of tiny'\n"));
}

TEST_F(ServiceTest, WatchFollowsTheJobToItsEndAndExitsWithItsCode) {
  ASSERT_EQ(Submit().code, 0);
  VerbResult watch;
  std::thread watcher([&] { watch = Run({"watch", "tiny"}); });
  EXPECT_THAT(Run({"cancel", "tiny"}).out, HasSubstr("CANCELLED"));
  watcher.join();
  EXPECT_EQ(watch.code, 75);
  EXPECT_THAT(watch.out, AllOf(StartsWith("QUEUED: waits for 2 idle workers\n"),
                               HasSubstr("CANCELLED: cancelled while nothing ran\n")));
  const VerbResult json = Run({"watch", "tiny", "-o", "json"});  // over already: its whole history
  EXPECT_EQ(json.code, 75);
  const Json first = Json::parse(json.out.substr(0, json.out.find('\n')));
  EXPECT_EQ(first["event_id"], 1);
  EXPECT_EQ(first["state_changed"]["state"], "QUEUED");
}

// Items 18 and 36.
TEST_F(ServiceTest, WatchShowsOnceWhatPeopleMustKnow) {
  ASSERT_EQ(Submit().code, 0);
  FakeLink links[2];
  const auto say = [&](int worker, WorkerPayload payload) {
    const WorkerMessage message{absl::StrCat("workers/w", worker), 1, std::move(payload)};
    ASSERT_TRUE(daemon_->coordinator().Handle(message, &links[worker]).ok());
  };
  for (const int worker : {0, 1}) say(worker, Hello{});
  for (const int rank : {0, 1}) say(rank, RankReady{"jobs/tiny", 1, rank, 0, ""});
  StepDone done{"jobs/tiny", 1, 0, {}};
  done.report.step = 1;
  done.report.gain.backward = 12.0;
  say(0, done);
  say(0, Noticed{"jobs/tiny", 1, 0, kOutputRemoved, 1, "runs/tiny was removed"});
  for (const int rank : {0, 1}) {
    say(rank, RankExited{"jobs/tiny", 1, rank, ExitCode::kNumerics, "it went bad"});
  }
  const VerbResult watch = Run({"watch", "tiny"});
  EXPECT_EQ(watch.code, 73);
  EXPECT_THAT(watch.out, HasSubstr("\nstep 1: composite gain 1 forward, 12 backward; "
                                   "stability.max_gain is 10\n"));
  EXPECT_THAT(watch.out, HasSubstr("\nRUNNING: runs/tiny was removed\n"));
  EXPECT_THAT(watch.out, Not(HasSubstr("\nruns/tiny was removed\n")));
  for (FakeLink& link : links) daemon_->coordinator().Disconnected(&link);
}

TEST_F(ServiceTest, SubmitWithWatchEndsLikeTheJob) {
  VerbResult submit;
  std::thread submitter([&] { submit = Submit({"--watch"}); });
  VerbResult cancel;
  do {
    cancel = Run({"cancel", "tiny"});  // NOT_FOUND until it is there
  } while (cancel.code == 64);
  submitter.join();
  EXPECT_EQ(cancel.code, 0);
  EXPECT_EQ(submit.code, 75);
}

TEST_F(ServiceTest, SubmitCarriesWhatTheJobBeginsWith) {
  struct Listening final : WorkerLink {
    void Send(CoordinatorMessage message) override {
      if (const auto* start = std::get_if<StartAttempt>(&message)) assignment = start->assignment;
    }
    Assignment assignment;
  } links[2];
  for (int i = 0; i < 2; ++i) {
    const std::string name = "workers/w" + std::to_string(i);
    Hello hello;
    hello.resources = {.name = name, .device = "cpu", .memory_bytes = int64_t{8} << 30};
    ASSERT_TRUE(daemon_->coordinator().Handle({name, 1, hello}, &links[i]).ok());
  }
  ASSERT_EQ(
      Submit({"--change", "optimizer.lr", "--change", "lr_schedule", "--init-from", "runs/other"})
          .code,
      0);
  for (Listening& link : links) {
    daemon_->coordinator().Disconnected(&link);
    EXPECT_EQ(link.assignment.job, "jobs/tiny");
    EXPECT_THAT(link.assignment.changes, ElementsAre("optimizer.lr", "lr_schedule"));
    EXPECT_THAT(link.assignment.init_from, AllOf(StartsWith("/"), EndsWith("/runs/other")));
  }
}

TEST_F(ServiceTest, AFieldThatCannotChangeIsNotAskedFor) {
  const VerbResult result = Submit({"--change", "model.rope_theta", "--change", "optimizer.rl"});
  EXPECT_EQ(result.code, 64);
  EXPECT_THAT(result.err, AllOf(HasSubstr("--change: model.rope_theta is not allowed"),
                                HasSubstr("did you mean optimizer.lr?")));
  EXPECT_EQ(Run({"list", "-o", "json"}).out, "[]\n");
}

TEST_F(ServiceTest, ValidateOnlyMakesNoJob) {
  const VerbResult result = Submit({"--validate-only"});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.err, HasSubstr("valid, says the coordinator"));
  EXPECT_EQ(Run({"list", "-o", "json"}).out, "[]\n");
}

TEST_F(ServiceTest, WrongSpecsNeverReachTheCoordinator) {
  const VerbResult result = Submit({"--set", "training.steps=0", "--set", "modle.x=1"});
  EXPECT_EQ(result.code, 64);
  EXPECT_THAT(result.err, AllOf(HasSubstr("training.steps: 0 is not allowed"),
                                HasSubstr("modle.x: 1 is not allowed")));
  EXPECT_EQ(Run({"list", "-o", "json"}).out, "[]\n");
}

TEST_F(ServiceTest, SaysWhatIsNotThere) {
  for (const char* verb : {"get", "watch", "cancel"}) {
    const VerbResult result = Run({verb, "nobody"});
    EXPECT_EQ(result.code, 64) << verb;
    EXPECT_THAT(result.err, HasSubstr("there is no job jobs/nobody")) << verb;
    EXPECT_EQ(result.out, "");
  }
}

TEST_F(ServiceTest, CancelMayBeRepeated) {
  ASSERT_EQ(Submit().code, 0);
  EXPECT_EQ(Run({"cancel", "tiny"}).code, 0);
  EXPECT_EQ(Run({"cancel", "tiny"}).code, 0);
}

TEST_F(ServiceTest, WorkersShowsThoseThatHaveRegistered) {
  EXPECT_EQ(Run({"workers"}).out, "NAME  STATE  DEVICE  MEMORY  JOB  DESCRIPTION\n");
  struct Deaf final : WorkerLink {
    void Send(CoordinatorMessage) override {}
  } link;
  Hello hello;
  hello.resources = {.name = "workers/w0",
                     .device = "cpu",
                     .memory_bytes = int64_t{8} << 30,
                     .description = "two cores, oneDNN 2.6"};
  hello.address = "10.0.0.7";
  ASSERT_TRUE(daemon_->coordinator().Handle({"workers/w0", 1, hello}, &link).ok());
  EXPECT_THAT(Run({"workers"}).out,
              HasSubstr("workers/w0  IDLE   cpu     8.59 GB  -    two cores, oneDNN 2.6\n"));
  EXPECT_THAT(Run({"workers", "-o", "wide"}).out, HasSubstr("10.0.0.7"));
  EXPECT_EQ(Json::parse(Run({"workers", "-o", "json"}).out)[0]["state"], "IDLE");
  daemon_->coordinator().Disconnected(&link);
}

}  // namespace
}  // namespace birkhoff
