// libmicrohttpd on one thread behind our own listener, which counts connections and resolves names
// as every listener of ours does.
#include "core/net/http_server.h"

#include <microhttpd.h>
#include <sys/socket.h>

#include <utility>

#include "absl/status/status.h"
#include "core/base/guarded.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

constexpr unsigned kSilenceSeconds = 2;
// Request line, headers and the head of the answer: a larger request is refused.
constexpr size_t kMemoryOfConnection = 16384;

}  // namespace

struct HttpServer::Callbacks {
  // Thread of the daemon.
  static MHD_Result Answer(void* self, MHD_Connection* connection, const char* path,
                           const char* method, const char*, const char*, size_t*, void**) {
    HttpQuery query;
    ::MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, &AddArgument, &query);
    const HttpPage page = static_cast<HttpServer*>(self)->PageOf(path, method, query);
    // MUST_COPY: it is sent after this has returned.
    MHD_Response* response = ::MHD_create_response_from_buffer(
        page.body.size(), const_cast<char*>(page.body.data()), MHD_RESPMEM_MUST_COPY);
    if (response == nullptr) return MHD_NO;
    ::MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, page.type.c_str());
    ::MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    ::MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    const MHD_Result queued =
        ::MHD_queue_response(connection, static_cast<unsigned>(page.code), response);
    ::MHD_destroy_response(response);
    return queued;
  }

  static MHD_Result AddArgument(void* query, MHD_ValueKind, const char* key, const char* value) {
    static_cast<HttpQuery*>(query)->emplace(key, value == nullptr ? "" : value);
    return MHD_YES;
  }
};

void HttpServer::StopDaemon::operator()(MHD_Daemon* daemon) const { ::MHD_stop_daemon(daemon); }

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& listen,
                                                              Pages pages) {
  ASSIGN_OR_RETURN(std::unique_ptr<Listener> listener, Listener::Bind(listen, kMostConnections));
  auto server = std::unique_ptr<HttpServer>(new HttpServer(std::move(pages), std::move(listener)));
  RETURN_IF_ERROR(server->StartDaemon());
  return server;
}

HttpServer::HttpServer(Pages pages, std::unique_ptr<Listener> listener)
    : pages_(std::move(pages)), listener_(std::move(listener)) {}

HttpServer::~HttpServer() {
  listener_->Stop();  // it hands connections to the daemon
}

absl::Status HttpServer::StartDaemon() {
  daemon_.reset(::MHD_start_daemon(
      MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC, /*port=*/0,
      /*apc=*/nullptr, /*apc_cls=*/nullptr, &Callbacks::Answer, this,  //
      MHD_OPTION_CONNECTION_TIMEOUT, kSilenceSeconds,                  //
      MHD_OPTION_CONNECTION_LIMIT, unsigned{kMostConnections}, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
      kMemoryOfConnection, MHD_OPTION_END));
  if (daemon_ == nullptr) return absl::UnavailableError("no thread or descriptor is left");
  return Guarded("starting to listen", [this] {
    listener_->Start([this](int, int connection) { Take(connection); });
    return absl::OkStatus();
  });
}

// Thread of the listener.  The daemon owns the descriptor, also where it fails.
void HttpServer::Take(int connection) {
  sockaddr_storage peer = {};
  socklen_t size = sizeof peer;
  auto* address = reinterpret_cast<sockaddr*>(&peer);
  ::getpeername(connection, address, &size);
  ::MHD_add_connection(daemon_.get(), connection, address, size);
}

HttpPage HttpServer::PageOf(const char* path, std::string_view method,
                            const HttpQuery& query) const {
  if (method != MHD_HTTP_METHOD_GET && method != MHD_HTTP_METHOD_HEAD) {
    return {.code = MHD_HTTP_METHOD_NOT_ALLOWED, .body = "only GET and HEAD\n"};
  }
  const auto page = pages_.find(path);
  if (page == pages_.end()) return {.code = MHD_HTTP_NOT_FOUND, .body = "no such page\n"};
  const absl::StatusOr<HttpPage> made =
      Guarded("making a page", [&]() -> absl::StatusOr<HttpPage> { return page->second(query); });
  if (made.ok()) return *made;
  return {.code = MHD_HTTP_INTERNAL_SERVER_ERROR, .body = std::string(made.status().message())};
}

}  // namespace birkhoff
