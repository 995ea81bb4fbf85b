#include "base/crypto.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <iterator>

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

using Block = std::array<std::byte, SHA256_CBLOCK>;
using State = std::array<std::uint32_t, 8>;

State StateAfter(const Block& block) {
  SHA256_CTX context;
  SHA256_Init(&context);
  SHA256_Update(&context, block.data(), block.size());
  State state;
  std::copy(std::begin(context.h), std::end(context.h), state.begin());
  return state;
}

// A context that has just taken in one block.
SHA256_CTX Resume(const State& state) {
  SHA256_CTX context;
  SHA256_Init(&context);
  std::copy(state.begin(), state.end(), std::begin(context.h));
  context.Nl = 8 * SHA256_CBLOCK;
  return context;
}

}  // namespace

Digest Sha256(ConstBytes data) {
  SHA256_CTX context;
  SHA256_Init(&context);
  SHA256_Update(&context, data.data(), data.size());
  return Finish(context);
}

HmacKey::HmacKey(ConstBytes secret) {
  Block block{};
  if (secret.size() > block.size()) {
    const Digest shortened = Sha256(secret);
    std::copy(shortened.begin(), shortened.end(), block.begin());
  } else {
    std::copy(secret.begin(), secret.end(), block.begin());
  }
  Block inner;
  Block outer;
  for (std::size_t i = 0; i < block.size(); ++i) {
    inner[i] = block[i] ^ std::byte{0x36};
    outer[i] = block[i] ^ std::byte{0x5c};
  }
  inner_ = StateAfter(inner);
  outer_ = StateAfter(outer);
}

Digest HmacKey::Sign(ConstBytes data) const {
  SHA256_CTX context = Resume(inner_);
  SHA256_Update(&context, data.data(), data.size());
  const Digest inner = Finish(context);
  context = Resume(outer_);
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
