// Plans the decoding of objects' tiles in one launch: reads and checks every index entry and tile
// directory on the host, so that the launch (codec/cuda/device_decoder.h on a GPU,
// codec/lane/host_launch.h anywhere) allocates nothing, waits for nothing and reads and writes only
// inside the memory named here, whatever tiles' bytes say.
//
// Decodes what ObjectCodec::DecodeTile() does, to the same bits: exact alone, and draft, standard,
// fine and exact on top of it with and without a profile.
//
// Thread-safety: not safe; caller synchronises. A DecodePlan is a value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "codec/lane/launch_plan.h"
#include "codec/lane/nested_directory.h"
#include "codec/lane/planes_directory.h"
#include "codec/lane/profile_image.h"
#include "codec/object_codec.h"
#include "codec/paged_kv.h"
#include "codec/rotary.h"
#include "codec/tile_plan.h"
#include "proto/object/header.h"

namespace kdn::codec {

// A tile that has been verified, and where the launch finds the same bytes: a multiple of 4. Should
// they differ there after all, the launch gives some values of the right shape, or a failed unit.
struct LaunchTile {
  TileEntry entry;
  ConstBytes bytes;
  const std::byte* bytes_dev = nullptr;
};

// A profile and where the launch finds its image: a multiple of 16.
struct LaunchProfile {
  const ProfileImage& image;
  const std::byte* image_dev = nullptr;
};

// What a launch needs. It writes shape.verdicts() numbers, one for each unit and segment: 0 if its
// values have been written, 1 if its bytes did not decode and nothing of it was.
struct DecodePlan {
  LaunchShape shape;
  std::vector<std::byte> bytes;                 // to be copied as they are, to a multiple of 16
  std::vector<std::uint32_t> place_of_verdict;  // the how-manieth place that was added
};

class DecodePlanner {
 public:
  // kInvalidArgument for a spec that ValidateModelSpec() refuses.
  static Result<DecodePlanner> Make(const ModelSpec& spec);

  // Adds places of one object, each its tiles of one (layer group, head group, plane), coarsest
  // first. `kv` has the addresses of the memory that the launch writes, which is never touched
  // here; the other arguments are as for DecodeTile(), and so are errors, with kInvalidArgument
  // also for bytes_dev that is not aligned and kResourceExhausted for a plan of more than 1 GiB:
  // then nothing has been added, and the message names the place.
  Status Add(const ObjectHeader& header, std::span<const std::span<const LaunchTile>> places,
             const PagedKv& kv, const BlockTables& blocks, const ChunkPlace& place,
             const LaunchProfile* profile);

  // The plan of all that has been added; the planner is then empty.
  [[nodiscard]] DecodePlan Take();

 private:
  // Things of one object that its places share.
  struct Target;
  struct Shared;
  struct PlaceWork;

  DecodePlanner(ModelSpec spec, std::optional<RotaryAngles> angles);
  void Clear();
  [[nodiscard]] Status AddPlace(const Target& target, std::span<const LaunchTile> tiles,
                                Shared& shared);
  [[nodiscard]] Status Plan(const Target& target, PlaceWork& work, Shared& shared);
  void AddTurns(const Target& target, const PlaceWork& work, Shared& shared, LaneStrip& strip);
  void AddRows(const Target& target, const PlaceWork& work, Shared& shared, LaneStrip& strip);
  void AddTables(const PlaceWork& work, std::vector<std::uint32_t>& tables);
  void AddStrip(const Target& target, const PlaceWork& work, std::size_t s,
                std::span<const std::uint32_t> tables, LaneStrip strip);
  // `where`: what of the strip is to be written, but for turns.
  void AddExact(const Target& target, const PlaceWork& work, std::size_t s,
                std::span<const std::uint32_t> tables, Shared& shared, LaneStrip where);
  void AddUnits(const Target& target, LaneStrip strip, std::span<const LaneRun> runs,
                std::span<const LaneBlock> blocks);
  void AddSegments(LaneCorrection correction, std::uint32_t tokens);
  // Room in the workspace.
  std::uint64_t Keep(std::size_t size);
  // Appends to the plan's bytes at a multiple of 16 and says where.
  std::uint32_t Append(const void* data, std::size_t size);

  ModelSpec spec_;
  std::optional<RotaryAngles> angles_;  // none: keys of this model cannot be turned
  DecodePlan plan_;
  std::vector<LaneUnit> units_;
  std::vector<LaneStrip> strips_;
  std::vector<LaneBlock> blocks_;
  std::vector<LaneCorrection> corrections_;
  std::vector<LaneSegment> segments_;
  std::vector<std::uint32_t> place_of_segment_;
  std::uint32_t places_ = 0;
  bool raw_ = false;  // some strip has values as they are
};

}  // namespace kdn::codec
