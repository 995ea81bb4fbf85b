// A profile as a launch wants it: tables of each level with what symbols stand for folded in, and
// strips with their matrices in the order in which lanes read them. Made once, copied once to where
// launches read it.
//
// Thread-safety: immutable after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "codec/lane/launch_plan.h"
#include "codec/profile.h"
#include "proto/object/model_spec.h"

namespace kdn::codec {

// The table of one coder at a lossy level.
[[nodiscard]] LaneTable CodeTable(const SymbolCoder& coder, std::size_t level);

class ProfileImage {
 public:
  // `profile` is of the model and outlives the image.
  ProfileImage(const ModelSpec& spec, const Profile& profile);

  // To be copied as they are, to a multiple of 16.
  [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }
  [[nodiscard]] const Profile& profile() const { return *profile_; }

  // Points `strip` at its numbers, matrix and tables in a copy of bytes() at `copy`.
  void PointAt(const std::byte* copy, std::uint32_t layer, std::size_t plane, std::uint32_t head,
               LaneStrip& strip) const;
  // Offset of a table, for LaneBlock::table.
  [[nodiscard]] std::uint32_t TableAt(std::size_t level, std::size_t table) const {
    return static_cast<std::uint32_t>((level * profile_->coders().size() + table) *
                                      sizeof(LaneTable));
  }

 private:
  struct Strip {
    std::size_t mean = 0;
    std::size_t scale = 0;
    std::size_t order = 0;   // 0: none
    std::size_t matrix = 0;  // 0: none
  };
  [[nodiscard]] Strip Append(const StripProfile& strip);

  const Profile* profile_;
  std::vector<std::byte> bytes_;
  std::vector<std::vector<Strip>> strips_;  // [2 · layer + plane][head]
};

}  // namespace kdn::codec
