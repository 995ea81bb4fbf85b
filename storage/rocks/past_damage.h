// Reading on behind a damaged block. RocksDB's iterator ends at one, and so would take everything
// that sorts behind it with it.
//
// Thread-safety: pure functions; an iterator belongs to one thread.
#pragma once

#include <rocksdb/iterator.h>

#include <string>
#include <string_view>

namespace kdn::storage::rocks {

// Moves an iterator that has ended with a status, `after` being the last key that it gave (empty:
// none), to a key behind the damage, or to the end. Keys are looked for as numbers of `key_bytes`
// bytes: by doubled steps until one meets no damage, then by halved ones, at most 16 * key_bytes
// seeks in all. So whole keys are skipped in damaged blocks only, and between two that lie close.
// Returns where it has looked from: `after` of the next call, if the iterator ends again.
[[nodiscard]] std::string SeekPastDamage(rocksdb::Iterator& iterator, std::string_view after,
                                         std::size_t key_bytes);

}  // namespace kdn::storage::rocks
