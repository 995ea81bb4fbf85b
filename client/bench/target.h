// The seam between the loops that issue operations and what they are issued to: a cluster, or in
// tests something that answers when it is told to.
//
// Thread-safety: a Worker belongs to one thread.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "base/clock.h"

namespace kdn::bench {

// To add a kind, add its name below and its case in the workers.
enum class Kind : std::uint8_t {
  kRead,             // looks one record up and loads it
  kUpdate,           // stores a new version of a record
  kInsert,           // stores a new record
  kReadModifyWrite,  // read, then update, of one record
  kScan,             // looks a chain's prefix up and loads it
  kLookup,           // looks a whole chain up and loads nothing
};
inline constexpr std::size_t kKinds = 6;
inline constexpr std::array<std::string_view, kKinds> kKindNames = {"read", "update", "insert",
                                                                    "rmw",  "scan",   "lookup"};

struct Operation {
  Kind kind = Kind::kRead;
  std::uint64_t record = 0;    // or chain
  std::uint32_t chunks = 1;    // of a scan
  std::uint64_t sequence = 0;  // of this client, from 0
};

enum class Outcome : std::uint8_t {
  kDone,
  kMiss,        // nothing was found: evicted, or never stored
  kShort,       // found, but not all of it could be loaded
  kFailed,      // a store that ended with less than all of it visible
  kWrong,       // bytes came back that were never stored there
  kNotStarted,  // its time came and passed with every client busy
};
inline constexpr std::size_t kOutcomes = 6;
inline constexpr std::array<std::string_view, kOutcomes> kOutcomeNames = {
    "done", "miss", "short", "failed", "wrong", "not_started"};

struct Answer {
  Outcome outcome = Outcome::kDone;
  TimePoint finished;                 // when its last byte was there
  std::chrono::nanoseconds own{};     // before that, but the generator's: making values, comparing
  std::uint64_t bytes = 0;            // of values loaded and stored
  std::chrono::nanoseconds lookup{};  // parts of the whole; 0: it had no such part
  std::chrono::nanoseconds load{};
  std::chrono::nanoseconds store{};
};

class Worker {
 public:
  virtual ~Worker() = default;
  // The next operation to issue.
  virtual Operation Draw() = 0;
  // Blocks until it is over.
  virtual Answer Run(const Operation& operation) = 0;
};

}  // namespace kdn::bench
