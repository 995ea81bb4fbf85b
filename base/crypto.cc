#include "base/crypto.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>

// OpenSSL 3 marks the one-context SHA-256 calls deprecated in favour of EVP, which allocates for
// every message; chunk keys are made by the hundred on an engine's request path.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace kdn {
namespace {

Digest Finish(SHA256_CTX& context) {
  Digest digest;
  SHA256_Final(reinterpret_cast<unsigned char*>(digest.data()), &context);
  return digest;
}

}  // namespace

Digest Sha256(ConstBytes data) {
  SHA256_CTX context;
  SHA256_Init(&context);
  SHA256_Update(&context, data.data(), data.size());
  return Finish(context);
}

HmacKey::HmacKey(ConstBytes secret) {
  std::array<std::byte, 64> block{};
  if (secret.size() > block.size()) {
    const Digest shortened = Sha256(secret);
    std::copy(shortened.begin(), shortened.end(), block.begin());
  } else {
    std::copy(secret.begin(), secret.end(), block.begin());
  }
  for (std::size_t i = 0; i < block.size(); ++i) {
    inner_[i] = block[i] ^ std::byte{0x36};
    outer_[i] = block[i] ^ std::byte{0x5c};
  }
}

Digest HmacKey::Sign(ConstBytes data) const {
  SHA256_CTX context;
  SHA256_Init(&context);
  SHA256_Update(&context, inner_.data(), inner_.size());
  SHA256_Update(&context, data.data(), data.size());
  const Digest inner = Finish(context);
  SHA256_Init(&context);
  SHA256_Update(&context, outer_.data(), outer_.size());
  SHA256_Update(&context, inner.data(), inner.size());
  return Finish(context);
}

Digest HmacSha256(ConstBytes secret, ConstBytes data) {
  return HmacKey(secret).Sign(data);
}

bool EqualInConstantTime(ConstBytes a, ConstBytes b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace kdn
