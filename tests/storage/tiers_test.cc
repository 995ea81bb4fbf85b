// What moves between DRAM and disk, over the naive disk tier: every write mode, promotion,
// eviction from DRAM, and bytes that went bad on disk.
#include "tests/storage/tiers_fixture.h"

namespace kdn::storage::test {
namespace {

TEST_F(TiersTest, WriteThroughAnswersOnceTheDiskHasIt) {
  Open(WriteMode::kWriteThrough);
  const TestObject object = MakeObject();
  ASSERT_TRUE(driver().Fill(object).has_value());
  disk_->PostLater(true);
  store().Commit(IdOf(object), object.digest, 5);
  EXPECT_FALSE(driver().PollFor(5));
  EXPECT_FALSE(Find(object));
  driver().clock().Advance(std::chrono::seconds(60));  // no expiry under a commit
  store().AbortPut(IdOf(object));                      // nor an abort
  EXPECT_FALSE(driver().PollFor(5));
  disk_->RunPosted();
  const Completion done = driver().Wait(5);
  EXPECT_EQ(done.code, Code::kOk);
  EXPECT_EQ(done.on_disk, LevelSet(Level::kExact));
  EXPECT_EQ(Find(object)->on_disk, LevelSet(Level::kExact));
  EXPECT_EQ(Find(object)->in_dram, LevelSet(Level::kExact));
}

TEST_F(TiersTest, FailedWriteLeavesThePutForAnotherCommit) {
  Open(WriteMode::kWriteThrough);
  const TestObject object = MakeObject();
  disk_->FailWrites(Status(Code::kUnavailable, "broken"));
  EXPECT_EQ(driver().Put(object), Code::kUnavailable);
  EXPECT_FALSE(Find(object));
  disk_->FailWrites({});
  store().Commit(IdOf(object), object.digest, 99);
  EXPECT_EQ(driver().Wait(99).code, Code::kOk);
  EXPECT_TRUE(driver().Has(object));
}

TEST_F(TiersTest, WriteBackAnswersAtOnceAndWritesLater) {
  Open(WriteMode::kWriteBack);
  const TestObject object = MakeObject({.size_bytes = kMiB});
  disk_->PostLater(true);
  LevelSet on_disk = kAllLevels;
  ASSERT_EQ(driver().Put(object, &on_disk), Code::kOk);
  EXPECT_TRUE(on_disk.empty());
  EXPECT_EQ(store().usage().dirty_bytes, kMiB);
  EXPECT_TRUE(driver().Has(object));
  disk_->RunPosted();
  driver().PollFor(0);
  EXPECT_EQ(store().usage().dirty_bytes, 0U);
  EXPECT_EQ(Find(object)->on_disk, LevelSet(Level::kExact));
}

TEST_F(TiersTest, HeldWritesAreMadeOneAtATime) {
  Open(WriteMode::kWriteThrough);
  store().HoldWrites(true);
  disk_->PostLater(true);
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    const TestObject object = MakeObject({.seed = seed, .size_bytes = kMiB});
    ASSERT_TRUE(driver().Fill(object).has_value());
    store().Commit(IdOf(object), object.digest, seed);
  }
  disk_->RunPosted();
  EXPECT_TRUE(driver().PollFor(1));
  EXPECT_FALSE(driver().PollFor(2));
  store().HoldWrites(false);
  driver().PollFor(0);
  disk_->RunPosted();
  EXPECT_EQ(driver().Wait(2).code, Code::kOk);
  EXPECT_EQ(driver().Wait(3).code, Code::kOk);
}

TEST_F(TiersTest, ClosingWritesWhatIsHeld) {
  Open(WriteMode::kWriteBack);
  store().HoldWrites(true);
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    ASSERT_EQ(driver().Put(MakeObject({.seed = seed, .size_bytes = kMiB})), Code::kOk);
  }
  EXPECT_TRUE(store().Close().ok());
  EXPECT_EQ(store().usage().dirty_bytes, 0U);
}

TEST_F(TiersTest, WriteBackCommitsWaitBeyondTheirDirtyBytes) {
  Open(WriteMode::kWriteBack);
  disk_->PostLater(true);
  std::vector<TestObject> objects;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    objects.push_back(MakeObject({.seed = seed, .size_bytes = kMiB}));
    ASSERT_TRUE(driver().Fill(objects.back()).has_value());
    store().Commit(IdOf(objects.back()), objects.back().digest, seed);
  }
  EXPECT_TRUE(driver().PollFor(1));
  EXPECT_TRUE(driver().PollFor(2));
  EXPECT_FALSE(driver().PollFor(3));
  EXPECT_LE(store().usage().dirty_bytes, 2 * kMiB);
  disk_->RunPosted();
  EXPECT_EQ(driver().Wait(3).code, Code::kOk);
}

TEST_F(TiersTest, DirtyObjectIsNotEvictedAndIsWrittenAgainAfterAFailure) {
  Open(WriteMode::kWriteBack);
  disk_->FailWrites(Status(Code::kUnavailable, "broken"));
  const TestObject object = MakeObject({.size_bytes = kMiB});
  ASSERT_EQ(driver().Put(object), Code::kOk);
  driver().PollFor(0);
  EXPECT_EQ(
      store().BeginPut(IdOf(MakeObject({.seed = 9})), 4 * kMiB, driver().Soon()).error().code(),
      Code::kResourceExhausted);
  disk_->FailWrites({});
  driver().PollFor(0);
  EXPECT_TRUE(Find(object)->on_disk.empty());  // not before its time
  driver().clock().Advance(std::chrono::seconds(2));
  driver().PollFor(0);
  driver().PollFor(0);
  EXPECT_EQ(Find(object)->on_disk, LevelSet(Level::kExact));
  FillDram();
  EXPECT_TRUE(Find(object)->in_dram.empty());
}

TEST_F(TiersTest, DroppingAnObjectThatIsBeingWrittenLeavesNothing) {
  Open(WriteMode::kWriteBack);
  disk_->PostLater(true);
  const TestObject object = MakeObject({.levels = kAllLevels});
  const TestObject truncated = MakeObject({.seed = 2, .levels = kAllLevels});
  ASSERT_EQ(driver().Put(object), Code::kOk);
  ASSERT_EQ(driver().Put(truncated), Code::kOk);
  ASSERT_TRUE(store().Truncate(IdOf(object), kAllLevels).ok());
  ASSERT_TRUE(store().Truncate(IdOf(truncated), Level::kExact).ok());
  for (int i = 0; i < 4; ++i) {
    disk_->RunPosted();
    driver().PollFor(0);
  }
  EXPECT_EQ(store().usage().dirty_bytes, 0U);
  EXPECT_FALSE(Find(object));
  EXPECT_TRUE(disk_->LevelsOf(IdOf(object)).empty());
  const LevelSet left = LevelSet(Level::kDraft) | Level::kStandard | Level::kFine;
  EXPECT_EQ(disk_->LevelsOf(IdOf(truncated)), left);
  EXPECT_EQ(Find(truncated)->on_disk, left);
}

TEST_F(TiersTest, PutOfADroppedObjectWaitsForItsDelete) {
  Open(WriteMode::kWriteThrough);
  const TestObject object = MakeObject();
  ASSERT_EQ(driver().Put(object), Code::kOk);
  disk_->PostLater(true);
  ASSERT_TRUE(store().Truncate(IdOf(object), kAllLevels).ok());
  ASSERT_TRUE(driver().Fill(object).has_value());
  store().Commit(IdOf(object), object.digest, 50);
  disk_->RunPosted();
  driver().PollFor(0);
  disk_->RunPosted();
  EXPECT_EQ(driver().Wait(50).code, Code::kOk);
  EXPECT_EQ(disk_->LevelsOf(IdOf(object)), LevelSet(Level::kExact));
}

TEST_F(TiersTest, EvictionFromDramKeepsTheDiskAndAReadPromotes) {
  Open(WriteMode::kWriteThrough);
  const TestObject object = MakeObject({.size_bytes = 500'000, .levels = kAllLevels});
  ASSERT_EQ(driver().Put(object), Code::kOk);
  FillDram();
  EXPECT_TRUE(Find(object)->in_dram.empty());
  EXPECT_EQ(Find(object)->on_disk, kAllLevels);

  ReadRequest request = WholeRead(object, Level::kDraft);
  auto result = driver().Read(request);
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE((*result)->from_disk);
  EXPECT_EQ(Wrong(**result, object, request), "");
  store().ReleaseRead((*result)->slot);
  EXPECT_EQ(Find(object)->in_dram, LevelSet(Level::kDraft));

  EXPECT_TRUE(driver().Has(object));
  EXPECT_EQ(Find(object)->in_dram, kAllLevels);
  const std::size_t reads = disk_->reads();
  result = driver().Read(WholeRead(object));
  EXPECT_FALSE((*result)->from_disk);
  EXPECT_EQ(disk_->reads(), reads);
  store().ReleaseRead((*result)->slot);
}

TEST_F(TiersTest, ReadsOfOneObjectShareOneLoad) {
  Open(WriteMode::kWriteThrough);
  const TestObject object = MakeObject({.size_bytes = kMiB});
  ASSERT_EQ(driver().Put(object), Code::kOk);
  FillDram();
  disk_->PostLater(true);
  for (std::uint64_t tag = 1000; tag < 1005; ++tag) {
    EXPECT_EQ(store().StartRead(WholeRead(object), tag).value(), nullptr);
  }
  disk_->RunPosted();
  for (std::uint64_t tag = 1000; tag < 1005; ++tag) {
    const Completion done = driver().Wait(tag);
    ASSERT_EQ(done.code, Code::kOk);
    EXPECT_EQ(Wrong(*done.read, object, WholeRead(object)), "");
    store().ReleaseRead(done.read->slot);
  }
  EXPECT_EQ(disk_->reads(), 1U);
}

TEST_F(TiersTest, ReadOfAnObjectThatGoesMeanwhileIsAMiss) {
  Open(WriteMode::kWriteThrough);
  const TestObject object = MakeObject({.size_bytes = kMiB});
  ASSERT_EQ(driver().Put(object), Code::kOk);
  FillDram();
  disk_->PostLater(true);
  ASSERT_EQ(store().StartRead(WholeRead(object), 1000).value(), nullptr);
  ASSERT_TRUE(store().Truncate(IdOf(object), kAllLevels).ok());
  EXPECT_EQ(driver().Wait(1000).code, Code::kNotFound);
  disk_->RunPosted();
  driver().PollFor(0);
  EXPECT_EQ(store().usage().dram_bytes_used, 0U);
}

TEST_F(TiersTest, LevelTruncatedDuringItsLoadIsNotAnswered) {
  Open(WriteMode::kWriteThrough);
  const TestObject object = MakeObject({.size_bytes = kMiB, .levels = kAllLevels});
  ASSERT_EQ(driver().Put(object), Code::kOk);
  FillDram();
  disk_->PostLater(true);
  ASSERT_EQ(store().StartRead(WholeRead(object), 1000).value(), nullptr);
  ASSERT_TRUE(store().Truncate(IdOf(object), Level::kExact).ok());
  disk_->RunPosted();
  const Completion done = driver().Wait(1000);
  ASSERT_EQ(done.code, Code::kOk);
  EXPECT_FALSE(done.read->levels.Has(Level::kExact));
  EXPECT_EQ(Wrong(*done.read, object, WholeRead(object)), "");
  store().ReleaseRead(done.read->slot);
}

TEST_F(TiersTest, TooMuchForTheDiskIsUnavailableAndNoRoomIsExhausted) {
  Open(WriteMode::kWriteThrough);
  const TestObject object = MakeObject({.size_bytes = kMiB});
  ASSERT_EQ(driver().Put(object), Code::kOk);
  FillDram();
  disk_->PostLater(true);
  disk_->QueueDepth(0);
  EXPECT_EQ(store().StartRead(WholeRead(object), 1).error().code(), Code::kUnavailable);
  disk_->QueueDepth(10);
  ASSERT_TRUE(store().BeginPut(IdOf(MakeObject({.seed = 8})), 4 * kMiB, driver().Soon()));
  EXPECT_EQ(store().StartRead(WholeRead(object), 1).error().code(), Code::kResourceExhausted);
}

TEST_F(TiersTest, DiskErrorOnAReadIsReportedAndNothingIsDropped) {
  Open(WriteMode::kWriteThrough);
  const TestObject object = MakeObject();
  ASSERT_EQ(driver().Put(object), Code::kOk);
  FillDram();
  disk_->FailReads(Status(Code::kUnavailable, "broken"));
  EXPECT_EQ(driver().Read(WholeRead(object)).error().code(), Code::kUnavailable);
  disk_->FailReads({});
  EXPECT_TRUE(driver().Has(object));
}

TEST_F(TiersTest, BytesThatWentBadOnDiskAreNeverServed) {
  Open(WriteMode::kWriteThrough);
  const TestObject object = MakeObject({.size_bytes = 300'000, .levels = kAllLevels});
  ASSERT_EQ(driver().Put(object), Code::kOk);
  FillDram();
  disk_->Corrupt(IdOf(object), Level::kFine, 40'000);
  const auto result = driver().Read(WholeRead(object));
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ((*result)->levels, LevelSet(Level::kDraft) | Level::kStandard);
  EXPECT_EQ(Wrong(**result, object, WholeRead(object)), "");
  store().ReleaseRead((*result)->slot);
  driver().PollFor(0);
  EXPECT_EQ(disk_->LevelsOf(IdOf(object)), LevelSet(Level::kDraft) | Level::kStandard);
}

TEST_F(TiersTest, ObjectWhoseOnlyLevelWentBadIsAMiss) {
  Open(WriteMode::kWriteThrough);
  const TestObject object = MakeObject({.size_bytes = 300'000});
  ASSERT_EQ(driver().Put(object), Code::kOk);
  FillDram();
  disk_->Corrupt(IdOf(object), Level::kExact, 20);  // the index
  EXPECT_FALSE(driver().Has(object));
  EXPECT_FALSE(Find(object));
}

TEST_F(TiersTest, VerifyFindsWhatWentBadInEitherTier) {
  Open(WriteMode::kWriteThrough);
  const TestObject object = MakeObject({.size_bytes = 300'000, .levels = kAllLevels});
  ASSERT_EQ(driver().Put(object), Code::kOk);
  EXPECT_TRUE(store().Verify(IdOf(object)).ok());

  // In DRAM: the disk still has it.
  const auto lent = driver().Read(WholeRead(object, Level::kDraft));
  const auto* const byte = (*lent)->groups.front().runs.front().data();
  *const_cast<std::byte*>(byte) ^= std::byte{4};
  store().ReleaseRead((*lent)->slot);
  EXPECT_EQ(store().Verify(IdOf(object)).code(), Code::kDataLoss);
  EXPECT_EQ(Find(object)->on_disk, kAllLevels);
  EXPECT_FALSE(Find(object)->in_dram.Has(Level::kDraft));
  EXPECT_TRUE(driver().Has(object));

  disk_->Corrupt(IdOf(object), Level::kStandard, 70'000);
  EXPECT_EQ(store().Verify(IdOf(object)).code(), Code::kDataLoss);
  EXPECT_EQ(Find(object)->on_disk, LevelSet(Level::kDraft));
  EXPECT_EQ(store().Verify(IdOf(MakeObject({.seed = 3}))).code(), Code::kNotFound);
}

TEST_F(TiersTest, SuspectedObjectIsLookedAtSoon) {
  Open(WriteMode::kWriteThrough);
  const TestObject good = MakeObject({.seed = 1});
  const TestObject bad = MakeObject({.seed = 2});
  ASSERT_EQ(driver().Put(good), Code::kOk);
  ASSERT_EQ(driver().Put(bad), Code::kOk);
  FillDram();
  disk_->Corrupt(IdOf(bad), Level::kExact, 9'000);
  for (int i = 0; i < 3; ++i) {
    store().Suspect(IdOf(good));
    store().Suspect(IdOf(bad));
  }
  driver().PollFor(0);
  EXPECT_TRUE(Find(good));
  EXPECT_FALSE(Find(bad));
}

TEST_F(TiersTest, SuspicionsCostFewLooksWhoeverUttersThem) {
  Open(WriteMode::kWriteThrough);
  std::vector<TestObject> objects;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    objects.push_back(MakeObject({.seed = seed}));
    ASSERT_EQ(driver().Put(objects.back()), Code::kOk);
  }
  for (int i = 0; i < 10; ++i) {
    store().Suspect(IdOf(objects[0]));
    driver().PollFor(0);
  }
  EXPECT_EQ(disk_->reads(), 1U);
  driver().clock().Advance(std::chrono::minutes(2));
  disk_->PostLater(true);
  for (const TestObject& object : objects) store().Suspect(IdOf(object));
  disk_->RunPosted();
  driver().PollFor(0);
  EXPECT_LE(disk_->reads(), 10U);
  EXPECT_GE(disk_->reads(), 2U);
  // Those refused are heard once there is room again.
  disk_->Corrupt(IdOf(objects.back()), Level::kExact, 9'000);
  store().Suspect(IdOf(objects.back()));
  disk_->RunPosted();
  driver().PollFor(0);
  EXPECT_TRUE(Find(objects.back())->on_disk.empty());
}

TEST_F(TiersTest, SuspectsWithoutADiskAreLookedAtOneATurn) {
  StoreDriver dram({.dram_bytes = 4 * kMiB, .write_mode = WriteMode::kDramOnly}, nullptr);
  ASSERT_TRUE(dram.Open().ok());
  std::vector<TestObject> objects;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    objects.push_back(MakeObject({.seed = seed}));
    ASSERT_EQ(dram.Put(objects.back()), Code::kOk);
    const auto lent = dram.Read(WholeRead(objects.back()));
    const auto* const byte = (*lent)->groups.front().runs.front().data();
    *const_cast<std::byte*>(byte) ^= std::byte{4};
    dram->ReleaseRead((*lent)->slot);
  }
  for (const TestObject& object : objects) dram->Suspect(IdOf(object));
  for (std::uint64_t left = 3; left-- > 0;) {
    dram.PollFor(0);
    EXPECT_EQ(dram->usage().objects, left);
  }
}

TEST_F(TiersTest, ReplacedObjectIsDeletedOnDisk) {
  Open(WriteMode::kWriteThrough);
  const TestObject older = MakeObject({.seed = 1});
  ObjectOptions options{.seed = 2};
  options.header.key = older.header.key;
  const TestObject newer = MakeObject(options);
  ASSERT_EQ(driver().Put(older), Code::kOk);
  ASSERT_EQ(driver().Put(newer), Code::kOk);
  driver().PollFor(0);
  EXPECT_TRUE(disk_->LevelsOf(IdOf(older)).empty());
  EXPECT_EQ(disk_->LevelsOf(IdOf(newer)), LevelSet(Level::kExact));
}

TEST_F(TiersTest, RestartShowsWhatTheDiskHasOfThisShard) {
  Open(WriteMode::kWriteThrough);
  std::vector<TestObject> objects;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    objects.push_back(MakeObject({.seed = seed}));
    ASSERT_EQ(driver().Put(objects.back()), Code::kOk);
  }
  driver().Reset();
  const StoreOptions options{.dram_bytes = 4 * kMiB, .write_mode = WriteMode::kWriteThrough};
  StoreDriver first(options, disk_.get(), {0, 2});
  StoreDriver second(options, disk_.get(), {1, 2});
  ASSERT_TRUE(first.Open().ok());
  ASSERT_TRUE(second.Open().ok());
  EXPECT_EQ(first->usage().objects + second->usage().objects, 20U);
  EXPECT_GT(first->usage().objects, 0U);
  EXPECT_GT(second->usage().objects, 0U);
  for (const TestObject& object : objects) {
    EXPECT_NE(first.Has(object), second.Has(object));
  }
}

TEST_F(TiersTest, RestartKeepsTheBetterOfTwoPutsOfOneKey) {
  Open(WriteMode::kWriteThrough);
  driver().Reset();
  const TestObject exact = MakeObject({.seed = 1});
  ObjectOptions options{.seed = 2};
  options.header.key = exact.header.key;
  options.header.provenance = Provenance{};
  const TestObject unknown = MakeObject(options);
  for (const TestObject& object : {exact, unknown}) {
    const ConstBytes segment = SegmentOf(object, Level::kExact);
    DiskTier::Segments segments;
    segments[3] = std::span(&segment, 1);
    ASSERT_TRUE(disk_->Write(IdOf(object), EncodeHeader(object.header), segments).ok());
  }
  ASSERT_TRUE(driver().Open().ok());
  EXPECT_TRUE(driver().Has(exact));
  EXPECT_TRUE(disk_->LevelsOf(IdOf(unknown)).empty());
}

TEST_F(TiersTest, CloseWritesWhatIsDirty) {
  Open(WriteMode::kWriteBack);
  disk_->PostLater(true);
  const TestObject object = MakeObject();
  ASSERT_EQ(driver().Put(object), Code::kOk);
  disk_->PostLater(false);
  disk_->RunPosted();
  ASSERT_TRUE(store().Close().ok());
  EXPECT_EQ(disk_->LevelsOf(IdOf(object)), LevelSet(Level::kExact));
}

TEST_F(TiersTest, CloseSaysWhenDirtyBytesCouldNotBeWritten) {
  Open(WriteMode::kWriteBack);
  disk_->FailWrites(Status(Code::kUnavailable, "broken"));
  const TestObject object = MakeObject();
  ASSERT_EQ(driver().Put(object), Code::kOk);
  EXPECT_EQ(store().Close().code(), Code::kUnavailable);
}

TEST_F(TiersTest, NothingWrittenIsBelievedToBeOnDiskWhenTheQueueIsFull) {
  Open(WriteMode::kWriteThrough);
  disk_->PostLater(true);
  disk_->QueueDepth(1);
  std::vector<TestObject> objects;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    objects.push_back(MakeObject({.seed = seed}));
    ASSERT_TRUE(driver().Fill(objects.back()).has_value());
    store().Commit(IdOf(objects.back()), objects.back().digest, seed);
  }
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    EXPECT_FALSE(driver().PollFor(seed));
    disk_->RunPosted();
    EXPECT_EQ(driver().Wait(seed).code, Code::kOk);
  }
}

}  // namespace
}  // namespace kdn::storage::test
