#include "client/remote/connector.h"

#include <unistd.h>

#include <chrono>
#include <system_error>
#include <utility>

namespace kdn::client {
namespace {

constexpr std::size_t kThreadsMax = 8;
constexpr std::chrono::milliseconds kConnectTimeout{500};

}  // namespace

Connector::Connector(transport::Domain& domain, transport::Identity identity, const Clock& clock,
                     int wake_fd)
    : domain_(domain), identity_(std::move(identity)), clock_(clock), wake_fd_(wake_fd) {
  threads_.emplace_back([this] { Run(); });
}

Connector::~Connector() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Connector::Connect(std::string endpoint) {
  {
    const std::scoped_lock lock(mutex_);
    wanted_.push_back(std::move(endpoint));
    if (idle_ < wanted_.size() && threads_.size() < kThreadsMax) {
      try {
        threads_.emplace_back([this] { Run(); });
      } catch (const std::system_error&) {
        // Without another thread it waits for those that are there.
      }
    }
  }
  changed_.notify_one();
}

std::vector<Connector::Outcome> Connector::TakeOutcomes() {
  const std::scoped_lock lock(mutex_);
  return std::exchange(outcomes_, {});
}

void Connector::Run() {
  for (;;) {
    Outcome outcome;
    {
      std::unique_lock lock(mutex_);
      ++idle_;
      changed_.wait(lock, [this] { return stopping_ || !wanted_.empty(); });
      --idle_;
      if (stopping_) return;
      outcome.endpoint = std::move(wanted_.front());
      wanted_.pop_front();
    }
    auto channel = domain_.Connect(outcome.endpoint, identity_, clock_.Now() + kConnectTimeout);
    if (channel) {
      outcome.channel = *std::move(channel);
    } else {
      outcome.status = std::move(channel).error();
    }
    {
      const std::scoped_lock lock(mutex_);
      outcomes_.push_back(std::move(outcome));
    }
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof(one));
  }
}

}  // namespace kdn::client
