// A real cluster of processes with a client, and documents whose right bytes are known: what every
// fault case works on.
//
// Thread-safety: Get() and Put() are safe; the rest is not, caller synchronises.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "client/admin/local_cluster.h"
#include "kdn/client.h"
#include "tests/client/test_engine.h"
#include "tests/support/temp_dir.h"

namespace kdn::fault {

using Milliseconds = std::chrono::duration<double, std::milli>;

struct RigOptions {
  std::string program_folder;
  std::uint32_t nodes = 3;
  std::chrono::milliseconds timeout{2000};
  std::vector<std::string> node_settings;
};

struct GetOutcome {
  std::uint64_t tokens = 0;  // delivered
  bool whole = false;        // all of the document
  bool wrong = false;        // bytes that were never stored: the one thing that may not happen
  Milliseconds took{};
  client::LoadReport report;
};

class Rig {
 public:
  static constexpr std::uint32_t kChunkTokens = 64;
  static constexpr std::uint32_t kChunks = 4;
  static constexpr std::uint32_t kTokens = kChunkTokens * kChunks;

  static Result<std::unique_ptr<Rig>> Make(const RigOptions& options);
  ~Rig();

  // Stores document `seed` as a named context.
  client::StoreReport Put(std::uint64_t seed);
  // Looks document `seed` up and loads it into poisoned memory; compares every bit.
  GetOutcome Get(std::uint64_t seed);
  [[nodiscard]] client::LookupResult Lookup(std::uint64_t seed);
  GetOutcome Load(std::uint64_t seed, const client::LookupResult& found);
  // The least number of replicas that the coordinator knows of any of the document's parts.
  [[nodiscard]] std::size_t ReplicasOf(std::uint64_t seed);

  [[nodiscard]] Result<std::unique_ptr<client::Client>> OpenClient(
      const client::ClientOptions& options) const;
  [[nodiscard]] client::ClientOptions client_options() const;
  // A client that has never talked to the cluster before.
  Status Reconnect();

  [[nodiscard]] admin::LocalCluster& cluster() { return *cluster_; }
  [[nodiscard]] client::Client& client() { return *client_; }
  [[nodiscard]] const client::Model& model() const { return *model_; }
  [[nodiscard]] std::chrono::milliseconds timeout() const { return options_.timeout; }
  [[nodiscard]] const std::string& folder() const { return cluster_->folder(); }

 private:
  explicit Rig(RigOptions options) : options_(std::move(options)) {}

  RigOptions options_;
  test::TempDir folder_;
  test::EngineShape shape_;
  std::unique_ptr<admin::LocalCluster> cluster_;
  std::unique_ptr<client::Client> client_;
  const client::Model* model_ = nullptr;
};

[[nodiscard]] inline std::string ContextName(std::uint64_t seed) {
  return "document-" + std::to_string(seed);
}

}  // namespace kdn::fault
