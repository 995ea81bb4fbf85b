// A store over the naive disk tier, for tests of what moves between DRAM and disk.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "base/limits.h"
#include "tests/storage/map_tier.h"
#include "tests/storage/store_driver.h"

namespace kdn::storage::test {

inline constexpr std::size_t kMiB = limits::kMiB;

class TiersTest : public ::testing::Test {
 protected:
  void Open(WriteMode mode, std::size_t dram_bytes = 4 * kMiB, std::uint64_t disk_bytes = 0) {
    disk_ = std::make_unique<MapTier>(disk_bytes);
    driver_.emplace(
        StoreOptions{
            .dram_bytes = dram_bytes, .write_mode = mode, .dirty_bytes_max = dram_bytes / 2},
        disk_.get());
    ASSERT_TRUE((*driver_).Open().ok());
  }
  void TearDown() override {
    if (disk_ != nullptr) disk_->PostLater(false), disk_->RunPosted();
    driver_.reset();
  }
  StoreDriver& driver() { return *driver_; }
  ObjectStore& store() { return driver_->store(); }
  std::optional<StoredObject> Find(const TestObject& object) {
    return store().Find(object.header.tenant, object.header.key, object.header.part.number);
  }
  // Pushes everything else out of DRAM.
  void FillDram() {
    const ObjectId id = IdOf(MakeObject({.seed = 424242}));
    ASSERT_TRUE(store().BeginPut(id, 4 * kMiB, driver().Soon()).has_value());
    store().AbortPut(id);
  }

  std::unique_ptr<MapTier> disk_;
  std::optional<StoreDriver> driver_;
};

}  // namespace kdn::storage::test
