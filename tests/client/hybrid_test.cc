// Goal: a model whose layers differ in their number of heads is loaded like any other, also when
// several writers stored a share of the heads each, some of which whole layers do not have.
// Method: embedded mode; memory of two KV groups is stored in parts and loaded into other memory.
#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <numeric>
#include <vector>

#include "kdn/embedded.h"
#include "tests/client/test_engine.h"

namespace kdn::client {
namespace {

constexpr std::uint32_t kTokens = 64;
constexpr std::uint32_t kBlockTokens = 16;
constexpr std::uint16_t kHeadSize = 32;

// Layers 0 and 2 have eight heads, layers 1 and 3 have four.
ModelSpec HybridSpec() {
  ModelSpec spec;
  spec.name = "test/hybrid";
  spec.revision = "1";
  spec.rotary.pairing = RotaryPairing::kNeox;
  spec.rotary.dims = kHeadSize;
  spec.groups = {{AttentionKind::kGrouped, {0, 2}, 8, kHeadSize, kHeadSize, 0},
                 {AttentionKind::kGrouped, {1, 3}, 4, kHeadSize, kHeadSize, 0}};
  return spec;
}

// Pools for a spec of grouped attention: one run of bytes per plane and layer.
class HybridMemory {
 public:
  // `seed` 0: all bytes are alike.
  HybridMemory(const ModelSpec& spec, std::uint32_t seed) {
    table_.resize(kTokens / kBlockTokens);
    std::iota(table_.begin(), table_.end(), 0U);
    for (const KvGroup& group : spec.groups) {
      const std::ptrdiff_t row = std::ptrdiff_t{2} * kHeadSize;
      codec::KvPool pool;
      for (codec::PlaneMap& plane : pool.planes) {
        auto& bases = bases_.emplace_back();
        for (std::size_t l = 0; l < group.layers.size(); ++l) {
          auto& bytes = layers_.emplace_back(kTokens * group.kv_heads * std::size_t(row));
          for (std::size_t i = 0; i < bytes.size() && seed != 0; ++i) {
            bytes[i] = static_cast<std::byte>(i * 31 + seed + layers_.size());
          }
          bases.push_back(bytes.data());
        }
        plane = {bases, kBlockTokens * group.kv_heads * row, group.kv_heads * row, row, 2};
      }
      pool.block_tokens = kBlockTokens;
      pool.block_count = kTokens / kBlockTokens;
      pool.head_count = group.kv_heads;
      pools_.push_back(pool);
      tables_.emplace_back(table_);
    }
  }
  HybridMemory(const HybridMemory&) = delete;
  HybridMemory& operator=(const HybridMemory&) = delete;

  [[nodiscard]] codec::PagedKv kv() const { return {pools_}; }
  [[nodiscard]] codec::BlockTables blocks() const { return {tables_}; }
  [[nodiscard]] bool SameAs(const HybridMemory& other) const { return layers_ == other.layers_; }

 private:
  std::deque<std::vector<std::byte>> layers_;
  std::deque<std::vector<std::byte*>> bases_;
  std::vector<codec::KvPool> pools_;
  std::vector<std::uint32_t> table_;
  std::vector<std::span<const std::uint32_t>> tables_;
};

class Hybrid : public testing::TestWithParam<LoadOrder> {};

TEST_P(Hybrid, PartsThatSomeLayersHaveNoHeadsForAreLoadedWhole) {
  EmbeddedOptions options;
  options.dram_bytes = std::size_t{64} << 20;
  options.client.chunk_secrets = {{SecretId{1}, std::vector<std::byte>(32, std::byte{9})}};
  options.client.chunk_tokens = kTokens;
  auto client = OpenEmbedded(options);
  ASSERT_TRUE(client.has_value());
  const ModelSpec spec = HybridSpec();
  auto model = (*client)->UseModel(spec, {});
  ASSERT_TRUE(model.has_value());
  const auto tokens = test::TokensOf(9, kTokens);

  const HybridMemory writer(spec, 3);
  StorePlanOptions plan_options;
  plan_options.provenance = kExactProvenance;
  plan_options.part_count = 2;
  auto plan = (*client)->PlanStore(**model, tokens, plan_options);
  ASSERT_TRUE(plan.has_value());
  for (std::uint16_t part = 0; part < 2; ++part) {
    PartShape shape;
    shape.number = part;
    shape.count = 2;
    shape.kv_heads = {static_cast<std::uint16_t>(4 * part), 4};
    auto store = (*client)->Store(**model, *plan, shape, writer.kv(), writer.blocks());
    ASSERT_TRUE(store.has_value()) << store.error().ToString();
    ASSERT_EQ((*store)->Wait().code, Code::kOk);
  }

  const LookupResult found = (*client)->Lookup(**model, tokens, {})->Take();
  ASSERT_EQ(found.tokens_matched(), kTokens);
  const HybridMemory reader(spec, 0);
  LoadOptions load_options;
  load_options.order = GetParam();
  auto load = (*client)->Load(**model, found, reader.kv(), reader.blocks(), load_options);
  ASSERT_TRUE(load.has_value());
  const LoadReport report = (*load)->Wait();
  EXPECT_EQ(report.code, Code::kOk);
  EXPECT_EQ(report.tokens_loaded, kTokens);
  for (std::uint32_t layer = 0; layer < 4; ++layer) EXPECT_TRUE((*load)->LayerReady(layer));
  EXPECT_TRUE(reader.SameAs(writer));
}

INSTANTIATE_TEST_SUITE_P(BothOrders, Hybrid,
                         testing::Values(LoadOrder::kChunkByChunk, LoadOrder::kLayerByLayer));

}  // namespace
}  // namespace kdn::client
