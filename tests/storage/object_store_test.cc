// Puts, commits and reads as a shard sees them, over the naive disk tier.
#include "storage/object_store.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "base/limits.h"
#include "tests/storage/map_tier.h"
#include "tests/storage/store_driver.h"

namespace kdn::storage::test {
namespace {

constexpr std::size_t kMiB = limits::kMiB;

StoreOptions DramOnly(std::size_t dram_bytes = 8 * kMiB) {
  return {.dram_bytes = dram_bytes, .write_mode = WriteMode::kDramOnly};
}

class DramStoreTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(driver_.Open().ok()); }

  // Writes these bytes of the object and tells the store.
  Result<std::optional<ObjectDigest>> Piece(PutSlot slot, const TestObject& object,
                                            std::size_t offset, std::size_t size_bytes) {
    KDN_ASSIGN_OR_RETURN(const auto memory, driver_->PutMemory(slot, offset, size_bytes));
    std::size_t at = offset;
    for (const MutableBytes run : memory) {
      std::memcpy(run.data(), object.bytes.data() + at, run.size());
      at += run.size();
    }
    return driver_->PutReceived(slot, offset, size_bytes);
  }

  StoreDriver driver_{DramOnly(), nullptr};
};

TEST_F(DramStoreTest, ObjectIsVisibleAfterItsCommitAndNotBefore) {
  const TestObject object = MakeObject();
  ASSERT_TRUE(driver_.Fill(object).value().has_value());
  EXPECT_FALSE(driver_->Find(object.header.tenant, object.header.key, 0));
  EXPECT_FALSE(driver_.Has(object));
  driver_->Commit(IdOf(object), object.digest, 7);
  EXPECT_EQ(driver_.Wait(7).code, Code::kOk);
  EXPECT_EQ(driver_->Find(object.header.tenant, object.header.key, 0)->header, object.header);
  EXPECT_TRUE(driver_.Has(object));
}

TEST_F(DramStoreTest, PiecesMayComeInAnyOrderAndTwice) {
  const TestObject object = MakeObject({.size_bytes = 300'000});
  const PutSlot slot = driver_->BeginPut(IdOf(object), object.bytes.size(), driver_.Soon()).value();
  EXPECT_EQ(Piece(slot, object, 200'000, 100'000).value(), std::nullopt);
  EXPECT_EQ(Piece(slot, object, 0, 100'000).value(), std::nullopt);
  EXPECT_EQ(Piece(slot, object, 0, 100'000).value(), std::nullopt);
  EXPECT_EQ(driver_->PutDigest(slot), std::nullopt);
  EXPECT_EQ(Piece(slot, object, 100'000, 100'000).value(), object.digest);
  EXPECT_EQ(driver_->PutDigest(slot), object.digest);
  EXPECT_EQ(Piece(slot, object, 0, 10).error().code(), Code::kAlreadyExists);
}

TEST_F(DramStoreTest, ObjectIsNotVerifiedWhileMemoryIsHandedOut) {
  const TestObject object = MakeObject();
  const PutSlot slot = driver_->BeginPut(IdOf(object), object.bytes.size(), driver_.Soon()).value();
  ASSERT_TRUE(driver_->PutMemory(slot, 100, 50).has_value());
  EXPECT_EQ(Piece(slot, object, 0, object.bytes.size()).value(), std::nullopt);
  driver_->PutFailed(slot, 100, 50);
  EXPECT_EQ(driver_->PutDigest(slot), object.digest);
}

TEST_F(DramStoreTest, WhatALateFailedPieceOverwroteIsFound) {
  const TestObject object = MakeObject();
  const PutSlot slot = driver_->BeginPut(IdOf(object), object.bytes.size(), driver_.Soon()).value();
  const auto late = driver_->PutMemory(slot, 5000, 50).value();
  EXPECT_EQ(Piece(slot, object, 0, object.bytes.size()).value(), std::nullopt);
  late.front()[3] ^= std::byte{1};
  driver_->PutFailed(slot, 5000, 50);
  EXPECT_EQ(driver_->PutDigest(slot), std::nullopt);
  EXPECT_EQ(driver_->usage().puts_open, 0U);
  EXPECT_EQ(driver_->usage().dram_bytes_used, 0U);
}

// What was summed as it arrived is summed anew once it may have been written again.
TEST_F(DramStoreTest, WhatASecondPieceOverwroteAfterItWasSummedIsFound) {
  const TestObject object = MakeObject({.size_bytes = 300'000});
  const std::size_t size = object.bytes.size();
  for (const bool ends : {true, false}) {
    const PutSlot slot = driver_->BeginPut(IdOf(object), size, driver_.Soon()).value();
    const auto memory = driver_->PutMemory(slot, 0, size).value();
    std::size_t at = 0;
    for (const MutableBytes run : memory) {
      std::memcpy(run.data(), object.bytes.data() + at, run.size());
      at += run.size();
    }
    driver_->PutArrived(slot, 0, size);
    if (ends) driver_->PutFailed(slot, 0, size);
    const auto again = driver_->PutMemory(slot, 0, size).value();
    again.back().back() ^= std::byte{1};
    auto digest = driver_->PutReceived(slot, 0, size);
    if (!ends) {
      EXPECT_EQ(digest.value(), std::nullopt);
      digest = driver_->PutReceived(slot, 0, size);
    }
    EXPECT_EQ(digest.error().code(), Code::kDataLoss);
  }
}

TEST_F(DramStoreTest, PiecesThatArriveSideBySideAreWhole) {
  const TestObject object = MakeObject({.size_bytes = 300'000});
  const std::size_t half = object.bytes.size() / 2;
  const std::size_t rest = object.bytes.size() - half;
  const PutSlot slot = driver_->BeginPut(IdOf(object), object.bytes.size(), driver_.Soon()).value();
  std::vector<MutableBytes> runs = driver_->PutMemory(slot, 0, half).value();
  const auto more = driver_->PutMemory(slot, half, rest).value();
  runs.insert(runs.end(), more.begin(), more.end());
  std::size_t at = 0;
  for (const MutableBytes run : runs) {
    std::memcpy(run.data(), object.bytes.data() + at, run.size());
    at += run.size();
  }
  driver_->PutArrived(slot, half, 1000);
  driver_->PutArrived(slot, 0, half / 2);
  driver_->PutArrived(slot, half, rest);
  driver_->PutArrived(slot, 0, half);
  driver_->PutArrived(slot, half, rest + 1);  // more than there is: not believed
  EXPECT_EQ(driver_->PutReceived(slot, half, rest).value(), std::nullopt);
  EXPECT_EQ(driver_->PutReceived(slot, 0, half).value(), object.digest);
}

TEST_F(DramStoreTest, EveryFlippedBitOfAPutIsCaught) {
  TestObject object = MakeObject({.size_bytes = 70'000});
  for (std::size_t at = 0; at < object.bytes.size(); at += 97) {
    object.bytes[at] ^= std::byte{0x10};
    EXPECT_EQ(driver_.Fill(object).error().code(), Code::kDataLoss) << at;
    object.bytes[at] ^= std::byte{0x10};
  }
  EXPECT_EQ(driver_->usage().puts_open, 0U);
  EXPECT_EQ(driver_->usage().dram_bytes_used, 0U);
}

TEST_F(DramStoreTest, ObjectUnderAnotherIdIsRefused) {
  const TestObject object = MakeObject();
  ObjectId id = IdOf(object);
  id.put_id.bytes[5] ^= std::byte{1};
  const PutSlot slot = driver_->BeginPut(id, object.bytes.size(), driver_.Soon()).value();
  EXPECT_EQ(Piece(slot, object, 0, object.bytes.size()).error().code(), Code::kDataLoss);
}

TEST_F(DramStoreTest, PutsBeyondLimitsAreRefused) {
  const ObjectId id = IdOf(MakeObject());
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{kObjectHeaderBytes},
                                   std::uint64_t{limits::kObjectBytesMax} + 1}) {
    EXPECT_EQ(driver_->BeginPut(id, size, driver_.Soon()).error().code(), Code::kInvalidArgument);
  }
  const PutSlot slot = driver_->BeginPut(id, 1000, driver_.Soon()).value();
  EXPECT_EQ(driver_->BeginPut(id, 1000, driver_.Soon()), slot);
  EXPECT_EQ(driver_->BeginPut(id, 1001, driver_.Soon()).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(driver_->PutMemory(slot, 990, 11).error().code(), Code::kOutOfRange);
  EXPECT_EQ(driver_->PutMemory(slot, ~std::uint64_t{0}, 2).error().code(), Code::kOutOfRange);
  EXPECT_EQ(driver_->PutReceived(slot, 0, 10).error().code(), Code::kNotFound);
}

TEST_F(DramStoreTest, CommitWithAnotherDigestOrOfNothingIsNotFound) {
  const TestObject object = MakeObject();
  driver_->Commit(IdOf(object), object.digest, 1);
  EXPECT_EQ(driver_.Wait(1).code, Code::kNotFound);
  ASSERT_TRUE(driver_.Fill(object).has_value());
  ObjectDigest other = object.digest;
  other.checksum.bytes[0] ^= std::byte{1};
  driver_->Commit(IdOf(object), other, 2);
  EXPECT_EQ(driver_.Wait(2).code, Code::kNotFound);
}

TEST_F(DramStoreTest, CommitToldTwiceIsSuccess) {
  const TestObject object = MakeObject();
  ASSERT_EQ(driver_.Put(object), Code::kOk);
  driver_->Commit(IdOf(object), object.digest, 100);
  EXPECT_EQ(driver_.Wait(100).code, Code::kAlreadyExists);
  EXPECT_EQ(driver_->BeginPut(IdOf(object), object.bytes.size(), driver_.Soon()).error().code(),
            Code::kAlreadyExists);
}

TEST_F(DramStoreTest, BetterProvenanceStaysAndNewerOfEquals) {
  TestObject exact = MakeObject({.seed = 1});
  ObjectOptions options{.seed = 2};
  options.header.key = exact.header.key;
  const TestObject newer = MakeObject(options);
  options.seed = 3;
  options.header.provenance = Provenance{};
  const TestObject unknown = MakeObject(options);

  ASSERT_EQ(driver_.Put(unknown), Code::kOk);
  ASSERT_EQ(driver_.Put(exact), Code::kOk);
  EXPECT_FALSE(driver_.Has(unknown));
  EXPECT_TRUE(driver_.Has(exact));
  EXPECT_EQ(driver_.Put(unknown), Code::kAlreadyExists);
  EXPECT_TRUE(driver_.Has(exact));
  ASSERT_EQ(driver_.Put(newer), Code::kOk);
  EXPECT_TRUE(driver_.Has(newer));
  EXPECT_FALSE(driver_.Has(exact));
  EXPECT_EQ(driver_->usage().objects, 1U);
}

TEST_F(DramStoreTest, ForeignTenantsKeyAndAnotherPutAreMisses) {
  const TestObject object = MakeObject();
  ASSERT_EQ(driver_.Put(object), Code::kOk);
  ReadRequest request = WholeRead(object);
  request.id.tenant = TenantId{99};
  EXPECT_EQ(driver_.Read(request).error().code(), Code::kNotFound);
  request = WholeRead(object);
  request.id.put_id.bytes[0] ^= std::byte{1};
  EXPECT_EQ(driver_.Read(request).error().code(), Code::kNotFound);
  request = WholeRead(object);
  request.id.part = 1;
  EXPECT_EQ(driver_.Read(request).error().code(), Code::kNotFound);
  request = WholeRead(object, Level::kDraft);
  EXPECT_EQ(driver_.Read(request).error().code(), Code::kNotFound);
}

TEST_F(DramStoreTest, AnyShareOfLayersHeadsAndLevelsIsReadInOrder) {
  const TestObject object = MakeObject({.size_bytes = 400'000, .levels = kAllLevels});
  ASSERT_EQ(driver_.Put(object), Code::kOk);
  for (std::uint8_t bits = 1; bits < 16; ++bits) {
    for (const Range layers : {kEverything, Range{0, 1}, Range{2, 1}, Range{1, 2}}) {
      for (const Range heads : {kEverything, Range{0, 2}, Range{3, 1}}) {
        const ReadRequest request{IdOf(object), LevelSet(bits), layers, heads};
        const auto result = driver_.Read(request);
        ASSERT_TRUE(result.has_value());
        EXPECT_EQ((*result)->levels, LevelSet(bits));
        EXPECT_EQ(Wrong(**result, object, request), "");
        driver_->ReleaseRead((*result)->slot);
      }
    }
  }
}

TEST_F(DramStoreTest, ReadLeaseKeepsItsMemoryWhenTheObjectGoes) {
  const TestObject object = MakeObject({.size_bytes = 3 * kMiB});
  ASSERT_EQ(driver_.Put(object), Code::kOk);
  const ReadRequest request = WholeRead(object);
  const auto lent = driver_.Read(request);
  ASSERT_TRUE(lent.has_value());
  ASSERT_TRUE(driver_->Truncate(IdOf(object), kAllLevels).ok());
  EXPECT_FALSE(driver_.Has(object));
  // Everything that can be written is: none of it may be the lent memory.
  for (std::uint64_t seed = 10; seed < 30; ++seed) {
    static_cast<void>(driver_.Put(MakeObject({.seed = seed, .size_bytes = kMiB})));
  }
  EXPECT_EQ(Wrong(**lent, object, request), "");
  const std::size_t used = driver_->usage().dram_bytes_used;
  driver_->ReleaseRead((*lent)->slot);
  EXPECT_LE(driver_->usage().dram_bytes_used + 3 * kMiB, used);
  driver_->ReleaseRead((*lent)->slot);  // a second release is ignored
}

TEST_F(DramStoreTest, ObjectThatIsBeingReadIsNotEvicted) {
  const TestObject object = MakeObject({.size_bytes = 3 * kMiB});
  ASSERT_EQ(driver_.Put(object), Code::kOk);
  const auto lent = driver_.Read(WholeRead(object));
  for (std::uint64_t seed = 10; seed < 20; ++seed) {
    EXPECT_EQ(driver_.Put(MakeObject({.seed = seed, .size_bytes = 2 * kMiB})), Code::kOk);
  }
  EXPECT_TRUE(driver_.Has(object));
  EXPECT_EQ(
      driver_->BeginPut(IdOf(MakeObject({.seed = 99})), 6 * kMiB, driver_.Soon()).error().code(),
      Code::kResourceExhausted);
  driver_->ReleaseRead((*lent)->slot);
  EXPECT_TRUE(
      driver_->BeginPut(IdOf(MakeObject({.seed = 99})), 6 * kMiB, driver_.Soon()).has_value());
}

TEST_F(DramStoreTest, AbandonedPutIsFreedWhenItExpires) {
  const TestObject object = MakeObject({.size_bytes = 2 * kMiB});
  ASSERT_TRUE(driver_.Fill(object).has_value());
  EXPECT_EQ(driver_->usage().puts_open, 1U);
  driver_.clock().Advance(std::chrono::seconds(9));
  driver_.PollFor(0);
  EXPECT_EQ(driver_->usage().puts_open, 1U);
  driver_.clock().Advance(std::chrono::seconds(2));
  driver_.PollFor(0);
  EXPECT_EQ(driver_->usage().puts_open, 0U);
  EXPECT_EQ(driver_->usage().dram_bytes_used, 0U);
  driver_->Commit(IdOf(object), object.digest, 1);
  EXPECT_EQ(driver_.Wait(1).code, Code::kNotFound);
}

TEST_F(DramStoreTest, ExpiredPutKeepsMemoryThatIsHandedOut) {
  const TestObject object = MakeObject();
  const PutSlot slot = driver_->BeginPut(IdOf(object), object.bytes.size(), driver_.Soon()).value();
  ASSERT_TRUE(driver_->PutMemory(slot, 0, 100).has_value());
  driver_.clock().Advance(std::chrono::seconds(60));
  driver_.PollFor(0);
  EXPECT_EQ(driver_->usage().puts_open, 0U);
  EXPECT_GT(driver_->usage().dram_bytes_used, 0U);
  EXPECT_EQ(driver_->PutMemory(slot, 100, 100).error().code(), Code::kNotFound);
  EXPECT_EQ(driver_->PutReceived(slot, 0, 100).error().code(), Code::kNotFound);
  EXPECT_EQ(driver_->usage().dram_bytes_used, 0U);
}

TEST_F(DramStoreTest, AbortedPutIsGone) {
  const TestObject object = MakeObject();
  ASSERT_TRUE(driver_.Fill(object).has_value());
  driver_->AbortPut(IdOf(object));
  driver_->AbortPut(IdOf(object));
  EXPECT_EQ(driver_->usage().dram_bytes_used, 0U);
  ASSERT_EQ(driver_.Put(object), Code::kOk);
}

TEST_F(DramStoreTest, TruncationLeavesTheCoarserLevelsAndFreesMemory) {
  const TestObject object = MakeObject({.size_bytes = 2 * kMiB, .levels = kAllLevels});
  ASSERT_EQ(driver_.Put(object), Code::kOk);
  const std::size_t used = driver_->usage().dram_bytes_used;
  EXPECT_EQ(driver_->Truncate(IdOf(object), Level::kDraft).code(), Code::kInvalidArgument);
  ASSERT_TRUE(driver_->Truncate(IdOf(object), LevelSet(Level::kExact) | Level::kFine).ok());
  EXPECT_LE(driver_->usage().dram_bytes_used, used / 2 + 64 * 1024);
  const ReadRequest request = WholeRead(object);
  const auto result = driver_.Read(request);
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ((*result)->levels, LevelSet(Level::kDraft) | Level::kStandard);
  EXPECT_EQ(Wrong(**result, object, request), "");
  driver_->ReleaseRead((*result)->slot);
}

TEST_F(DramStoreTest, TruncationDuringAReadFreesWhenTheReadEnds) {
  const TestObject object = MakeObject({.size_bytes = 2 * kMiB, .levels = kAllLevels});
  ASSERT_EQ(driver_.Put(object), Code::kOk);
  const ReadRequest request = WholeRead(object);
  const auto lent = driver_.Read(request);
  const std::size_t used = driver_->usage().dram_bytes_used;
  ASSERT_TRUE(driver_->Truncate(IdOf(object), Level::kExact).ok());
  static_cast<void>(driver_.Put(MakeObject({.seed = 9, .size_bytes = 5 * kMiB})));
  EXPECT_EQ(Wrong(**lent, object, request), "");
  driver_->ReleaseRead((*lent)->slot);
  EXPECT_LT(driver_->usage().dram_bytes_used, used + 5 * kMiB);
}

TEST_F(DramStoreTest, ChainsAreEvictedFromTheirEnds) {
  const auto chain = MakeChain(7, kMiB, 5);
  for (const TestObject& object : chain) {
    ASSERT_EQ(driver_.Put(object), Code::kOk);
    driver_.clock().Advance(std::chrono::milliseconds(1));
  }
  for (std::uint64_t seed = 100; seed < 103; ++seed) {
    // The chain's end was used last, yet it goes first.
    ASSERT_EQ(driver_.Put(MakeChain(1, kMiB, seed).front()), Code::kOk);
    driver_.clock().Advance(std::chrono::milliseconds(1));
    bool ended = false;
    for (const TestObject& object : chain) {
      const bool there = driver_->Find(object.header.tenant, object.header.key, 0).has_value();
      EXPECT_FALSE(there && ended);
      ended = ended || !there;
    }
  }
  EXPECT_TRUE(driver_->Find(chain[0].header.tenant, chain[0].header.key, 0).has_value());
  EXPECT_FALSE(driver_->Find(chain[6].header.tenant, chain[6].header.key, 0).has_value());
}

TEST_F(DramStoreTest, WhatOthersNeedIsNoVictimUpToItsShare) {
  const auto of_kind = [](ObjectKind kind, std::uint64_t seed, std::size_t size_bytes) {
    ObjectHeader header = ObjectOptions::DefaultHeader();
    header.kind = kind;
    return MakeObject({.seed = seed, .size_bytes = size_bytes, .header = header});
  };
  const TestObject profile = of_kind(ObjectKind::kProfile, 1, 200'000);
  const TestObject spec = of_kind(ObjectKind::kModelSpec, 2, 2'000);
  const TestObject chunk = of_kind(ObjectKind::kChunk, 3, 2'000);
  const TestObject beyond = of_kind(ObjectKind::kProfile, 4, kMiB);  // of 8 MiB 0.5 are pinned
  for (const TestObject* object : {&profile, &spec, &chunk, &beyond}) {
    ASSERT_EQ(driver_.Put(*object), Code::kOk);
  }
  for (std::uint64_t seed = 100; seed < 120; ++seed) {
    driver_.clock().Advance(std::chrono::milliseconds(1));
    ASSERT_EQ(driver_.Put(MakeObject({.seed = seed, .size_bytes = kMiB})), Code::kOk);
  }
  EXPECT_TRUE(driver_.Has(profile));
  EXPECT_TRUE(driver_.Has(spec));
  EXPECT_FALSE(driver_.Has(chunk));
  EXPECT_FALSE(driver_.Has(beyond));
  // What has gone makes room for another one.
  ASSERT_TRUE(driver_->Truncate(IdOf(profile), kAllLevels).ok());
  const TestObject next = of_kind(ObjectKind::kProfile, 5, 500'000);
  ASSERT_EQ(driver_.Put(next), Code::kOk);
  for (std::uint64_t seed = 200; seed < 220; ++seed) {
    driver_.clock().Advance(std::chrono::milliseconds(1));
    ASSERT_EQ(driver_.Put(MakeObject({.seed = seed, .size_bytes = kMiB})), Code::kOk);
  }
  EXPECT_TRUE(driver_.Has(next));
}

TEST_F(DramStoreTest, ChangesTellWhatCameAndWent) {
  const TestObject object = MakeObject();
  ASSERT_EQ(driver_.Put(object), Code::kOk);
  ASSERT_TRUE(driver_->Truncate(IdOf(object), kAllLevels).ok());
  bool overflowed = true;
  const auto changes = driver_->TakeChanges(overflowed);
  EXPECT_FALSE(overflowed);
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_EQ(changes[0].object.in_dram, LevelSet(Level::kExact));
  EXPECT_TRUE(changes[1].object.in_dram.empty());
  EXPECT_EQ(changes[1].object.header.key, object.header.key);
  EXPECT_TRUE(driver_->TakeChanges(overflowed).empty());
}

TEST_F(DramStoreTest, TooManyChangesAskForTheWholeInventory) {
  for (std::uint64_t seed = 1; seed < 5000; ++seed) {
    const TestObject object = MakeObject({.seed = seed % 7, .size_bytes = 2000});
    ASSERT_EQ(driver_.Put(object), Code::kOk);
    ASSERT_TRUE(driver_->Truncate(IdOf(object), kAllLevels).ok());
  }
  bool overflowed = false;
  EXPECT_TRUE(driver_->TakeChanges(overflowed).empty());
  EXPECT_TRUE(overflowed);
  ASSERT_EQ(driver_.Put(MakeObject()), Code::kOk);
  EXPECT_EQ(driver_->TakeChanges(overflowed).size(), 1U);
  EXPECT_FALSE(overflowed);
  EXPECT_EQ(driver_->Inventory().size(), 1U);
}

TEST_F(DramStoreTest, CompletionsBeyondTheSpanAreKept) {
  for (std::uint64_t tag = 1; tag <= 40; ++tag) driver_->Commit({}, {}, tag);
  std::array<Completion, 16> completions;
  EXPECT_EQ(driver_->Poll(completions), 16U);
  EXPECT_EQ(completions[15].tag, 16U);
  EXPECT_EQ(driver_.Wait(40).code, Code::kNotFound);
}

TEST(ObjectStoreOptionsTest, WrongOnesAreRefusedAtOpen) {
  StoreDriver no_disk({.dram_bytes = kMiB, .write_mode = WriteMode::kWriteBack}, nullptr);
  EXPECT_EQ(no_disk.Open().code(), Code::kInvalidArgument);
  StoreDriver no_memory(DramOnly(100), nullptr);
  EXPECT_EQ(no_memory.Open().code(), Code::kInvalidArgument);
  StoreOptions options = DramOnly();
  options.policy = "fifo";
  StoreDriver no_policy(options, nullptr);
  EXPECT_EQ(no_policy.Open().code(), Code::kNotFound);
}

}  // namespace
}  // namespace kdn::storage::test
