// Takes the tiles of the lossy levels apart, byte for byte (docs/codec.md, scheme 2): which bin
// each component fell into, and what every part of the tiles takes.
//
// Thread-safety: pure functions and values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "codec/nested.h"
#include "tests/bench/level_chunks.h"

namespace kdn::bench {

// Bytes of one level's tiles.
struct TileParts {
  double own = 0.0;        // means, scales and the table that tiles without a profile bring
  double exponents = 0.0;  // of tokens far outside, with their counts
  double directory = 0.0;  // bytes and tail of each block
  double states = 0.0;
  double words = 0.0;
  double lost = 0.0;  // of states and words: what symbols do not take under their table
  double planes = 0.0;
  double padding = 0.0;

  // What carries the symbols: all but scales and tables.
  [[nodiscard]] double Symbols() const { return directory + states + words + planes + padding; }
  [[nodiscard]] double All() const { return own + exponents + Symbols(); }
  TileParts& operator+=(const TileParts& other);
};

// One class of one strip: components that share a table.
struct CodedClass {
  codec::ComponentClass one;
  // [token][component]: the symbol, then the raw bits below it, as far as the last level says.
  std::vector<std::uint32_t> bins;
  unsigned raw_bits = 0;  // of a bin's number

  // Bits that the bins known at `level` take at their own frequencies, all together; by the chain
  // rule the entropy of the symbols and that of each raw bit given what is coarser. 0 where the
  // class begins later.
  [[nodiscard]] double EntropyBits(std::size_t level) const;
};

struct Anatomy {
  std::vector<CodedClass> classes;
  std::array<TileParts, codec::kLossyLevels> parts;  // by level
  std::size_t values = 0;

  // Of draft up to `level`.
  [[nodiscard]] TileParts Until(std::size_t level) const;
  [[nodiscard]] double EntropyBytes(std::size_t level) const;
};

// The object's first `levels` levels, at most kLossyLevels. Ends the program if the bytes are not
// what the format says they are.
[[nodiscard]] Anatomy Dissect(const LevelObject& object, const ModelSpec& spec,
                              std::size_t levels = codec::kLossyLevels);

}  // namespace kdn::bench
