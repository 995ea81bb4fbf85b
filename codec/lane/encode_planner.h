// Plans the encoding of objects' lossy levels in one launch (codec/cuda/device_encoder.h on a GPU,
// codec/lane/host_encode.h anywhere), which allocates nothing and waits for nothing, and makes
// objects of what it wrote.
//
// The tiles are those of ObjectCodec::Encode(), byte for byte: draft, draft and standard, or draft
// to fine, with and without a profile. exact, alone or on top, is not encoded here.
//
// Thread-safety: not safe; caller synchronises. An EncodePlan is a value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "codec/lane/encode_image.h"
#include "codec/lane/encode_plan.h"
#include "codec/object_codec.h"
#include "codec/paged_kv.h"
#include "codec/rotary.h"
#include "codec/tile_memory.h"
#include "codec/tile_plan.h"
#include "proto/object/header.h"
#include "proto/object/segment.h"

namespace kdn::codec {

// A profile and where the launch finds its image: a multiple of 16.
struct EncodeProfile {
  const EncodeImage& image;
  const std::byte* image_dev = nullptr;
};

// An object's tiles are numbered level by level, draft first, in each in segment order.
struct EncodedObject {
  ObjectHeader header;
  std::vector<TileCoordinates> places;
  std::uint32_t first_tile = 0;
  [[nodiscard]] std::uint32_t tile_count() const;
};

// What a launch needs. It writes all objects' tiles, one after the other without gaps, and each
// one's size.
struct EncodePlan {
  EncodeShape shape;
  std::vector<std::byte> bytes;  // to be copied as they are, to a multiple of 16
  std::vector<EncodedObject> objects;
};

class EncodePlanner {
 public:
  // kInvalidArgument for a spec that ValidateModelSpec() refuses.
  static Result<EncodePlanner> Make(const ModelSpec& spec);

  // Adds one chunk part. `kv` has the addresses of the memory that the launch reads, which is never
  // touched here; the other arguments and errors are as for ObjectCodec::Encode(), with
  // kUnimplemented also for levels with exact, kInvalidArgument for values that are not aligned to
  // their own size and kResourceExhausted for a plan of about 1 GiB: then nothing has been
  // added.
  Status Add(const ObjectHeader& header, const PagedKv& kv, const BlockTables& blocks,
             const ChunkPlace& place, const EncodeProfile* profile);

  // The plan of all that has been added; the planner is then empty.
  [[nodiscard]] EncodePlan Take();

 private:
  struct Source;
  struct Shared;

  EncodePlanner(ModelSpec spec, ObjectCodec codec, std::optional<RotaryAngles> angles);
  void Clear();
  [[nodiscard]] Status Check(const Source& source, std::vector<TilePlace>& places) const;
  [[nodiscard]] Status CheckAligned(const Source& source, const TilePlace& tile) const;
  void AddPlace(const Source& source, const TileCoordinates& at, const TilePlace& tile,
                EncodePlace place, Shared& shared);
  void AddStrip(const Source& source, const TileMemory& memory, const TilePlace& tile,
                std::size_t number, const EncodePlace& place, Shared& shared, EncodeStrip strip);
  void AddRows(const Source& source, const TilePlace& tile, Shared& shared, EncodeStrip& strip);
  void AddTurns(const Source& source, const TilePlace& tile, Shared& shared, EncodeStrip& strip);
  void AddClasses(const StripProfile& profile, std::span<const SymbolCoder> coders,
                  const EncodePlace& place, const std::byte* tables, EncodeStrip& strip);
  // Appends to the plan's bytes at a multiple of 16 and says where.
  std::uint32_t Append(const void* data, std::size_t size);
  // Room in the workspace, a multiple of 16.
  std::uint64_t Reserve(std::size_t size);

  ModelSpec spec_;
  ObjectCodec codec_;
  std::optional<RotaryAngles> angles_;   // none: keys of this model cannot be turned
  std::vector<SymbolCoder> own_coders_;  // of a place without a profile, but for frequencies
  EncodePlan plan_;
  std::vector<EncodePlace> places_;
  std::vector<EncodeStrip> strips_;
  std::vector<EncodeBlock> blocks_;
  std::vector<EncodeTile> tiles_;
};

// Makes an object of what a launch wrote: header, and for each level an index, whose checksums are
// computed here, and tiles. `out` and `sizes` are copies of the launch's. Appends to `object` the
// bytes that ObjectCodec::Encode() would have. kInvalidArgument if there is no such object, or the
// tiles do not lie within `out`; `object` is then as it was.
Status AppendObject(const EncodePlan& plan, std::size_t number,
                    std::span<const std::uint32_t> sizes, ConstBytes out,
                    std::vector<std::byte>& object);

}  // namespace kdn::codec
