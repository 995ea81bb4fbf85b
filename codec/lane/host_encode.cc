#include "codec/lane/host_encode.h"

#include <cstring>
#include <memory>

#include "codec/lane/analyse_lanes.h"
#include "codec/lane/lean_encode_lanes.h"
#include "codec/lane/own_table_lanes.h"
#include "codec/lane/tile_lanes.h"

namespace kdn::codec {
namespace {

// Memory as a GPU gives it: at a multiple of 16, full of anything, and no longer than asked for.
class Room {
 public:
  explicit Room(std::size_t bytes) : quads_(new Quad[(bytes + sizeof(Quad) - 1) / sizeof(Quad)]) {
    std::memset(data(), 0xA5, bytes);
  }
  [[nodiscard]] std::byte* data() const { return reinterpret_cast<std::byte*>(quads_.get()); }

 private:
  std::unique_ptr<Quad[]> quads_;
};

// f(i) for all i below `count`, in the order wanted.
template <class F>
void EachOf(std::uint32_t count, bool backwards, F&& f) {
  for (std::uint32_t i = 0; i < count; ++i) f(backwards ? count - 1 - i : i);
}

template <class Number>
void RunStrip(const HostWarp& warp, const StripWork& work) {
  const auto team = [&](auto&& step) { EachOf(kEncodeTeamWarps, warp.backwards, step); };
  team([&](unsigned w) { MeasureStrip<Number>(warp, work, w); });
  team([&](unsigned w) { CutStrip<Number>(warp, work, w); });
  team([&](unsigned w) { CloseStrip(warp, work, w); });
}

using RunStripFunction = void (*)(const HostWarp&, const StripWork&);
// By the number of a DType.
constexpr RunStripFunction kRunStrip[] = {RunStrip<Bf16Number>, RunStrip<Fp16Number>,
                                          RunStrip<Fp32Number>, RunStrip<Fp8E4M3Number>,
                                          RunStrip<Fp8E5M2Number>};

}  // namespace

HostEncoded EncodeOnHost(const EncodePlan& plan, bool backwards) {
  const EncodeShape& shape = plan.shape;
  const Room copy(plan.bytes.size());
  std::memcpy(copy.data(), plan.bytes.data(), plan.bytes.size());
  const Room workspace(shape.workspace_bytes);
  HostEncoded encoded;
  const Room out(shape.out_bytes_max);
  encoded.sizes.resize(shape.tiles);
  const HostWarp warp{backwards};
  const TileWork tiles{copy.data(), workspace.data()};
  const auto each = [&](std::uint32_t count, auto&& step) { EachOf(count, backwards, step); };

  each(shape.strips, [&](std::uint32_t s) {
    const Room fast(shape.memory.TotalBytes());
    kRunStrip[shape.dtype](
        warp, StripWorkOf(copy.data(), s, shape.memory, workspace.data(), fast.data()));
  });
  each(shape.places,
       [&](std::uint32_t p) { MakeOwnTable(warp, copy.data(), p, workspace.data()); });
  each(shape.blocks, [&](std::uint32_t b) {
    LaneEncodeTable table;
    EncodeBlockOf(warp, copy.data(), b, workspace.data(), &table);
  });
  each(shape.tiles, [&](std::uint32_t t) { SizeTile(warp, tiles, t, encoded.sizes.data()); });
  PlaceTiles(warp, tiles, shape.tiles);
  each(shape.strips * kNestedLevels, [&](std::uint32_t i) {
    EachOf(kEncodeTeamWarps, backwards, [&](unsigned w) {
      WritePieces(warp, tiles, i / kNestedLevels, i % kNestedLevels, w, out.data());
    });
  });
  std::uint64_t size = 0;
  for (const std::uint32_t one : encoded.sizes) size += one;
  encoded.out.assign(out.data(), out.data() + size);
  return encoded;
}

}  // namespace kdn::codec
