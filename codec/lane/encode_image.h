// A profile as launches of encoding want it: tables by symbol, and what leads from values to
// components. Made once, copied once to where launches read it.
//
// Thread-safety: immutable after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "codec/lane/encode_plan.h"
#include "codec/profile.h"
#include "proto/object/model_spec.h"

namespace kdn::codec {

class EncodeImage {
 public:
  // `profile` is of the model, FinishForEncoding(), and outlives the image.
  EncodeImage(const ModelSpec& spec, const Profile& profile);

  // To be copied as they are, to a multiple of 16.
  [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }
  [[nodiscard]] const Profile& profile() const { return *profile_; }

  // Points `strip` at its numbers in a copy of bytes() at `copy`.
  void PointAt(const std::byte* copy, std::uint32_t layer, std::size_t plane, std::uint32_t head,
               EncodeStrip& strip) const;
  // Offset of a LaneEncodeTable, by its number in the profile.
  [[nodiscard]] static std::uint64_t TableAt(std::size_t table) {
    return table * sizeof(LaneEncodeTable);
  }

 private:
  struct Strip {
    std::size_t mean = 0;
    std::size_t inverse = 0;
    std::size_t order = 0;  // 0: none
  };
  [[nodiscard]] Strip Append(const StripProfile& strip);

  const Profile* profile_;
  std::vector<std::byte> bytes_;
  std::vector<std::vector<Strip>> strips_;  // [2 · layer + plane][head]
};

}  // namespace kdn::codec
