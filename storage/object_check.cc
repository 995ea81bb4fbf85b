#include "storage/object_check.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/limits.h"
#include "proto/object/checksum.h"
#include "proto/object/checksum_stream.h"

namespace kdn::storage {
namespace {

constexpr std::size_t kIndexBytesMax =
    kIndexHeadBytes + limits::kTilesPerSegmentMax * kTileEntryBytes + kIndexTailBytes;

// The front of a segment that surely holds its index.
std::size_t FrontBytes(const ObjectHeader& header, Level level) {
  return std::min<std::size_t>(header.level_bytes[static_cast<std::size_t>(level)], kIndexBytesMax);
}

Status CheckTiles(const ObjectHeader& header, const SegmentIndex& index, const Block& block,
                  std::size_t offset, const ArrivingSums* sums) {
  std::vector<ConstBytes> runs;
  ChecksumStream sum;
  const std::size_t tiles = offset + index.IndexBytes();
  const ObjectTag tag = TagOf(header);
  for (std::size_t i = 0; i < index.tiles.size(); ++i) {
    const TileEntry& entry = index.tiles[i];
    std::optional<Checksum> known;
    if (sums != nullptr) known = sums->Find(tiles + entry.offset, entry.size_bytes);
    if (!known) {
      runs.clear();
      block.Append(tiles + entry.offset, entry.size_bytes, runs);
      sum.Reset();
      for (const ConstBytes run : runs) sum.Add(run);
      known = sum.Sum();
    }
    if (!VerifyTileSum(tag, entry, *known)) {
      return Status(Code::kDataLoss, std::string(LevelName(index.level)) + ": checksum of tile " +
                                         std::to_string(i));
    }
  }
  return {};
}

}  // namespace

Result<SegmentIndex> CheckSegment(const ObjectHeader& header, Level level, const Block& block,
                                  std::size_t offset, bool index_only, const ArrivingSums* sums) {
  const std::size_t size_bytes = header.level_bytes[static_cast<std::size_t>(level)];
  if (size_bytes == 0 || offset > block.size() || block.size() - offset < size_bytes) {
    return Error(Code::kDataLoss, std::string(LevelName(level)) + ": segment is cut");
  }
  std::vector<std::byte> scratch;
  const ConstBytes front = block.Gather(offset, FrontBytes(header, level), scratch);
  KDN_ASSIGN_OR_RETURN(SegmentIndex index, DecodeIndex(front, TagOf(header)));
  if (Status status = VerifySegment(header, level, front, /*index_only=*/true); !status.ok()) {
    return std::unexpected(std::move(status));
  }
  if (index_only) return index;
  if (Status status = CheckTiles(header, index, block, offset, sums); !status.ok()) {
    return std::unexpected(std::move(status));
  }
  return index;
}

Result<CheckedObject> CheckObject(const Block& block, const ArrivingSums* sums) {
  if (block.size() < kObjectHeaderBytes) return Error(Code::kDataLoss, "header is cut");
  std::vector<std::byte> scratch;
  std::vector<std::byte> checksums;
  ByteWriter out(checksums);
  const ConstBytes front = block.Gather(0, kObjectHeaderBytes, scratch);
  out.Bytes(front.last(Checksum::kSize));
  CheckedObject object;
  KDN_ASSIGN_OR_RETURN(object.header, DecodeHeader(front));
  std::size_t checked = kObjectHeaderBytes;
  for (const LevelInfo& info : Levels()) {
    const std::size_t size_bytes = object.header.level_bytes[static_cast<std::size_t>(info.level)];
    if (checked == block.size()) break;
    if (size_bytes == 0) continue;
    KDN_ASSIGN_OR_RETURN(const SegmentIndex index,
                         CheckSegment(object.header, info.level, block, checked, false, sums));
    out.Bytes(
        block.Gather(checked + index.IndexBytes() - kIndexTailBytes, kIndexTailBytes, scratch));
    object.levels.Add(info.level);
    checked += size_bytes;
  }
  if (checked != block.size()) return Error(Code::kDataLoss, "bytes after the last segment");
  if (object.levels.empty()) return Error(Code::kDataLoss, "no segments");
  object.digest = ObjectDigest{ChecksumOf(checksums)};
  return object;
}

}  // namespace kdn::storage
