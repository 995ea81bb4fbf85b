// XXH3-128 in canonical byte order: against accidents, at the speed of memory. Against malice stand
// the keyed chunk key and, later, sealing.
#pragma once

#include "base/bytes.h"
#include "base/ids.h"

namespace kdn {

[[nodiscard]] Checksum ChecksumOf(ConstBytes bytes);

}  // namespace kdn
