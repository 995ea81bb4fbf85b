// Goal: stores that wait for a node that does not answer leave reads the memory that they need, and
// nobody waits for ever. Method: runs taken and given back by hand.
#include "client/core/staging.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace kdn::client {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kPages = 16;
constexpr StagingUse kRead = StagingUse::kRead;
constexpr StagingUse kStore = StagingUse::kStore;

class StagingTest : public testing::Test {
 protected:
  // Where the run will be once it is given; `name` is then in served_.
  void Take(const std::string& name, std::size_t pages, StagingUse use) {
    pool_.Take(pages * kPage, use, [this, name](MutableBytes run) {
      served_.push_back(name);
      runs_.emplace_back(name, run);
    });
  }
  void Give(const std::string& name, StagingUse use) {
    for (auto it = runs_.begin(); it != runs_.end(); ++it) {
      if (it->first != name) continue;
      const MutableBytes run = it->second;
      runs_.erase(it);
      return pool_.Give(run, use);
    }
    FAIL() << name << " was never served";
  }
  // No two runs share a byte.
  void ExpectApart() const {
    for (const auto& [name, run] : runs_) std::memset(run.data(), name.back(), run.size());
    for (const auto& [name, run] : runs_) {
      for (const std::byte b : run) ASSERT_EQ(static_cast<char>(b), name.back()) << name;
    }
  }

  StagingPool pool_{*MapPrivateMemory(kPages * kPage)};
  std::vector<std::string> served_;
  std::vector<std::pair<std::string, MutableBytes>> runs_;
};

using Names = std::vector<std::string>;

TEST_F(StagingTest, StoresLeaveAQuarterToReadsWhichPassThoseThatWait) {
  for (const char* name : {"store a", "store b", "store c", "store d"}) Take(name, 4, kStore);
  EXPECT_EQ(served_, (Names{"store a", "store b", "store c"})) << "three quarters";
  Take("read e", 4, kRead);
  EXPECT_EQ(served_.back(), "read e") << "it waited for stores";
  Take("read f", 1, kRead);
  EXPECT_EQ(served_.back(), "read e") << "there is no memory left";
  EXPECT_TRUE(pool_.TakeNow(kPage).empty()) << "a read waits";
  ExpectApart();
  Give("read e", kRead);
  EXPECT_EQ(served_.back(), "read f");
  Give("store b", kStore);
  EXPECT_EQ(served_.back(), "store d");
  ExpectApart();
}

TEST_F(StagingTest, WhatIsLeftToReadsIsInOneRun) {
  Take("store a", 4, kStore);
  Take("store b", 4, kStore);
  Take("read c", 2, kRead);
  Take("store d", 4, kStore);
  ExpectApart();
  Give("read c", kRead);
  Take("read e", 4, kRead);
  EXPECT_EQ(served_.back(), "read e") << "the rest is in pieces";
}

TEST_F(StagingTest, AStoreThatWaitsForReadsHasItsTurnBeforeThoseThatCameLater) {
  Take("read a", 8, kRead);
  Take("read b", 8, kRead);
  Take("store c", 4, kStore);
  Take("read d", 8, kRead);
  Give("read a", kRead);
  EXPECT_EQ(served_, (Names{"read a", "read b", "store c"})) << "reads without end starve stores";
  Give("read b", kRead);
  EXPECT_EQ(served_.back(), "read d");
}

TEST_F(StagingTest, ALargeStoreHasThePoolForItselfOnceAndIsNotPassedByOtherStores) {
  Take("store a", 2, kStore);
  Take("store b", kPages, kStore);
  Take("store c", 1, kStore);
  EXPECT_EQ(served_, Names{"store a"});
  Give("store a", kStore);
  EXPECT_EQ(served_.back(), "store b");
  Give("store b", kStore);
  EXPECT_EQ(served_.back(), "store c");
  EXPECT_TRUE(pool_.TakeNow(kPages * kPage).empty());
  EXPECT_FALSE(pool_.TakeNow((kPages - 1) * kPage).empty());
}

TEST_F(StagingTest, AHedgeHasTheMemoryThatStoresMayNotHave) {
  for (const char* name : {"store a", "store b", "store c", "store d"}) Take(name, 4, kStore);
  const MutableBytes run = pool_.TakeNow(4 * kPage);
  EXPECT_FALSE(run.empty());
  pool_.Give(run, kRead);
  EXPECT_EQ(served_.size(), 3U) << "beyond their share";
}

TEST_F(StagingTest, WhoTakesWhileOthersAreServedWaitsForThem) {
  Take("store a", 12, kStore);
  pool_.Take(4 * kPage, kStore, [this](MutableBytes run) {
    served_.emplace_back("store b");
    Take("read c", 4, kRead);
    pool_.Give(run, kStore);
  });
  Take("store d", 4, kStore);
  Give("store a", kStore);
  EXPECT_EQ(served_, (Names{"store a", "store b", "store d", "read c"}));
}

}  // namespace
}  // namespace kdn::client
