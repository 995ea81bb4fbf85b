#include "transport/status/status_server.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cstring>
#include <future>
#include <utility>

namespace kdn::transport::status {
namespace {

constexpr const char* kThreads = "2";
constexpr const char* kRequestTimeoutMs = "5000";
constexpr std::chrono::milliseconds kKnockInterval{10};
constexpr int kOk = 200;
constexpr int kNotAllowed = 405;
constexpr int kUnavailable = 503;

void Answer(mg_connection* connection, int status, std::string_view text) {
  const char* phrase = status == kOk            ? "OK"
                       : status == kUnavailable ? "Service Unavailable"
                                                : "Method Not Allowed";
  mg_printf(connection,
            "HTTP/1.1 %d %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
            "Content-Length: %zu\r\nConnection: close\r\n\r\n",
            status, phrase, text.size());
  const bool head = std::strcmp(mg_get_request_info(connection)->request_method, "HEAD") == 0;
  if (!head) mg_write(connection, text.data(), text.size());
}

bool IsRead(mg_connection* connection) {
  const char* method = mg_get_request_info(connection)->request_method;
  return std::strcmp(method, "GET") == 0 || std::strcmp(method, "HEAD") == 0;
}

// Connects to this machine's `port` and hangs up.
void Knock(std::uint16_t port, bool v6) {
  sockaddr_in at4{};
  at4.sin_family = AF_INET;
  at4.sin_port = htons(port);
  at4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sockaddr_in6 at6{};
  at6.sin6_family = AF_INET6;
  at6.sin6_port = htons(port);
  at6.sin6_addr = in6addr_loopback;
  const int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  const auto* at = v6 ? reinterpret_cast<sockaddr*>(&at6) : reinterpret_cast<sockaddr*>(&at4);
  (void)connect(fd, at, v6 ? sizeof(at6) : sizeof(at4));
  close(fd);
}

// `endpoint` with its host as a number, as the library wants it.
Result<std::string> NumericEndpoint(std::string_view endpoint, bool insecure) {
  const std::size_t colon = endpoint.rfind(':');
  const std::string given(endpoint.substr(0, colon));
  const std::string host = given == "localhost" ? "127.0.0.1" : given;
  const std::string port(colon == std::string_view::npos ? "" : endpoint.substr(colon + 1));
  const bool v6 = host.size() > 2 && host.front() == '[' && host.back() == ']';
  in_addr v4_address{};
  in6_addr v6_address{};
  const bool numeric =
      v6 ? inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &v6_address) == 1
         : inet_pton(AF_INET, host.c_str(), &v4_address) == 1;
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (!numeric || error != std::errc() || end != port.data() + port.size()) {
    return Error(Code::kInvalidArgument,
                 "'" + std::string(endpoint) + "' is no endpoint; expected an address and a port");
  }
  const bool loopback = v6 ? IN6_IS_ADDR_LOOPBACK(&v6_address) != 0
                           : (ntohl(v4_address.s_addr) >> 24) == IN_LOOPBACKNET;
  if (!loopback && !insecure) {
    return Error(Code::kFailedPrecondition,
                 host + " is not a loopback address; status off loopback needs insecure = true");
  }
  return host + ":" + port;
}

class CivetStatusServer final : public StatusServer {
 public:
  CivetStatusServer(const MetricRegistry& metrics, std::function<bool()> ready)
      : metrics_(metrics), ready_(std::move(ready)) {}
  ~CivetStatusServer() override;

  Status Listen(const std::string& at);
  [[nodiscard]] std::string endpoint() const override { return endpoint_; }

 private:
  // Handlers of the C library; `self` is the server. The return value is the status.
  static int OnMetrics(mg_connection* connection, void* self) {
    return Serve(connection, kOk, static_cast<const CivetStatusServer*>(self)->metrics_.Render());
  }
  static int OnHealth(mg_connection* connection, void*) { return Serve(connection, kOk, "ok\n"); }
  static int OnReady(mg_connection* connection, void* self) {
    const bool ready = static_cast<const CivetStatusServer*>(self)->ready_();
    return Serve(connection, ready ? kOk : kUnavailable, ready ? "ready\n" : "not ready\n");
  }
  static int Serve(mg_connection* connection, int status, std::string_view text) {
    if (!IsRead(connection)) {
      status = kNotAllowed;
      text = "only GET and HEAD are served\n";
    }
    Answer(connection, status, text);
    return status;
  }

  const MetricRegistry& metrics_;
  std::function<bool()> ready_;
  mg_context* context_ = nullptr;
  std::string endpoint_;
  std::uint16_t port_ = 0;
  bool v6_ = false;
};

// The library looks whether it shall stop each time somebody connects, else every two seconds.
CivetStatusServer::~CivetStatusServer() {
  if (context_ == nullptr) return;
  std::future<void> stopped =
      std::async(std::launch::async, [context = context_] { mg_stop(context); });
  while (stopped.wait_for(kKnockInterval) == std::future_status::timeout) Knock(port_, v6_);
}

Status CivetStatusServer::Listen(const std::string& at) {
  const std::array<const char*, 9> options = {"listening_ports",
                                              at.c_str(),
                                              "num_threads",
                                              kThreads,
                                              "request_timeout_ms",
                                              kRequestTimeoutMs,
                                              "enable_directory_listing",
                                              "no",
                                              nullptr};
  const mg_callbacks callbacks{};
  context_ = mg_start(&callbacks, this, const_cast<const char**>(options.data()));
  if (context_ == nullptr) return Status(Code::kUnavailable, "cannot serve status at " + at);
  mg_server_port port{};
  mg_get_server_ports(context_, 1, &port);
  port_ = static_cast<std::uint16_t>(port.port);
  v6_ = at.front() == '[';
  endpoint_ = at.substr(0, at.rfind(':') + 1) + std::to_string(port_);
  mg_set_request_handler(context_, "/metrics$", OnMetrics, this);
  mg_set_request_handler(context_, "/healthz$", OnHealth, this);
  mg_set_request_handler(context_, "/readyz$", OnReady, this);
  return Status();
}

}  // namespace

Result<std::unique_ptr<StatusServer>> StatusServer::Start(std::string_view endpoint,
                                                          const MetricRegistry& metrics,
                                                          std::function<bool()> ready,
                                                          bool insecure) {
  KDN_ASSIGN_OR_RETURN(const std::string at, NumericEndpoint(endpoint, insecure));
  auto server = std::make_unique<CivetStatusServer>(metrics, std::move(ready));
  if (Status listening = server->Listen(at); !listening.ok()) {
    return std::unexpected(listening);
  }
  return server;
}

}  // namespace kdn::transport::status
