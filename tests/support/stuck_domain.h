// A transport domain of which one peer never answers: connecting to it blocks until the test lets
// it go. Everybody else is not there, which is told at once.
//
// Thread-safety: safe.
#pragma once

#include <latch>
#include <string>
#include <string_view>

#include "base/result.h"
#include "transport/channel.h"

namespace kdn::test {

class StuckDomain final : public transport::Domain {
 public:
  static constexpr const char* kStuck = "stuck:1";

  Status Register(const transport::MemoryRegion&) override { return {}; }
  Status Unregister(const std::byte*) override { return {}; }
  Result<std::unique_ptr<transport::Channel>> Connect(std::string_view endpoint,
                                                      const transport::Identity&,
                                                      TimePoint) override {
    if (endpoint == kStuck) {
      connecting.count_down();
      let_go.wait();
    }
    return Error(Code::kUnavailable, "nobody is there");
  }
  Result<std::unique_ptr<transport::Server>> Listen(std::string_view, const ClusterId&,
                                                    const PeerId&, transport::Service&,
                                                    const transport::Authenticator&) override {
    return Error(Code::kUnimplemented);
  }

  std::latch connecting{1};  // somebody waits for the stuck peer
  std::latch let_go{1};
};

// Lets it go at the end of a test, however that comes.
struct LetGo {
  StuckDomain& domain;
  ~LetGo() { domain.let_go.count_down(); }
};

}  // namespace kdn::test
