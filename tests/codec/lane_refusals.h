// What no bytes may make of a launch, on whatever machine: it refuses what the CPU's decoder
// refuses, a refused unit writes nothing, and bytes that change after they were checked do no harm
// outside of the values they are of. Tests run these on the host, GPU programs on a GPU, both best
// under a memory checker.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/codec/lane_objects.h"
#include "tests/codec/lane_profiles.h"

namespace kdn::codec {

using MakeMachine = std::function<std::unique_ptr<LaunchMachine>(ChangeCopy change)>;

inline constexpr LevelSet kRefusalLevels(0b1111);

inline ModelSpec RefusalSpec(DType dtype = DType::kBf16) {
  ModelSpec spec;
  spec.name = "small";
  spec.dtype = dtype;
  spec.rotary = {.pairing = RotaryPairing::kNeox, .dims = 16};
  spec.groups.push_back({.layers = {0}, .kv_heads = 1, .k_head_size = 16, .v_head_size = 32});
  return spec;
}

// Each case returns what is wrong; empty if all is well.
class LaneRefusals {
 public:
  explicit LaneRefusals(MakeMachine make) : make_(std::move(make)) {}

  std::string TilesCutAtEveryLength() {
    accepted_ = refused_ = 0;
    for (const LevelSet levels : {LevelSet(Level::kExact), kRefusalLevels}) {
      Use({.spec = RefusalSpec(),
           .tokens = 20,
           .levels = levels,
           .decoded_levels = levels == kRefusalLevels ? 4U : 1U});
      for (const std::size_t l : {std::size_t{0}, std::size_t{1}, std::size_t{3}}) {
        if (l >= case_.decoded_levels) continue;
        const ConstBytes whole = opened_.places[1][l].bytes;
        for (std::size_t size = 0; size < whole.size(); ++size) {
          const std::string wrong = WrongWith(l, whole.first(size));
          if (!wrong.empty()) return wrong;
        }
      }
    }
    return accepted_ == 0 ? "" : "a tile that was cut is decoded";
  }

  // Every byte in turn, or each `step`-th.
  std::string TilesChangedInOneByte(std::size_t step = 1) {
    accepted_ = refused_ = 0;
    std::mt19937_64 random(3);
    const Profile profile = RandomProfile(RefusalSpec(), 1, true);
    for (int kind = 0; kind < 4; ++kind) {
      LaneCase c{.spec = RefusalSpec(), .tokens = 20, .moved = 2};
      if (kind > 0) c.levels = LevelSet(0b111);
      if (kind > 0) c.decoded_levels = 3;
      if (kind == 2) c.profile = &profile;
      if (kind == 3) c.levels = kRefusalLevels;
      if (kind == 3) c.decoded_levels = 4;
      Use(c);
      for (std::size_t l = kind == 3 ? 3 : 0; l < c.decoded_levels; ++l) {
        const ConstBytes whole = opened_.places[1][l].bytes;
        for (std::size_t at = 0; at < whole.size(); at += step) {
          AlignedBytes changed(whole);
          changed.data()[at] ^= static_cast<std::byte>(1 + random() % 255);
          const std::string wrong = WrongWith(l, changed.bytes());
          if (!wrong.empty()) return wrong + ", byte " + std::to_string(at);
        }
      }
    }
    // Raw planes and means may be anything.
    const bool both = accepted_ > 100 / step && refused_ > 100 / step;
    return both ? "" : "hardly any are accepted, or refused";
  }

  std::string BytesThatChangeAfterTheyWereChecked() {
    std::mt19937_64 random(4);
    for (const LevelSet levels : {LevelSet(Level::kExact), LevelSet(0b111), kRefusalLevels}) {
      for (const DType dtype : kAllDTypes) {
        Use({.spec = RefusalSpec(dtype),
             .tokens = 100,
             .levels = levels,
             .decoded_levels = levels == kRefusalLevels    ? 4U
                               : levels.Has(Level::kDraft) ? 3U
                                                           : 1U});
        LaneTarget got(case_);
        const auto machine = make_([&](AlignedBytes& copy) {
          for (std::size_t i = 0; i < copy.bytes().size(); ++i) {
            copy.data()[i] = static_cast<std::byte>(random());
          }
        });
        (void)LaunchCase(case_, opened_, case_.decoded_levels, got, *machine);
        // All that may have been written is what a good decoding writes.
        LaneTarget want(case_);
        if (!DecodeOnCpu(case_, opened_, case_.decoded_levels, want).ok() ||
            !DecodeOnCpu(case_, opened_, case_.decoded_levels, got).ok()) {
          return "the CPU does not decode what was encoded";
        }
        if (got.memory.Snapshot() != want.memory.Snapshot()) return "others' values were written";
      }
    }
    return {};
  }

  std::string RefusedUnitsWriteNothing() {
    Use({.spec = RefusalSpec(), .tokens = 20, .levels = kRefusalLevels, .decoded_levels = 1});
    LaneTarget got(case_);
    const auto before = got.memory.Snapshot();
    // The last words' padding aside, the end of a draft tile is words.
    const auto machine = make_(SpoilEnd);
    const LaneOutcome outcome = LaunchCase(case_, opened_, 1, got, *machine);
    if (!outcome.planned.ok()) return "the planner: " + outcome.planned.ToString();
    if (outcome.verdicts != std::vector<std::uint32_t>{1, 1}) return "not all units are refused";
    return got.memory.Snapshot() == before ? "" : "a refused unit wrote";
  }

  std::string ExactOnTopOfWhatDoesNotDecodeWritesNothing() {
    for (std::size_t level = 0; level < 4; ++level) {
      Use({.spec = RefusalSpec(), .tokens = 300, .levels = kRefusalLevels, .decoded_levels = 4});
      LaneTarget got(case_);
      const auto before = got.memory.Snapshot();
      std::size_t tile = 0;
      const auto machine = make_([&](AlignedBytes& copy) {
        // Of each place, one of four tiles ends in other words: raw planes but for draft and exact.
        if (tile++ % 4 == level) SpoilEnd(copy);
      });
      const LaneOutcome outcome = LaunchCase(case_, opened_, 4, got, *machine);
      if (!outcome.planned.ok()) return "the planner: " + outcome.planned.ToString();
      if (outcome.good()) return "level " + std::to_string(level) + " is decoded";
      if (level == 0 && got.memory.Snapshot() != before) return "a refused strip was written";
    }
    return {};
  }

 private:
  static void SpoilEnd(AlignedBytes& copy) {
    std::fill(copy.data() + copy.bytes().size() / 2, copy.data() + copy.bytes().size(),
              std::byte{0x77});
  }
  void Use(const LaneCase& c) {
    case_ = c;
    object_ = EncodeCase(c);
    opened_ = OpenPlaces(object_);
  }
  // With tile `level` of the second place replaced: both decoders judge the same, and what they
  // accept they decode to the same bits.
  std::string WrongWith(std::size_t level, ConstBytes bytes) {
    const AlignedBytes copy(bytes);
    OpenedPlaces changed = opened_;
    changed.places[1][level].bytes = copy.bytes();
    LaneTarget want(case_);
    LaneTarget got(case_);
    const bool good = DecodeOnCpu(case_, changed, case_.decoded_levels, want).ok();
    const auto machine = make_({});
    const LaneOutcome outcome = LaunchCase(case_, changed, case_.decoded_levels, got, *machine);
    ++(good ? accepted_ : refused_);
    const std::string where = " at level " + std::to_string(level) + " of " +
                              std::to_string(case_.decoded_levels) + ", " +
                              std::to_string(bytes.size()) + " bytes";
    if (outcome.good() != good) return "the CPU and the launch judge differently" + where;
    if (!good || got.memory.Snapshot() == want.memory.Snapshot()) return {};
    return "the bits are not the CPU's" + where;
  }

  MakeMachine make_;
  LaneCase case_;
  std::vector<std::byte> object_;
  OpenedPlaces opened_;
  std::size_t refused_ = 0;
  std::size_t accepted_ = 0;
};

}  // namespace kdn::codec
