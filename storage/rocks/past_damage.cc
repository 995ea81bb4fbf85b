#include "storage/rocks/past_damage.h"

#include <cstdint>
#include <utility>

namespace kdn::storage::rocks {
namespace {

// `key` + 2^bit, as big-endian numbers of the same size; the greatest number instead of more.
std::string Behind(std::string key, std::size_t bit) {
  std::size_t at = key.size() - 1 - bit / 8;
  std::uint32_t carry = std::uint32_t{1} << (bit % 8);
  while (true) {
    carry += static_cast<std::uint8_t>(key[at]);
    key[at] = static_cast<char>(carry & 0xFFU);
    carry >>= 8U;
    if (carry == 0) return key;
    if (at == 0) return std::string(key.size(), '\xFF');
    --at;
  }
}

bool MeetsDamage(rocksdb::Iterator& iterator, const std::string& key) {
  iterator.Seek(key);
  return !iterator.Valid() && !iterator.status().ok();
}

}  // namespace

std::string SeekPastDamage(rocksdb::Iterator& iterator, std::string_view after,
                           std::size_t key_bytes) {
  std::string damaged(after.substr(0, key_bytes));
  damaged.resize(key_bytes, '\0');
  std::size_t bit = 0;
  while (bit < 8 * key_bytes && MeetsDamage(iterator, Behind(damaged, bit))) ++bit;
  // Between 2^(bit - 1) and 2^bit from where it began lies the first key behind the damage.
  while (bit-- > 0) {
    std::string further = Behind(damaged, bit);
    if (MeetsDamage(iterator, further)) damaged = std::move(further);
  }
  std::string behind = Behind(std::move(damaged), 0);
  iterator.Seek(behind);
  return behind;
}

}  // namespace kdn::storage::rocks
