// One request over a real socket.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace birkhoff {

// Sent when made; where nobody listens there is no answer.  `address` is "127.0.0.1:8081".
class HttpRequest {
 public:
  HttpRequest(const std::string& address, const std::string& path)
      : HttpRequest(Bytes{absl::StrCat("GET ", path, " HTTP/1.0\r\n\r\n")}, address) {}
  static std::unique_ptr<HttpRequest> Raw(const std::string& address, const std::string& bytes) {
    return std::unique_ptr<HttpRequest>(new HttpRequest(Bytes{bytes}, address));
  }
  ~HttpRequest() { ::close(fd_); }
  HttpRequest(const HttpRequest&) = delete;
  HttpRequest& operator=(const HttpRequest&) = delete;

  void SayNoMore() const { ::shutdown(fd_, SHUT_WR); }

  bool IsAnsweredWithin(absl::Duration timeout) const {
    pollfd answer = {fd_, POLLIN, 0};
    return ::poll(&answer, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout))) != 0;
  }

  // "200: body", once the server hangs up; what came, where that is no answer.
  std::string Answer() const {
    std::string answer;
    char buffer[4096];
    for (ssize_t got; (got = ::recv(fd_, buffer, sizeof buffer, 0)) > 0;) {
      answer.append(buffer, static_cast<size_t>(got));
    }
    const size_t body = answer.find("\r\n\r\n");
    if (!absl::StartsWith(answer, "HTTP/1.") || body == std::string::npos) return answer;
    return absl::StrCat(answer.substr(9, 3), ": ", answer.substr(body + 4));
  }

 private:
  struct Bytes {
    std::string all;
  };
  HttpRequest(const Bytes& bytes, const std::string& address) {
    const size_t colon = address.rfind(':');
    sockaddr_in peer{};
    peer.sin_family = AF_INET;
    peer.sin_port = htons(static_cast<uint16_t>(std::atoi(address.c_str() + colon + 1)));
    ::inet_pton(AF_INET, address.substr(0, colon).c_str(), &peer.sin_addr);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&peer), sizeof peer) != 0) return;
    ::send(fd_, bytes.all.data(), bytes.all.size(), MSG_NOSIGNAL);
  }

  const int fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
};

}  // namespace birkhoff
