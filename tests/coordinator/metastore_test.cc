// What every metastore promises, asked of each of them.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/metastore/metastore.h"
#include "tests/coordinator/map_metastore.h"
#include "tests/support/temp_dir.h"

namespace kdn::coordinator {
namespace {

class MetastoreTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { Open(); }

  // Closes and opens it again; the map has nothing to close.
  void Open() {
    if (GetParam() == "map") {
      if (store_ == nullptr) store_ = std::make_unique<MapMetastore>();
      return;
    }
    store_.reset();
    auto opened = OpenMetastore(GetParam(), folder_.File("store"));
    ASSERT_TRUE(opened.has_value()) << opened.error().ToString();
    store_ = std::move(*opened);
  }

  std::vector<std::string> KeysWith(std::string_view prefix) {
    std::vector<std::string> keys;
    const Status status = store_->Scan(prefix, [&](std::string_view key, std::string_view) {
      keys.emplace_back(key);
      return Status();
    });
    EXPECT_TRUE(status.ok());
    return keys;
  }

  test::TempDir folder_;
  std::unique_ptr<Metastore> store_;
};

TEST_P(MetastoreTest, AKeyThatWasNeverWrittenIsNotFound) {
  EXPECT_EQ(store_->Get("nothing").error().code(), Code::kNotFound);
}

TEST_P(MetastoreTest, ABatchIsAppliedInOrder) {
  MetaBatch batch;
  batch.Put("a", "1");
  batch.Put("b", "2");
  batch.Delete("a");
  batch.Put("b", "3");
  ASSERT_TRUE(store_->Write(batch).ok());
  EXPECT_FALSE(store_->Get("a").has_value());
  EXPECT_EQ(store_->Get("b").value(), "3");
}

TEST_P(MetastoreTest, ASnapshotStaysAsItWasWhileOthersWrite) {
  MetaBatch before;
  before.Put("a/1", "old");
  before.Put("b/1", "other");
  ASSERT_TRUE(store_->Write(before).ok());
  const auto snapshot = store_->TakeSnapshot();
  MetaBatch after;
  after.Put("a/1", "new");
  after.Put("a/2", "more");
  after.Delete("b/1");
  ASSERT_TRUE(store_->Write(after).ok());
  std::map<std::string, std::string> seen;
  ASSERT_TRUE(snapshot
                  ->Scan("",
                         [&](std::string_view key, std::string_view value) {
                           seen.emplace(key, value);
                           return Status();
                         })
                  .ok());
  EXPECT_EQ(seen, (std::map<std::string, std::string>{{"a/1", "old"}, {"b/1", "other"}}));
}

TEST_P(MetastoreTest, WhatWasWrittenIsThereAfterReopening) {
  MetaBatch batch;
  batch.Put(std::string("binary\0key", 10), std::string("\0\xff", 2));
  ASSERT_TRUE(store_->Write(batch).ok());
  Open();
  EXPECT_EQ(store_->Get(std::string_view("binary\0key", 10)).value(), std::string("\0\xff", 2));
}

TEST_P(MetastoreTest, AScanSeesItsPrefixInOrderOfBytes) {
  MetaBatch batch;
  for (const char* key : {"p/b", "p/", "p", "q/a", "p/a", "p/\xff", "o/z"}) batch.Put(key, "");
  ASSERT_TRUE(store_->Write(batch).ok());
  EXPECT_EQ(KeysWith("p/"), (std::vector<std::string>{"p/", "p/a", "p/b", "p/\xff"}));
  EXPECT_TRUE(KeysWith("x").empty());
}

TEST_P(MetastoreTest, AScanEndsWithItsVisitorsError) {
  MetaBatch batch;
  batch.Put("a", "");
  batch.Put("b", "");
  ASSERT_TRUE(store_->Write(batch).ok());
  int seen = 0;
  const Status status = store_->Scan("", [&](std::string_view, std::string_view) {
    ++seen;
    return Status(Code::kDataLoss);
  });
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_EQ(seen, 1);
}

INSTANTIATE_TEST_SUITE_P(Kinds, MetastoreTest, testing::Values("map", "rocksdb"),
                         [](const auto& kind) { return kind.param; });

TEST(RocksMetastore, IsOpenedByOneProcessOnly) {
  test::TempDir folder;
  const auto first = OpenMetastore("rocksdb", folder.File("store"));
  ASSERT_TRUE(first.has_value());
  const auto second = OpenMetastore("rocksdb", folder.File("store"));
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code(), Code::kFailedPrecondition) << second.error().ToString();
}

TEST(Metastores, AnUnknownKindIsNotFound) {
  EXPECT_EQ(OpenMetastore("etcd9", "/nowhere").error().code(), Code::kNotFound);
}

}  // namespace
}  // namespace kdn::coordinator
