// Decides which reads and pieces of puts a shard takes on: as many as it has room for, the more
// urgent ones to the last, each tenant at its rate, and fewer as the node's memory runs out. What
// is refused is told when to come back.
//
// Thread-safety: owned by one shard; the token must not outlive it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/tenant_rates.h"
#include "node/cluster_state.h"
#include "node/memory_watch.h"
#include "proto/wire/overload.h"

namespace kdn::node {

struct AdmissionOptions {
  std::size_t requests_max = 4096;  // under way at once, in this shard
  std::size_t bytes_max = 0;        // that they move, together
  TenantRate usual_rate;            // of the whole node
  std::uint32_t shard_count = 1;
};

class Admission {
 public:
  // All outlive this.
  Admission(const AdmissionOptions& options, const MemoryWatch& memory, const Clock& clock,
            MetricRegistry& metrics);

  // Stands for a request that is under way; its end makes room.
  class Token {
   public:
    Token() = default;
    Token(Token&& other) noexcept
        : admission_(std::exchange(other.admission_, nullptr)),
          bytes_(other.bytes_),
          began_(other.began_) {}
    Token& operator=(Token&& other) noexcept {
      std::swap(admission_, other.admission_);
      std::swap(bytes_, other.bytes_);
      std::swap(began_, other.began_);
      return *this;
    }
    ~Token() {
      if (admission_ != nullptr) admission_->Release(bytes_, began_);
    }

   private:
    friend class Admission;
    Token(Admission& admission, std::size_t bytes, TimePoint began)
        : admission_(&admission), bytes_(bytes), began_(began) {}
    Admission* admission_ = nullptr;
    std::size_t bytes_ = 0;
    TimePoint began_{};
  };

  struct Asked {
    TenantId tenant{};
    wire::Priority priority = wire::Priority::kLoad;
    std::size_t bytes = 0;
    bool rated = true;  // counts against the tenant's rate: not what a node forwards
  };
  struct Verdict {
    std::optional<wire::Overload> refused;
    Token token;  // unless it is refused
  };
  [[nodiscard]] Verdict Judge(const Asked& asked);

  // The tenants as they are now; cheap if they have not changed.
  void SetTenants(const ClusterView& view);
  [[nodiscard]] std::size_t requests_open() const { return requests_open_; }
  [[nodiscard]] std::size_t bytes_open() const { return bytes_open_; }

 private:
  void Release(std::size_t bytes, TimePoint began);
  [[nodiscard]] std::optional<wire::Overload> Refuse(const Asked& asked, TimePoint now);
  [[nodiscard]] bool HasRoom(const Asked& asked) const;
  void Count(const wire::Overload& overload, const Asked& asked);

  const AdmissionOptions options_;
  const MemoryWatch& memory_;
  const Clock& clock_;
  MetricRegistry& metrics_;
  TenantRates rates_;
  std::optional<std::uint64_t> tenants_version_;
  std::size_t requests_open_ = 0;
  std::size_t bytes_open_ = 0;
  Duration usual_time_{};  // that a request is under way
};

}  // namespace kdn::node
