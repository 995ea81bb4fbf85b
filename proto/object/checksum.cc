#include "proto/object/checksum.h"

#if defined(KDN_HAVE_XXHASH)
#include <xxhash.h>

// Debian's library is built for the oldest x86-64; its dispatching twin takes what the CPU has.
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
#endif
#endif

#include <cstring>
#include <new>
#include <vector>

#include "proto/object/checksum_stream.h"
#include "proto/object/portable_xxh3.h"

namespace kdn {

#if defined(KDN_HAVE_XXHASH)

namespace {

Checksum Canonical(const XXH128_hash_t& hash) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  Checksum checksum;
  static_assert(sizeof(canonical.digest) == Checksum::kSize);
  std::memcpy(checksum.bytes.data(), canonical.digest, Checksum::kSize);
  return checksum;
}

}  // namespace

Checksum ChecksumOf(ConstBytes bytes) {
  return Canonical(XXH3_128bits(bytes.data(), bytes.size()));
}

struct ChecksumStream::State {
  State() : sums(XXH3_createState()) {
    if (sums == nullptr) throw std::bad_alloc();
  }
  ~State() { XXH3_freeState(sums); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  XXH3_state_t* const sums;
};

void ChecksumStream::Reset() {
  XXH3_128bits_reset(state_->sums);
}

void ChecksumStream::Add(ConstBytes bytes) {
  XXH3_128bits_update(state_->sums, bytes.data(), bytes.size());
}

Checksum ChecksumStream::Sum() const {
  return Canonical(XXH3_128bits_digest(state_->sums));
}

#else

Checksum ChecksumOf(ConstBytes bytes) {
  return PortableXxh3(bytes);
}

// Slow anyway: kept until the end.
struct ChecksumStream::State {
  std::vector<std::byte> bytes;
};

void ChecksumStream::Reset() {
  state_->bytes.clear();
}

void ChecksumStream::Add(ConstBytes bytes) {
  state_->bytes.insert(state_->bytes.end(), bytes.begin(), bytes.end());
}

Checksum ChecksumStream::Sum() const {
  return PortableXxh3(state_->bytes);
}

#endif

ChecksumStream::ChecksumStream() : state_(std::make_unique<State>()) {
  Reset();
}
ChecksumStream::~ChecksumStream() = default;
ChecksumStream::ChecksumStream(ChecksumStream&&) noexcept = default;
ChecksumStream& ChecksumStream::operator=(ChecksumStream&&) noexcept = default;

}  // namespace kdn
