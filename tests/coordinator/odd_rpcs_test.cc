// Odd requests that others' servers have had trouble with: each has its status and names the field,
// and the coordinator answers the next one.  docs/odd-inputs.md says where they come from.
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/coordinator/service_fixture.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;

template <typename Message>
Message Parse(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

std::string Repeat(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

constexpr auto kOk = absl::StatusCode::kOk;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kNotFound = absl::StatusCode::kNotFound;
constexpr auto kOutOfRange = absl::StatusCode::kOutOfRange;
constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;
constexpr auto kExists = absl::StatusCode::kAlreadyExists;

// What people ask.  jobs/tiny waits, with request id "first".
struct OddRequest {
  const char* name;
  std::string method;
  std::string request;  // in protobuf's text form
  absl::StatusCode code;
  std::string says;
  friend void PrintTo(const OddRequest& odd, std::ostream* out) { *out << odd.name; }
};

class OddRequestTest : public ServiceFixture, public ::testing::WithParamInterface<OddRequest> {
 protected:
  template <typename Request, typename Response, typename Method>
  absl::Status Send(Method method) {
    Call call;
    Response response;
    const Request request = Parse<Request>(GetParam().request);
    const absl::Status status = FromGrpc((jobs_.get()->*method)(&call, request, &response));
    answer_ = response.ShortDebugString();
    return status;
  }
  absl::Status Ask() {
    const std::string& method = GetParam().method;
    using Stub = v1::JobService::Stub;
    if (method == "CreateJob") {
      return Send<v1::CreateJobRequest, v1::CreateJobResponse>(&Stub::CreateJob);
    }
    if (method == "GetJob") return Send<v1::GetJobRequest, v1::GetJobResponse>(&Stub::GetJob);
    if (method == "ListJobs") {
      return Send<v1::ListJobsRequest, v1::ListJobsResponse>(&Stub::ListJobs);
    }
    if (method == "CancelJob") {
      return Send<v1::CancelJobRequest, v1::CancelJobResponse>(&Stub::CancelJob);
    }
    if (method == "GetPlan") return Send<v1::GetPlanRequest, v1::GetPlanResponse>(&Stub::GetPlan);
    if (method == "ListWorkers") {
      return Send<v1::ListWorkersRequest, v1::ListWorkersResponse>(&Stub::ListWorkers);
    }
    Call call;
    const auto reader = jobs_->WatchJob(&call, Parse<v1::WatchJobRequest>(GetParam().request));
    v1::WatchJobResponse response;
    if (reader->Read(&response)) {
      answer_ = response.ShortDebugString();
      call.TryCancel();
      return absl::OkStatus();
    }
    return FromGrpc(reader->Finish());
  }

  std::string answer_;
};

TEST_P(OddRequestTest, HasItsStatusAndHarmsNobody) {
  ASSERT_TRUE(Create(Tiny("first")).ok());
  const absl::Status status = Ask();
  EXPECT_EQ(status.code(), GetParam().code) << status;
  EXPECT_THAT(status.ok() ? answer_ : std::string(status.message()), HasSubstr(GetParam().says));
  EXPECT_TRUE(Get("jobs/tiny").ok()) << "the next one is answered";
}

// CreateJob with a job file.
OddRequest Yaml(const char* name, const std::string& yaml, absl::StatusCode code,
                const std::string& says, const std::string& more = "") {
  return {name, "CreateJob", absl::StrCat("yaml: \"", yaml, "\" ", more), code, says};
}

// CreateJob with a spec, sound but for `change`.
OddRequest Spec(const char* name, const std::string& change, absl::StatusCode code,
                const std::string& says) {
  const std::string sound = "spec { name: 'other' data { train { path: 't' weight: 1 } ";
  return {name, "CreateJob", sound + "} " + change + " }", code, says};
}

const std::vector<OddRequest>& OddRequests() {
  static const auto* const kRequests = new std::vector<OddRequest>{
      {"NoSource", "CreateJob", "", kInvalid, "source: none is not allowed; need spec or yaml"},
      {"EmptySpec", "CreateJob", "spec {}", kInvalid, "data.train: nothing is not allowed"},
      Yaml("EmptyYaml", "", kInvalid, "an empty text is not allowed; need one YAML document"),
      Yaml("YamlOfAnotherKind", "apiVersion: v1", kInvalid, "apiVersion: v1 is not allowed"),
      Yaml("YamlWithNul", "name: a\\000", kInvalid, "byte 0x0 at offset 7 is not allowed"),
      Yaml("YamlWithEscape", "{\\\"a\\\\e\\\": 1, data: {train: t}}", kInvalid, "a\\x1b: 1 is not"),
      Yaml("YamlTooLarge", Repeat("#2345678", 140000), kInvalid, "1120000 bytes; need at most"),
      Yaml("TokenizerOfAFile", "{name: x, data: {train: t, tokenizer: m.model}}", kInvalid,
           "the coordinator opens no files; birkhoff submit fills it in"),
      Yaml("LivingName", "{name: tiny, data: {train: t}}", kExists,
           "jobs/tiny is QUEUED; need another name, or cancel it first"),
      Yaml("SameRequestOtherJob", "{name: other, data: {train: t}}", kExists,
           "made jobs/tiny from another request; need a new request_id", "request_id: 'first'"),
      Yaml("DirectoryOfAnother", "{name: other, data: {train: t}}", kExists,
           "output_directory: runs/tiny is that of jobs/tiny", "output_directory: 'runs/tiny'"),
      Yaml("DirectoryOfAnotherByOtherWords", "{name: other, data: {train: t}}", kExists,
           "is that of jobs/tiny", "output_directory: './x/../runs//tiny/.'"),
      Yaml("DirectoryWithNewline", "{name: other, data: {train: t}}", kInvalid,
           "output_directory: a\\nb is not allowed", "output_directory: 'a\\nb'"),
      Yaml("DirectoryTooLong", "{name: other, data: {train: t}}", kInvalid, "need at most 4096",
           "output_directory: '" + Repeat("d", 5000) + "'"),
      Yaml("RequestIdTooLong", "{name: other, data: {train: t}}", kInvalid, "need at most 4096",
           "request_id: '" + Repeat("i", 5000) + "'"),
      Yaml("PriorityLargest", "{name: other, data: {train: t}}", kOk, "priority: 2147483647",
           "priority: 2147483647"),
      Yaml("PrioritySmallest", "{name: other, data: {train: t}}", kOk, "priority: -2147483648",
           "priority: -2147483648"),
      Yaml("ValidateOnlyOfALivingName", "{name: tiny, data: {train: t}}", kOk, "jobs/tiny",
           "validate_only: true"),
      Yaml("OverrideWithoutValue", "{name: other, data: {train: t}}", kInvalid,
           "--set training.steps: no assignment", "overrides: 'training.steps'"),
      {"OverridesOfASpec", "CreateJob",
       "spec { name: 'other' data { train { path: 't' weight: 1 } } } overrides: 'a=1'", kInvalid,
       "overrides: a=1 is not allowed; need overrides with yaml only"},
      Spec("UnknownEnum", "model { residual { kind: 99 } }", kInvalid, "kind"),
      Spec("NegativeEnum", "parallelism { schedule: -1 }", kInvalid, "schedule"),
      Spec("NanRate", "optimizer { lr: nan }", kInvalid, "optimizer.lr: nan is not allowed"),
      Spec("InfiniteWeightDecay", "optimizer { weight_decay: inf }", kInvalid,
           "optimizer.weight_decay: inf is not allowed"),
      Spec("NegativeSteps", "training { steps: -1 }", kInvalid,
           "training.steps: -1 is not allowed"),
      Spec("ZeroHidden", "model { hidden_size: -128 }", kInvalid, "model.hidden_size: -128"),
      {"NameWithPath", "CreateJob",
       "spec { name: '../../etc' data { train { path: 't' weight: 1 } } }", kInvalid,
       "name: \"../../etc\" is not allowed"},
      {"NameWithJobs", "CreateJob",
       "spec { name: 'jobs/x' data { train { path: 't' weight: 1 } } }", kInvalid,
       "name: jobs/x is not allowed"},
      {"WeightNan", "CreateJob", "spec { name: 'x' data { train { path: 't' weight: nan } } }",
       kInvalid, "data.train[0].weight: nan is not allowed"},
      Spec("ManyRanks", "parallelism { pipeline_parallel_degree: 2147483647 }", kInvalid,
           "parallelism.pipeline_parallel_degree: 2147483647"),

      {"GetNothing", "GetJob", "", kNotFound, "there is no job"},
      {"GetWithoutPrefix", "GetJob", "name: 'tiny'", kNotFound, "there is no job tiny"},
      {"GetPrefixAlone", "GetJob", "name: 'jobs/'", kNotFound, "there is no job jobs/"},
      {"GetInCapitals", "GetJob", "name: 'jobs/TINY'", kNotFound, "there is no job jobs/TINY"},
      {"GetWithSlashBehind", "GetJob", "name: 'jobs/tiny/'", kNotFound, "there is no job"},
      {"GetAttempt", "GetJob", "name: 'jobs/tiny/attempts/1'", kNotFound, "there is no job"},
      {"GetAll", "GetJob", "name: 'jobs/-'", kNotFound, "there is no job jobs/-"},
      {"GetSql", "GetJob", "name: \"jobs/' OR 1=1 --\"", kNotFound, "there is no job"},
      {"GetNul", "GetJob", "name: 'jobs/tiny\\000'", kNotFound, "there is no job"},
      {"GetTooLong", "GetJob", "name: '" + Repeat("n", 5000) + "'", kInvalid,
       "GetJobRequest.name: 5000 bytes; need at most 4096"},

      {"PageNegative", "ListJobs", "page_size: -1", kInvalid, "page_size: -1; need 0 or more"},
      {"PageLargest", "ListJobs", "page_size: 2147483647", kOk, "jobs/tiny"},
      {"TokenOfNobody", "ListJobs", "page_token: 'x'", kInvalid, "did not come from an earlier"},
      {"TokenNegative", "ListJobs", "page_token: '-1'", kInvalid, "did not come from an earlier"},
      {"TokenBeyond", "ListJobs", "page_token: '99999999999999999999'", kInvalid, "page_token"},
      {"TokenWithBlank", "ListJobs", "page_token: '1 x'", kInvalid, "page_token: \"1 x\""},
      {"StateUnspecified", "ListJobs", "states: STATE_UNSPECIFIED", kInvalid, "states: 0 is not"},
      {"StateUnknown", "ListJobs", "states: 99", kInvalid, "states: 99 is not allowed"},
      {"StatesTwice", "ListJobs", "states: STATE_QUEUED states: STATE_QUEUED", kOk, "jobs/tiny"},
      {"StatesMany", "ListJobs", Repeat("states: STATE_QUEUED ", 9), kInvalid, "9 items; need at"},
      {"WorkersPageNegative", "ListWorkers", "page_size: -5", kInvalid, "page_size: -5"},
      {"WorkersTokenOfNobody", "ListWorkers", "page_token: 'workers/zzz'", kOk, ""},

      {"CancelNothing", "CancelJob", "", kNotFound, "there is no job"},
      {"CancelUnknown", "CancelJob", "name: 'jobs/other'", kNotFound, "there is no job jobs/other"},
      {"CancelWaiting", "CancelJob", "name: 'jobs/tiny'", kOk, "STATE_CANCELLED"},
      {"PlanOfNothing", "GetPlan", "", kNotFound, "there is no job"},
      {"PlanBeforeTheFirst", "GetPlan", "name: 'jobs/tiny'", kPrecondition,
       "jobs/tiny has no plan yet: it has not been given workers"},
      {"WatchNothing", "WatchJob", "", kNotFound, "there is no job"},
      {"WatchFuture", "WatchJob", "name: 'jobs/tiny' after_event_id: 99", kOutOfRange,
       "lies in the future of jobs/tiny"},
      {"WatchLargest", "WatchJob", "name: 'jobs/tiny' after_event_id: 9223372036854775807",
       kOutOfRange, "lies in the future of jobs/tiny"},
      {"WatchNegative", "WatchJob", "name: 'jobs/tiny' after_event_id: -5", kOk, "event_id: 1"},
      {"WatchTooLong", "WatchJob", "name: '" + Repeat("n", 5000) + "'", kInvalid, "need at most"},
  };
  return *kRequests;
}

INSTANTIATE_TEST_SUITE_P(Requests, OddRequestTest, ::testing::ValuesIn(OddRequests()),
                         [](const auto& test) { return std::string(test.param.name); });

// What a worker says: on one stream, one after the other.  jobs/tiny waits for two workers.
struct OddWorker {
  const char* name;
  std::vector<std::string> says;  // ConnectRequest in text form; W is the sound beginning
  absl::StatusCode ends;          // kOk: it is Welcome, and stays
  std::string why;
  friend void PrintTo(const OddWorker& odd, std::ostream* out) { *out << odd.name; }
};

constexpr char kHello[] =
    "worker: 'workers/w' incarnation: 5 hello { resources { device: 'cpu' memory_bytes: 1000 } "
    "address: '127.0.0.1' }";

class OddWorkerTest : public ServiceFixture, public ::testing::WithParamInterface<OddWorker> {};

TEST_P(OddWorkerTest, IsHeardOrRefusedAndHarmsNobody) {
  ASSERT_TRUE(Create(Tiny()).ok());
  const auto stub = v1::WorkerService::NewStub(NewChannel(server_->address()));
  Call call;
  const auto stream = stub->Connect(&call);
  for (const std::string& text : GetParam().says) stream->Write(Parse<v1::ConnectRequest>(text));
  v1::ConnectResponse response;
  std::string heard;
  if (GetParam().ends == kOk) {
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_TRUE(response.has_welcome()) << response.ShortDebugString();
    // The end of what it says ends the stream: not before the answer is there.
    while (!absl::StrContains(heard, GetParam().why) && stream->Read(&response)) {
      absl::StrAppend(&heard, response.ShortDebugString());
    }
    stream->WritesDone();
  }
  while (stream->Read(&response)) absl::StrAppend(&heard, response.ShortDebugString());
  const absl::Status status = FromGrpc(stream->Finish());
  EXPECT_EQ(status.code(), GetParam().ends) << status << heard;
  EXPECT_THAT(absl::StrCat(heard, std::string(status.message())), HasSubstr(GetParam().why));
  EXPECT_TRUE(Get("jobs/tiny").ok());
  StreamWorker next(server_->address(), "workers/next", 1);
  ASSERT_TRUE(next.Greet());
  next.Hear<Welcome>();
}

// One word after a sound greeting, of a job or an attempt that is not the worker's.
OddWorker After(const char* name, const std::string& word, absl::StatusCode ends,
                const std::string& why) {
  return {name, {kHello, "worker: 'workers/w' incarnation: 5 " + word}, ends, why};
}

const std::vector<OddWorker>& OddWorkers() {
  constexpr auto kAborted = absl::StatusCode::kAborted;
  static const auto* const kWorkers = new std::vector<OddWorker>{
      {"SaysNothing", {""}, kInvalid, ""},
      {"WithoutName", {"incarnation: 5 hello {}"}, kInvalid, "worker: '' is not allowed"},
      {"NameWithoutPrefix", {"worker: 'w' incarnation: 5 hello {}"}, kInvalid, "need workers/NAME"},
      {"NameWithSlash", {"worker: 'workers/a/b' hello {}"}, kInvalid, "workers/a/b' is not"},
      {"NameWithNewline", {"worker: 'workers/a\\nb' hello {}"}, kInvalid, "workers/a\\nb"},
      {"NameWithEscape", {"worker: 'workers/\\033[31m' hello {}"}, kInvalid, "\\x1b[31m"},
      {"NameOfDots", {"worker: 'workers/..' hello {}"}, kInvalid, "need workers/NAME"},
      {"NameTooLong",
       {"worker: 'workers/" + Repeat("w", 300) + "' hello {}"},
       kInvalid,
       "at most 253"},
      {"NameFarTooLong",
       {"worker: 'workers/" + Repeat("w", 5000) + "' hello {}"},
       kInvalid,
       "4096"},
      {"NoPayload", {"worker: 'workers/w' incarnation: 5"}, kInvalid, ""},
      {"SpeaksBeforeHello",
       {"worker: 'workers/w' incarnation: 5 heartbeat {}"},
       kAborted,
       "has not said hello"},
      {"ZeroLife", {"worker: 'workers/w' hello { resources { device: 'cpu' } }"}, kOk, ""},
      {"LargestLife",
       {"worker: 'workers/w' incarnation: 18446744073709551615 hello { resources { device: 'cpu' } "
        "}"},
       kOk,
       ""},
      {"HelloTwice", {kHello, kHello}, kOk, ""},
      {"OlderLifeOnTheSameStream",
       {kHello, "worker: 'workers/w' incarnation: 4 heartbeat {}"},
       kAborted,
       "life 4 speaks; life 5 is registered"},
      {"AnotherNameOnTheSameStream",
       {kHello, "worker: 'workers/v' incarnation: 5 heartbeat {}"},
       kAborted,
       "workers/v has not said hello"},
      {"UnknownDevice",
       {"worker: 'workers/w' incarnation: 5 hello { resources { device: 'tpu' } }"},
       kOk,
       ""},
      {"NegativeMemory",
       {"worker: 'workers/w' incarnation: 5 hello { resources { device: 'cpu' memory_bytes: -1 } "
        "}"},
       kOk,
       ""},
      {"NanFlops",
       {"worker: 'workers/w' incarnation: 5 hello { resources { device: 'cpu' peak_flops: nan } }"},
       kOk,
       ""},
      {"HelloOfAJobOfNobody",
       {"worker: 'workers/w' incarnation: 5 hello { resources { device: 'cpu' } job: 'jobs/x' "
        "attempt: 3 }"},
       kOk,
       "attempt 3 of jobs/x is not the one that runs"},
      {"AddressTooLong",
       {"worker: 'workers/w' hello { address: '" + Repeat("a", 5000) + "' }"},
       kInvalid,
       "4096"},
      After("StepOfNobody", "step_done { job: 'jobs/x' attempt: 1 report { step: 1 } }", kOk,
            "is not the one that runs"),
      After("StepOfAJobThatWaits", "step_done { job: 'jobs/tiny' attempt: 1 report { step: 1 } }",
            kOk, "attempt 1 of jobs/tiny is not the one that runs"),
      After("StepWithoutReport", "step_done { job: 'jobs/tiny' attempt: 1 }", kOk, "abort_attempt"),
      After("StepOfRankMinusOne", "step_done { job: 'jobs/tiny' rank: -1 report { step: 1 } }", kOk,
            "abort_attempt"),
      After("StepOfALargeRank", "step_done { job: 'jobs/tiny' rank: 2147483647 report {} }", kOk,
            "abort_attempt"),
      After("AttemptZero", "rank_ready { job: 'jobs/tiny' attempt: 0 rank: 0 }", kOk,
            "abort_attempt"),
      After("AttemptNegative", "rank_ready { job: 'jobs/tiny' attempt: -1 }", kOk, "abort_attempt"),
      After("ExitWithAnUnknownCode", "rank_exited { job: 'jobs/tiny' attempt: 1 code: 12345 }", kOk,
            "abort_attempt"),
      After("ShardOfNobody", "shard_durable { job: 'jobs/tiny' attempt: 1 step: -1 file: '../x' }",
            kOk, "abort_attempt"),
      After("CommitOfNobody", "checkpoint_committed { job: 'jobs/tiny' attempt: 9 step: 1 }", kOk,
            "attempt 9 of jobs/tiny is not the one that runs"),
      After("MeetOfNobody", "meet { job: 'jobs/tiny' attempt: 1 key: 'k' contribution: 'x' }", kOk,
            "abort_attempt"),
      After("NoteTooLong", "rank_ready { job: 'jobs/tiny' note: '" + Repeat("n", 70000) + "' }",
            kInvalid, "RankReady.note: 70000 bytes; need at most 65536"),
      After("GainsTooMany",
            "step_done { job: 'jobs/tiny' attempt: 1 report { gain { " +
                Repeat("forward_by_sublayer: 1 ", 20000) + "} } }",
            kInvalid, "items; need at most 16384"),
  };
  return *kWorkers;
}

INSTANTIATE_TEST_SUITE_P(Words, OddWorkerTest, ::testing::ValuesIn(OddWorkers()),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace birkhoff
