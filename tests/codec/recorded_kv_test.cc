// Goal: real keys and values shrink as much as the order-0 entropy of their exponents allows, less
// the few percent that tables, states and 8-bit probabilities may cost.
#include "tests/codec/recorded_kv.h"

#include <gtest/gtest.h>

#include "proto/object/object.h"

namespace kdn::codec {
namespace {

TEST(RecordedKv, ExactShrinksTheModelsKvByMoreThanTheBar) {
  const Result<RecordedKv> kv = RecordedKv::Read();
  ASSERT_TRUE(kv.has_value()) << kv.error().ToString();
  // Header, index, checksums and all: what a node stores.
  EXPECT_GE(kv->Encode(256, 1, 1).ratio(), 1.45);
  EXPECT_GE(kv->Encode(256, 2, 2).ratio(), 1.45);
}

TEST(RecordedKv, ItsObjectsVerify) {
  const Result<RecordedKv> kv = RecordedKv::Read();
  ASSERT_TRUE(kv.has_value()) << kv.error().ToString();
  EXPECT_TRUE(VerifyObject(kv->EncodeChunk(kv->HeaderFor(256, 1, 1), 256)).has_value());
}

}  // namespace
}  // namespace kdn::codec
