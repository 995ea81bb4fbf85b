// How the chunks of a lookup's answer are laid out, in both layouts (docs/protocol.md). Inside
// proto/wire only.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>

#include "proto/wire/lookup.h"

namespace kdn::wire {

inline constexpr std::size_t kPlainChunkBytesMin = 68;  // one part, one replica
inline constexpr std::size_t kCompactChunkBytesMin = 1;

// What precedes the first chunk of an answer.
extern const ChunkLocation kNoChunk;

// What a chunk of this many parts takes at most, in either layout.
[[nodiscard]] std::size_t ChunkBytesMax(std::size_t part_count);

// Both write from `at` on and return the end. Requires: room for ChunkBytesMax().
[[nodiscard]] std::byte* StorePlain(std::byte* at, const ChunkLocation& chunk);
[[nodiscard]] std::byte* StoreCompact(std::byte* at, const ChunkLocation& chunk,
                                      const ChunkLocation& before);

// Both read the chunk at the front of `in` into `chunk`, which is empty, and drop it from there.
// False for bytes that the function above would not have written.
[[nodiscard]] bool LoadPlain(ConstBytes& in, ChunkLocation& chunk);
[[nodiscard]] bool LoadCompact(ConstBytes& in, const ChunkLocation& before, ChunkLocation& chunk);

}  // namespace kdn::wire
