#include "tests/fault/watch.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "tests/fault/address.h"
#include "transport/wakeup.h"

namespace kdn::fault {
namespace {

// Where the node's status is, as it said when it was ready.
std::string StatusEndpoint(Rig& rig, std::size_t node) {
  std::ifstream file(rig.folder() + "/" + rig.cluster().daemons()[node].name + "/node.ready");
  for (std::string word; file >> word;) {
    if (word.starts_with("status=")) return word.substr(7);
  }
  return "";
}

}  // namespace

std::string MetricsOf(Rig& rig, std::size_t node) {
  const std::string endpoint = StatusEndpoint(rig, node);
  if (endpoint.empty()) return "";
  const sockaddr_in address = AddressOf(endpoint);
  const transport::Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval patience{5, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    return "";
  const std::string request = "GET /metrics HTTP/1.1\r\nHost: kdn\r\nConnection: close\r\n\r\n";
  if (send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return "";
  std::string text;
  char bytes[16384];
  for (ssize_t got = 0; (got = recv(fd.get(), bytes, sizeof(bytes), 0)) > 0;) {
    text.append(bytes, static_cast<std::size_t>(got));
  }
  return text;
}

double SumOf(const std::string& metrics, const std::string& prefix) {
  double sum = 0;
  std::istringstream lines(metrics);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t space = line.rfind(' ');
    if (line.starts_with(prefix) && space != std::string::npos) {
      sum += std::strtod(line.c_str() + space, nullptr);
    }
  }
  return sum;
}

}  // namespace kdn::fault
