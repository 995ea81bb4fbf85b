// KV values to segments and back, tile by tile. The unit of work is one chunk part; nothing here
// does I/O, reads a clock or keeps state between calls.
//
// Thread-safety: an ObjectCodec is immutable after construction; calls may run concurrently on
// different outputs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "codec/paged_kv.h"
#include "proto/object/header.h"
#include "proto/object/segment.h"

namespace kdn::codec {

struct CodecScratch;
struct Kernels;
class Profile;
class RotaryAngles;

// Where a chunk's tokens stand in a sequence that is held in paged memory.
struct ChunkPlace {
  std::uint64_t first_token = 0;  // index into the block tables' token order
  std::uint32_t token_count = 0;
  // Decoding: by how many positions keys are to be turned on from where they were prefilled.
  std::int64_t moved = 0;
};

// One tile of one level with its bytes; bytes that have not been verified do not belong here.
struct TileBytes {
  TileEntry entry;
  ConstBytes bytes;
};

// Whether objects of these levels can be written: exact alone, or draft and what follows it without
// a gap.
[[nodiscard]] bool CanEncode(LevelSet levels);

class ObjectCodec {
 public:
  // Chooses the fastest kernels this machine has, or those named. kNotFound, kFailedPrecondition as
  // SelectKernels(). kInvalidArgument for a spec that ValidateModelSpec() refuses.
  static Result<ObjectCodec> Make(const ModelSpec& spec, std::string_view kernels = {});

  // Upper bound of Encode()'s output for this header, in bytes: for exact alone raw + 64 per tile,
  // and the format; 0 for a header that Encode() refuses.
  [[nodiscard]] std::size_t EncodedBytesMax(const ObjectHeader& header) const;

  // Reads the part's values of one chunk out of paged memory and appends header and segments to
  // `object`. `header` names identity, part, groups and levels; level_bytes and kFlagExactAlone are
  // filled in here. Levels are `exact` alone, or `draft` and what follows it without a gap; those
  // are coded with `profile`, whose id the header names and which is FinishForEncoding(), or
  // without one. With kFlagCodedRotated keys are coded as they are. kInvalidArgument if the memory
  // lacks a layer, head or block that the part needs, if the header does not fit the spec, the
  // place or the profile or names another one, if the part is too large for an object, and, where
  // keys are freed of their positions, if those are not below kPositionsMax; kUnimplemented for
  // other sets of levels, for lossy levels of head sizes that are no multiple of 16, and for keys
  // of a model that cannot be freed of their position without that flag; `object` is then as it
  // was.
  Status Encode(ObjectHeader header, const PagedKv& kv, const BlockTables& blocks,
                const ChunkPlace& place, const Profile* profile, std::vector<std::byte>& object,
                CodecScratch& scratch) const;
  // The same at the front of `out`, which has room for EncodedBytesMax(header) bytes; returns the
  // object's size. Exact alone is made where it stays. kInternal if there is less room; what is in
  // `out` after an error is unspecified.
  Result<std::size_t> EncodeInto(MutableBytes out, ObjectHeader header, const PagedKv& kv,
                                 const BlockTables& blocks, const ChunkPlace& place,
                                 const Profile* profile, CodecScratch& scratch) const;

  // Decodes one (layer group, head group, plane) from its tiles, coarsest level first, and writes
  // the heads and layers that `kv` holds; holding none is no error. `header` is the object's own.
  // place.token_count may be smaller than the chunk's: only its first tokens are then written.
  // `profile` is the one that the header names, null if none. Writes only inside the blocks named
  // for place's tokens, and nothing at all unless the status is OK:
  // * kDataLoss: the bytes do not decode, or the tiles name values that the part has not;
  // * kInvalidArgument: the header does not fit the spec; memory, blocks or place do not fit; the
  //   tiles are none, or not those of one place from draft on, or one of exact alone; `profile` is
  //   not the one named; positions, before or after they are moved, are not below kPositionsMax;
  // * kUnimplemented: keys that were coded rotated, or that cannot be turned, are to be moved; a
  //   tile's scheme is of another version, or lossy with a head size that is no multiple of 16.
  // Any bytes and any header are safe. Work is bounded by the bytes and by what is written: at most
  // kTileSymbolsPerByteMax (codec/rans_blocks.h) symbols are decoded for each byte of the tiles; of
  // each value written, and with exact on top of fine of each symbol, there is one code and as many
  // products as a matrix's block has rows. A constant takes no bytes and is as much work as what is
  // written of it. `scratch` grows to a few times the tile's values, once.
  Status DecodeTile(const ObjectHeader& header, std::span<const TileBytes> tiles, const PagedKv& kv,
                    const BlockTables& blocks, const ChunkPlace& place, const Profile* profile,
                    CodecScratch& scratch) const;

  [[nodiscard]] const ModelSpec& spec() const { return spec_; }

 private:
  ObjectCodec(ModelSpec spec, const Kernels& kernels);
  ModelSpec spec_;
  const Kernels* kernels_;
  std::shared_ptr<const RotaryAngles> angles_;  // null: keys of this model cannot be turned
};

}  // namespace kdn::codec
