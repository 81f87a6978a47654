// BodyWriter has one operator per kind; what workers said is read back by the type of its payload.
// Keys that came later have defaults, so that older stores can be read.
#include "coordinator/event_codec.h"

#include <nlohmann/json.hpp>
#include <type_traits>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/net/encoding.h"

namespace birkhoff {
namespace {

using Json = nlohmann::json;

// Kinds are stored: never change one.
struct BodyWriter {
  StoredEvent* stored;

  void Own(const char* kind, const Json& body) const {
    stored->kind = kind;
    stored->body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  void operator()(const JobCreated& e) const {
    Own("created", {{"spec", absl::Base64Escape(EncodeJobSpec(*e.spec))},
                    {"request_id", e.request_id},
                    {"priority", e.priority},
                    {"output_directory", e.output_directory},
                    {"fresh", e.fresh},
                    {"changes", e.changes},
                    {"init_from", e.init_from}});
  }
  void operator()(const AttemptPlaced& e) const {
    Json workers = Json::array();
    for (const PlacedWorker& worker : e.workers) {
      workers.push_back({{"name", worker.worker}, {"incarnation", worker.incarnation}});
    }
    Own("placed", {{"attempt", e.attempt},
                   {"workers", workers},
                   {"plan_hash", e.plan_hash},
                   {"cluster_shape", e.cluster_shape}});
  }
  void operator()(const PlanRefused& e) const {
    Own("plan-refused", {{"reason", e.reason}, {"code", static_cast<int>(e.code)}});
  }
  void operator()(const PlanDeferred& e) const {
    Own("plan-deferred", {{"code", e.code}, {"reason", e.reason}});
  }
  void operator()(const WorkerLost& e) const {
    Own("worker-lost", {{"attempt", e.attempt}, {"rank", e.rank}, {"reason", e.reason}});
  }
  void operator()(const AttemptStuck& e) const {
    Own("stuck", {{"attempt", e.attempt}, {"rank", e.rank}, {"reason", e.reason}});
  }
  void operator()(const CancelRequested&) const { Own("cancel", Json::object()); }
  void operator()(const GraceOver& e) const { Own("grace-over", {{"attempt", e.attempt}}); }

  void Said(const char* kind, WorkerPayload payload) const {
    stored->kind = kind;
    stored->body = EncodeWorkerMessage({"", 0, std::move(payload)});
  }
  void operator()(const RankReady& e) const { Said("ready", e); }
  void operator()(const StepDone& e) const { Said("step", e); }
  void operator()(const ShardDurable& e) const { Said("shard", e); }
  void operator()(const CheckpointCommitted& e) const { Said("checkpoint", e); }
  void operator()(const CheckpointFailed& e) const { Said("checkpoint-failed", e); }
  void operator()(const RankExited& e) const { Said("exited", e); }
  void operator()(const Noticed& e) const { Said("noticed", e); }
};

absl::Status Damaged(const StoredEvent& stored, const std::string& why) {
  return absl::DataLossError(
      absl::StrCat("event ", stored.id, " of ", stored.job, " (", stored.kind, "): ", why));
}

absl::StatusOr<JobEvent> ReadCreated(const Json& body) {
  std::string bytes;
  if (!absl::Base64Unescape(body.at("spec").get<std::string>(), &bytes)) {
    return absl::InvalidArgumentError("the spec is not base64");
  }
  ASSIGN_OR_RETURN(JobSpec spec, DecodeJobSpec(bytes));
  JobCreated event;
  event.spec = std::make_shared<const JobSpec>(std::move(spec));
  event.request_id = body.at("request_id").get<std::string>();
  event.priority = body.at("priority").get<int>();
  event.output_directory = body.at("output_directory").get<std::string>();
  event.fresh = body.at("fresh").get<bool>();
  event.changes = body.value("changes", event.changes);  // none in older stores
  event.init_from = body.value("init_from", event.init_from);
  return event;
}

JobEvent ReadPlaced(const Json& body) {
  AttemptPlaced event;
  event.attempt = body.at("attempt").get<int>();
  for (const Json& worker : body.at("workers")) {
    event.workers.push_back(
        {worker.at("name").get<std::string>(), worker.at("incarnation").get<uint64_t>()});
  }
  event.plan_hash = body.at("plan_hash").get<std::string>();
  event.cluster_shape = body.at("cluster_shape").get<std::string>();
  return event;
}

absl::StatusOr<JobEvent> ReadOwn(const std::string& kind, const Json& body) {
  if (kind == "created") return ReadCreated(body);
  if (kind == "placed") return ReadPlaced(body);
  if (kind == "plan-refused") {
    return PlanRefused{body.at("reason").get<std::string>(),
                       static_cast<ExitCode>(body.at("code").get<int>())};
  }
  if (kind == "plan-deferred") {
    return PlanDeferred{body.at("code").get<std::string>(), body.at("reason").get<std::string>()};
  }
  if (kind == "worker-lost") {
    return WorkerLost{body.at("attempt").get<int>(), body.at("rank").get<int>(),
                      body.at("reason").get<std::string>()};
  }
  if (kind == "stuck") {
    return AttemptStuck{body.at("attempt").get<int>(), body.at("rank").get<int>(),
                        body.at("reason").get<std::string>()};
  }
  if (kind == "cancel") return CancelRequested{};
  if (kind == "grace-over") return GraceOver{body.at("attempt").get<int>()};
  return absl::InvalidArgumentError("this release does not know the kind");
}

// Turns the JSON library's exceptions into a status.
absl::StatusOr<JobEvent> ReadOwnChecked(const StoredEvent& stored) {
  try {
    absl::StatusOr<JobEvent> event = ReadOwn(stored.kind, Json::parse(stored.body));
    if (event.ok()) return event;
    return Damaged(stored, std::string(event.status().message()));
  } catch (const Json::exception& error) {
    return Damaged(stored, error.what());
  }
}

absl::StatusOr<JobEvent> ReadSaid(const StoredEvent& stored) {
  absl::StatusOr<WorkerMessage> message = DecodeWorkerMessage(stored.body);
  if (!message.ok()) return Damaged(stored, std::string(message.status().message()));
  return std::visit(
      [&](auto payload) -> absl::StatusOr<JobEvent> {
        using Payload = decltype(payload);
        if constexpr (std::is_constructible_v<JobEvent, Payload> &&
                      !std::is_same_v<Payload, Meet> && !std::is_same_v<Payload, Hello> &&
                      !std::is_same_v<Payload, Heartbeat>) {
          return JobEvent(std::move(payload));
        } else {
          return Damaged(stored, "holds a message that is no event");
        }
      },
      std::move(message->payload));
}

}  // namespace

void EncodeJobEvent(const JobEvent& event, StoredEvent* stored) {
  std::visit(BodyWriter{stored}, event);
}

absl::StatusOr<JobEvent> DecodeJobEvent(const StoredEvent& stored) {
  for (const char* said :
       {"ready", "step", "shard", "checkpoint", "checkpoint-failed", "exited", "noticed"}) {
    if (stored.kind == said) return ReadSaid(stored);
  }
  return ReadOwnChecked(stored);
}

}  // namespace birkhoff
