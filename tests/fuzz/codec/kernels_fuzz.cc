// The inner loops on arguments that anyone may have chosen: each kernel table gives the scalar
// one's answer, bit for bit, or refuses the blocks that it refuses, and writes nowhere else.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/bytes.h"
#include "codec/kernels/encode_kernels.h"
#include "codec/profile.h"
#include "codec/rans_blocks.h"
#include "codec/rans_model.h"
#include "tests/fuzz/codec/chosen_kernels.h"

namespace {

using namespace kdn::codec;

constexpr std::size_t kGuard = 64;  // bytes behind what a kernel may write, which must stay

// A model of any kind out of a few bytes.
RansModel ModelFrom(kdn::ByteReader& in) {
  const std::size_t count = 2 + in.Integer<std::uint8_t>() % 63;
  const auto first = static_cast<std::size_t>(in.Integer<std::uint8_t>() % (65 - count));
  Histogram histogram{};
  for (std::size_t i = 0; i < count; ++i) {
    histogram[first + i] = 1U + in.Integer<std::uint8_t>();
  }
  return ModelOf(histogram);
}

using Symbols = std::vector<std::uint8_t>;
using Tables = std::array<const Kernels*, 2>;

// Blocks whose bytes are the input's: nobody's encoder wrote them.
template <bool kLean>
void CheckHostileBlocks(kdn::ByteReader in, const Tables& chosen) {
  RansTable tables[2];
  for (RansTable& table : tables) FillDecodeTable(ModelFrom(in), table);
  struct Cut {
    std::size_t table, begin, size, count, tail;
  };
  std::vector<Cut> cuts;
  std::size_t at = 0;
  for (int b = 0; b < 4; ++b) {
    const auto choice = in.Integer<std::uint8_t>();
    const std::size_t words = in.Integer<std::uint8_t>();
    const std::size_t count = 1 + in.Integer<std::uint16_t>() % 400;
    const std::size_t size = kLean ? kLeanHeadBytes + words : kRansStateBytes + 2 * words;
    cuts.push_back({choice % 2U, at, size, count, choice / 2U});
    at += RoundUp(size, kBlockAlignment);
  }
  const kdn::ConstBytes bytes = in.rest();
  while (!cuts.empty() && cuts.back().begin + cuts.back().size > bytes.size()) cuts.pop_back();
  std::vector<Symbols> want;
  bool good = false;
  for (const Kernels* kernels : chosen) {
    std::vector<Symbols> got;
    std::vector<RansBlock> blocks;
    for (const Cut& cut : cuts) got.emplace_back(cut.count + kGuard, std::uint8_t{0xA5});
    for (std::size_t b = 0; b < cuts.size(); ++b) {
      const std::byte* states = bytes.data() + cuts[b].begin;
      blocks.push_back({.table = &tables[cuts[b].table],
                        .states = states,
                        .end = states + cuts[b].size,
                        .readable_end = bytes.data() + bytes.size(),
                        .symbols = got[b].data(),
                        .count = cuts[b].count,
                        .tail = cuts[b].tail});
    }
    const auto decode = kLean ? kernels->lean_decode : kernels->rans_decode;
    const bool accepted = decode(blocks.data(), blocks.size());
    for (std::size_t b = 0; b < got.size(); ++b) {
      for (std::size_t i = 0; i < kGuard; ++i) {
        if (got[b][cuts[b].count + i] != 0xA5) std::abort();
      }
    }
    if (kernels == &kScalarKernels) {
      want = got;
      good = accepted;
    }
    if (accepted != good || (accepted && got != want)) std::abort();
  }
}

// States and what follows them; `tail` is of lean blocks.
template <bool kLean>
std::vector<std::byte> EncodeBlock(const Kernels& kernels, const RansEncodeTable& table,
                                   const Symbols& symbols, std::uint8_t& tail) {
  const std::size_t count = symbols.size();
  if constexpr (kLean) {
    std::vector<std::byte> room(kLeanHeadBytes + count);
    const std::size_t used = kernels.lean_encode(table, symbols.data(), count, room.data(), &tail);
    return {room.end() - static_cast<std::ptrdiff_t>(used), room.end()};
  }
  std::vector<std::uint16_t> words(count);
  std::uint32_t states[kRansLanes];
  const std::size_t used = kernels.rans_encode(table, symbols.data(), count, words.data(), states);
  std::vector<std::byte> block(kRansStateBytes + 2 * used);
  std::memcpy(block.data(), states, kRansStateBytes);
  std::memcpy(block.data() + kRansStateBytes, words.data() + count - used, 2 * used);
  return block;
}

// The block and one of its first symbols together, which share a table, against each alone.
void CheckTwo(const Kernels& kernels, const RansEncodeTable& table, const Symbols& symbols,
              std::size_t first_count) {
  const Symbols first(symbols.begin(), symbols.begin() + static_cast<std::ptrdiff_t>(first_count));
  const Symbols* const both[2] = {&first, &symbols};
  std::vector<std::byte> room[2];
  LeanPiece pieces[2];
  for (std::size_t i = 0; i < 2; ++i) {
    room[i].resize(kLeanHeadBytes + both[i]->size());
    pieces[i].symbols = both[i]->data();
    pieces[i].count = both[i]->size();
    pieces[i].out = room[i].data();
  }
  kernels.encode->lean_encode_two(table, pieces);
  for (std::size_t i = 0; i < 2; ++i) {
    std::uint8_t tail = 0;
    const std::vector<std::byte> want = EncodeBlock<true>(kernels, table, *both[i], tail);
    const auto begin = room[i].end() - static_cast<std::ptrdiff_t>(pieces[i].bytes);
    if (pieces[i].tail != tail || !std::equal(want.begin(), want.end(), begin, room[i].end())) {
      std::abort();
    }
  }
}

// Symbols out of the input through every encoder and every decoder.
template <bool kLean>
void CheckCoding(kdn::ByteReader in, const Tables& chosen) {
  const RansModel model = ModelFrom(in);
  RansTable table;
  RansEncodeTable encode;
  FillDecodeTable(model, table);
  FillEncodeTable(model, encode);
  Symbols symbols;
  const std::size_t count = 1 + in.Integer<std::uint16_t>() % 600;
  const kdn::ConstBytes bytes = in.rest();
  for (std::size_t i = 0; i < count; ++i) {
    const auto byte = bytes.empty() ? 0 : static_cast<unsigned>(bytes[i % bytes.size()]);
    symbols.push_back(model.symbol[byte % model.count]);
  }
  std::vector<std::byte> want;
  std::uint8_t want_tail = 0;
  for (const Kernels* kernels : chosen) {
    std::uint8_t tail = 0;
    const std::vector<std::byte> block = EncodeBlock<kLean>(*kernels, encode, symbols, tail);
    if (want.empty()) {
      want = block;
      want_tail = tail;
    }
    if (block != want || tail != want_tail) std::abort();
    if constexpr (kLean) CheckTwo(*kernels, encode, symbols, 1 + (count * 7) / 9 % count);
    Symbols decoded(count);
    const RansBlock one{.table = &table,
                        .states = want.data(),
                        .end = want.data() + want.size(),
                        .readable_end = want.data() + want.size(),
                        .symbols = decoded.data(),
                        .count = count,
                        .tail = tail};
    const auto decode = kLean ? kernels->lean_decode : kernels->rans_decode;
    if (!decode(&one, 1) || decoded != symbols) std::abort();
  }
}

void CheckCodes(kdn::ByteReader in, const Tables& chosen) {
  ClassCodes codes;
  codes.width = 16 * (1 + in.Integer<std::uint8_t>() % 4U);
  const std::size_t stride = codes.width + 16 * (in.Integer<std::uint8_t>() % 3U);
  const std::size_t tokens = 1 + in.Integer<std::uint8_t>() % 9U;
  codes.planes = in.Integer<std::uint8_t>() % (kClassPlanesMax + 1);
  const std::size_t above = in.Integer<std::uint8_t>() % (kClassPlanesMax + 1 - codes.planes);
  codes.plane_shift = static_cast<unsigned>(codes.planes + above);
  const std::size_t count = tokens * codes.width;
  std::vector<std::byte> bytes(64 + count + codes.planes * count / 8);
  const kdn::ConstBytes rest = in.rest();
  for (std::size_t i = 0; !rest.empty() && i < bytes.size(); ++i) bytes[i] = rest[i % rest.size()];
  std::memcpy(codes.lut, bytes.data(), 64);
  Symbols symbols(count);
  for (std::size_t i = 0; i < count; ++i) {
    symbols[i] = static_cast<std::uint8_t>(bytes[64 + i]) & 63U;
  }
  codes.symbols = symbols.data();
  for (std::size_t p = 0; p < codes.planes; ++p) {
    codes.plane[p] = bytes.data() + 64 + count + p * count / 8;
  }
  std::vector<std::int8_t> want;
  for (const Kernels* kernels : chosen) {
    std::vector<std::int8_t> out((tokens - 1) * stride + codes.width, std::int8_t{0x5A});
    kernels->class_codes(codes, tokens, out.data(), stride);
    if (want.empty()) want = out;
    if (out != want) std::abort();
  }
}

void CompareValues(const Synthesis& s, const kdn::codec::CodeRows& coded, std::size_t type,
                   std::size_t gap, const Tables& chosen) {
  const std::size_t row = s.channels * kdn::DTypeBytes(static_cast<kdn::DType>(type));
  std::vector<std::ptrdiff_t> rows;
  for (std::size_t t = 0; t < coded.tokens; ++t) {
    rows.push_back(static_cast<std::ptrdiff_t>(t * (row + gap)));
  }
  std::vector<std::byte> want;
  for (const Kernels* kernels : chosen) {
    std::vector<std::byte> values(coded.tokens * (row + gap) - gap, std::byte{0xA5});
    kernels->synthesise[type](s, coded, values.data(), rows.data());
    kernels->stream_fence();
    if (want.empty()) want = values;
    if (values != want) std::abort();
  }
}

void CheckSynthesis(kdn::ByteReader in, const Tables& chosen) {
  constexpr std::size_t kBlocks[] = {0, 1, 2, 3, 4, 1, 2, 8};  // of 16 channels; 0: no matrix
  const std::size_t block = kBlocks[in.Integer<std::uint8_t>() % 8U];
  const std::size_t blocks = block == 8 ? 1 : 1 + in.Integer<std::uint8_t>() % 2U;
  const auto flags = in.Integer<std::uint8_t>();
  const std::size_t tokens = 1 + in.Integer<std::uint8_t>() % 3U;
  const std::size_t type = in.Integer<std::uint8_t>() % kKernelDTypes;
  const std::size_t dims = in.Integer<std::uint8_t>() * 2U;
  const kdn::ConstBytes rest = in.rest();
  std::size_t at = 0;
  const auto next = [&] {
    if (rest.empty()) return 0;
    const auto number = static_cast<std::int8_t>(rest[at]);
    at = at + 1 == rest.size() ? 0 : at + 1;
    return int{number};
  };
  StripProfile strip;
  const std::size_t channels = std::max<std::size_t>(block, 1) * blocks * 16;
  strip.block = static_cast<std::uint16_t>(block == 0 ? 1 : block * 16);
  for (std::size_t c = 0; c < channels; ++c) {
    strip.mean.push_back(static_cast<float>(next()) / 8.0F);
    strip.scale.push_back(static_cast<float>(next()) * 0x1p-10F);
    if ((flags & 1) != 0) strip.order.push_back(static_cast<std::uint16_t>(channels - 1 - c));
  }
  strip.classes.push_back({.width = static_cast<std::uint16_t>(channels)});
  if (block > 0) strip.matrix.resize(channels * strip.block);
  for (std::size_t filled = 0; !rest.empty() && filled < strip.matrix.size();) {
    const std::size_t here = std::min(rest.size(), strip.matrix.size() - filled);
    std::memcpy(strip.matrix.data() + filled, rest.data(), here);
    filled += here;
  }
  strip.Finish();
  Synthesis s;
  s.channels = channels;
  s.order = strip.order.empty() ? nullptr : strip.order.data();
  s.block = strip.block;
  s.matrix = strip.matrix.data();
  s.tiled = strip.tiled.data();
  s.tiled_order = strip.tiled_order.empty() ? nullptr : strip.tiled_order.data();
  s.columns = strip.live[0].columns.data();
  s.row_sums = strip.live[0].row_sums.data();
  s.stream = (flags & 128) != 0;
  s.mean = strip.mean.data();
  s.scale = strip.scale.data();
  s.pairs = static_cast<RotaryPairs>((flags >> 1) % 3);
  s.rotary_dims = s.pairs == RotaryPairs::kNone ? 0 : std::min(dims, channels);
  std::vector<std::int8_t> codes;
  for (std::size_t i = 0; i < tokens * channels; ++i) {
    codes.push_back(static_cast<std::int8_t>(next()));
  }
  std::vector<std::uint8_t> exponents;
  std::vector<float> turns;
  for (std::size_t t = 0; t < tokens; ++t) {
    exponents.push_back(static_cast<std::uint8_t>(next()) & 15U);
    for (std::size_t i = 0; i < s.rotary_dims; ++i) {
      turns.push_back(static_cast<float>(next()) / 128.0F);
    }
  }
  const kdn::codec::CodeRows coded{.codes = codes.data(),
                                   .stride = channels,
                                   .exponents = (flags & 32) != 0 ? exponents.data() : nullptr,
                                   .turns = turns.data(),
                                   .tokens = tokens};
  CompareValues(s, coded, type, (flags & 64) != 0 ? 12 : 0, chosen);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  kdn::ByteReader in(std::as_bytes(std::span(data, size)));
  const auto choice = in.Integer<std::uint8_t>();
  const Tables chosen = ChosenKernels(choice / 8);
  switch (choice % 8) {
    case 0:
      CheckHostileBlocks<false>(in, chosen);
      break;
    case 1:
      CheckCoding<false>(in, chosen);
      break;
    case 2:
      CheckCodes(in, chosen);
      break;
    case 3:
      CheckSynthesis(in, chosen);
      break;
    case 4:
    case 5:
      CheckHostileBlocks<true>(in, chosen);
      break;
    default:
      CheckCoding<true>(in, chosen);
  }
  return 0;
}
