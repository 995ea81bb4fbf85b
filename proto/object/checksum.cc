#include "proto/object/checksum.h"

#if defined(KDN_HAVE_XXHASH)
#include <xxhash.h>

// Debian's library is built for the oldest x86-64; its dispatching twin takes what the CPU has.
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
#endif
#endif

#include <cstring>

#include "proto/object/portable_xxh3.h"

namespace kdn {

Checksum ChecksumOf(ConstBytes bytes) {
#if defined(KDN_HAVE_XXHASH)
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes.data(), bytes.size()));
  Checksum checksum;
  static_assert(sizeof(canonical.digest) == Checksum::kSize);
  std::memcpy(checksum.bytes.data(), canonical.digest, Checksum::kSize);
  return checksum;
#else
  return PortableXxh3(bytes);
#endif
}

}  // namespace kdn
