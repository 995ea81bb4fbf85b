#include "codec/lane/planes_directory.h"

namespace kdn::codec {

PlanesDirectory::PlanesDirectory(const TileShape& shape)
    : shape_(shape), layouts_(PlanesOf(shape.dtype)), cut_(shape.strip_values()) {}

bool PlanesDirectory::ReadPlane(ByteReader& in, unsigned bits) {
  const auto shared = in.Integer<std::uint8_t>();
  if (shared > 1) return false;
  if (shared == 1) models_.push_back(ReadModel(in, bits));
  for (std::size_t s = 0; s < shape_.strips() && in.ok(); ++s) {
    Run& run = runs_.emplace_back();
    const auto mode = in.Integer<std::uint8_t>();
    if (mode > static_cast<std::uint8_t>(LaneRunMode::kRans)) return false;
    run.mode = static_cast<LaneRunMode>(mode);
    if (run.mode == LaneRunMode::kConstant) {
      run.value = in.Integer<std::uint8_t>();
      if ((run.value >> bits) != 0) return false;
    }
    if (run.mode != LaneRunMode::kRans) continue;
    if (shared == 0) models_.push_back(ReadModel(in, bits));
    run.model = models_.size() - 1;
    run.first_word = words_.size();
    for (std::size_t b = 0; b < cut_.count() && in.ok(); ++b) {
      words_.push_back(in.Integer<std::uint16_t>());
      if (words_.back() > cut_.Size(b)) return false;
    }
  }
  return in.ok();
}

bool PlanesDirectory::Open(ConstBytes tile, const std::byte* bytes_dev) {
  ByteReader in(tile);
  for (const PlaneLayout& layout : layouts_) {
    if (!ReadPlane(in, layout.bits)) return false;
  }
  const auto at = [&] { return tile.size() - in.rest().size(); };
  const auto pad = [&](std::size_t alignment) { in.Zeros(RoundUp(at(), alignment) - at()); };
  pad(kRunAlignment);
  for (std::size_t i = 0; i < runs_.size() && in.ok(); ++i) {
    Run& run = runs_[i];
    run.data = bytes_dev + at();
    if (run.mode == LaneRunMode::kConstant) continue;
    if (run.mode == LaneRunMode::kRaw) {
      (void)in.Bytes(RawRunBytes(shape_.strip_values(), layouts_[i / shape_.strips()].raw_bits));
    } else {
      for (std::size_t b = 0; b < cut_.count(); ++b) {
        (void)in.Bytes(kRansStateBytes + 2 * std::size_t{words_[run.first_word + b]});
        if (in.ok()) pad(kBlockAlignment);
      }
    }
    if (in.ok()) pad(kRunAlignment);
  }
  return in.AtEnd();
}

void PlanesDirectory::Describe(std::size_t strip, std::vector<LaneRun>& runs,
                               std::vector<LaneBlock>& blocks) const {
  std::uint32_t stores = 0;
  for (std::size_t p = 0; p < layouts_.size(); ++p) {
    const Run& from = runs_[p * shape_.strips() + strip];
    LaneRun run;
    run.mode = from.mode;
    run.value = from.value;
    run.raw_bits = static_cast<std::uint8_t>(layouts_[p].raw_bits);
    run.width = static_cast<std::uint16_t>(shape_.head_size);
    run.plane[0] = from.data;
    if (run.mode == LaneRunMode::kRans) {
      run.first = stores++;
      const std::byte* states = from.data;
      for (std::size_t b = 0; b < cut_.count(); ++b) {
        const std::uint32_t words = words_[from.first_word + b];
        blocks.push_back({.states = states,
                          .words = words,
                          .count = static_cast<std::uint32_t>(cut_.Size(b)),
                          .first = static_cast<std::uint32_t>(cut_.Begin(b)),
                          .run = static_cast<std::uint32_t>(runs.size()),
                          .table = static_cast<std::uint32_t>(from.model)});
        states += BlockBytes(words);
      }
    }
    runs.push_back(run);
  }
}

}  // namespace kdn::codec
