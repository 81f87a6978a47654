// Every message of the wire with random values in every field: what the structs do not carry does
// not come back.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/net/convert.h"
#include "core/net/encoding.h"
#include "core/plan/compile.h"
#include "core/plan/text.h"
#include "core/spec/validate.h"

namespace birkhoff {
namespace {

using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::util::MessageDifferencer;

// Fills all fields of a message; of a oneof the member it is told to.
class Filler {
 public:
  explicit Filler(uint32_t seed) : engine_(seed) {}

  void Fill(Message* message, const std::string& member = "") {
    const auto* descriptor = message->GetDescriptor();
    for (int i = 0; i < descriptor->field_count(); ++i) {
      const FieldDescriptor* field = descriptor->field(i);
      if (field->real_containing_oneof() != nullptr && field->name() != member) continue;
      if (field->options().deprecated()) continue;  // kept for its number only
      for (int n = field->is_repeated() ? 1 + Below(3) : 1; n > 0; --n) Put(message, field);
    }
  }

 private:
  int Below(int bound) { return static_cast<int>(engine_() % static_cast<uint32_t>(bound)); }

  // Small numbers stand for enums too: 1 is a member of each; codes are of the contract.
  int Number(const FieldDescriptor* field) {
    if (field->name() == "code") return static_cast<int>(ExitCode::kNumerics);
    return field->name() == "kind" ? 1 : 1 + Below(2);
  }
  int EnumNumber(const EnumDescriptor* type) {
    return type->value(1 + Below(type->value_count() - 1))->number();  // 0 is unspecified
  }
  void Put(Message* message, const FieldDescriptor* field) {
    const Reflection* r = message->GetReflection();
    const bool many = field->is_repeated();
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return Fill(many ? r->AddMessage(message, field) : r->MutableMessage(message, field));
      case FieldDescriptor::CPPTYPE_STRING: {
        const std::string text = field->name() == "precision"  // a choice of words
                                     ? "bf16"
                                     : std::string("\x01 text ") + std::to_string(engine_());
        return many ? r->AddString(message, field, text) : r->SetString(message, field, text);
      }
      case FieldDescriptor::CPPTYPE_DOUBLE: {
        const double value = 0.25 + Below(1'000'000) / 3.0;
        return many ? r->AddDouble(message, field, value) : r->SetDouble(message, field, value);
      }
      case FieldDescriptor::CPPTYPE_FLOAT:
        return r->AddFloat(message, field, 0.25f + static_cast<float>(Below(1000)));
      case FieldDescriptor::CPPTYPE_INT32:
        return many ? r->AddInt32(message, field, Number(field))
                    : r->SetInt32(message, field, Number(field));
      case FieldDescriptor::CPPTYPE_INT64: {
        const int64_t value = (int64_t{1} << 40) + Below(1'000'000);
        return many ? r->AddInt64(message, field, value) : r->SetInt64(message, field, value);
      }
      case FieldDescriptor::CPPTYPE_UINT64:
        return r->SetUInt64(message, field, (uint64_t{1} << 63) + static_cast<uint64_t>(Below(9)));
      case FieldDescriptor::CPPTYPE_BOOL:
        return r->SetBool(message, field, true);
      case FieldDescriptor::CPPTYPE_ENUM:
        return r->SetEnumValue(message, field, EnumNumber(field->enum_type()));
      default:
        ADD_FAILURE() << field->full_name() << " has a type the filler does not know";
    }
  }

  std::mt19937 engine_;
};

// The difference of a message from what the struct between made of it; empty: none.
template <typename Proto, typename Decode, typename Encode>
std::string Loss(const Proto& sent, Decode decode, Encode encode) {
  const auto between = decode(sent.SerializeAsString());
  if (!between.ok()) return between.status().ToString();
  Proto back;
  if (!back.ParseFromString(encode(*between))) return "the second encoding cannot be parsed";
  std::string difference;
  MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&difference);
  differencer.Compare(sent, back);
  return difference;
}

TEST(Convert, CarriesEveryFieldOfAJobSpec) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    v1::JobSpec spec;
    Filler(seed).Fill(&spec);
    EXPECT_EQ(Loss(spec, DecodeJobSpec, EncodeJobSpec), "") << spec.DebugString();
  }
}

TEST(Convert, CarriesEveryFieldOfAPlan) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    v1::Plan plan;
    Filler(seed).Fill(&plan);
    EXPECT_EQ(Loss(plan, DecodePlan, EncodePlan), "");
  }
}

template <typename Proto, typename Decode, typename Encode>
void ExpectEveryMemberCarried(Decode decode, Encode encode) {
  const auto* oneof = Proto::descriptor()->FindOneofByName("payload");
  ASSERT_NE(oneof, nullptr);
  for (int i = 0; i < oneof->field_count(); ++i) {
    for (uint32_t seed = 0; seed < 5; ++seed) {
      Proto message;
      Filler(seed).Fill(&message, oneof->field(i)->name());
      EXPECT_EQ(Loss(message, decode, encode), "") << oneof->field(i)->name();
    }
  }
}

TEST(Convert, CarriesEveryFieldOfWhatWorkersSay) {
  ExpectEveryMemberCarried<v1::ConnectRequest>(DecodeWorkerMessage, EncodeWorkerMessage);
}

TEST(Convert, CarriesEveryFieldOfWhatWorkersAreTold) {
  ExpectEveryMemberCarried<v1::ConnectResponse>(DecodeCoordinatorMessage, EncodeCoordinatorMessage);
}

TEST(Convert, CarriesTheNotesOfAReadyRank) {
  const std::string bytes = EncodeWorkerMessage(
      {"workers/w", 7, RankReady{"jobs/a", 2, 1, 40, "60 is damaged", "more steps"}});
  const absl::StatusOr<WorkerMessage> back = DecodeWorkerMessage(bytes);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->incarnation, 7u);
  EXPECT_EQ(std::get<RankReady>(back->payload).note, "60 is damaged");
  EXPECT_EQ(std::get<RankReady>(back->payload).notice, "more steps");
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

TEST(Convert, EveryMappingHasItsNumberOnTheWire) {
  const auto* type = v1::MappingKind_descriptor();
  ASSERT_EQ(type->value_count(), static_cast<int>(kMappings.size()) + 1);
  for (size_t row = 0; row < kMappings.size(); ++row) {
    const auto* value = type->FindValueByNumber(static_cast<int>(row) + 1);
    ASSERT_NE(value, nullptr) << kMappings[row].name;
    EXPECT_EQ(value->name(),
              absl::StrCat("MAPPING_KIND_", absl::AsciiStrToUpper(kMappings[row].name)));
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
  EXPECT_EQ(EncodeJobSpec(*spec), EncodeJobSpec(want));
}

// It has to be made again: what it computes in, nobody can know.
TEST(Convert, APlanWithoutPrecisionIsRefused) {
  JobSpec spec;
  spec.data.train = {{"corpus", 1.0}};
  spec.model.vocab_size = 257;
  const absl::StatusOr<Plan> plan = CompilePlan(spec, {});
  ASSERT_TRUE(plan.ok()) << plan.status();
  v1::Plan old;
  ToProto(*plan, &old);
  EXPECT_TRUE(FromProto(old).ok());
  old.clear_precision();
  EXPECT_THAT(std::string(FromProto(old).status().message()),
              ::testing::HasSubstr("plan.precision: number 0 is not known"));
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

// Cut and flipped bytes must give a value or an error, never a crash.
TEST(Convert, DamagedBytesAreRefusedOrRead) {
  v1::ConnectResponse start;
  Filler(3).Fill(&start, "start_attempt");
  const std::string whole = start.SerializeAsString();
  std::mt19937 engine(5);
  int refused = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = whole.substr(0, engine() % whole.size());
    if (!bytes.empty()) bytes[engine() % bytes.size()] ^= static_cast<char>(1 << engine() % 8);
    refused += !DecodeCoordinatorMessage(bytes).ok();
  }
  EXPECT_GT(refused, 1000) << "most cuts fall inside a field";
  EXPECT_EQ(DecodePlan("\xff\xff").status(),
            absl::InvalidArgumentError("these 2 bytes are no birkhoff.v1.Plan"));
}

TEST(Convert, RefusesBytesThatAreNoMessage) {
  const std::string bytes = "\xff\xff\xff";
  for (const absl::Status& status :
       {DecodeJobSpec(bytes).status(), DecodePlan(bytes).status(),
        DecodeWorkerMessage(bytes).status(), DecodeCoordinatorMessage(bytes).status(),
        DecodeWorkerMessage("").status(), DecodeCoordinatorMessage("").status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  }
}

TEST(Convert, RefusesAnEnumNumberOfALaterRelease) {
  v1::JobSpec spec;
  spec.mutable_model()->mutable_residual()->set_kind(static_cast<v1::ResidualKind>(9));
  EXPECT_EQ(
      FromProto(spec).status(),
      absl::InvalidArgumentError("model.residual.kind: enum number 9 is not known; need 1 to 3"));
  spec.mutable_model()->mutable_residual()->set_kind(v1::RESIDUAL_KIND_UNSPECIFIED);
  EXPECT_EQ(FromProto(spec).status().code(), absl::StatusCode::kInvalidArgument);
  v1::Plan plan;
  plan.add_ranks()->add_train()->set_op(99);
  EXPECT_EQ(DecodePlan(plan.SerializeAsString()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Convert, KeepsTimesToTheNanosecond) {
  for (const absl::Time time :
       {absl::FromUnixNanos(1'700'000'000'123'456'789), absl::UnixEpoch() - absl::Nanoseconds(1)}) {
    google::protobuf::Timestamp wire;
    ToProto(time, &wire);
    EXPECT_GE(wire.nanos(), 0);
    EXPECT_EQ(FromProto(wire), time);
  }
}

TEST(Convert, TakesAnExitCodeOutsideTheContractForABug) {
  EXPECT_EQ(ExitCodeFromNumber(75), ExitCode::kStopped);
  for (const int code : {1, -64}) EXPECT_EQ(ExitCodeFromNumber(code), ExitCode::kInternal);
}

}  // namespace
}  // namespace birkhoff
