// The client library: what an engine embeds to store its KV cache in a KDN cluster and to load it
// back instead of recomputing it.
//
// Promises, whatever the cluster does:
//   - nothing here throws, aborts, installs a handler or blocks past a deadline the caller gave; a
//     store is given none, and says itself how long it may take;
//   - with no cluster every lookup is a miss and every store is dropped: OpenClient() returns at
//     once and connects in the background;
//   - what is delivered is bit for bit what was stored at that level, or a miss; after a handle has
//     completed, the engine's memory is not written again.
//
// Thread-safety: a Client is safe. A handle belongs to one thread at a time, unless a member says
// otherwise.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/export.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/result.h"
#include "codec/paged_kv.h"
#include "proto/object/header.h"
#include "proto/object/model_spec.h"

namespace kdn::client {

using TokenId = std::uint32_t;

// A secret from which chunk keys are made. The first is used for new chunks; lookups try all.
struct ChunkSecret {
  SecretId id{};
  std::vector<std::byte> bytes;
};

struct ClientOptions {
  std::string coordinator;  // "host:port" of the coordinator's transport endpoint
  ClusterId cluster;        // zero: accept the cluster that answers
  TenantId tenant{1};
  std::vector<std::byte> access_secret;    // empty: the `none` scheme, loopback only
  std::vector<ChunkSecret> chunk_secrets;  // at least one; never leaves this process
  std::uint32_t chunk_tokens = 256;
  std::uint32_t connections = 0;  // per peer; 0: min(cores, 4)
  std::uint32_t io_threads = 0;   // that move bytes to and from sockets, at most 16; 0: one. More
                                  // are for machines with cores to spare
  std::chrono::microseconds spin{0};  // how long these look for work before they sleep, at most
                                      // 1 s: an answer comes sooner and a core is used up
  std::uint32_t decode_threads = 1;
  std::size_t staging_bytes = std::size_t{256} << 20;  // bounds the compressed bytes in flight
  std::chrono::milliseconds timeout{2000};  // of a call that gives no deadline; how long a
                                            // store waits for a node or the coordinator
  bool insecure = false;                    // allows plaintext off loopback
  bool shared_memory = true;  // lets nodes of this host move bulk into and out of the staging
                              // memory themselves, in the place of sockets

  // Reading under trouble (docs/operations.md).
  // A piece is late, and read from another replica too, when it takes longer than this percentile
  // of its node's pieces of late, and hedge_floor; or when not a byte has come from the node for
  // longer than the percentile, hedge_floor, and hedge_ceiling at the latest. The ceiling should be
  // above the network's round trip; 0: nothing is read twice.
  std::uint32_t hedge_percentile = 99;           // 50 to 99
  std::chrono::milliseconds hedge_floor{20};     // at least 1
  std::chrono::milliseconds hedge_ceiling{100};  // also how long a silent node is waited for
  // A node that fails so many calls in a row is not asked for a while, at first this long.
  std::uint32_t breaker_failures = 3;
  std::chrono::milliseconds breaker_pause{250};
  // Retries and second reads together, per cent of first requests: 0 to 100.
  std::uint32_t retry_percent = 10;

  // Profiles (docs/codec.md), of models that are stored at lossy levels.
  // How old the cluster's word on a model's current profile may be when something is stored.
  std::chrono::milliseconds profile_refresh{30'000};
  // When so many chunks of a model without a profile have been stored, one is learned from them in
  // the background and offered to the tenant's other clients. 0: none is.
  std::uint32_t profile_learn_chunks = 32;

  std::string congestion_control;  // of TCP; empty: the system's
  std::shared_ptr<Log> log;        // null: nothing. Shared: it outlives the library's threads
  // Operations that took so long get a line with their trace id at info level.
  std::chrono::milliseconds slow_request{1000};
  bool log_requests = false;  // all others do at debug level
};

// An engine's model as the client knows it. Made once; immutable; lives as long as its Client.
class Model;

// How chunks are cut into tiles when this process stores them.
struct ModelOptions {
  std::uint16_t layers_per_group = 1;
  std::uint16_t heads_per_group = 1;
  std::vector<std::byte> extras;  // LoRA adapter and whatever else changes all values
};

// -- Lookup ------------------------------------------------------------------------------------

struct LookupOptions {
  ProvenanceKind floor = ProvenanceKind::kExact;
  Level level_min = Level::kExact;
  TimePoint deadline{};           // zero: now + ClientOptions::timeout
  std::vector<std::byte> extras;  // of this request: cache salt, image hashes; after the model's
  TraceId trace;                  // stands in all logs; zero: the client makes one
};

// What a lookup found: the longest usable prefix. A value: may be serialised in a scheduler process
// and loaded from in worker processes. All that must be equal on all ranks is in it.
class LookupResult {
 public:
  struct State;
  KDN_API LookupResult();  // a miss
  KDN_API LookupResult(const LookupResult&);
  KDN_API LookupResult(LookupResult&&) noexcept;
  KDN_API LookupResult& operator=(const LookupResult&);
  KDN_API LookupResult& operator=(LookupResult&&) noexcept;
  KDN_API ~LookupResult();

  // Tokens at the front that can be loaded: a multiple of the chunk size, or up to a stored partial
  // chunk's end.
  [[nodiscard]] KDN_API std::uint64_t tokens_matched() const;
  [[nodiscard]] KDN_API std::uint32_t chunks_matched() const;
  // Compressed bytes that loading all of it moves.
  [[nodiscard]] KDN_API std::uint64_t bytes() const;
  // The worst of all matched chunks.
  [[nodiscard]] KDN_API Provenance provenance() const;
  // The tiers of the matched chunks' best replicas: "dram", "disk", "mixed" or "".
  [[nodiscard]] KDN_API std::string_view tier() const;
  // Keeps the first `tokens` tokens' chunks and forgets the rest: where ranks agree on less.
  KDN_API void Truncate(std::uint64_t tokens);

  [[nodiscard]] KDN_API std::vector<std::byte> Serialize() const;
  // kInvalidArgument for bytes that Serialize() did not write in this or the previous version.
  static KDN_API Result<LookupResult> Deserialize(ConstBytes bytes);

  [[nodiscard]] const State& state() const { return *state_; }

 private:
  friend class LookupAccess;
  std::unique_ptr<State> state_;
};

// A lookup under way. Destroying it gives it up.
class LookupHandle {
 public:
  virtual ~LookupHandle() = default;
  [[nodiscard]] virtual bool Done() = 0;
  // Waits until it is done, at the latest at its deadline, and returns what was found; a miss if
  // nothing was, or the cluster did not answer.
  virtual LookupResult Take() = 0;
  // Never waits; unless it is done, it is a miss soon. Safe from any thread.
  virtual void Cancel() = 0;
};

// -- Load --------------------------------------------------------------------------------------

// What is served first where a cluster cannot serve all.
enum class LoadUrgency : std::uint8_t {
  kEngineWaits,
  kPrefetch,  // wanted later: gives way to what an engine waits for
};

enum class LoadOrder : std::uint8_t {
  kChunkByChunk,  // from the front: what has arrived is a prefix, and can be used if the rest fails
  kLayerByLayer,  // layer 0 of all chunks first, so that the engine can start on it
};

struct LoadOptions {
  std::uint64_t skip_tokens = 0;  // at the front: the engine has them already; a chunk multiple
  LoadOrder order = LoadOrder::kChunkByChunk;
  LoadUrgency urgency = LoadUrgency::kEngineWaits;
  Level level_max = Level::kExact;  // reads no finer level than this, where there are coarser ones
  TimePoint deadline{};             // zero: now + ClientOptions::timeout
  TraceId trace;                    // stands in all logs; zero: the client makes one
};

struct LoadReport {
  Code code = Code::kOk;            // kOk: all of it was loaded; kCancelled; kDeadlineExceeded; ...
  std::uint64_t tokens_loaded = 0;  // at the front, skip_tokens counted in: valid in all layers
  // The worst of the loaded chunks, and of the levels that were read: what computing over them
  // gives.
  Provenance provenance;
  std::uint64_t bytes_received = 0;
  std::uint32_t pieces_corrupt = 0;        // caught by their checksum
  std::uint32_t replicas_failed_over = 0;  // reads that went on at another replica
  std::uint32_t reads_hedged = 0;          // read from a second replica as the first was late
};

// A load into the engine's pages. Blocks of tokens at or above tokens_loaded hold undefined values
// when it is over: the engine recomputes them.
class LoadHandle {
 public:
  // Cancels, and waits until memory is no longer written (at most 10 ms).
  virtual ~LoadHandle() = default;
  [[nodiscard]] virtual bool Done() = 0;
  // True once layer `layer` of all tokens to be loaded is in the pages. Safe from any thread.
  [[nodiscard]] virtual bool LayerReady(std::uint32_t layer) = 0;
  // Waits for it, at the latest until the load's deadline. False: it will not come; see Wait().
  virtual bool WaitLayer(std::uint32_t layer) = 0;
  // Tokens at the front that are valid in all layers by now. Safe from any thread.
  [[nodiscard]] virtual std::uint64_t TokensReady() = 0;
  // Never waits; ends the load with kCancelled if it is still under way.
  virtual void Cancel() = 0;
  // Waits until the load is over, at the latest at its deadline.
  virtual LoadReport Wait() = 0;
};

// -- Store -------------------------------------------------------------------------------------

struct StorePlanOptions {
  std::string context;           // names or extends a context; empty: none
  Provenance provenance;         // of the past the values were computed over; unknown if not said
  std::uint16_t part_count = 1;  // writers that hold a share each
  std::uint8_t replicas = 0;     // 0: the cluster's default
  bool with_partial = false;     // also stores a last chunk that is not full
  // Exact alone, or draft and what follows it without a gap.
  LevelSet levels = Level::kExact;
  TimePoint deadline{};  // zero: now + ClientOptions::timeout
  // As of LookupOptions: only lookups that give the same will find what is stored.
  std::vector<std::byte> extras;
  // Stands in all logs, also of the store; who asks again with the same one gets the same tickets.
  // Zero: the client makes one.
  TraceId trace;
};

// Which chunks are missing, and the tickets to store them. A value, serialised like a LookupResult:
// one process plans and hands it to the other writers.
class StorePlan {
 public:
  struct State;
  KDN_API StorePlan();  // nothing to store
  KDN_API StorePlan(const StorePlan&);
  KDN_API StorePlan(StorePlan&&) noexcept;
  KDN_API StorePlan& operator=(const StorePlan&);
  KDN_API StorePlan& operator=(StorePlan&&) noexcept;
  KDN_API ~StorePlan();

  [[nodiscard]] KDN_API std::uint32_t chunks() const;  // of the whole chain
  // Those that are missing; the others are there, or cannot be stored.
  [[nodiscard]] KDN_API std::uint32_t chunks_to_store() const;
  [[nodiscard]] KDN_API std::vector<std::byte> Serialize() const;
  // kInvalidArgument for bytes that Serialize() did not write in this version.
  static KDN_API Result<StorePlan> Deserialize(ConstBytes bytes);
  [[nodiscard]] const State& state() const { return *state_; }

 private:
  friend class StoreAccess;
  std::unique_ptr<State> state_;
};

struct StoreReport {
  // kOk: every chunk is visible, or pending other writers' parts. kResourceExhausted: not all are,
  // and a node had no room for one, in memory or on its disk. kUnavailable: not all are, since no
  // node could be reached or none's disk takes writes.
  Code code = Code::kOk;
  std::uint32_t chunks_stored = 0;   // visible now, by this call
  std::uint32_t chunks_present = 0;  // were there before
  std::uint32_t chunks_pending = 0;  // wait for other parts
  std::uint32_t chunks_failed = 0;
  std::uint32_t chunks_on_disk = 0;  // of those stored, durable on at least one node's disk
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_raw = 0;  // uncompressed
  // Of those stored, on fewer nodes than were wanted: readable, but nearer to being lost.
  std::uint32_t chunks_under_replicated = 0;
};

class StoreHandle {
 public:
  // Cancels, and waits until memory is no longer read (at most 10 ms).
  virtual ~StoreHandle() = default;
  [[nodiscard]] virtual bool Done() = 0;
  // Waits until the engine's memory has been read: its blocks may be reused, the rest goes on. A
  // node that does not answer holds it up once, for ClientOptions::timeout; it is not asked again.
  // Staging memory that other stores of this client hold meanwhile may hold it up once more.
  virtual Status WaitRead() = 0;
  // Never waits; ends the store with kCancelled if it is still under way. Chunks that are visible
  // stay.
  virtual void Cancel() = 0;
  // Waits until the store is over, at the latest 60 s after it began.
  virtual StoreReport Wait() = 0;
};

// -- Client ------------------------------------------------------------------------------------

class Client {
 public:
  virtual ~Client() = default;  // handles must be gone

  // kInvalidArgument for a spec or options that are out of bounds.
  virtual Result<const Model*> UseModel(const ModelSpec& spec, const ModelOptions& options) = 0;

  // Never waits: ask the handle. `tokens` is copied.
  virtual std::unique_ptr<LookupHandle> Lookup(const Model& model, std::span<const TokenId> tokens,
                                               const LookupOptions& options) = 0;
  // What is stored of a named context; its keys come from the coordinator, no tokens are needed.
  virtual std::unique_ptr<LookupHandle> LookupContext(const Model& model, std::string_view context,
                                                      const LookupOptions& options) = 0;

  // Loads what `found` names into `kv`. `kv`'s maps and `blocks` are copied; the memory they point
  // to stays until the handle is done. kInvalidArgument if `kv` does not fit the model, blocks are
  // too few for the tokens matched, or skip_tokens ends inside a chunk that was found.
  virtual Result<std::unique_ptr<LoadHandle>> Load(const Model& model, const LookupResult& found,
                                                   const codec::PagedKv& kv,
                                                   const codec::BlockTables& blocks,
                                                   const LoadOptions& options) = 0;

  // Asks which chunks of `tokens` are missing and reserves room for them. Waits until the deadline
  // at the latest. kUnavailable without a cluster.
  virtual Result<StorePlan> PlanStore(const Model& model, std::span<const TokenId> tokens,
                                      const StorePlanOptions& options) = 0;

  // Stores one part of what the plan names. `shape` says which share this writer holds (number,
  // layers, heads); a default PartShape with count 1 means all of the model. kInvalidArgument for a
  // share that lies outside of the model, or a single writer's that is not all of it.
  virtual Result<std::unique_ptr<StoreHandle>> Store(const Model& model, const StorePlan& plan,
                                                     const PartShape& shape,
                                                     const codec::PagedKv& kv,
                                                     const codec::BlockTables& blocks) = 0;

  // Asks the cluster for the model's current profile and waits until this client has it, at the
  // latest until the deadline (zero: now + ClientOptions::timeout). Stores and loads never wait for
  // this: a store that begins before codes without a profile, and larger. Zeros: the model has
  // none. kNotFound: it has one that cannot be had; kUnavailable: nobody answers, or the system
  // gives no thread to ask with.
  virtual Result<ProfileId> AwaitProfile(const Model& model, TimePoint deadline) = 0;

  // True while the coordinator answers. Never blocks.
  [[nodiscard]] virtual bool Connected() const = 0;

  // The client's metrics in the Prometheus text format.
  [[nodiscard]] virtual std::string Metrics() const = 0;
};

// Over a cluster. Returns at once, cluster or not. kInvalidArgument for options out of bounds.
[[nodiscard]] KDN_API Result<std::unique_ptr<Client>> OpenClient(const ClientOptions& options);

}  // namespace kdn::client
