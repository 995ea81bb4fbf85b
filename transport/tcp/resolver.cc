#include "transport/tcp/resolver.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

namespace kdn::transport::tcp {
namespace {

constexpr std::size_t kUnderWayMax = 8;

}  // namespace

struct Resolver::State {
  LookUp look_up;
  std::mutex mutex;
  std::condition_variable changed;
  // Names that are being looked up, and answers that nobody has taken yet.
  std::map<std::string, std::optional<Result<Address>>, std::less<>> names;  // guarded by mutex
};

Resolver::Resolver(LookUp look_up) : state_(std::make_shared<State>()) {
  state_->look_up = std::move(look_up);
}

Resolver::~Resolver() = default;

Result<Address> Resolver::Resolve(std::string_view endpoint, const Clock& clock,
                                  TimePoint deadline) {
  Result<Address> numeric = ResolveNumeric(endpoint);
  if (numeric || numeric.error().code() != Code::kNotFound) return numeric;
  const std::string name(endpoint);
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  if (!state.names.contains(name)) {
    std::erase_if(state.names, [](const auto& entry) { return entry.second.has_value(); });
    if (state.names.size() >= kUnderWayMax) {
      return Error(Code::kResourceExhausted, "too many names are being looked up");
    }
    state.names[name];
    try {
      std::thread([shared = state_, name] {
        Result<Address> found = shared->look_up(name);
        const std::lock_guard guard(shared->mutex);
        shared->names[name] = std::move(found);
        shared->changed.notify_all();
      }).detach();
    } catch (const std::system_error&) {
      state.names.erase(name);
      return Error(Code::kResourceExhausted, "no thread to look a name up on");
    }
  }
  for (;;) {
    const auto it = state.names.find(name);
    if (it == state.names.end()) return Error(Code::kUnavailable, name + ": look it up again");
    if (it->second) {
      Result<Address> found = *std::move(it->second);
      state.names.erase(it);
      return found;
    }
    const Duration left = deadline - clock.Now();
    if (left <= Duration::zero()) {
      return Error(Code::kUnavailable, name + ": the name is not found in time");
    }
    state.changed.wait_for(lock, left);
  }
}

}  // namespace kdn::transport::tcp
