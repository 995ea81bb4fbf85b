// A unit's first half: its rANS blocks, decoded by a team of warps into the unit's own memory, and
// refined there by raw planes.
//
// A .cu file may include this header, so it stays within C++17. Thread-safety: pure functions of
// memory that the caller owns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/host_device.h"
#include "codec/kernels/float_bits.h"
#include "codec/lane/launch_plan.h"
#include "codec/lane/rans_lanes.h"
#include "codec/lane/warp.h"

namespace kdn::codec {
namespace {

// A unit, what it is of, and its team's memory.
struct UnitWork {
  const std::byte* plan;
  const LaneUnit* unit;
  const LaneStrip* strip;
  const LaneRun* runs;
  LaneMemory memory;
  unsigned warps;
  std::byte* head;  // where rows count from
  std::byte* fast;  // LaneMemory::TotalBytes(warps), aligned to 16

  template <class T>
  [[nodiscard]] KDN_HOST_DEVICE const T* At(std::uint32_t offset) const {
    return reinterpret_cast<const T*>(plan + offset);
  }
  // Symbols of byte planes, [store][token][channel], or codes, [token][component].
  [[nodiscard]] KDN_HOST_DEVICE std::uint8_t* codes() const {
    return reinterpret_cast<std::uint8_t*>(fast);
  }
  [[nodiscard]] KDN_HOST_DEVICE float* means() const {
    return reinterpret_cast<float*>(fast + memory.codes_bytes);
  }
  [[nodiscard]] KDN_HOST_DEVICE float* scales() const { return means() + memory.channels; }
  [[nodiscard]] KDN_HOST_DEVICE LaneTable* TableOf(unsigned warp) const {
    return reinterpret_cast<LaneTable*>(fast + memory.codes_bytes + 8 * memory.channels +
                                        warp * (LaneMemory::kWarpBytes + memory.slab_bytes));
  }
  [[nodiscard]] KDN_HOST_DEVICE std::byte* RingOf(unsigned warp) const {
    return reinterpret_cast<std::byte*>(TableOf(warp) + 1);
  }
  [[nodiscard]] KDN_HOST_DEVICE float* SlabOf(unsigned warp) const {
    return reinterpret_cast<float*>(RingOf(warp) + LaneMemory::kRingBytes);
  }
  [[nodiscard]] KDN_HOST_DEVICE std::uint32_t WindowValues() const {
    return unit->token_count * strip->head_size;
  }
};

KDN_HOST_DEVICE inline UnitWork WorkOf(const std::byte* plan, std::uint32_t unit,
                                       const LaneMemory& memory, unsigned warps,
                                       std::byte* workspace, std::byte* fast) {
  const auto* header = reinterpret_cast<const LanePlanHeader*>(plan);
  UnitWork work{plan, nullptr, nullptr, nullptr, memory, warps, nullptr, fast};
  work.unit = work.At<LaneUnit>(header->units) + unit;
  work.strip = work.At<LaneStrip>(header->strips) + work.unit->strip;
  work.runs = work.At<LaneRun>(work.strip->runs);
  work.head = work.strip->kept ? workspace + work.strip->kept_at : work.strip->head;
  return work;
}

KDN_HOST_DEVICE inline float OwnNumber(const std::byte* at) {
  const auto low = static_cast<std::uint32_t>(at[0]);
  const auto high = static_cast<std::uint32_t>(at[1]);
  return FloatOf((low << 16) | (high << 24));
}

// What thread `thread` of the team does before any block is decoded.
KDN_HOST_DEVICE inline void PrepareUnit(const UnitWork& work, unsigned thread) {
  const LaneStrip& strip = *work.strip;
  if (strip.scheme != LaneScheme::kNested) return;
  const unsigned threads = work.warps * kWarpLanes;
  const std::uint32_t channels = strip.head_size;
  for (std::uint32_t c = thread; c < channels; c += threads) {
    const bool own = strip.own != nullptr;
    work.means()[c] = own ? OwnNumber(strip.own + 2 * c) : strip.mean[c];
    work.scales()[c] = own ? OwnNumber(strip.own + 2 * (channels + c)) : strip.scale[c];
  }
  if (!strip.zeros) return;
  for (std::uint32_t i = 16 * thread; i < work.WindowValues(); i += 16 * threads) {
    StoreQuad(Quad{}, work.fast + i);
  }
}

// Where a lane's symbols go: [token][component] of a class, those inside the window.
template <class Warp>
class ClassSink {
 public:
  KDN_HOST_DEVICE ClassSink(const Warp& warp, const UnitWork& work, const LaneBlock& block)
      : codes_(work.codes()),
        window_(work.WindowValues()),
        channels_(work.strip->head_size),
        width_(work.runs[block.run].width),
        more_(kWarpLanes % width_),
        tokens_(kWarpLanes / width_ * channels_) {
    warp.Each([&](unsigned lane) {
      const std::uint32_t symbol = block.first + lane;
      component_[lane] = symbol % width_;
      // Wraps, and is outside, for tokens before the window.
      at_[lane] = (symbol / width_ - work.unit->first_token) * channels_ +
                  work.runs[block.run].first + component_[lane];
    });
  }
  KDN_HOST_DEVICE void operator()(unsigned lane, std::uint8_t code) {
    if (at_[lane] < window_) codes_[at_[lane]] = code;
    at_[lane] += tokens_ + more_;
    component_[lane] += more_;
    if (component_[lane] >= width_) {
      component_[lane] -= width_;
      at_[lane] += channels_ - width_;
    }
  }

 private:
  std::uint8_t* codes_;
  std::uint32_t window_;
  std::uint32_t channels_;
  std::uint32_t width_;
  std::uint32_t more_;
  std::uint32_t tokens_;
  typename Warp::template Lanes<std::uint32_t> component_;
  typename Warp::template Lanes<std::uint32_t> at_;
};

// The same where a run has all of a token's symbols: one after the other.
template <class Warp>
class PlaneSink {
 public:
  KDN_HOST_DEVICE PlaneSink(const Warp& warp, const UnitWork& work, const LaneBlock& block,
                            std::uint32_t store)
      : codes_(work.codes() + store * work.WindowValues()), window_(work.WindowValues()) {
    const std::uint32_t front = work.unit->first_token * work.strip->head_size;
    warp.Each([&](unsigned lane) { at_[lane] = block.first + lane - front; });
  }
  KDN_HOST_DEVICE void operator()(unsigned lane, std::uint8_t symbol) {
    if (at_[lane] < window_) codes_[at_[lane]] = symbol;
    at_[lane] += kWarpLanes;
  }

 private:
  std::uint8_t* codes_;
  std::uint32_t window_;
  typename Warp::template Lanes<std::uint32_t> at_;
};

// Bit k of `bits` (4 of them) to byte k.
KDN_HOST_DEVICE inline std::uint32_t SpreadBits(std::uint32_t bits) {
  return (bits * 0x00204081U) & 0x01010101U;
}
// Byte by byte, without carries from one to the next.
KDN_HOST_DEVICE inline std::uint32_t AddBytes(std::uint32_t a, std::uint32_t b) {
  return ((a & 0x7F7F7F7FU) + (b & 0x7F7F7F7FU)) ^ ((a ^ b) & 0x80808080U);
}

// Adds what the raw planes say to the codes of one block, eight at a time.
template <class Warp>
KDN_HOST_DEVICE void RefineBlock(const Warp& warp, const UnitWork& work, const LaneBlock& block) {
  const LaneRun& run = work.runs[block.run];
  if (run.planes == 0) return;
  const std::uint32_t channels = work.strip->head_size;
  warp.Sync();
  warp.Each([&](unsigned lane) {
    for (std::uint32_t i = block.first + 8 * lane; i < block.first + block.count;
         i += 8 * kWarpLanes) {
      const std::uint32_t token = i / run.width;
      const std::uint32_t at =
          (token - work.unit->first_token) * channels + run.first + (i - token * run.width);
      if (at >= work.WindowValues()) continue;
      std::uint32_t low = 0;
      std::uint32_t high = 0;
      for (unsigned p = 0; p < run.planes; ++p) {
        const auto bits = static_cast<std::uint32_t>(run.plane[p][i / 8]);
        low += SpreadBits(bits & 15) << (run.plane_shift - p);
        high += SpreadBits(bits >> 4) << (run.plane_shift - p);
      }
      std::byte* codes = work.fast + at;
      Store(AddBytes(Load<std::uint32_t>(codes), low), codes);
      Store(AddBytes(Load<std::uint32_t>(codes + 4), high), codes + 4);
    }
  });
}

// The share of the unit's blocks that falls to warp `number` of its team; false if one of them does
// not decode. What a window needs is then in codes(), for the whole team after it has met.
template <class Warp>
KDN_HOST_DEVICE bool DecodeUnitBlocks(const Warp& warp, const UnitWork& work, unsigned number) {
  const auto* header = reinterpret_cast<const LanePlanHeader*>(work.plan);
  const LaneBlock* blocks = work.At<LaneBlock>(header->blocks) + work.unit->first_block;
  const std::byte* tables = work.strip->tables != nullptr ? work.strip->tables : work.plan;
  LaneTable& table = *work.TableOf(number);
  std::uint32_t table_is = kNoOffset;
  bool good = true;
  for (std::uint32_t b = number; b < work.unit->block_count; b += work.warps) {
    const LaneBlock& block = blocks[b];
    if (block.table != table_is) {
      table_is = block.table;
      warp.Sync();
      warp.Each([&](unsigned lane) {
        for (unsigned i = lane; i < sizeof(LaneTable) / sizeof(Quad); i += kWarpLanes) {
          StoreQuad(LoadQuad(tables + table_is + 16 * std::size_t{i}),
                    reinterpret_cast<std::byte*>(&table) + 16 * std::size_t{i});
        }
      });
      warp.Sync();
    }
    const bool lean = work.strip->scheme != LaneScheme::kBytePlanes;
    const LaneRun& run = work.runs[block.run];
    if (lean && run.width != work.strip->head_size) {
      ClassSink<Warp> sink(warp, work, block);
      good = DecodeLeanBlock(warp, block, table, work.RingOf(number), sink) && good;
    } else {
      PlaneSink<Warp> sink(warp, work, block, lean ? 0 : run.first);
      good = (lean ? DecodeLeanBlock(warp, block, table, work.RingOf(number), sink)
                   : DecodeRansBlock(warp, block, table, work.RingOf(number), sink)) &&
             good;
    }
    if (lean) RefineBlock(warp, work, block);
  }
  return good;
}

}  // namespace
}  // namespace kdn::codec
