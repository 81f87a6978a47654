// Gloo's tcp pairs match unbound buffers by (pair, slot, order) and move bytes only when both ends
// have posted.  Everything that Gloo throws is turned into a Status in Guarded, and nowhere else.
#include "worker/transport/gloo.h"

#include <gloo/common/error.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/store.h>
#include <gloo/transport/tcp/device.h>
#include <gloo/transport/unbound_buffer.h>

#include <chrono>
#include <csignal>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

using UnboundBuffer = ::gloo::transport::UnboundBuffer;

constexpr uint64_t kByeSlot = ~uint64_t{0};
constexpr char kMeetKey[] = "gloo/";

// Runs `body`, which may throw what Gloo throws.
template <typename Body>
absl::Status Guarded(const Body& body) {
  try {
    return body();
  } catch (const std::exception& error) {
    // Gloo has one exception type for lost connections and for time-outs.
    if (absl::StrContains(error.what(), "Timed out")) {
      return absl::DeadlineExceededError(error.what());
    }
    return absl::UnavailableError(error.what());
  }
}

// Gloo's key-value store over Meets: a key is a name and a rank ("rank_3", "3"), each rank sets its
// own and then gets the others', name after name.
class MeetStore final : public ::gloo::rendezvous::Store {
 public:
  explicit MeetStore(Rendezvous& rendezvous) : rendezvous_(rendezvous) {}

  void set(const std::string& key, const std::vector<char>& data) override {
    const std::string name = NameOf(key);
    auto met = rendezvous_.Meet(kMeetKey + name, std::string(data.begin(), data.end()));
    status_ = met.status();
    if (!met.ok()) throw ::gloo::IoException(met.status().ToString());
    met_[name] = *std::move(met);
  }
  std::vector<char> get(const std::string& key) override {
    const std::string name = NameOf(key);
    const std::string& bytes = met_.at(name).at(std::stoi(key.substr(name.size())));
    return {bytes.begin(), bytes.end()};
  }
  void wait(const std::vector<std::string>& /*keys*/) override {}  // Meet has waited

  const absl::Status& status() const { return status_; }

 private:
  static std::string NameOf(const std::string& key) {
    return key.substr(0, key.find_first_of("0123456789"));
  }

  Rendezvous& rendezvous_;
  std::map<std::string, std::vector<std::string>> met_;  // by name, then rank
  absl::Status status_;
};

class GlooWire final : public Wire {
 public:
  GlooWire(std::shared_ptr<::gloo::rendezvous::Context> context, const GlooOptions& options)
      : context_(std::move(context)), options_(options) {}

  ~GlooWire() override {
    SayBye();
    Close();
  }

  absl::Status Exchange(std::span<const WirePiece> receives,
                        std::span<const WirePiece> sends) override {
    Posted posted(*this);
    absl::Status status;
    for (const WirePiece& piece : receives) {
      status.Update(posted.Add(piece, &UnboundBufferOps::Receive));
    }
    for (const WirePiece& piece : sends) status.Update(posted.Add(piece, &UnboundBufferOps::Send));
    if (status.ok()) status = posted.WaitForAll();
    return status;
  }

  void Close() override {
    {
      absl::MutexLock lock(&mutex_);
      if (closed_) return;
      closed_ = true;
      for (UnboundBuffer* buffer : waiting_) {
        buffer->abortWaitRecv();
        buffer->abortWaitSend();
      }
    }
    // Peers see the connections go, as they would if this process died.
    (void)Guarded([this] {
      context_->closeConnections();
      return absl::OkStatus();
    });
  }

 private:
  struct UnboundBufferOps {
    static void Send(UnboundBuffer& buffer, int peer, uint64_t slot) { buffer.send(peer, slot); }
    static void Receive(UnboundBuffer& buffer, int peer, uint64_t slot) { buffer.recv(peer, slot); }
  };
  using Operation = void (*)(UnboundBuffer&, int, uint64_t);

  // The buffers of one exchange: known to Close while they wait, and gone with this object, after
  // which Gloo touches their memory no more.
  class Posted {
   public:
    explicit Posted(GlooWire& wire) : wire_(wire) {}
    ~Posted() {
      absl::MutexLock lock(&wire_.mutex_);
      for (const Item& item : items_) wire_.waiting_.erase(item.buffer.get());
    }

    absl::Status Add(const WirePiece& piece, Operation operation) {
      return Named(piece.peer, [&] {
        auto buffer = wire_.context_->createUnboundBuffer(piece.data, piece.bytes);
        RETURN_IF_ERROR(wire_.Register(buffer.get()));
        items_.push_back({std::move(buffer), piece.peer, operation == &UnboundBufferOps::Send});
        operation(*items_.back().buffer, piece.peer, piece.slot);
        return absl::OkStatus();
      });
    }
    absl::Status WaitForAll() {
      for (const Item& item : items_) {
        RETURN_IF_ERROR(Named(item.peer, [&] {
          const bool done = item.is_send ? item.buffer->waitSend() : item.buffer->waitRecv();
          return done ? absl::OkStatus() : absl::AbortedError("this rank has closed its transport");
        }));
      }
      return absl::OkStatus();
    }

   private:
    struct Item {
      std::unique_ptr<UnboundBuffer> buffer;
      int peer = 0;
      bool is_send = false;
    };
    template <typename Body>
    absl::Status Named(int peer, const Body& body) {
      const absl::Status status = Guarded(body);
      if (status.ok()) return status;
      return absl::Status(status.code(), absl::StrCat("rank ", peer, ": ", status.message()));
    }

    GlooWire& wire_;
    std::vector<Item> items_;
  };

  absl::Status Register(UnboundBuffer* buffer) {
    absl::MutexLock lock(&mutex_);
    if (closed_) return absl::AbortedError("this rank has closed its transport");
    waiting_.insert(buffer);
    return absl::OkStatus();
  }

  // A closed connection takes with it what its peer has not read yet.  When everybody's bye is
  // here, everybody has read all that came before ours; a peer that went first has its reasons.
  void SayBye() {
    std::vector<std::byte> in(options_.world_size), out(options_.world_size);
    for (int peer = 0; peer < options_.world_size; ++peer) {
      if (peer == options_.transport.rank) continue;
      const WirePiece receive{peer, kByeSlot, &in[peer], 1};
      const WirePiece send{peer, kByeSlot, &out[peer], 1};
      (void)Exchange({&receive, 1}, {&send, 1});
    }
  }

  const std::shared_ptr<::gloo::rendezvous::Context> context_;
  const GlooOptions options_;
  absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<UnboundBuffer*> waiting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> ConnectGloo(const Plan& plan, Rendezvous& rendezvous,
                                                       const GlooOptions& options) {
  std::signal(SIGPIPE, SIG_IGN);  // Gloo writes to sockets whose peers may be dead
  MeetStore store(rendezvous);
  std::shared_ptr<::gloo::rendezvous::Context> context;
  const absl::Status connected = Guarded([&] {
    ::gloo::transport::tcp::attr attributes;
    attributes.hostname = options.address;
    auto device = ::gloo::transport::tcp::CreateDevice(attributes);
    context =
        std::make_shared<::gloo::rendezvous::Context>(options.transport.rank, options.world_size);
    context->setTimeout(std::chrono::milliseconds(absl::ToInt64Milliseconds(options.timeout)));
    context->connectFullMesh(store, device);
    return absl::OkStatus();
  });
  RETURN_IF_ERROR(store.status());
  if (!connected.ok()) {
    return absl::Status(connected.code(),
                        absl::StrCat("gloo: rank ", options.transport.rank, " at ", options.address,
                                     " cannot join its peers: ", connected.message()));
  }
  return NewWireTransport(std::make_unique<GlooWire>(std::move(context), options), plan,
                          options.transport);
}

}  // namespace birkhoff
