// Reading objects from a node. One call reads one or more objects into one receive window; each
// has a place in it.
//
// What arrives for an object, at its window_offset, without gaps:
//   the object header (384 bytes)
//   the tile entries (40 bytes each), in the order of the tiles
//   the tiles, layer group by layer group, within one by level, head group, plane
// A piece is a run of whole groups, or a share of one group of more than limits::kPieceBytesMax.
// The first piece of an object holds header and all entries, so that later pieces can be decoded
// and verified as they come.
#pragma once

#include <cstdint>
#include <vector>

#include "proto/object/header.h"
#include "proto/object/segment.h"
#include "proto/wire/message.h"

namespace kdn::wire {

struct ReadItem {
  ChunkKey key;
  std::uint16_t part = 0;
  PutId put_id;     // as looked up; another one is kNotFound, never other bytes
  LevelSet levels;  // absent ones are left out of the answer
  Range layers;
  Range kv_heads;
  std::uint64_t window_offset = 0;
  std::uint64_t window_bytes = 0;  // room for this object; see ReadWindowBytes()

  friend bool operator==(const ReadItem&, const ReadItem&) = default;
};

inline constexpr std::size_t kReadItemsMax = 256;

struct ReadRequest {
  RequestHead head{MessageType::kRead};
  std::vector<ReadItem> items;

  void Encode(Buffer& out) const;
  static Result<ReadRequest> Decode(ConstBytes bytes);
};

struct ReadResponse {
  struct Item {
    Code code = Code::kOk;  // kNotFound: a miss; kResourceExhausted: the window is too small
    LevelSet levels;        // in the answer
    std::uint32_t entry_count = 0;
    std::uint64_t size_bytes = 0;  // header, entries and tiles
  };
  std::vector<Item> items;  // one per item of the request

  void Encode(Buffer& out) const;
  static Result<ReadResponse> Decode(ConstBytes bytes);
};

// Room that surely suffices for reading `levels` of an object of these sizes: header, and what an
// index has beyond its entries counted in.
[[nodiscard]] std::uint64_t ReadWindowBytes(const LevelBytes& level_bytes, LevelSet levels);

// A client found a tile's bytes wrong: the node verifies the object and drops what fails.
struct ReportCorruptRequest {
  RequestHead head{MessageType::kReportCorrupt};
  ChunkKey key;
  std::uint16_t part = 0;
  PutId put_id;

  void Encode(Buffer& out) const;
  static Result<ReportCorruptRequest> Decode(ConstBytes bytes);
};

}  // namespace kdn::wire
