// A cluster as kdn-bench's target, through the client library's public interface and nothing else.
//
// Thread-safety: ClusterTarget is safe once Open() has returned it.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "client/bench/keyspace.h"
#include "client/bench/options.h"
#include "client/bench/target.h"
#include "kdn/client.h"

namespace kdn::bench {

class ClusterTarget {
 public:
  // Opens the clients and waits until the coordinator answers. kUnavailable if it does not.
  static Result<std::unique_ptr<ClusterTarget>> Open(const Options& options, const Plan& plan,
                                                     const client::ClientOptions& client_options);

  // Stores all records and chains that are not there, with so many threads. kUnavailable says how
  // many could not be stored.
  Status Load(std::uint32_t threads, const std::atomic<bool>& stop);

  // One client's worker; number: from 0.
  [[nodiscard]] std::unique_ptr<Worker> NewWorker(std::uint32_t number);

  // Of the first library, in the Prometheus text format.
  [[nodiscard]] std::string ClientMetrics() const { return clients_.front()->Metrics(); }
  // Bytes of values that were compared with what was stored, and chunks stored on fewer nodes than
  // were wanted.
  [[nodiscard]] std::uint64_t bytes_verified() const { return bytes_verified_; }
  [[nodiscard]] std::uint64_t under_replicated() const { return under_replicated_; }

 private:
  friend class ClusterWorker;
  ClusterTarget(const Options& options, const Plan& plan);

  const Options& options_;
  const Plan& plan_;
  const Pattern pattern_;
  const RecordChooser chooser_;
  Keyspace records_;
  std::vector<std::unique_ptr<client::Client>> clients_;
  std::vector<const client::Model*> models_;  // of each client
  std::atomic<std::uint64_t> bytes_verified_{0};
  std::atomic<std::uint64_t> under_replicated_{0};
};

}  // namespace kdn::bench
