// The store against a naive map under random use, in every write mode. A seed that ever failed
// joins kSeeds and always runs.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "base/limits.h"
#include "storage/object_table.h"
#include "tests/storage/map_tier.h"
#include "tests/storage/store_driver.h"

namespace kdn::storage::test {
namespace {

constexpr std::size_t kMiB = limits::kMiB;
constexpr std::uint64_t kSeeds[] = {1, 2, 3, 4, 5, 6};

struct Config {
  const char* name;
  WriteMode mode;
  std::size_t dram_bytes;
  std::uint64_t disk_bytes;
  bool exact;  // nothing is ever lost, so the map must be met exactly
};

class StoreModelTest : public ::testing::TestWithParam<std::tuple<Config, std::uint64_t>> {
 protected:
  struct Lent {
    std::unique_ptr<ReadResult> result;
    TestObject object;
    ReadRequest request;
  };

  StoreModelTest()
      : config_(std::get<0>(GetParam())),
        random_(std::get<1>(GetParam())),
        disk_(config_.disk_bytes),
        driver_({.dram_bytes = config_.dram_bytes,
                 .write_mode = config_.mode,
                 .dirty_bytes_max = config_.dram_bytes / 3},
                config_.mode == WriteMode::kDramOnly ? nullptr : &disk_) {
    driver_.PumpWith([this] {
      disk_.RunPosted();
      driver_.clock().Advance(std::chrono::milliseconds(500));
    });
    MakeObjects();
  }

  // Six keys in two chains, each with three puts of different provenance, size and levels.
  void MakeObjects() {
    for (std::uint64_t number = 0; number < 18; ++number) {
      ObjectOptions options{.seed = number + 1,
                            .size_bytes = 3'000 + random_() % 250'000,
                            .levels = number % 2 == 0 ? kAllLevels : LevelSet(Level::kExact)};
      const std::uint64_t key = number / 3;
      if (number % 3 != 0) {
        options.header.key = objects_[3 * key].header.key;
        options.header.parent = objects_[3 * key].header.parent;
      } else if (key % 3 != 0) {
        options.header.parent = objects_[3 * (key - 1)].header.key;
      }
      options.header.chain_root = {};
      options.header.chain_root.bytes[0] = std::byte{1};
      if (number % 3 == 2) options.header.provenance = Provenance{};
      objects_.push_back(MakeObject(options));
    }
  }

  const TestObject& AnyObject() { return objects_[random_() % objects_.size()]; }

  void Put(const TestObject& object) {
    const ObjectId id = IdOf(object);
    const auto visible = model_.find(NameOf(id));
    const Code code = driver_.Put(object);
    if (visible != model_.end() && visible->second.object->header.put_id == id.put_id) {
      if (config_.exact) {
        EXPECT_EQ(code, Code::kAlreadyExists);
      }
      return;
    }
    if (code == Code::kResourceExhausted) {
      const auto usage = driver_->usage();
      EXPECT_TRUE(!config_.exact || !lent_.empty() || usage.dirty_bytes > 0 || usage.puts_open > 1);
      driver_->AbortPut(id);
      return;
    }
    const bool worse =
        visible != model_.end() && ProvenanceRank(visible->second.object->header.provenance) >
                                       ProvenanceRank(object.header.provenance);
    if (config_.exact) {
      EXPECT_EQ(code, worse ? Code::kAlreadyExists : Code::kOk);
    }
    if (code == Code::kOk) model_[NameOf(id)] = {&object, object.header.levels_encoded};
  }

  void StartAndAbandonPut(const TestObject& object) {
    const auto slot = driver_->BeginPut(IdOf(object), object.bytes.size(), driver_.Soon());
    if (!slot) return;
    const auto memory = driver_->PutMemory(*slot, 10, 100);
    if (!memory) return;
    (*memory)[0][0] = std::byte{0xEE};
    driver_->PutFailed(*slot, 10, 100);
    if (random_() % 2 == 0) driver_->AbortPut(IdOf(object));
  }

  void Read(const TestObject& object) {
    const Range layers{static_cast<std::uint16_t>(random_() % 3), 2};
    const ReadRequest request{IdOf(object), LevelSet(static_cast<std::uint8_t>(random_() % 16)),
                              random_() % 2 == 0 ? kEverything : layers, kEverything};
    auto result = driver_.Read(request);
    const auto known = model_.find(NameOf(request.id));
    const bool same_put =
        known != model_.end() && known->second.object->header.put_id == object.header.put_id;
    const LevelSet expected = same_put ? known->second.levels & request.levels : LevelSet();
    if (!result) {
      if (result.error().code() == Code::kResourceExhausted) return;
      EXPECT_EQ(result.error().code(), Code::kNotFound);
      if (config_.exact) {
        EXPECT_TRUE(expected.empty());
      }
      return;
    }
    EXPECT_EQ((*result)->levels, expected);
    EXPECT_EQ(Wrong(**result, object, request), "");
    lent_.push_back({*std::move(result), object, request});
  }

  void ReleaseOne() {
    if (lent_.empty()) return;
    std::swap(lent_[random_() % lent_.size()], lent_.back());
    const Lent& lent = lent_.back();
    // Whatever has happened since: the lease kept these bytes.
    EXPECT_EQ(Wrong(*lent.result, lent.object, lent.request), "");
    driver_->ReleaseRead(lent.result->slot);
    lent_.pop_back();
  }

  void Truncate(const TestObject& object) {
    const std::uint8_t kept = static_cast<std::uint8_t>((1U << (random_() % 5)) - 1);
    const LevelSet levels(static_cast<std::uint8_t>(0x0F & ~kept));
    const Status status = driver_->Truncate(IdOf(object), levels);
    const auto known = model_.find(NameOf(IdOf(object)));
    if (known == model_.end() || known->second.object->header.put_id != object.header.put_id) {
      EXPECT_EQ(status.code(), Code::kNotFound);
      return;
    }
    if (config_.exact) {
      EXPECT_TRUE(status.ok());
    }
    known->second.levels = known->second.levels & LevelSet(kept);
    if (known->second.levels.empty()) model_.erase(known);
  }

  // What it failed to write or to delete is tried again.
  void LetTheDiskCatchUp() {
    disk_.FailWrites({});
    for (std::size_t i = 0; i <= 2 * objects_.size(); ++i) {
      driver_.clock().Advance(std::chrono::seconds(1));
      driver_.PollFor(0);
    }
  }

  void Restart() {
    while (!lent_.empty()) ReleaseOne();
    disk_.PostLater(false);
    disk_.RunPosted();
    LetTheDiskCatchUp();
    ASSERT_TRUE(driver_->Close().ok());
    driver_.Reset();
    if (config_.mode == WriteMode::kDramOnly) model_.clear();
    ASSERT_TRUE(driver_.Open().ok());
  }

  void Step() {
    const TestObject& object = AnyObject();
    switch (random_() % 16) {
      case 0:
      case 1:
      case 2:
      case 3:
        return Put(object);
      case 4:
        return StartAndAbandonPut(object);
      case 5:
      case 6:
      case 7:
      case 8:
        return Read(object);
      case 9:
      case 10:
        return ReleaseOne();
      case 11:
        return Truncate(object);
      case 12:
        return driver_->Suspect(IdOf(object));
      case 13:
        disk_.PostLater(random_() % 2 == 0);
        return disk_.RunPosted();
      case 14:
        if (!config_.exact && random_() % 4 == 0) {
          disk_.FailWrites(Status(Code::kResourceExhausted));
        } else {
          disk_.FailWrites({});
        }
        driver_.clock().Advance(std::chrono::seconds(random_() % 4));
        driver_.PollFor(0);
        return;
      default:
        if (random_() % 8 == 0) Restart();
    }
  }

  // All that is visible is known, and in exact setups the other way round.
  void Compare() {
    const auto inventory = driver_->Inventory();
    for (const StoredObject& stored : inventory) {
      const auto known =
          model_.find({stored.header.tenant, stored.header.key, stored.header.part.number});
      ASSERT_NE(known, model_.end());
      EXPECT_EQ(stored.header, known->second.object->header);
      EXPECT_EQ(stored.in_dram | stored.on_disk, known->second.levels);
    }
    if (config_.exact) {
      EXPECT_EQ(inventory.size(), model_.size());
    }
    if (inventory.size() == model_.size()) return;
    // What was evicted is forgotten.
    std::erase_if(model_, [&](const auto& known) {
      return !driver_->Find(known.first.tenant, known.first.key, known.first.part);
    });
  }

  struct Known {
    const TestObject* object = nullptr;
    LevelSet levels;
  };
  struct NameLess {
    bool operator()(const ObjectName& a, const ObjectName& b) const { return a.key < b.key; }
  };
  const Config config_;
  std::mt19937_64 random_;
  MapTier disk_;
  StoreDriver driver_;
  std::vector<TestObject> objects_;
  std::map<ObjectName, Known, NameLess> model_;
  std::vector<Lent> lent_;
};

TEST_P(StoreModelTest, RandomUseAnswersAsTheMapDoes) {
  ASSERT_TRUE(driver_.Open().ok());
  for (int step = 0; step < 600; ++step) {
    Step();
    Compare();
    ASSERT_FALSE(HasFailure()) << "step " << step;
  }
  Restart();
  Compare();
  EXPECT_EQ(driver_->usage().dirty_bytes, 0U);
  for (const TestObject& object : objects_) {
    static_cast<void>(driver_->Truncate(IdOf(object), kAllLevels));
  }
  driver_.clock().Advance(std::chrono::minutes(1));
  driver_.PollFor(0);
  LetTheDiskCatchUp();
  EXPECT_EQ(driver_->usage().dram_bytes_used, 0U);
  EXPECT_EQ(disk_.bytes_used(), 0U);
}

INSTANTIATE_TEST_SUITE_P(
    AllModes, StoreModelTest,
    ::testing::Combine(
        ::testing::Values(
            Config{"dram", WriteMode::kDramOnly, 32 * kMiB, 0, true},
            Config{"dram_small", WriteMode::kDramOnly, kMiB / 2, 0, false},
            Config{"through", WriteMode::kWriteThrough, 8 * kMiB, 0, true},
            Config{"through_small_dram", WriteMode::kWriteThrough, kMiB / 2, 0, true},
            Config{"through_small_disk", WriteMode::kWriteThrough, 2 * kMiB, kMiB / 2, false},
            Config{"back", WriteMode::kWriteBack, 8 * kMiB, 0, true},
            Config{"back_small_dram", WriteMode::kWriteBack, kMiB / 2, 0, true},
            Config{"back_small_disk", WriteMode::kWriteBack, 2 * kMiB, kMiB / 2, false}),
        ::testing::ValuesIn(kSeeds)),
    [](const auto& param) {
      return std::string(std::get<0>(param.param).name) + "_" +
             std::to_string(std::get<1>(param.param));
    });

}  // namespace
}  // namespace kdn::storage::test
