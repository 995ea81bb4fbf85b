#include "codec/profile.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <utility>

#include "codec/rans_blocks.h"
#include "codec/tile_plan.h"

namespace kdn::codec {
namespace {

constexpr std::uint32_t kMagic = 0x504E444B;  // "KDNP"
constexpr std::uint16_t kVersion = 1;
// Finite with room for every product that a decoder makes.
constexpr float kMagnitudeMax = 1e18F;

std::uint32_t HeadSize(const KvGroup& group, std::size_t plane) {
  return plane == 0 ? group.k_head_size : group.v_head_size;
}

bool IsGood(const std::vector<float>& numbers, std::uint32_t count) {
  return numbers.size() == count && std::all_of(numbers.begin(), numbers.end(), [](float x) {
           return std::fabs(x) <= kMagnitudeMax;  // false for what is not a number
         });
}

bool IsGood(const SymbolTable& table) {
  const RansModel& model = table.model;
  if (model.count < 2 || model.count > kRansSymbolsMax) return false;
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < model.count; ++i) {
    if (model.symbol[i] != model.symbol[0] + i || model.frequency[i] == 0) return false;
    sum += model.frequency[i];
  }
  return sum == kRansSlots && model.symbol[0] + model.count <= kRansSymbolsMax;
}

// Gauss and Jordan with row pivots: turns `b`, the unit matrix, into the inverse of `a`.
bool Invert(std::size_t n, std::vector<double>& a, std::vector<double>& b) {
  for (std::size_t column = 0; column < n; ++column) {
    std::size_t pivot = column;
    for (std::size_t r = column + 1; r < n; ++r) {
      if (std::fabs(a[r * n + column]) > std::fabs(a[pivot * n + column])) pivot = r;
    }
    const double head = a[pivot * n + column];
    if (head == 0.0) return false;
    for (std::size_t k = 0; k < n; ++k) {
      std::swap(a[pivot * n + k], a[column * n + k]);
      std::swap(b[pivot * n + k], b[column * n + k]);
      a[column * n + k] /= head;
      b[column * n + k] /= head;
    }
    for (std::size_t r = 0; r < n; ++r) {
      const double factor = a[r * n + column];
      if (r == column || factor == 0.0) continue;
      for (std::size_t k = 0; k < n; ++k) {
        a[r * n + k] -= factor * a[column * n + k];
        b[r * n + k] -= factor * b[column * n + k];
      }
    }
  }
  return true;
}

void WriteFloats(const std::vector<float>& numbers, ByteWriter& out) {
  for (const float x : numbers) out.Integer(std::bit_cast<std::uint32_t>(x));
}

std::vector<float> ReadFloats(std::size_t count, ByteReader& in) {
  std::vector<float> numbers;
  const ConstBytes bytes = in.Bytes(4 * count);
  ByteReader each(bytes);
  if (!bytes.empty()) numbers.resize(count);
  for (float& x : numbers) x = std::bit_cast<float>(each.Integer<std::uint32_t>());
  return numbers;
}

void WriteTable(const SymbolTable& table, ByteWriter& out) {
  out.Integer(table.model.symbol[0]);
  out.Integer(table.model.count);
  for (std::size_t i = 0; i < table.model.count; ++i) out.Integer(table.model.frequency[i]);
  for (const auto& level : table.reconstruction) {
    for (std::size_t i = 0; i < table.model.count; ++i) {
      out.Integer(static_cast<std::uint8_t>(level[i]));
    }
  }
}

SymbolTable ReadTable(ByteReader& in) {
  SymbolTable table;
  const auto first = in.Integer<std::uint8_t>();
  const auto count = in.Integer<std::uint8_t>();
  table.model.count = std::min(count, std::uint8_t{kRansSymbolsMax});
  for (std::size_t i = 0; i < table.model.count; ++i) {
    table.model.symbol[i] = static_cast<std::uint8_t>(first + i);
    table.model.frequency[i] = in.Integer<std::uint8_t>();
  }
  for (auto& level : table.reconstruction) {
    for (std::size_t i = 0; i < table.model.count; ++i) {
      level[i] = static_cast<std::int8_t>(in.Integer<std::uint8_t>());
    }
  }
  if (!IsGood(table) || count > kRansSymbolsMax) in.Fail();
  return table;
}

void WriteStrip(const StripProfile& strip, ByteWriter& out) {
  out.Integer(static_cast<std::uint8_t>(strip.classes.size()));
  out.Integer(static_cast<std::uint8_t>(strip.order.empty() ? 0 : 1));
  out.Integer(strip.block);
  for (const ComponentClass& one : strip.classes) {
    out.Integer(one.width);
    out.Integer(one.start);
    out.Integer(one.planes);
    out.Integer(one.table);
  }
  for (const std::uint16_t k : strip.order) out.Integer(k);
  for (const std::int8_t x : strip.matrix) out.Integer(static_cast<std::uint8_t>(x));
  WriteFloats(strip.mean, out);
  WriteFloats(strip.scale, out);
}

StripProfile ReadStrip(std::uint32_t head_size, ByteReader& in) {
  StripProfile strip;
  const auto classes = in.Integer<std::uint8_t>();
  const auto ordered = in.Integer<std::uint8_t>();
  strip.block = in.Integer<std::uint16_t>();
  if (strip.block == 0 || strip.block > kMatrixBlockMax || ordered > 1) in.Fail();
  for (std::size_t i = 0; i < classes && in.ok(); ++i) {
    ComponentClass one;
    one.width = in.Integer<std::uint16_t>();
    one.start = in.Integer<std::uint8_t>();
    one.planes = in.Integer<std::uint8_t>();
    one.table = in.Integer<std::uint16_t>();
    strip.classes.push_back(one);
  }
  if (ordered == 1) {
    ByteReader each(in.Bytes(2 * std::size_t{head_size}));
    strip.order.resize(in.ok() ? head_size : 0);
    for (std::uint16_t& k : strip.order) k = each.Integer<std::uint16_t>();
  }
  if (in.ok() && strip.block > 1) {
    for (const std::byte b : in.Bytes(std::size_t{strip.block} * head_size)) {
      strip.matrix.push_back(static_cast<std::int8_t>(b));
    }
  }
  strip.mean = ReadFloats(head_size, in);
  strip.scale = ReadFloats(head_size, in);
  return strip;
}

}  // namespace

Status CheckStrip(const StripProfile& strip, std::uint32_t head_size, std::size_t tables) {
  const auto refuse = [](const char* why) { return Status(Code::kDataLoss, why); };
  std::uint32_t width = 0;
  for (const ComponentClass& one : strip.classes) {
    if (one.width == 0 || one.width % kClassWidthUnit != 0)
      return refuse("a class has a bad width");
    width += one.width;
    if (one.start > kLossyLevels) return refuse("a class begins at no level");
    if (one.start == kLossyLevels) continue;
    if (one.table >= tables) return refuse("a class names a table that is not there");
    if (one.PlanesAt(kLossyLevels - 1) > kClassPlanesMax || one.BinShift() > 6) {
      return refuse("a class has too many planes");
    }
  }
  if (width != head_size) return refuse("a strip's classes do not add up to the head's size");
  if (!strip.order.empty()) {
    std::vector<bool> seen(head_size);
    if (strip.order.size() != head_size) return refuse("a strip's order is not of the head's size");
    for (const std::uint16_t k : strip.order) {
      if (k >= head_size || seen[k]) return refuse("a strip's order is no permutation");
      seen[k] = true;
    }
  }
  const bool whole = strip.block != 0 && strip.block <= kMatrixBlockMax &&
                     head_size % strip.block == 0 &&
                     (strip.block == 1 || strip.block % kClassWidthUnit == 0);
  const std::size_t numbers = strip.block == 1 ? 0 : std::size_t{strip.block} * head_size;
  if (!whole || strip.matrix.size() != numbers) return refuse("a strip's matrix has a bad size");
  if (!IsGood(strip.mean, head_size) || !IsGood(strip.scale, head_size)) {
    return refuse("a strip's means or scales are out of bounds");
  }
  return Status();
}

void StripProfile::Finish() {
  if (block == 1) return;
  const std::size_t channels = mean.size();
  // Components that are coded first come first in their block, so that those of classes that have
  // not begun at a level can be left out.
  tiled_order = order;
  tiled_order.resize(channels);
  if (order.empty()) std::iota(tiled_order.begin(), tiled_order.end(), std::uint16_t{0});
  std::vector<std::uint16_t> column(channels);  // of the matrix, within its block
  for (std::size_t first = 0; first < channels; first += block) {
    const auto begin = column.begin() + static_cast<std::ptrdiff_t>(first);
    std::iota(begin, begin + block, std::uint16_t{0});
    std::sort(begin, begin + block, [&](std::uint16_t i, std::uint16_t j) {
      return tiled_order[first + i] < tiled_order[first + j];
    });
    const auto coded = tiled_order.begin() + static_cast<std::ptrdiff_t>(first);
    std::sort(coded, coded + block);
  }
  tiled.resize(matrix.size());
  std::size_t at = 0;
  for (std::size_t c = 0; c < channels; c += 16) {
    const std::uint16_t* of_block = column.data() + c / block * block;
    for (std::size_t k = 0; k < block; k += 4) {
      for (std::size_t i = 0; i < 64; ++i, ++at) {
        tiled[at] = matrix[(c + i / 4) * block + of_block[k + i % 4]];
      }
    }
  }
  live = {};
  for (std::size_t level = 0; level < kLossyLevels; ++level) FindLiveColumns(level, column);
}

void StripProfile::FindLiveColumns(std::size_t level, std::span<const std::uint16_t> column) {
  std::size_t end = 0;  // codes from here on are 0
  std::size_t next = 0;
  for (const ComponentClass& one : classes) {
    next += one.width;
    if (one.start <= level) end = next;
  }
  const std::size_t channels = mean.size();
  LiveColumns& of_level = live[level];
  // A finer level has all that a coarser one has.
  if (level > 0) of_level = live[level - 1];
  of_level.columns.resize(channels / block);
  of_level.row_sums.resize(channels);
  for (std::size_t first = 0; first < channels; first += block) {
    const auto begin = tiled_order.begin() + static_cast<std::ptrdiff_t>(first);
    const auto alive = std::lower_bound(begin, begin + block, end) - begin;
    std::uint16_t& columns = of_level.columns[first / block];
    const std::size_t known = columns;
    columns = static_cast<std::uint16_t>(RoundUp(static_cast<std::size_t>(alive), 4));
    for (std::size_t c = first; c < first + block; ++c) {
      for (std::size_t k = known; k < columns; ++k) {
        of_level.row_sums[c] += matrix[c * block + column[first + k]];
      }
    }
  }
}

bool StripProfile::FinishForEncoding() {
  const std::size_t channels = mean.size();
  inverse.assign(channels * block, 0.0F);
  if (block == 1) {
    for (std::size_t c = 0; c < channels; ++c) {
      if (scale[c] == 0.0F) return false;
      inverse[c] = static_cast<float>(1.0 / double{scale[c]});
    }
    return true;
  }
  std::vector<double> a(std::size_t{block} * block);
  std::vector<double> b(a.size());
  for (std::size_t first = 0; first < channels; first += block) {
    for (std::size_t r = 0; r < block; ++r) {
      for (std::size_t k = 0; k < block; ++k) {
        a[r * block + k] = matrix[(first + r) * block + k] * double{scale[first + r]};
        b[r * block + k] = r == k ? 1.0 : 0.0;
      }
    }
    if (!Invert(block, a, b)) return false;
    for (std::size_t r = 0; r < block; ++r) {
      for (std::size_t k = 0; k < block; ++k) {
        inverse[(first + k) * block + r] = static_cast<float>(b[r * block + k]);
      }
    }
  }
  return true;
}

Result<Profile> Profile::Make(const ModelSpec& spec, Parts parts) {
  Profile profile;
  profile.first_strip_.resize(LayerCount(spec));
  std::size_t next = 0;
  if (parts.tables.size() > kTablesMax) return Error(Code::kInvalidArgument, "too many tables");
  for (const SymbolTable& table : parts.tables) {
    if (!IsGood(table)) return Error(Code::kInvalidArgument, "a symbol table is not usable");
  }
  for (std::uint32_t layer = 0; layer < LayerCount(spec); ++layer) {
    const KvGroup& group = GroupOfLayer(spec, layer);
    profile.first_strip_[layer].fill(next);
    for (std::size_t plane = 0; plane < PlaneCountOf(group); ++plane) {
      for (std::uint32_t head = 0; head < group.kv_heads; ++head, ++next) {
        if (next == parts.strips.size()) return Error(Code::kInvalidArgument, "strips are missing");
        const Status status =
            CheckStrip(parts.strips[next], HeadSize(group, plane), parts.tables.size());
        if (!status.ok()) return Error(Code::kInvalidArgument, status.message());
        parts.strips[next].Finish();
      }
      for (std::size_t p = plane + 1; p <= 2; ++p) profile.first_strip_[layer][p] = next;
    }
  }
  profile.coders_.resize(parts.tables.size());
  for (std::size_t i = 0; i < parts.tables.size(); ++i) {
    FillCoder(parts.tables[i], profile.coders_[i]);
  }
  if (next != parts.strips.size()) return Error(Code::kInvalidArgument, "strips of no layer");
  ByteWriter out(profile.bytes_);
  out.Integer(kMagic);
  out.Integer(kVersion);
  out.Integer(static_cast<std::uint16_t>(parts.tables.size()));
  out.Id(parts.model);
  for (const SymbolTable& table : parts.tables) WriteTable(table, out);
  for (const StripProfile& strip : parts.strips) WriteStrip(strip, out);
  profile.parts_ = std::move(parts);
  return profile;
}

Result<Profile> Profile::Decode(const ModelSpec& spec, ConstBytes bytes) {
  ByteReader in(bytes);
  const auto magic = in.Integer<std::uint32_t>();
  const auto version = in.Integer<std::uint16_t>();
  if (magic != kMagic) return Error(Code::kDataLoss, "not a profile");
  if (version > kVersion) return Error(Code::kUnimplemented, "a profile of a newer version");
  Parts parts;
  const auto tables = in.Integer<std::uint16_t>();
  parts.model = in.OpaqueId<ModelFingerprint>();
  if (version == 0 || tables > kTablesMax) in.Fail();
  for (std::size_t i = 0; i < tables && in.ok(); ++i) parts.tables.push_back(ReadTable(in));
  for (std::uint32_t layer = 0; layer < LayerCount(spec) && in.ok(); ++layer) {
    const KvGroup& group = GroupOfLayer(spec, layer);
    for (std::size_t plane = 0; plane < PlaneCountOf(group); ++plane) {
      for (std::uint32_t head = 0; head < group.kv_heads && in.ok(); ++head) {
        parts.strips.push_back(ReadStrip(HeadSize(group, plane), in));
      }
    }
  }
  if (!in.AtEnd()) return Error(Code::kDataLoss, "a profile is cut short or damaged");
  Result<Profile> profile = Make(spec, std::move(parts));
  if (!profile) return Error(Code::kDataLoss, profile.error().message());
  return profile;
}

bool Profile::Has(const Range& layers, std::size_t plane, const Range& heads,
                  std::uint32_t head_size) const {
  if (layers.end() > first_strip_.size() || plane > 1) return false;
  for (std::uint32_t layer = layers.first; layer < layers.end(); ++layer) {
    const std::size_t first = first_strip_[layer][plane];
    const std::size_t end = first_strip_[layer][plane + 1];
    if (heads.end() > end - first) return false;
    // The heads of one layer and plane are of one size.
    if (first == end || parts_.strips[first].mean.size() != head_size) return false;
  }
  return true;
}

Status Profile::FinishForEncoding() {
  for (StripProfile& strip : parts_.strips) {
    // Larger numbers would leave no room for the products of the encoder.
    const auto usable = [](float x) { return std::fabs(x) <= kMagnitudeMax; };
    if (!strip.FinishForEncoding() ||
        !std::all_of(strip.inverse.begin(), strip.inverse.end(), usable)) {
      return Status(Code::kInvalidArgument, "a strip's matrix has no inverse to reckon with");
    }
  }
  return Status();
}

void FillCoder(const SymbolTable& table, SymbolCoder& coder) {
  FillDecodeTable(table.model, coder.decode);
  FillEncodeTable(table.model, coder.encode);
  for (std::size_t level = 0; level < kLossyLevels; ++level) {
    coder.lut[level].fill(0);
    for (std::size_t i = 0; i < table.model.count; ++i) {
      coder.lut[level][table.model.symbol[i]] = table.reconstruction[level][i];
    }
  }
  coder.first_symbol = table.model.symbol[0];
  coder.last_symbol = table.model.symbol[table.model.count - 1];
}

}  // namespace kdn::codec
