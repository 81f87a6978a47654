// Pages over real sockets, beside requests that are wrong, too long, or never finished.
#include "core/net/http_server.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/core/net/http_request.h"

namespace birkhoff {
namespace {

class HttpServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = HttpServer::Start(
        "127.0.0.1:0",
        {{"/hello", [](const HttpQuery&) { return HttpPage{.body = "hello\n"}; }},
         {"/away",
          [](const HttpQuery&) {
            return HttpPage{.code = 503, .type = "text/html", .body = "away"};
          }},
         {"/broken",
          [](const HttpQuery&) -> HttpPage { throw std::runtime_error("out of paper"); }},
         {"/echo", [](const HttpQuery& query) {
            std::string text;
            for (const auto& [key, value] : query) absl::StrAppend(&text, key, "=", value, ";");
            return HttpPage{.body = text};
          }}});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  std::string Get(const std::string& path) const {
    return HttpRequest(server_->address(), path).Answer();
  }
  // The code of the answer to these bytes; "" if there is none.
  std::string CodeFor(const std::string& bytes) const {
    const auto request = HttpRequest::Raw(server_->address(), bytes);
    request->SayNoMore();
    return request->Answer().substr(0, 3);
  }

  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, GivesThePagesThatItHas) {
  EXPECT_EQ(Get("/hello"), "200: hello\n");
  EXPECT_EQ(Get("/hello?more=1"), "200: hello\n");
  EXPECT_EQ(Get("/away"), "503: away");
  EXPECT_EQ(Get("/broken").substr(0, 4), "500:");
  for (const char* path : {"/", "/hello/", "/hello/more", "/helloo", "/../etc/passwd", "/%00"}) {
    EXPECT_EQ(Get(path).substr(0, 4), "404:") << path;
  }
}

TEST_F(HttpServerTest, PagesHearWhatIsAsked) {
  EXPECT_EQ(Get("/echo"), "200: ");
  EXPECT_EQ(Get("/echo?job=jobs%2Fa&show&job=b+c"), "200: job=jobs/a;job=b c;show=;");
}

TEST_F(HttpServerTest, RefusesWhatIsNoRequestForAPageAndGoesOn) {
  EXPECT_EQ(CodeFor("POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"), "405");
  EXPECT_EQ(CodeFor("DELETE /hello HTTP/1.0\r\n\r\n"), "405");
  EXPECT_EQ(CodeFor("HEAD /hello HTTP/1.0\r\n\r\n"), "200");
  // What is too long is not read to its end, so that the answer may be lost.
  CodeFor(absl::StrCat("GET /", std::string(100'000, 'x'), " HTTP/1.0\r\n\r\n"));
  CodeFor(absl::StrCat("GET /hello HTTP/1.0\r\nA: ", std::string(100'000, 'x'), "\r\n\r\n"));
  CodeFor("\r\n\r\n\r\n");
  CodeFor("no request at all\r\n\r\n");
  CodeFor(std::string("GET \0 HTTP/1.0\r\n\r\n", 18));
  CodeFor("\x16\x03\x01\x02\x01");  // TLS
  EXPECT_EQ(Get("/hello"), "200: hello\n");
}

TEST_F(HttpServerTest, WhoSendsHalfARequestHoldsUpNobody) {
  std::vector<std::unique_ptr<HttpRequest>> halves;
  for (int i = 0; i < HttpServer::kMostConnections - 1; ++i) {
    halves.push_back(HttpRequest::Raw(server_->address(), "GET /hel"));
  }
  EXPECT_EQ(Get("/hello"), "200: hello\n");
  EXPECT_FALSE(halves.front()->IsAnsweredWithin(absl::ZeroDuration()));
}

TEST_F(HttpServerTest, EndsAtOnceWhoeverIsConnected) {
  const auto half = HttpRequest::Raw(server_->address(), "GET /hel");
  EXPECT_EQ(Get("/hello"), "200: hello\n");
  server_.reset();
  EXPECT_EQ(half->Answer(), "");
}

TEST_F(HttpServerTest, SaysThatAPortIsTaken) {
  const auto second = HttpServer::Start(server_->address(), {});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable) << second.status();
}

}  // namespace
}  // namespace birkhoff
