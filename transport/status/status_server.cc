#include "transport/status/status_server.h"

#include <civetweb.h>

#include <array>
#include <chrono>
#include <cstring>
#include <future>
#include <utility>

#include "transport/tcp/socket.h"

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

class CivetStatusServer final : public StatusServer {
 public:
  CivetStatusServer(const MetricRegistry& metrics, std::function<bool()> ready)
      : metrics_(metrics), ready_(std::move(ready)) {}
  ~CivetStatusServer() override;

  Status Listen(const tcp::Address& address);
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
};

// The library looks whether it shall stop each time somebody connects, else every two seconds.
CivetStatusServer::~CivetStatusServer() {
  if (context_ == nullptr) return;
  const SteadyClock clock;
  std::future<void> stopped =
      std::async(std::launch::async, [context = context_] { mg_stop(context); });
  const auto address = tcp::Resolve(endpoint_);
  while (stopped.wait_for(kKnockInterval) == std::future_status::timeout) {
    if (address) (void)tcp::Dial(*address, {}, clock, clock.Now() + kKnockInterval);
  }
}

Status CivetStatusServer::Listen(const tcp::Address& address) {
  const std::string at = address.ToString();
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
  endpoint_ = at.substr(0, at.rfind(':') + 1) + std::to_string(port.port);
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
  KDN_ASSIGN_OR_RETURN(const tcp::Address address, tcp::Resolve(endpoint));
  if (!insecure && !address.IsLoopback()) {
    return Error(Code::kFailedPrecondition,
                 address.ToString() +
                     " is not a loopback address; status off loopback needs "
                     "insecure = true");
  }
  auto server = std::make_unique<CivetStatusServer>(metrics, std::move(ready));
  if (Status listening = server->Listen(address); !listening.ok()) {
    return std::unexpected(listening);
  }
  return server;
}

}  // namespace kdn::transport::status
