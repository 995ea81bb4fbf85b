// Goal: the cache's own view of a slot and the affine map that a KDN client is given are the same
// place, in both layouts, and blocks are lent once.
#include "client/llama/paged_cache.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <set>
#include <vector>

#include "tests/client/llama/fixture.h"

namespace kdn::llama {
namespace {

LlamaConfig SmallConfig() {
  LlamaConfig config;
  config.layers = 3;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_size = 8;
  return config;
}

PagedCache Make(const PagedCacheOptions& options) {
  return PagedCache::Make(SmallConfig(), options).value();
}

TEST(PagedCache, HoldsEveryValueAtAPlaceOfItsOwn) {
  for (const KvLayout layout : {KvLayout::kNhd, KvLayout::kHnd}) {
    PagedCache cache = Make({.block_count = 5, .block_tokens = 4, .layout = layout});
    std::set<const std::byte*> places;
    for (std::uint32_t layer = 0; layer < 3; ++layer) {
      for (const Plane plane : {Plane::kK, Plane::kV}) {
        for (std::uint32_t head = 0; head < 2; ++head) {
          for (std::uint32_t token = 0; token < 20; ++token) {
            const std::byte* at = cache.Values(layer, plane, head, token / 4, token % 4);
            EXPECT_GE(at, cache.memory().data());
            EXPECT_LE(at + 16, cache.memory().data() + cache.memory().size());
            EXPECT_EQ((at - cache.memory().data()) % 16, 0);
            places.insert(at);
          }
        }
      }
    }
    EXPECT_EQ(places.size() * 16, cache.memory().size());
  }
}

TEST(PagedCache, LayoutsAreWhatEnginesCallThem) {
  // Addresses by the row-major shapes, in values: [2, 5, 4, 2, 8] and [2, 5, 2, 4, 8] a layer.
  const PagedCache nhd = Make({.block_count = 5, .block_tokens = 4, .layout = KvLayout::kNhd});
  const PagedCache hnd = Make({.block_count = 5, .block_tokens = 4, .layout = KvLayout::kHnd});
  const auto offset = [](const PagedCache& cache) {
    return (cache.Values(1, Plane::kV, 1, 3, 2) - cache.Values(0, Plane::kK, 0, 0, 0)) / 2;
  };
  EXPECT_EQ(offset(nhd), ((((1 * 2 + 1) * 5 + 3) * 4 + 2) * 2 + 1) * 8);
  EXPECT_EQ(offset(hnd), ((((1 * 2 + 1) * 5 + 3) * 2 + 1) * 4 + 2) * 8);
}

TEST(PagedCache, ShowsItselfAsTheAffineMapOfTheBorder) {
  PagedCache cache = Make({.block_count = 5, .block_tokens = 4, .layout = KvLayout::kHnd});
  const codec::PagedKv view = cache.view();
  ASSERT_EQ(view.pools.size(), 1U);
  const codec::KvPool& pool = view.pools[0];
  EXPECT_EQ(pool.block_tokens, 4U);
  EXPECT_EQ(pool.block_count, 5U);
  EXPECT_EQ(pool.first_head, 0);
  EXPECT_EQ(pool.head_count, 2);
  ASSERT_EQ(pool.planes[1].base.size(), 3U);
  const codec::PlaneMap& v = pool.planes[1];
  EXPECT_EQ(v.base[2] + 4 * v.block_stride + 3 * v.slot_stride + 1 * v.head_stride,
            cache.Values(2, Plane::kV, 1, 4, 3));
  EXPECT_EQ(v.dim_stride, 2);
}

TEST(PagedCache, ViewStaysValidWhenTheCacheMoves) {
  PagedCache cache = Make({.block_count = 2});
  const codec::PagedKv before = cache.view();
  const PagedCache moved = std::move(cache);
  EXPECT_EQ(moved.view().pools.data(), before.pools.data());
  EXPECT_EQ(before.pools[0].planes[0].base[0], moved.Values(0, Plane::kK, 0, 0, 0));
}

TEST(PagedCache, LendsEachBlockOnce) {
  PagedCache cache = Make({.block_count = 6, .block_tokens = 4});
  BlockTable a;
  BlockTable b;
  ASSERT_TRUE(cache.Grow(a, 9).ok());
  ASSERT_TRUE(cache.Grow(b, 8).ok());
  ASSERT_TRUE(cache.Grow(a, 12).ok());
  EXPECT_EQ(a.blocks().size(), 3U);
  EXPECT_EQ(b.blocks().size(), 2U);
  EXPECT_EQ(cache.free_block_count(), 1U);
  std::set<std::uint32_t> lent(a.blocks().begin(), a.blocks().end());
  lent.insert(b.blocks().begin(), b.blocks().end());
  EXPECT_EQ(lent.size(), 5U);
}

TEST(PagedCache, GrowingBeyondTheFreeBlocksChangesNothing) {
  PagedCache cache = Make({.block_count = 3, .block_tokens = 4});
  BlockTable a;
  ASSERT_TRUE(cache.Grow(a, 4).ok());
  EXPECT_EQ(cache.Grow(a, 13).code(), Code::kResourceExhausted);
  EXPECT_EQ(a.blocks().size(), 1U);
  EXPECT_EQ(cache.free_block_count(), 2U);
}

TEST(PagedCache, ReleasedBlocksAreLentAgain) {
  PagedCache cache = Make({.block_count = 3, .block_tokens = 4});
  BlockTable a;
  ASSERT_TRUE(cache.Grow(a, 12).ok());
  cache.Release(a);
  EXPECT_TRUE(a.blocks().empty());
  BlockTable b;
  EXPECT_TRUE(cache.Grow(b, 12).ok());
}

TEST(BlockTable, ViewNamesItsBlocksAsTheOnlyTable) {
  BlockTable table(std::vector<std::uint32_t>{4, 2});
  const codec::BlockTables view = table.view();
  ASSERT_EQ(view.tables.size(), 1U);
  EXPECT_EQ(view.tables[0].data(), table.blocks().data());
  EXPECT_EQ(view.tables[0].size(), 2U);
}

TEST(PagedCache, PoisonIsNanInBothTypes) {
  PagedCache narrow = Make({.block_count = 1});
  narrow.Poison();
  std::uint16_t half = 0;
  std::memcpy(&half, narrow.memory().data() + narrow.memory().size() - 2, 2);
  EXPECT_GT(half & 0x7FFF, 0x7F80);

  PagedCache wide = Make({.block_count = 1, .dtype = DType::kFp32});
  wide.Poison();
  float value = 0.0F;
  std::memcpy(&value, wide.memory().data() + wide.memory().size() - 4, 4);
  EXPECT_TRUE(std::isnan(value));
}

TEST(PagedCache, RefusesOptionsOutOfBounds) {
  const auto code = [](const PagedCacheOptions& options) {
    return PagedCache::Make(SmallConfig(), options).error().code();
  };
  EXPECT_EQ(code({.block_count = 0}), Code::kInvalidArgument);
  EXPECT_EQ(code({.block_count = 1, .block_tokens = 0}), Code::kInvalidArgument);
  EXPECT_EQ(code({.block_count = 1, .block_tokens = 257}), Code::kInvalidArgument);
  EXPECT_EQ(code({.block_count = 1, .dtype = DType::kFp16}), Code::kUnimplemented);
}

}  // namespace
}  // namespace kdn::llama
