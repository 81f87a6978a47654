// A few pages over HTTP, each made when it is asked for: what kubelets, Prometheus and people with
// a browser read of a running program.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/net/listener.h"

struct MHD_Daemon;  // of libmicrohttpd

namespace birkhoff {

struct HttpPage {
  int code = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body;
};

// What stands behind "?", unescaped: of "a=1&b&a=2" a has "1" and "2", b has "".
using HttpQuery = std::multimap<std::string, std::string>;

// GET and HEAD of the paths that it is given, 404 for others, 405 for other methods.  A connection
// is closed after its answer, and when it has been silent for two seconds; one that sends slowly
// holds up nobody; of more than kMostConnections the later are closed as they come.
class HttpServer {
 public:
  static constexpr int kMostConnections = 256;
  // By path, "/livez".  Called from one thread of the server, one at a time; what it throws is a
  // 500.
  using Pages = std::map<std::string, std::function<HttpPage(const HttpQuery& query)>>;

  // `listen` is "127.0.0.1:8081"; port 0: any free one.  UNAVAILABLE: cannot be bound, or there are
  // no threads for it.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& listen, Pages pages);
  ~HttpServer();  // at once, whoever is connected
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::string address() const { return listener_->address(); }  // with the real port

 private:
  struct Callbacks;  // of libmicrohttpd
  struct StopDaemon {
    void operator()(MHD_Daemon* daemon) const;
  };
  HttpServer(Pages pages, std::unique_ptr<Listener> listener);
  absl::Status StartDaemon();
  void Take(int connection);
  HttpPage PageOf(const char* path, std::string_view method, const HttpQuery& query) const;

  const Pages pages_;
  const std::unique_ptr<Listener> listener_;
  std::unique_ptr<MHD_Daemon, StopDaemon> daemon_;
};

}  // namespace birkhoff
