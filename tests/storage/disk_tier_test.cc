// Every disk tier is held to this suite; the naive map is the specification. What only RocksDB can
// get wrong follows.
#include "storage/disk_tier.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <fstream>
#include <latch>
#include <map>
#include <mutex>
#include <thread>

#include "base/limits.h"
#include "storage/rocks/database.h"
#include "storage/rocks/records.h"
#include "storage/rocks/rocks_tier.h"
#include "tests/storage/faulty_file_system.h"
#include "tests/storage/map_tier.h"
#include "tests/storage/store_driver.h"
#include "tests/support/temp_dir.h"

namespace kdn::storage::test {
namespace {

// Writes all or some levels of an object, each cut into two runs.
Status WriteObject(DiskTier& tier, const TestObject& object, LevelSet levels = kAllLevels) {
  std::array<std::vector<ConstBytes>, kLevelCount> runs;
  DiskTier::Segments segments;
  for (const LevelInfo& info : Levels()) {
    if (!(levels & object.header.levels_encoded).Has(info.level)) continue;
    const ConstBytes segment = SegmentOf(object, info.level);
    auto& own = runs[static_cast<std::size_t>(info.level)];
    own = {segment.first(segment.size() / 3), segment.subspan(segment.size() / 3)};
    segments[static_cast<std::size_t>(info.level)] = own;
  }
  return tier.Write(IdOf(object), EncodeHeader(object.header), segments);
}

Status ReadRange(DiskTier& tier, const TestObject& object, Level level, std::size_t offset,
                 std::span<std::byte> out) {
  const std::array<MutableBytes, 2> runs{out.first(out.size() / 4), out.subspan(out.size() / 4)};
  return tier.Read(IdOf(object), level, offset, runs);
}

// Whether the tier has this level with these very bytes.
bool HasLevel(DiskTier& tier, const TestObject& object, Level level) {
  const ConstBytes segment = SegmentOf(object, level);
  std::vector<std::byte> bytes(segment.size());
  const Status status = ReadRange(tier, object, level, 0, bytes);
  EXPECT_TRUE(status.ok() || status.code() == Code::kNotFound) << status.ToString();
  return status.ok() && std::equal(bytes.begin(), bytes.end(), segment.begin());
}

std::map<ChunkKey, LevelSet> ScanAll(DiskTier& tier) {
  std::map<ChunkKey, LevelSet> found;
  const Status status =
      tier.Scan([&](const ObjectId& id, const ObjectHeader& header, LevelSet set) {
        EXPECT_EQ(id.key, header.key);
        EXPECT_EQ(id.put_id, header.put_id);
        found[id.key] = set;
      });
  EXPECT_TRUE(status.ok()) << status.ToString();
  return found;
}

struct TierKind {
  const char* name;
  std::unique_ptr<DiskTier> (*open)(const std::string& folder, std::uint64_t bytes_max);
};

class DiskTierTest : public ::testing::TestWithParam<TierKind> {
 protected:
  void Open(std::uint64_t bytes_max = 0) { tier_ = GetParam().open(dir_.File("tier"), bytes_max); }
  void SetUp() override { Open(); }

  kdn::test::TempDir dir_;
  std::unique_ptr<DiskTier> tier_;
};

const TestObject& FourLevels() {
  static const TestObject kObject = MakeObject({.size_bytes = 200'000, .levels = kAllLevels});
  return kObject;
}

TEST_P(DiskTierTest, WhatWasWrittenIsReadAndScanned) {
  ASSERT_TRUE(WriteObject(*tier_, FourLevels()).ok());
  for (const LevelInfo& info : Levels()) EXPECT_TRUE(HasLevel(*tier_, FourLevels(), info.level));
  const auto found = ScanAll(*tier_);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found.begin()->second, kAllLevels);
  EXPECT_EQ(tier_->bytes_used(), FourLevels().bytes.size());
}

TEST_P(DiskTierTest, AnyRangeOfALargeSegmentIsRead) {
  const TestObject object = MakeObject({.size_bytes = 3 * limits::kMiB + 12'345});
  ASSERT_TRUE(WriteObject(*tier_, object).ok());
  const ConstBytes segment = SegmentOf(object, Level::kExact);
  for (const std::size_t offset : {std::size_t{0}, limits::kMiB - 5, 2 * limits::kMiB}) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{11}, limits::kMiB + 7}) {
      std::vector<std::byte> bytes(size);
      ASSERT_TRUE(ReadRange(*tier_, object, Level::kExact, offset, bytes).ok());
      EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), segment.begin() + offset));
    }
  }
  std::vector<std::byte> bytes(100);
  EXPECT_EQ(ReadRange(*tier_, object, Level::kExact, segment.size() - 99, bytes).code(),
            Code::kDataLoss);
}

TEST_P(DiskTierTest, WhatIsNotThereIsNotFoundAndDeletedWithoutError) {
  std::vector<std::byte> bytes(10);
  EXPECT_EQ(ReadRange(*tier_, FourLevels(), Level::kDraft, 0, bytes).code(), Code::kNotFound);
  EXPECT_TRUE(tier_->Delete(IdOf(FourLevels()), kAllLevels).ok());
  ASSERT_TRUE(WriteObject(*tier_, FourLevels(), Level::kDraft).ok());
  EXPECT_EQ(ReadRange(*tier_, FourLevels(), Level::kExact, 0, bytes).code(), Code::kNotFound);
}

TEST_P(DiskTierTest, DeletingLevelsLeavesTheOthers) {
  ASSERT_TRUE(WriteObject(*tier_, FourLevels()).ok());
  ASSERT_TRUE(tier_->Delete(IdOf(FourLevels()), LevelSet(Level::kExact) | Level::kFine).ok());
  EXPECT_TRUE(HasLevel(*tier_, FourLevels(), Level::kDraft));
  EXPECT_FALSE(HasLevel(*tier_, FourLevels(), Level::kExact));
  EXPECT_EQ(ScanAll(*tier_).begin()->second, LevelSet(Level::kDraft) | Level::kStandard);
  const auto& sizes = FourLevels().header.level_bytes;
  EXPECT_EQ(tier_->bytes_used(), kObjectHeaderBytes + sizes[0] + sizes[1]);
  ASSERT_TRUE(tier_->Delete(IdOf(FourLevels()), LevelSet(Level::kDraft) | Level::kStandard).ok());
  EXPECT_TRUE(ScanAll(*tier_).empty());
  EXPECT_EQ(tier_->bytes_used(), 0U);
}

TEST_P(DiskTierTest, WritingTwiceCountsOnce) {
  ASSERT_TRUE(WriteObject(*tier_, FourLevels()).ok());
  ASSERT_TRUE(WriteObject(*tier_, FourLevels()).ok());
  EXPECT_EQ(tier_->bytes_used(), FourLevels().bytes.size());
}

TEST_P(DiskTierTest, WritingAgainBringsBackTheLevelsThatWereDeleted) {
  ASSERT_TRUE(WriteObject(*tier_, FourLevels()).ok());
  ASSERT_TRUE(tier_->Delete(IdOf(FourLevels()), LevelSet(Level::kExact) | Level::kFine).ok());
  ASSERT_TRUE(WriteObject(*tier_, FourLevels()).ok());
  for (const LevelInfo& info : Levels()) EXPECT_TRUE(HasLevel(*tier_, FourLevels(), info.level));
  EXPECT_EQ(ScanAll(*tier_).begin()->second, kAllLevels);
  EXPECT_EQ(tier_->bytes_used(), FourLevels().bytes.size());
}

TEST_P(DiskTierTest, ObjectWithoutSegmentsIsRefused) {
  EXPECT_EQ(WriteObject(*tier_, FourLevels(), LevelSet()).code(), Code::kInvalidArgument);
  EXPECT_TRUE(ScanAll(*tier_).empty());
}

TEST_P(DiskTierTest, PutsOfOneKeyAreApart) {
  ObjectOptions options{.seed = 5};
  const TestObject one = MakeObject(options);
  options.seed = 6;
  options.header.key = one.header.key;
  const TestObject two = MakeObject(options);
  ASSERT_TRUE(WriteObject(*tier_, one).ok());
  ASSERT_TRUE(WriteObject(*tier_, two).ok());
  ASSERT_TRUE(tier_->Delete(IdOf(one), kAllLevels).ok());
  EXPECT_FALSE(HasLevel(*tier_, one, Level::kExact));
  EXPECT_TRUE(HasLevel(*tier_, two, Level::kExact));
}

TEST_P(DiskTierTest, BoundIsKept) {
  tier_.reset();
  Open(150'000);
  const TestObject one = MakeObject({.seed = 1, .size_bytes = 100'000});
  const TestObject two = MakeObject({.seed = 2, .size_bytes = 100'000});
  ASSERT_TRUE(WriteObject(*tier_, one).ok());
  EXPECT_EQ(WriteObject(*tier_, two).code(), Code::kOutOfRange);
  EXPECT_TRUE(HasLevel(*tier_, one, Level::kExact));
  EXPECT_FALSE(HasLevel(*tier_, two, Level::kExact));
  ASSERT_TRUE(tier_->Delete(IdOf(one), kAllLevels).ok());
  EXPECT_TRUE(WriteObject(*tier_, two).ok());
}

TEST_P(DiskTierTest, ValuesAreKept) {
  EXPECT_EQ(tier_->GetValue("epoch").error().code(), Code::kNotFound);
  ASSERT_TRUE(tier_->PutValue("epoch", AsBytes("seven")).ok());
  ASSERT_TRUE(tier_->PutValue("epoch", AsBytes("eight")).ok());
  EXPECT_EQ(AsText(tier_->GetValue("epoch").value()), "eight");
  EXPECT_TRUE(ScanAll(*tier_).empty());
}

TEST_P(DiskTierTest, PostedWorkHasRunWhenItIsClosed) {
  std::atomic<int> ran = 0;
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(tier_->Post(i % 2 == 0 ? DiskWork::kRead : DiskWork::kChange, [&] { ++ran; }));
  }
  ASSERT_TRUE(tier_->Close().ok());
  EXPECT_EQ(ran, 20);
}

std::unique_ptr<DiskTier> OpenMap(const std::string&, std::uint64_t bytes_max) {
  return std::make_unique<MapTier>(bytes_max);
}
std::unique_ptr<DiskTier> OpenRocks(const std::string& folder, std::uint64_t bytes_max) {
  auto tier = OpenRocksTier({.folder = folder, .sync = false, .bytes_max = bytes_max});
  EXPECT_TRUE(tier.has_value()) << tier.error().ToString();
  return *std::move(tier);
}

INSTANTIATE_TEST_SUITE_P(AllTiers, DiskTierTest,
                         ::testing::Values(TierKind{"map", &OpenMap},
                                           TierKind{"rocks", &OpenRocks}),
                         [](const auto& kind) { return kind.param.name; });

class RocksTierTest : public ::testing::Test {
 protected:
  std::unique_ptr<DiskTier> Open(DiskOptions options = {}) {
    options.folder = dir_.File("tier");
    options.sync = false;
    auto tier = OpenRocksTier(options);
    EXPECT_TRUE(tier.has_value()) << tier.error().ToString();
    return tier ? *std::move(tier) : nullptr;
  }

  kdn::test::TempDir dir_;
};

TEST_F(RocksTierTest, EverythingIsThereAfterReopening) {
  auto tier = Open();
  ASSERT_TRUE(WriteObject(*tier, FourLevels()).ok());
  ASSERT_TRUE(tier->Delete(IdOf(FourLevels()), Level::kExact).ok());
  ASSERT_TRUE(tier->PutValue("identity", AsBytes("n1")).ok());
  const std::uint64_t used = tier->bytes_used();
  ASSERT_TRUE(tier->Close().ok());
  tier = Open();
  EXPECT_EQ(tier->bytes_used(), used);
  EXPECT_TRUE(HasLevel(*tier, FourLevels(), Level::kFine));
  EXPECT_FALSE(HasLevel(*tier, FourLevels(), Level::kExact));
  EXPECT_EQ(ScanAll(*tier).size(), 1U);
  EXPECT_EQ(AsText(tier->GetValue("identity").value()), "n1");
}

TEST_F(RocksTierTest, FolderInUseIsRefusedHereAndInAnotherProcess) {
  auto tier = Open();
  const DiskOptions options{.folder = dir_.File("tier")};
  EXPECT_EQ(OpenRocksTier(options).error().code(), Code::kFailedPrecondition);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto second = OpenRocksTier(options);
    ::_exit(!second && second.error().code() == Code::kFailedPrecondition ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  ASSERT_TRUE(tier->Close().ok());
  tier.reset();
  EXPECT_NE(Open(), nullptr);
}

TEST_F(RocksTierTest, FolderOfANewerFormatIsRefused) {
  ASSERT_TRUE(Open()->Close().ok());
  {
    rocks::Database database(dir_.File("tier"), rocksdb::Env::Default());
    ASSERT_TRUE(database.Open().ok());
    std::vector<std::byte> newer;
    ByteWriter(newer).Integer(rocks::kFormatVersion + 1);
    ASSERT_TRUE(database
                    .Write(true,
                           [&](rocks::Database::Batch& batch) {
                             batch.Put(rocks::Family::kDefault, "format", AsText(newer));
                           })
                    .ok());
  }
  const auto tier = OpenRocksTier({.folder = dir_.File("tier")});
  EXPECT_EQ(tier.error().code(), Code::kFailedPrecondition);
}

TEST_F(RocksTierTest, FullQueueIsReportedNotBlocked) {
  auto tier = Open({.folder = {}, .threads = 1, .queue_depth = 2});
  std::mutex mutex;
  std::condition_variable changed;
  bool started = false;
  bool go_on = false;
  ASSERT_TRUE(tier->Post(DiskWork::kChange, [&] {
    std::unique_lock lock(mutex);
    started = true;
    changed.notify_all();
    changed.wait(lock, [&] { return go_on; });
  }));
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return started; });
  }
  EXPECT_TRUE(tier->Post(DiskWork::kChange, [] {}));
  EXPECT_TRUE(tier->Post(DiskWork::kChange, [] {}));
  EXPECT_FALSE(tier->Post(DiskWork::kChange, [] {}));
  // Reads pass all that.
  std::latch read(1);
  EXPECT_TRUE(tier->Post(DiskWork::kRead, [&] { read.count_down(); }));
  read.wait();
  {
    const std::scoped_lock lock(mutex);
    go_on = true;
  }
  changed.notify_all();
  EXPECT_TRUE(tier->Close().ok());
}

TEST_F(RocksTierTest, ParallelCallsKeepObjectsAndBytesApart) {
  auto tier = Open({.folder = {}, .threads = 4});
  std::atomic<int> wrong = 0;
  for (std::uint64_t seed = 1; seed <= 24; ++seed) {
    ASSERT_TRUE(tier->Post(DiskWork::kChange, [&, seed] {
      const TestObject object = MakeObject({.seed = seed, .size_bytes = 50'000});
      wrong += !WriteObject(*tier, object).ok();
      wrong += !HasLevel(*tier, object, Level::kExact);
      if (seed % 2 == 0) wrong += !tier->Delete(IdOf(object), kAllLevels).ok();
    }));
  }
  ASSERT_TRUE(tier->Close().ok());
  EXPECT_EQ(wrong, 0);
  tier = Open();
  EXPECT_EQ(ScanAll(*tier).size(), 12U);
  EXPECT_EQ(tier->bytes_used(), 12U * 50'000);
}

TEST_F(RocksTierTest, FullDiskRefusesWritesReadsOnAndRecovers) {
  const auto files = std::make_shared<FaultyFileSystem>();
  const auto env = rocksdb::NewCompositeEnv(files);
  const DiskOptions options{.folder = dir_.File("tier")};
  auto tier = rocks::OpenRocksTierOn(options, env.get()).value();
  const TestObject before = MakeObject({.seed = 1, .size_bytes = 300'000});
  const TestObject during = MakeObject({.seed = 2, .size_bytes = 300'000});
  const TestObject after = MakeObject({.seed = 3, .size_bytes = 300'000});
  ASSERT_TRUE(WriteObject(*tier, before).ok());
  for (int round = 0; round < 2; ++round) {
    files->Full(true);
    const Status refused = WriteObject(*tier, during);
    EXPECT_EQ(refused.code(), Code::kResourceExhausted);
    EXPECT_FALSE(refused.message().empty());
    EXPECT_EQ(WriteObject(*tier, during).code(), Code::kResourceExhausted);
    EXPECT_TRUE(HasLevel(*tier, before, Level::kExact));
    EXPECT_FALSE(HasLevel(*tier, during, Level::kExact));
    files->Full(false);
    const Status accepted = WriteObject(*tier, after);
    EXPECT_TRUE(accepted.ok()) << accepted.ToString();
    EXPECT_TRUE(HasLevel(*tier, before, Level::kExact));
    EXPECT_TRUE(HasLevel(*tier, after, Level::kExact));
    ASSERT_TRUE(tier->Delete(IdOf(after), kAllLevels).ok());
  }
  ASSERT_TRUE(WriteObject(*tier, after).ok());
  ASSERT_TRUE(tier->Close().ok());
  tier = Open();
  EXPECT_TRUE(HasLevel(*tier, before, Level::kExact));
  EXPECT_TRUE(HasLevel(*tier, after, Level::kExact));
  EXPECT_EQ(ScanAll(*tier).size(), 2U);
}

// An error that RocksDB takes for fatal.
TEST_F(RocksTierTest, FileSizeLimitRefusesWritesReadsOnAndRecovers) {
  auto tier = Open();
  const TestObject before = MakeObject({.seed = 1, .size_bytes = 300'000});
  const TestObject during = MakeObject({.seed = 2, .size_bytes = 300'000});
  ASSERT_TRUE(WriteObject(*tier, before).ok());
  const auto was_handled = ::signal(SIGXFSZ, SIG_IGN);
  rlimit unlimited{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &unlimited), 0);
  rlimit limited = unlimited;
  limited.rlim_cur = 400'000;  // less than the write-ahead log needs, and the probe
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limited), 0);
  const Status refused = WriteObject(*tier, during);
  EXPECT_EQ(refused.code(), Code::kUnavailable) << refused.ToString();
  EXPECT_TRUE(HasLevel(*tier, before, Level::kExact));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &unlimited), 0);
  ::signal(SIGXFSZ, was_handled);
  EXPECT_FALSE(HasLevel(*tier, during, Level::kExact));
  const Status accepted = WriteObject(*tier, during);
  EXPECT_TRUE(accepted.ok()) << accepted.ToString();
  EXPECT_TRUE(HasLevel(*tier, before, Level::kExact));
  EXPECT_TRUE(HasLevel(*tier, during, Level::kExact));
}

// Tells when the folder is tried for writes, and when RocksDB lets go of it.
class WatchedFileSystem final : public FaultyFileSystem {
 public:
  rocksdb::IOStatus DeleteFile(const std::string& name, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* context) override {
    if (name.ends_with("kdn.probe")) probed.count_down();
    return FaultyFileSystem::DeleteFile(name, options, context);
  }
  rocksdb::IOStatus UnlockFile(rocksdb::FileLock* lock, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* context) override {
    closed_in_use = closed_in_use || in_use;
    ++closed;
    return FaultyFileSystem::UnlockFile(lock, options, context);
  }

  std::latch probed{1};
  std::atomic<bool> in_use = false;
  std::atomic<bool> closed_in_use = false;
  std::atomic<int> closed = 0;
};

// A small value lies in RocksDB's cache, which goes with the database.
TEST(RocksDatabaseTest, IsNotOpenedAnewWhileAValueIsInUse) {
  const kdn::test::TempDir dir;
  const auto files = std::make_shared<WatchedFileSystem>();
  const auto env = rocksdb::NewCompositeEnv(files);
  rocks::Database database(dir.File("tier"), env.get());
  ASSERT_TRUE(database.Open().ok());
  const std::string small(3'000, 's');
  const auto put = [&](std::string_view key) {
    return database.Write(false, [&](rocks::Database::Batch& batch) {
      batch.Put(rocks::Family::kObjects, key, small);
    });
  };
  ASSERT_TRUE(put("one").ok());
  ASSERT_TRUE(database.Close().ok());  // into a table
  ASSERT_TRUE(database.Open().ok());
  files->Broken(true);
  EXPECT_EQ(put("two").code(), Code::kUnavailable);
  files->Broken(false);
  files->closed = 0;
  std::jthread other;
  constexpr int kTimes = 300'000;  // long enough to be closed under, were it not for the lock
  int right = 0;
  const auto use = [&](std::string_view value) {
    files->in_use = true;
    other = std::jthread([&] { EXPECT_TRUE(put("two").ok()); });
    files->probed.wait();
    for (int i = 0; i < kTimes; ++i) right += value == small ? 1 : 0;
    files->in_use = false;
  };
  ASSERT_TRUE(database.Get(rocks::Family::kObjects, "one", use).ok());
  other.join();
  EXPECT_EQ(right, kTimes);
  EXPECT_EQ(files->closed, 1);  // so it was opened anew
  EXPECT_FALSE(files->closed_in_use);
}

TEST(RocksRecordsTest, RecordsAreReadBackUnderTheirNameOnly) {
  const std::string name = rocks::NameKey(IdOf(FourLevels()));
  EXPECT_EQ(rocks::ParseNameKey(name).value(), IdOf(FourLevels()));
  const std::string value = rocks::EncodeRecord(
      name, {.levels = Level::kDraft, .header = EncodeHeader(FourLevels().header)});
  const auto record = rocks::DecodeRecord(name, value);
  ASSERT_TRUE(record.has_value());
  EXPECT_EQ(record->levels, LevelSet(Level::kDraft));
  EXPECT_EQ(record->header, FourLevels().header);
  const std::string other = rocks::NameKey(IdOf(MakeObject({.seed = 77})));
  EXPECT_EQ(rocks::DecodeRecord(other, value).error().code(), Code::kDataLoss);
  EXPECT_FALSE(rocks::DecodeRecord(name, value + "x"));
  EXPECT_FALSE(rocks::ParseNameKey("short"));
}

TEST(RocksRecordsTest, EveryFlippedBitIsCaught) {
  const std::string name = rocks::NameKey(IdOf(FourLevels()));
  const std::string value = rocks::EncodeRecord(
      name, {.levels = kAllLevels, .header = EncodeHeader(FourLevels().header)});
  for (std::size_t bit = 0; bit < 8 * value.size(); ++bit) {
    std::string flipped = value;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_EQ(rocks::DecodeRecord(name, flipped).error().code(), Code::kDataLoss) << bit;
  }
}

TEST(RocksRecordsTest, KeysOfOneTenantAreNeighbours) {
  ObjectId id = IdOf(FourLevels());
  id.tenant = TenantId{1};
  const std::string one = rocks::NameKey(id);
  id.tenant = TenantId{256};
  EXPECT_LT(one, rocks::NameKey(id));
}

}  // namespace
}  // namespace kdn::storage::test
