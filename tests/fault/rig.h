// A real cluster of processes with a client, and documents whose right bytes are known: what every
// fault case works on. Every call to the client is timed against its deadline.
//
// Thread-safety: Get(), Load(), Put() and IsRight() are safe; the rest is not, caller synchronises.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "client/admin/local_cluster.h"
#include "kdn/client.h"
#include "tests/client/test_engine.h"

namespace kdn::fault {

using Milliseconds = std::chrono::duration<double, std::milli>;

[[nodiscard]] std::string MillisecondsText(Milliseconds ms);

// Sanitizers take several times the time, and memory of their own beside all memory.
#if defined(__SANITIZE_THREAD__)
inline constexpr int kSlowdown = 8;
#elif defined(__SANITIZE_ADDRESS__)
inline constexpr int kSlowdown = 2;
#else
inline constexpr int kSlowdown = 1;
#endif

// How late a call may return after its deadline: what a machine takes to wake a thread. Set once,
// before any case; more for runs beside other programs.
inline Milliseconds late_max{50 * kSlowdown};

// How large a case's own few documents are; all others are short.
enum class DocumentSize : std::uint8_t {
  kShort,  // 4 chunks of 128 KiB
  // 16 chunks of 512 KiB, and a client that may have only a few of them in flight: then calls wait
  // for room, as those for real models do.
  kLarge,
  kReal,  // 32 chunks of 4 MiB: as much as one ticket covers
};

struct RigOptions {
  std::string program_folder;
  std::string folder;  // of the cluster
  std::uint32_t nodes = 3;
  std::chrono::milliseconds timeout{2000};  // of every call
  std::vector<std::string> node_settings;
  DocumentSize size = DocumentSize::kShort;
  bool sync = false;  // nodes acknowledge what survives a power cut
  std::uint32_t replicas = 2;
  std::vector<admin::DaemonPlace> places;  // of the daemons; empty: loopback
};

// Of some calls, the one that ended latest after its deadline.
struct Latest {
  Milliseconds past{-1e9};  // below 0: none was late
  const char* call = "";
  void Note(const char* which, Milliseconds took, Milliseconds allowed) {
    Note({took - allowed, which});
  }
  void Note(const Latest& other) {
    if (other.past > past) *this = other;
  }
  [[nodiscard]] bool Broken() const { return past > late_max; }
  [[nodiscard]] std::string ToString() const;  // "latest end 3 ms past a deadline"
};

struct GetOutcome {
  std::uint64_t tokens = 0;  // delivered
  bool whole = false;        // all of the document
  bool wrong = false;        // bytes that were never stored: the one thing that may not happen
  Milliseconds took{};
  Latest latest;
  client::LoadReport report;
};

struct PutOutcome {
  client::StoreReport report;
  Latest latest;
  [[nodiscard]] bool ok() const { return report.code == Code::kOk; }
};

class Rig {
 public:
  static constexpr std::uint32_t kChunkTokens = 64;
  // Documents from here on are short even where others are large.
  static constexpr std::uint64_t kFirstShort = 1000;

  static Result<std::unique_ptr<Rig>> Make(const RigOptions& options);
  // A client of the cluster that another process runs in options.folder.
  static Result<std::unique_ptr<Rig>> Attach(const RigOptions& options);
  ~Rig();

  // Stores document `seed` as a named context.
  PutOutcome Put(std::uint64_t seed);
  // Looks document `seed` up and loads it into poisoned memory; compares every bit.
  GetOutcome Get(std::uint64_t seed, client::LoadOrder order = client::LoadOrder::kChunkByChunk);
  [[nodiscard]] client::LookupResult Lookup(std::uint64_t seed);
  GetOutcome Load(std::uint64_t seed, const client::LookupResult& found,
                  client::LoadOrder order = client::LoadOrder::kChunkByChunk);
  // The least number of replicas that the coordinator knows of any of the document's parts.
  [[nodiscard]] std::size_t ReplicasOf(std::uint64_t seed);
  [[nodiscard]] std::uint32_t TokensIn(std::uint64_t seed) const;
  [[nodiscard]] std::vector<client::TokenId> DocumentOf(std::uint64_t seed) const;
  // Memory for one document and nothing more.
  [[nodiscard]] test::EngineShape ShapeOf(std::uint64_t seed) const;
  [[nodiscard]] bool IsRight(std::uint64_t seed, const test::TestEngine& engine,
                             std::uint64_t tokens);

  [[nodiscard]] Result<std::unique_ptr<client::Client>> OpenClient(
      const client::ClientOptions& options) const;
  [[nodiscard]] client::ClientOptions client_options() const;
  // A client that has never talked to the cluster before.
  Status Reconnect();
  // The same, with another timeout from now on.
  Status Reconnect(std::chrono::milliseconds timeout) {
    options_.timeout = timeout * kSlowdown;
    return Reconnect();
  }

  [[nodiscard]] admin::LocalCluster& cluster() { return *cluster_; }
  [[nodiscard]] client::Client& client() { return *client_; }
  [[nodiscard]] const client::Model& model() const { return *model_; }
  [[nodiscard]] Milliseconds timeout() const { return options_.timeout; }
  [[nodiscard]] const std::string& folder() const { return cluster_->folder(); }

 private:
  explicit Rig(RigOptions options);

  RigOptions options_;
  bool owns_cluster_ = true;
  test::EngineShape shape_;
  std::unique_ptr<admin::LocalCluster> cluster_;
  std::unique_ptr<client::Client> client_;
  const client::Model* model_ = nullptr;
  std::mutex mutex_;
  // The right values of documents below kFirstShort, which are read again and again.
  std::map<std::uint64_t, std::unique_ptr<test::TestEngine>> right_;  // guarded by mutex_
};

[[nodiscard]] inline std::string ContextName(std::uint64_t seed) {
  return "document-" + std::to_string(seed);
}

}  // namespace kdn::fault
