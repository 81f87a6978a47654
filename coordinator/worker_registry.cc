// A lease is the instant at which it ends, moved by every message; only Expire turns silence into a
// loss, and drops those that were lost long ago and work for nobody.
#include "coordinator/worker_registry.h"

#include "absl/strings/str_cat.h"

namespace birkhoff {

absl::StatusOr<bool> WorkerRegistry::Register(Instant now, absl::Time wall, uint64_t incarnation,
                                              const Hello& hello, bool elsewhere) {
  RegisteredWorker& worker = workers_[hello.resources.name];
  const bool alive = worker.incarnation != 0 && !worker.lost && now < worker.lease_end;
  if (alive && incarnation < worker.incarnation) {
    return absl::AbortedError(absl::StrCat(hello.resources.name, ": life ", incarnation,
                                           " speaks after life ", worker.incarnation,
                                           " has registered; start it anew"));
  }
  if (alive && elsewhere && incarnation > worker.incarnation) {
    return absl::UnavailableError(
        absl::StrCat(hello.resources.name, " is another process, at ", worker.address,
                     ", which is alive; give this one another --name, or end the other one"));
  }
  const bool replaced = incarnation != worker.incarnation && !worker.job.empty();
  worker.incarnation = incarnation;
  worker.resources = hello.resources;
  worker.address = hello.address;
  worker.lost = false;
  worker.lease_end = now + lease_;
  worker.last_heard = wall;
  return replaced;
}

absl::Status WorkerRegistry::Heard(Instant now, absl::Time wall, const std::string& name,
                                   uint64_t incarnation) {
  const auto found = workers_.find(name);
  if (found == workers_.end() || found->second.resources.name.empty()) {
    return absl::NotFoundError(absl::StrCat(name, " has not said hello"));
  }
  if (found->second.incarnation != incarnation) {
    return absl::AbortedError(absl::StrCat(name, ": life ", incarnation, " speaks; life ",
                                           found->second.incarnation, " is registered"));
  }
  found->second.lost = false;
  found->second.lease_end = now + lease_;
  found->second.last_heard = wall;
  return absl::OkStatus();
}

void WorkerRegistry::Expect(Instant now, const std::string& name, uint64_t incarnation) {
  RegisteredWorker& worker = workers_[name];
  worker.incarnation = incarnation;
  worker.lease_end = now + lease_;
}

void WorkerRegistry::Extend(absl::Duration by) {
  for (auto& [name, worker] : workers_) {
    if (!worker.lost) worker.lease_end = worker.lease_end + by;
  }
}

std::vector<std::string> WorkerRegistry::Expire(Instant now) {
  std::vector<std::string> expired;
  for (auto worker = workers_.begin(); worker != workers_.end();) {
    RegisteredWorker& w = worker->second;
    if (!w.lost && now >= w.lease_end) {
      w.lost = true;
      w.lost_since = now;
      expired.push_back(worker->first);
    }
    const bool forgotten = w.lost && w.job.empty() && now - w.lost_since >= forget_;
    worker = forgotten ? workers_.erase(worker) : std::next(worker);
  }
  return expired;
}

void WorkerRegistry::Assign(const std::string& name, const std::string& job, int attempt,
                            int rank) {
  RegisteredWorker& worker = workers_[name];
  worker.job = job;
  worker.attempt = attempt;
  worker.rank = rank;
}

void WorkerRegistry::Release(const std::string& name, const std::string& job, int attempt) {
  const auto found = workers_.find(name);
  if (found == workers_.end()) return;
  RegisteredWorker& worker = found->second;
  if (worker.job != job || worker.attempt != attempt) return;
  worker.job.clear();
  worker.attempt = 0;
  worker.rank = 0;
}

std::vector<std::string> WorkerRegistry::Idle(const std::string& device) const {
  std::vector<std::string> idle;
  for (const auto& [name, worker] : workers_) {
    const bool fits = device.empty() || worker.resources.device == device;
    // Without resources it is only expected back, and works for nobody by then.
    if (!worker.lost && worker.job.empty() && fits && !worker.resources.name.empty()) {
      idle.push_back(name);
    }
  }
  return idle;
}

const RegisteredWorker* WorkerRegistry::Find(const std::string& name) const {
  const auto found = workers_.find(name);
  return found == workers_.end() ? nullptr : &found->second;
}

}  // namespace birkhoff
