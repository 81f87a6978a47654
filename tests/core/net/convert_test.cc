// Everything that travels comes back as it went: all fields of the specs, by the table of fields;
// all fields of the messages, by reflection.
#include "core/net/convert.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>

#include "core/net/wire.h"
#include "core/plan/compile.h"
#include "core/plan/text.h"
#include "core/spec/field.h"
#include "core/spec/validate.h"
#include "tests/core/net/random_message.h"

namespace birkhoff {
namespace {

using testing::MessageFiller;

// Gives one field a random value of its type.
class FieldSetter {
 public:
  FieldSetter(JobSpec& spec, Rng& rng) : spec_(spec), rng_(rng) {}

  void operator()(const IntField& f) { f.at(spec_) = static_cast<int>(rng_.Below(100000)); }
  void operator()(const LongField& f) { f.at(spec_) = static_cast<int64_t>(rng_.Next() >> 2); }
  void operator()(const SeedField& f) { f.at(spec_) = rng_.Next(); }
  void operator()(const RealField& f) { f.at(spec_) = rng_.Normal(); }
  void operator()(const SwitchField& f) { f.at(spec_) = !f.at(spec_); }
  void operator()(const TextField& f) { f.at(spec_) = std::to_string(rng_.Next()); }
  void operator()(const ChoiceField& f) {
    f.set(spec_, static_cast<int>(rng_.Below(f.names.size())));
  }
  void operator()(const RecomputeField& f) { f.at(spec_) = static_cast<int>(rng_.Below(9)) - 1; }
  void operator()(const RealsField& f) { f.at(spec_) = {rng_.Uniform(), rng_.Uniform()}; }
  void operator()(const SourcesField& f) {
    f.at(spec_) = {{std::to_string(rng_.Next()), rng_.Uniform()}, {"b", 2.0}};
  }

 private:
  JobSpec& spec_;
  Rng& rng_;
};

TEST(Convert, EveryFieldOfASpecSurvives) {
  Rng rng(1);
  for (int round = 0; round < 50; ++round) {
    JobSpec spec;
    for (const Field& field : Fields()) std::visit(FieldSetter(spec, rng), field.kind);
    const absl::StatusOr<JobSpec> back = DecodeJobSpec(EncodeJobSpec(spec));
    ASSERT_TRUE(back.ok()) << back.status();
    for (const Field& field : Fields()) {
      EXPECT_EQ(FieldValue(field, *back), FieldValue(field, spec)) << field.path;
    }
  }
}

TEST(Convert, AbsentFieldsOfASpecHaveTheirDefaults) {
  v1::JobSpec partial;
  partial.mutable_training()->set_steps(7);
  partial.mutable_data()->add_train()->set_path("corpus");
  const absl::StatusOr<JobSpec> spec = FromProto(partial);
  ASSERT_TRUE(spec.ok()) << spec.status();
  JobSpec want;
  want.training.steps = 7;
  want.data.train = {{"corpus", 1.0}};
  for (const Field& field : Fields()) {
    EXPECT_EQ(FieldValue(field, *spec), FieldValue(field, want)) << field.path;
  }
}

TEST(Convert, UnknownEnumNumbersOfASpecAreNamed) {
  v1::JobSpec wrong;
  wrong.mutable_model()->mutable_residual()->set_kind(v1::RESIDUAL_KIND_UNSPECIFIED);
  EXPECT_EQ(FromProto(wrong).status(),
            absl::InvalidArgumentError(
                "model.residual.kind: enum number 0 is not known; need 1 to 3"));
  wrong.mutable_model()->mutable_residual()->set_kind(static_cast<v1::ResidualKind>(9));
  EXPECT_EQ(FromProto(wrong).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Convert, CompiledPlansKeepTheirHash) {
  for (const auto schedule :
       {ScheduleKind::k1F1B, ScheduleKind::kDualPipeV, ScheduleKind::kDualPipe}) {
    JobSpec spec;
    spec.data.train = {{"corpus", 1.0}};
    spec.parallelism.schedule = schedule;
    ASSERT_TRUE(ResolveVocabulary(&spec));
    ClusterSpec cluster;
    cluster.workers.resize(2);
    const absl::StatusOr<Plan> plan = CompilePlan(spec, cluster);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const absl::StatusOr<Plan> back = DecodePlan(EncodePlan(*plan));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(PlanHash(*back), PlanHash(*plan));
    EXPECT_EQ(PlanToText(*back), PlanToText(*plan));
    EXPECT_EQ(back->model_hash, plan->model_hash);
  }
}

// Message -> struct -> message: a field that a conversion forgets is missing at the end.
template <typename Proto>
void ExpectSurvives(int num_choices) {
  for (int choice = 0; choice < num_choices; ++choice) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      Proto want;
      MessageFiller(seed).Fill(want, choice);
      const auto value = FromProto(want);
      ASSERT_TRUE(value.ok()) << value.status() << want.ShortDebugString();
      Proto got;
      ToProto(*value, &got);
      ASSERT_EQ(got.DebugString(), want.DebugString());
    }
  }
}

TEST(Convert, EveryFieldOfAPlanSurvives) { ExpectSurvives<v1::Plan>(1); }

TEST(Convert, EveryFieldOfEveryWorkerMessageSurvives) {
  ExpectSurvives<v1::ConnectRequest>(
      v1::ConnectRequest::descriptor()->FindOneofByName("payload")->field_count());
}

TEST(Convert, EveryFieldOfEveryCoordinatorMessageSurvives) {
  ExpectSurvives<v1::ConnectResponse>(
      v1::ConnectResponse::descriptor()->FindOneofByName("payload")->field_count());
}

TEST(Convert, AStepReportKeepsWhatIsNotANumberAndWhatIsAbsent) {
  StepReport report;
  report.loss = std::numeric_limits<double>::quiet_NaN();
  report.grad_norm = std::numeric_limits<double>::infinity();
  v1::StepReport wire;
  ToProto(report, &wire);
  const StepReport back = FromProto(wire);
  EXPECT_NE(back.loss, back.loss);
  EXPECT_EQ(back.grad_norm, report.grad_norm);
  EXPECT_FALSE(back.mfu.has_value());
  EXPECT_FALSE(back.validation_loss.has_value());
}

TEST(Convert, TimesKeepTheirNanoseconds) {
  for (const int64_t nanoseconds : {int64_t{0}, int64_t{1'700'000'000'123'456'789}, int64_t{-1}}) {
    google::protobuf::Timestamp wire;
    ToProto(absl::FromUnixNanos(nanoseconds), &wire);
    EXPECT_GE(wire.nanos(), 0);
    EXPECT_EQ(absl::ToUnixNanos(FromProto(wire)), nanoseconds);
  }
}

TEST(Convert, AnEmptyMessageIsRefused) {
  EXPECT_EQ(FromProto(v1::ConnectRequest()).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FromProto(v1::ConnectResponse()).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Convert, ForeignExitCodesAreBugs) {
  EXPECT_EQ(ExitCodeFromNumber(75), ExitCode::kStopped);
  EXPECT_EQ(ExitCodeFromNumber(1), ExitCode::kInternal);
  EXPECT_EQ(ExitCodeFromNumber(-64), ExitCode::kInternal);
}

// Cut and flipped bytes must give a value or an error, never a crash.
TEST(Wire, DamagedBytesAreRefusedOrRead) {
  v1::ConnectResponse start;
  MessageFiller(3).Fill(start, 1);
  const std::string whole = start.SerializeAsString();
  ASSERT_TRUE(start.has_start_attempt());
  Rng rng(5);
  int refused = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = whole.substr(0, rng.Below(whole.size()));
    if (!bytes.empty()) bytes[rng.Below(bytes.size())] ^= static_cast<char>(1 << rng.Below(8));
    refused += !DecodeCoordinatorMessage(bytes).ok();
  }
  EXPECT_GT(refused, 1000);  // most cuts fall inside a field
  EXPECT_EQ(DecodePlan("\xff\xff").status(),
            absl::InvalidArgumentError("these 2 bytes are no birkhoff.v1.Plan"));
}

}  // namespace
}  // namespace birkhoff
