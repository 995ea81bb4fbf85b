// The arena: runs of pages, shared tails, blocks, and how much of it objects really fill.
#include "storage/arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <deque>
#include <random>
#include <set>

#include "base/limits.h"
#include "storage/block.h"
#include "storage/page_runs.h"
#include "storage/tail_pages.h"

namespace kdn::storage::test {
namespace {

std::vector<PageRun> Allocate(PageRuns& pages, std::uint32_t count) {
  std::vector<PageRun> runs;
  EXPECT_TRUE(pages.Allocate(count, runs));
  return runs;
}

TEST(PageRunsTest, AllocationIsOneRunWhereverOneIsLongEnough) {
  PageRuns pages(1000);
  EXPECT_EQ(Allocate(pages, 300).size(), 1U);
  EXPECT_EQ(Allocate(pages, 700).size(), 1U);
  std::vector<PageRun> runs;
  EXPECT_FALSE(pages.Allocate(1, runs));
  EXPECT_TRUE(runs.empty());
}

TEST(PageRunsTest, ClosestFitIsTakenAndLongRunsAreSpared) {
  PageRuns pages(100);
  const auto all = Allocate(pages, 100);
  pages.Free({10, 5});
  pages.Free({30, 20});
  EXPECT_EQ(Allocate(pages, 5), (std::vector<PageRun>{{10, 5}}));
  EXPECT_EQ(Allocate(pages, 20), (std::vector<PageRun>{{30, 20}}));
}

TEST(PageRunsTest, NeighboursAreJoined) {
  PageRuns pages(30);
  static_cast<void>(Allocate(pages, 30));
  pages.Free({0, 10});
  pages.Free({20, 10});
  pages.Free({10, 10});
  EXPECT_EQ(Allocate(pages, 30), (std::vector<PageRun>{{0, 30}}));
}

TEST(PageRunsTest, WithoutALongRunTheLongestAreTaken) {
  PageRuns pages(100);
  static_cast<void>(Allocate(pages, 100));
  pages.Free({0, 3});
  pages.Free({10, 7});
  pages.Free({50, 5});
  EXPECT_EQ(Allocate(pages, 15), (std::vector<PageRun>{{10, 7}, {50, 5}, {0, 3}}));
}

// The naive set of free pages is the specification.
TEST(PageRunsTest, RandomUseNeverGivesAPageTwiceAndLosesNone) {
  constexpr std::uint32_t kPages = 3000;
  std::mt19937 random(7);
  PageRuns pages(kPages);
  std::set<std::uint32_t> used;
  std::vector<PageRun> held;
  for (int step = 0; step < 20'000; ++step) {
    if (random() % 2 == 0 || held.empty()) {
      const std::uint32_t count = 1 + random() % (random() % 10 == 0 ? 400 : 20);
      std::vector<PageRun> runs;
      ASSERT_EQ(pages.Allocate(count, runs), count <= kPages - used.size());
      for (const PageRun run : runs) {
        for (std::uint32_t i = 0; i < run.count; ++i) {
          ASSERT_TRUE(used.insert(run.first + i).second);
        }
        held.push_back(run);
      }
    } else {
      std::swap(held[random() % held.size()], held.back());
      PageRun run = held.back();
      held.pop_back();
      const std::uint32_t kept = random() % 3 == 0 ? random() % run.count : 0;
      if (kept > 0) held.push_back({run.first, kept});
      run = {run.first + kept, run.count - kept};
      pages.Free(run);
      for (std::uint32_t i = 0; i < run.count; ++i) used.erase(run.first + i);
    }
    ASSERT_EQ(pages.free_count(), kPages - used.size());
  }
  for (const PageRun run : held) pages.Free(run);
  EXPECT_EQ(Allocate(pages, kPages).size(), 1U);
}

TEST(TailPagesTest, TailsShareAPageAndAnEmptyPageGoesBack) {
  PageRuns pages(4);
  TailPages tails(pages);
  const UnitRun one = tails.Allocate(5).value();
  const UnitRun two = tails.Allocate(11).value();
  EXPECT_EQ(one.page, two.page);
  EXPECT_EQ(pages.free_count(), 3U);
  EXPECT_EQ(tails.idle_count(), 0U);
  const UnitRun three = tails.Allocate(1).value();
  EXPECT_NE(three.page, one.page);
  tails.Free(one);
  EXPECT_EQ(tails.Allocate(4)->page, one.page);
  tails.Free({one.page, 0, 4});
  tails.Free(two);
  EXPECT_EQ(pages.free_count(), 3U);
  tails.Free(three);
  EXPECT_EQ(pages.free_count(), 4U);
  EXPECT_EQ(tails.idle_count(), 0U);
}

TEST(TailPagesTest, RandomUseNeverGivesAUnitTwice) {
  std::mt19937 random(11);
  PageRuns pages(60);
  TailPages tails(pages);
  std::set<std::pair<std::uint32_t, std::uint32_t>> used;
  std::vector<UnitRun> held;
  for (int step = 0; step < 20'000; ++step) {
    if (random() % 2 == 0 || held.empty()) {
      const auto run = tails.Allocate(1 + random() % 15);
      if (!run) {
        ASSERT_EQ(pages.free_count(), 0U);
        continue;
      }
      for (std::uint32_t i = 0; i < run->count; ++i) {
        ASSERT_TRUE(used.insert({run->page, run->first + i}).second);
      }
      held.push_back(*run);
    } else {
      std::swap(held[random() % held.size()], held.back());
      for (std::uint32_t i = 0; i < held.back().count; ++i) {
        used.erase({held.back().page, held.back().first + i});
      }
      tails.Free(held.back());
      held.pop_back();
    }
  }
  for (const UnitRun run : held) tails.Free(run);
  EXPECT_EQ(pages.free_count(), 60U);
}

TEST(ArenaTest, TooSmallIsRefused) {
  EXPECT_EQ(Arena::Map(kPageBytes - 1).error().code(), Code::kInvalidArgument);
}

TEST(ArenaTest, FailedAllocationTakesNothing) {
  const auto arena = Arena::Map(4 * kPageBytes).value();
  std::vector<MutableBytes> runs;
  EXPECT_FALSE(arena->Allocate(4 * kPageBytes + 1, runs));
  ASSERT_TRUE(arena->Allocate(4 * kPageBytes, runs));
  std::vector<MutableBytes> more;
  EXPECT_FALSE(arena->Allocate(1, more));
  EXPECT_TRUE(more.empty());
  arena->Free(runs);
  EXPECT_EQ(arena->bytes_used(), 0U);
}

TEST(ArenaTest, LongRunsAreWaitedForUntilAPartLiesIdle) {
  constexpr std::size_t kPages = 640;
  const auto arena = Arena::Map(kPages * kPageBytes).value();
  std::vector<MutableBytes> all;
  ASSERT_TRUE(arena->Allocate(kPages * kPageBytes, all));
  const auto free_page = [&](std::size_t page) {
    const MutableBytes run = all[0].subspan(page * kPageBytes, kPageBytes);
    arena->Free(std::span(&run, 1));
  };
  // Every other page, so that no run is longer than one.
  for (std::size_t page = 0; page < 2 * 16; page += 2) free_page(page);
  std::vector<MutableBytes> runs;
  EXPECT_FALSE(arena->Allocate(16 * kPageBytes, runs, Runs::kLong));
  EXPECT_TRUE(runs.empty());
  EXPECT_EQ(arena->bytes_used(), (kPages - 16) * kPageBytes);
  // Neighbours that come free make a run that is long enough.
  for (std::size_t page = 101; page < 101 + 16; ++page) free_page(page);
  ASSERT_TRUE(arena->Allocate(16 * kPageBytes, runs, Runs::kLong));
  EXPECT_EQ(runs.size(), 1U);
  // And once 1/32 of all, 20 pages, would be left idle, short runs do.
  for (std::size_t page = 200; page < 200 + 2 * 19; page += 2) free_page(page);
  runs.clear();
  EXPECT_FALSE(arena->Allocate(16 * kPageBytes, runs, Runs::kLong));
  free_page(300);
  ASSERT_TRUE(arena->Allocate(16 * kPageBytes, runs, Runs::kLong));
  EXPECT_EQ(runs.size(), 16U);
}

TEST(ArenaTest, TrimmedRunsGiveBackWhatLiesBehind) {
  const auto arena = Arena::Map(64 * kPageBytes).value();
  for (const std::size_t kept : {std::size_t{1}, kUnitBytes, kPageBytes, 5 * kPageBytes,
                                 10 * kPageBytes + 1, 10 * kPageBytes + 3 * kUnitBytes}) {
    std::vector<MutableBytes> runs;
    ASSERT_TRUE(arena->Allocate(10 * kPageBytes + 5 * kUnitBytes, runs));
    arena->Trim(runs, kept);
    std::size_t left = 0;
    for (const MutableBytes run : runs) left += run.size();
    EXPECT_GE(left, kept);
    EXPECT_LT(left, kept + kPageBytes);
    EXPECT_EQ(arena->bytes_used(), left);
    arena->Free(runs);
    EXPECT_EQ(arena->bytes_used(), 0U);
  }
}

// A block in pieces: every other page is taken.
TEST(BlockTest, AnyRangeIsGatheredFromScatteredRuns) {
  const auto arena = Arena::Map(64 * kPageBytes).value();
  std::vector<BlockRef> all;
  for (int i = 0; i < 64; ++i) all.push_back(Block::Make(*arena, kPageBytes));
  for (int i = 0; i < 64; i += 2) all[static_cast<std::size_t>(i)].reset();
  const BlockRef block = Block::Make(*arena, 10 * kPageBytes - 77);
  ASSERT_NE(block, nullptr);
  std::vector<MutableBytes> runs;
  block->Append(0, block->size(), runs);
  EXPECT_GE(runs.size(), 10U);
  std::vector<std::byte> expected;
  for (const MutableBytes run : runs) {
    for (std::byte& b : run) {
      b = static_cast<std::byte>(expected.size() * 31 >> 3);
      expected.push_back(b);
    }
  }
  std::vector<std::byte> scratch;
  for (std::size_t offset = 0; offset < block->size(); offset += 9'973) {
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kPageBytes, 3 * kPageBytes}) {
      const std::size_t taken = std::min(size, block->size() - offset);
      const ConstBytes got = block->Gather(offset, taken, scratch);
      ASSERT_EQ(got.size(), taken);
      EXPECT_TRUE(std::equal(got.begin(), got.end(), expected.begin() + static_cast<long>(offset)));
    }
  }
}

TEST(BlockTest, NeighbouringRangesAreJoinedOnlyWhereAllowed) {
  const auto arena = Arena::Map(8 * kPageBytes).value();
  const BlockRef block = Block::Make(*arena, 2 * kPageBytes);
  std::vector<ConstBytes> runs;
  block->Append(0, 100, runs);
  block->Append(100, 100, runs);
  EXPECT_EQ(runs.size(), 1U);
  block->Append(200, 100, runs, runs.size());
  EXPECT_EQ(runs.size(), 2U);
}

// Live bytes per byte of the arena while objects come and go, oldest or any first.
double ChurnUtilisation(std::size_t size_min, std::size_t size_max, bool any_first) {
  const auto arena = Arena::Map(48 * limits::kMiB).value();
  std::mt19937_64 random(3);
  std::deque<BlockRef> live;
  std::size_t live_bytes = 0;
  double sum = 0;
  constexpr int kSteps = 4'000;
  for (int step = 0; step < kSteps; ++step) {
    const std::size_t size = size_min + random() % (size_max - size_min + 1);
    BlockRef block;
    while ((block = Block::Make(*arena, size)) == nullptr) {
      if (any_first) std::swap(live[random() % live.size()], live.front());
      live_bytes -= live.front()->size();
      live.pop_front();
    }
    live_bytes += size;
    live.push_back(std::move(block));
    if (step >= kSteps / 2) {
      sum += static_cast<double>(live_bytes) / static_cast<double>(arena->memory().size());
    }
  }
  return sum / (kSteps - kSteps / 2);
}

TEST(ArenaTest, ChurnLeavesLittleUnused) {
  struct Mix {
    const char* name;
    std::size_t size_min;
    std::size_t size_max;
    double least;
  };
  for (const Mix& mix : {Mix{"64 KiB and a header", 65'920, 65'920, 0.93},
                         Mix{"40 KiB to 200 KiB", 40'000, 200'000, 0.93},
                         Mix{"1 MiB and a header", 1'048'960, 1'048'960, 0.95},
                         Mix{"256 KiB to 4 MiB", 262'144, 4'194'304, 0.93}}) {
    for (const bool any_first : {false, true}) {
      const double share = ChurnUtilisation(mix.size_min, mix.size_max, any_first);
      std::printf("arena of 48 MiB, objects of %s, %s first: %.3f live\n", mix.name,
                  any_first ? "any" : "oldest", share);
      EXPECT_GE(share, mix.least) << mix.name;
    }
  }
}

}  // namespace
}  // namespace kdn::storage::test
