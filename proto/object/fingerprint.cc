// Apart from model_spec.cc, which the codec alone is built with and which needs no OpenSSL.
#include "base/crypto.h"
#include "proto/object/model_spec.h"

namespace kdn {

ModelFingerprint FingerprintOf(const ModelSpec& spec) {
  ModelFingerprint fingerprint;
  fingerprint.bytes = Sha256(EncodeModelSpec(spec));
  return fingerprint;
}

}  // namespace kdn
