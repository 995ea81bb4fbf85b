// XXH3-128 as xxHash specifies it, for builds without the library: the codec alone, on a machine
// with a compiler and little else. Several times slower.
//
// Thread-safety: pure functions.
#pragma once

#include "base/bytes.h"
#include "proto/object/checksum.h"

namespace kdn {

// What ChecksumOf() gives.
[[nodiscard]] Checksum PortableXxh3(ConstBytes bytes);

}  // namespace kdn
