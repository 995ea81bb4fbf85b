// How much each tenant may ask of one daemon: requests and bytes a second, in token buckets. A
// request larger than a bucket is let through when the bucket is not empty, and paid off after.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "base/ids.h"

namespace kdn {

// 0: any number.
struct TenantRate {
  std::uint32_t requests_per_second = 0;
  std::uint64_t bytes_per_second = 0;
  friend bool operator==(const TenantRate&, const TenantRate&) = default;
};

// Holds what comes in one second at most, full at first.
class TokenBucket {
 public:
  explicit TokenBucket(double per_second) : per_second_(per_second), tokens_(Capacity()) {}

  // Whether anything may be taken by now.
  [[nodiscard]] bool HasAny(TimePoint now) {
    Refill(now);
    return tokens_ > 0;
  }
  // May leave a debt. Requires: HasAny().
  void Take(double amount) { tokens_ -= amount; }
  // Until HasAny().
  [[nodiscard]] Duration Wait() const {
    if (tokens_ > 0) return {};
    return std::chrono::duration_cast<Duration>(
        std::chrono::duration<double>((1e-9 * per_second_ - tokens_) / per_second_));
  }

 private:
  [[nodiscard]] double Capacity() const { return std::max(per_second_, 1.0); }
  void Refill(TimePoint now) {
    if (last_ != TimePoint{} && now > last_) {
      const double seconds = std::chrono::duration<double>(now - last_).count();
      tokens_ = std::min(tokens_ + seconds * per_second_, Capacity());
    }
    last_ = std::max(last_, now);
  }

  double per_second_;
  double tokens_;
  TimePoint last_{};
};

class TenantRates {
 public:
  struct Refusal {
    bool for_bytes = false;  // else for requests
    Duration wait{};
  };

  // `share`: of what is allowed, as where several shards answer; `usual`: of tenants for whom
  // nothing is said. Buckets of tenants whose rate stays keep what is in them.
  void Set(const std::map<TenantId, TenantRate>& rates, const TenantRate& usual, double share) {
    std::map<TenantId, Buckets> next;
    for (const auto& [tenant, said] : rates) {
      const TenantRate rate{
          said.requests_per_second != 0 ? said.requests_per_second : usual.requests_per_second,
          said.bytes_per_second != 0 ? said.bytes_per_second : usual.bytes_per_second};
      const auto kept = buckets_.find(tenant);
      const bool same = kept != buckets_.end() && kept->second.rate == rate;
      next.emplace(tenant, same ? kept->second : Buckets(rate, share));
    }
    buckets_ = std::move(next);
  }

  // Takes one request of so many bytes, or nothing and says for how long not to come. Tenants of
  // whom Set() has not been told may ask for anything.
  [[nodiscard]] std::optional<Refusal> Take(TenantId tenant, std::uint64_t bytes, TimePoint now) {
    const auto found = buckets_.find(tenant);
    if (found == buckets_.end()) return std::nullopt;
    auto& [rate, requests, volume] = found->second;
    if (rate.requests_per_second != 0 && !requests.HasAny(now))
      return Refusal{false, requests.Wait()};
    if (rate.bytes_per_second != 0 && !volume.HasAny(now)) return Refusal{true, volume.Wait()};
    requests.Take(1);
    volume.Take(static_cast<double>(bytes));
    return std::nullopt;
  }

 private:
  struct Buckets {
    Buckets(const TenantRate& of, double share)
        : rate(of),
          requests(share * of.requests_per_second),
          volume(share * static_cast<double>(of.bytes_per_second)) {}
    TenantRate rate;
    TokenBucket requests;
    TokenBucket volume;
  };
  std::map<TenantId, Buckets> buckets_;
};

}  // namespace kdn
