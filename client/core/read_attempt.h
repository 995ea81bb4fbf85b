// One read of one object from one replica: bytes come in, tiles go out as soon as they are whole.
// Knows the layout of a read's answer (proto/wire/read.h) and checks all of it; knows nothing of
// loads, retries or engine memory.
//
// Thread-safety: owned by the I/O loop; the window's bytes of a dispatched job may be read by
// others while the attempt is alive.
#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "client/core/arrival.h"
#include "client/core/calls.h"
#include "client/core/stored_profiles.h"
#include "client/core/tile_plan.h"
#include "proto/object/header.h"
#include "proto/wire/lookup.h"
#include "proto/wire/read.h"

namespace kdn::client {

// What the object must be for its bytes to be used.
struct WantedObject {
  ObjectKind kind = ObjectKind::kChunk;
  wire::ReadItem item;
  PartShape shape;
  ModelFingerprint model;
  std::uint32_t token_count = 0;
  std::uint64_t first_position = 0;
};

class ReadAttempt {
 public:
  ReadAttempt(const ModelSpec& spec, const WantedObject& wanted, MutableBytes window)
      : spec_(spec), wanted_(wanted), window_(window) {}

  // Bytes [offset, offset + size) of the window are there. kDataLoss if they are not what was asked
  // for: the attempt is then over. Jobs that have become whole are appended to `ready`.
  Status OnPiece(std::size_t offset, std::size_t size_bytes, std::vector<std::uint32_t>& ready);

  // Whether header() may be looked at.
  [[nodiscard]] bool have_header() const { return have_header_; }
  // True once every job has been ready.
  [[nodiscard]] bool Complete() const { return planned_ && jobs_ready_ == jobs_.size(); }

  // Of a ready job:
  [[nodiscard]] const ObjectHeader& header() const { return header_; }
  [[nodiscard]] const TileJob& job(std::uint32_t index) const { return jobs_[index]; }
  [[nodiscard]] std::size_t job_count() const { return jobs_.size(); }
  [[nodiscard]] const TileEntry& entry(std::uint32_t index) const { return entries_[index]; }
  [[nodiscard]] ConstBytes bytes(std::uint32_t index) const {
    return window_.subspan(offsets_[index], entries_[index].size_bytes);
  }
  [[nodiscard]] MutableBytes window() const { return window_; }

  CallId call{};      // of the loop
  CallTarget target;  // the replica
  wire::ReplicaLocation replica;
  std::shared_ptr<const LoadedProfile> profile;  // that the header names; null: none
  bool insisted = false;  // the call was made although the replica had been out of reach
  bool hedge = false;     // a second read beside a late one
  bool late = false;
  bool pressed = false;        // the node has said when to come back
  TimePoint progress_at{};     // when it began, or its last piece came
  std::uint32_t jobs_out = 0;  // dispatched and not yet back
  // Ready, but the other attempt's tiles of the same places are being decoded.
  std::vector<std::uint32_t> jobs_held;
  bool call_over = false;
  bool failed = false;
  bool costs_retry = false;  // what comes after it draws on the retry budget

 private:
  Status ReadHead();
  Status ReadEntries();

  const ModelSpec& spec_;
  WantedObject wanted_;
  MutableBytes window_;
  Arrival arrival_;
  bool have_header_ = false;
  bool planned_ = false;
  ObjectHeader header_;
  std::size_t entry_count_ = 0;
  std::vector<TileEntry> entries_;
  std::vector<std::size_t> offsets_;  // of each entry's bytes in the window
  std::vector<TileJob> jobs_;
  std::vector<bool> job_ready_;
  std::size_t jobs_ready_ = 0;
};

}  // namespace kdn::client
