// Processes that die at any point while they store: what was acknowledged as on disk is there when
// the folder is opened again, and nothing that does not verify is ever served. Every phase runs in
// a process of its own, so that no thread of RocksDB's is lost in a fork.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <set>

#include "base/limits.h"
#include "tests/storage/store_driver.h"
#include "tests/support/temp_dir.h"

namespace kdn::storage::test {
namespace {

// What the writing process tells before it drops an object, and after one is acknowledged.
struct Event {
  enum class Kind : std::uint64_t { kOnDisk, kDropping } kind;
  std::uint64_t seed;
};

TestObject Numbered(std::uint64_t seed) {
  return MakeObject({.seed = seed,
                     .size_bytes = 5'000 + seed * 7'919 % 200'000,
                     .levels = seed % 3 == 0 ? kAllLevels : LevelSet(Level::kExact)});
}

StoreOptions OptionsFor(WriteMode mode) {
  return {.dram_bytes = 2 * limits::kMiB, .write_mode = mode, .dirty_bytes_max = limits::kMiB};
}

std::unique_ptr<DiskTier> OpenTier(const std::string& folder) {
  auto tier = OpenRocksTier({.folder = folder, .sync = false});
  EXPECT_TRUE(tier.has_value()) << tier.error().ToString();
  return tier ? *std::move(tier) : nullptr;
}

// Runs `body` in a process of its own; whether it found nothing wrong.
pid_t Start(const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child != 0) return child;
  body();
  std::fflush(nullptr);
  ::_exit(::testing::Test::HasFailure() ? 1 : 0);
}
void InProcess(const std::function<void()>& body) {
  int status = 0;
  const pid_t child = Start(body);
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "see above";
}

// Stores objects from `first` on until it is killed, and drops every fifth again.
void StoreForEver(const std::string& folder, WriteMode mode, std::uint64_t first, int events) {
  const auto tell = [&](Event::Kind kind, std::uint64_t seed) {
    const Event event{kind, seed};
    ASSERT_EQ(::write(events, &event, sizeof(event)), static_cast<ssize_t>(sizeof(event)));
  };
  const auto tier = OpenTier(folder);
  StoreDriver driver(OptionsFor(mode), tier.get());
  const Status opened = driver.Open();
  ASSERT_TRUE(opened.ok()) << opened.ToString();
  std::map<PutId, std::uint64_t> seeds;
  for (std::uint64_t seed = first;; ++seed) {
    const TestObject object = Numbered(seed);
    seeds[object.header.put_id] = seed;
    while (driver.Put(object) != Code::kOk) driver.clock().Advance(std::chrono::seconds(1));
    bool overflowed = false;
    for (const InventoryChange& change : driver->TakeChanges(overflowed)) {
      if (!change.object.on_disk.empty()) {
        tell(Event::Kind::kOnDisk, seeds.at(change.object.header.put_id));
      }
    }
    if (seed % 5 == 0) {
      tell(Event::Kind::kDropping, seed - 3);
      static_cast<void>(driver->Truncate(IdOf(Numbered(seed - 3)), kAllLevels));
    }
  }
}

// Everything expected is there, and everything that is there verifies.
void CheckAll(const std::string& folder, WriteMode mode, const std::set<std::uint64_t>& expected) {
  const auto tier = OpenTier(folder);
  StoreDriver driver(OptionsFor(mode), tier.get());
  const Status opened = driver.Open();
  ASSERT_TRUE(opened.ok()) << opened.ToString();
  for (const std::uint64_t seed : expected) EXPECT_TRUE(driver.Has(Numbered(seed))) << seed;
  const auto inventory = driver->Inventory();
  EXPECT_GE(inventory.size(), expected.size());
  for (const StoredObject& stored : inventory) {
    const ObjectHeader& header = stored.header;
    EXPECT_EQ(stored.on_disk, header.levels_encoded);
    EXPECT_TRUE(
        driver->Verify({header.tenant, header.key, header.part.number, header.put_id}).ok());
  }
  EXPECT_TRUE(driver->Close().ok());
  EXPECT_TRUE(tier->Close().ok());
}

class CrashTest : public ::testing::TestWithParam<WriteMode> {
 protected:
  // Takes note of an event; false when there are no more.
  bool Hear(int events) {
    Event event{};
    if (::read(events, &event, sizeof(event)) != static_cast<ssize_t>(sizeof(event))) return false;
    if (event.kind == Event::Kind::kOnDisk) {
      if (!dropping_.contains(event.seed)) on_disk_.insert(event.seed);
    } else {
      dropping_.insert(event.seed);
      on_disk_.erase(event.seed);
    }
    return true;
  }

  kdn::test::TempDir dir_;
  std::set<std::uint64_t> on_disk_;
  std::set<std::uint64_t> dropping_;
};

TEST_P(CrashTest, WhatWasAcknowledgedAsOnDiskSurvivesAKillAtAnyPoint) {
  const std::string folder = dir_.File("tier");
  std::mt19937 random(GetParam() == WriteMode::kWriteBack ? 1 : 2);
  for (std::uint64_t round = 0; round < 4; ++round) {
    int events[2];
    ASSERT_EQ(::pipe(events), 0);
    const pid_t writer = Start([&] {
      ::close(events[0]);
      StoreForEver(folder, GetParam(), 1 + 1000 * round, events[1]);
    });
    ::close(events[1]);
    const unsigned heard_max = 1 + random() % 40;
    for (unsigned heard = 0; heard < heard_max && Hear(events[0]); ++heard) {
    }
    ASSERT_EQ(::kill(writer, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(writer, &status, 0), writer);
    ASSERT_TRUE(WIFSIGNALED(status)) << "it ended by itself";
    while (Hear(events[0])) {
    }
    ::close(events[0]);
    InProcess([&] { CheckAll(folder, GetParam(), on_disk_); });
    ASSERT_FALSE(HasFailure()) << "round " << round;
  }
  EXPECT_GT(on_disk_.size(), 4U);
}

TEST_P(CrashTest, CleanStopKeepsEverything) {
  const std::string folder = dir_.File("tier");
  InProcess([&] {
    const auto tier = OpenTier(folder);
    StoreDriver driver(OptionsFor(GetParam()), tier.get());
    const Status opened = driver.Open();
    ASSERT_TRUE(opened.ok()) << opened.ToString();
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      EXPECT_EQ(driver.Put(Numbered(seed)), Code::kOk);
    }
    EXPECT_TRUE(driver->Close().ok());
    driver.Reset();
    EXPECT_TRUE(tier->Close().ok());
  });
  for (std::uint64_t seed = 1; seed <= 20; ++seed) on_disk_.insert(seed);
  InProcess([&] { CheckAll(folder, GetParam(), on_disk_); });
}

INSTANTIATE_TEST_SUITE_P(DiskModes, CrashTest,
                         ::testing::Values(WriteMode::kWriteThrough, WriteMode::kWriteBack),
                         [](const auto& mode) {
                           return mode.param == WriteMode::kWriteBack ? "WriteBack"
                                                                      : "WriteThrough";
                         });

// Flips one bit in one of the tier's files of values.
bool FlipOneBit(const std::string& folder, std::mt19937& random) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder + "/rocks")) {
    const auto extension = entry.path().extension();
    const bool values = extension == ".blob" || extension == ".log";
    if (values && entry.file_size() > 0) files.push_back(entry.path());
  }
  if (files.empty()) return false;
  const auto& file = files[random() % files.size()];
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  const auto at = static_cast<std::streamoff>(random() % std::filesystem::file_size(file));
  stream.seekg(at);
  const char flipped = static_cast<char>(stream.get() ^ (1 << (random() % 8)));
  stream.seekp(at);
  stream.put(flipped);
  return stream.good();
}

TEST(RottenDiskTest, FlippedBitsInFilesAreNeverServed) {
  const kdn::test::TempDir dir;
  const std::string folder = dir.File("tier");
  constexpr std::uint64_t kObjects = 8;
  constexpr WriteMode kMode = WriteMode::kWriteThrough;
  std::mt19937 random(4);
  for (int round = 0; round < 8; ++round) {
    InProcess([&] {
      const auto tier = OpenTier(folder);
      StoreDriver driver(OptionsFor(kMode), tier.get());
      const Status opened = driver.Open();
      ASSERT_TRUE(opened.ok()) << opened.ToString();
      for (std::uint64_t seed = 1; seed <= kObjects; ++seed) {
        const Code code = driver.Put(Numbered(seed));
        EXPECT_TRUE(code == Code::kOk || code == Code::kAlreadyExists);
      }
      EXPECT_TRUE(driver->Close().ok());
      driver.Reset();
      EXPECT_TRUE(tier->Close().ok());
    });
    ASSERT_TRUE(FlipOneBit(folder, random));
    InProcess([&] {
      const auto tier = OpenTier(folder);
      ASSERT_NE(tier, nullptr);
      StoreDriver driver(OptionsFor(kMode), tier.get());
      const Status opened = driver.Open();
      ASSERT_TRUE(opened.ok()) << opened.ToString();
      std::size_t served = 0;
      // Has() fails the test for any byte that is wrong.
      for (std::uint64_t seed = 1; seed <= kObjects; ++seed) served += driver.Has(Numbered(seed));
      std::printf("round %d: %zu of %d objects served\n", round, served, int{kObjects});
    });
    ASSERT_FALSE(::testing::Test::HasFailure());
  }
}

// One block of a few records lies between those that sort before and behind it.
TEST(RottenDiskTest, ADamagedBlockOfRecordsHidesNoOthers) {
  const kdn::test::TempDir dir;
  const std::string folder = dir.File("tier");
  constexpr std::uint64_t kObjects = 300;
  const auto count = [&] {
    std::size_t found = 0;
    const auto tier = OpenTier(folder);
    const Status scanned =
        tier->Scan([&](const ObjectId&, const ObjectHeader&, LevelSet) { ++found; });
    return std::pair(found, scanned.code());
  };
  {
    const auto tier = OpenTier(folder);
    for (std::uint64_t seed = 1; seed <= kObjects; ++seed) {
      const TestObject object = MakeObject({.seed = seed, .size_bytes = 64});
      const ConstBytes segment = SegmentOf(object, Level::kExact);
      DiskTier::Segments segments;
      segments[static_cast<std::size_t>(Level::kExact)] = {&segment, 1};
      ASSERT_TRUE(tier->Write(IdOf(object), EncodeHeader(object.header), segments).ok());
    }
    ASSERT_TRUE(tier->Close().ok());
  }
  ASSERT_EQ(count(), std::pair(std::size_t{kObjects}, Code::kOk));
  // The largest table is that of the records.
  std::filesystem::path table;
  std::uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder + "/rocks")) {
    if (entry.path().extension() != ".sst" || entry.file_size() < bytes) continue;
    table = entry.path();
    bytes = entry.file_size();
  }
  for (const std::uintmax_t at : {std::uintmax_t{100}, bytes / 2}) {
    std::fstream stream(table, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(at));
    stream.put('\x5A');
    ASSERT_TRUE(stream.good());
  }
  const auto [found, code] = count();
  EXPECT_EQ(code, Code::kDataLoss);
  EXPECT_LT(found, kObjects);
  EXPECT_GT(found, kObjects - 40);  // a block has 4 KiB, a record 392 bytes and its name
}

}  // namespace
}  // namespace kdn::storage::test
