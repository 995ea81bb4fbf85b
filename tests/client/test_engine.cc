#include "tests/client/test_engine.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

#include "base/random.h"

namespace kdn::test {
namespace {

constexpr std::uint16_t kPoison = 0x7FB5;  // a NaN with a payload

std::uint16_t ToBf16(float value) {
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
}

}  // namespace

ModelSpec SpecOf(const EngineShape& shape) {
  ModelSpec spec;
  spec.name = "test/engine";
  spec.revision = "1";
  spec.dtype = DType::kBf16;
  spec.rotary.pairing = RotaryPairing::kNeox;
  spec.rotary.dims = shape.head_size;
  KvGroup group;
  group.layers.resize(shape.layers);
  std::iota(group.layers.begin(), group.layers.end(), std::uint16_t{0});
  group.kv_heads = shape.kv_heads;
  group.k_head_size = shape.head_size;
  group.v_head_size = shape.head_size;
  spec.groups.push_back(std::move(group));
  return spec;
}

std::vector<client::TokenId> TokensOf(std::uint64_t seed, std::size_t count) {
  SeededRandom random(seed);
  std::vector<client::TokenId> tokens(count);
  for (client::TokenId& token : tokens) token = static_cast<client::TokenId>(random.Next() % 32000);
  return tokens;
}

TestEngine::TestEngine(const EngineShape& shape)
    : TestEngine(shape, {0, shape.layers}, {0, shape.kv_heads}) {}

TestEngine::TestEngine(const EngineShape& shape, Range layers, Range heads)
    : shape_(shape), layers_(layers), heads_(heads) {
  const std::size_t block_values = std::size_t{shape.block_tokens} * heads.count * shape.head_size;
  values_.resize(2 * layers.count * shape.block_count * block_values);
  for (std::uint32_t plane = 0; plane < 2; ++plane) {
    for (std::uint32_t layer = 0; layer < shape.layers; ++layer) {
      const bool held = layer >= layers.first && layer < layers.end();
      const std::size_t index =
          (plane * layers.count + (layer - layers.first)) * shape.block_count * block_values;
      bases_[plane].push_back(held ? reinterpret_cast<std::byte*>(&values_[index]) : nullptr);
    }
  }
  codec::KvPool pool;
  for (std::uint32_t plane = 0; plane < 2; ++plane) {
    codec::PlaneMap& map = pool.planes[plane];
    map.base = bases_[plane];
    map.dim_stride = sizeof(std::uint16_t);
    map.head_stride = map.dim_stride * shape.head_size;
    map.slot_stride = map.head_stride * heads.count;
    map.block_stride = map.slot_stride * shape.block_tokens;
  }
  pool.block_tokens = shape.block_tokens;
  pool.block_count = shape.block_count;
  pool.first_head = heads.first;
  pool.head_count = heads.count;
  pools_.push_back(pool);
  // Blocks in an order of their own: an engine's are never consecutive.
  table_.resize(shape.block_count);
  std::iota(table_.begin(), table_.end(), 0U);
  SeededRandom random(shape.block_count);
  for (std::size_t i = table_.size(); i > 1; --i) {
    std::swap(table_[i - 1], table_[random.Next() % i]);
  }
  tables_.emplace_back(table_);
  kv_.pools = pools_;
  blocks_.tables = tables_;
}

std::size_t TestEngine::IndexOf(std::uint32_t plane, std::uint32_t layer, std::uint32_t head,
                                std::size_t token) const {
  const std::size_t row = std::size_t{heads_.count} * shape_.head_size;
  const std::size_t block = table_[token / shape_.block_tokens];
  const std::size_t slot = token % shape_.block_tokens;
  const std::size_t plane_layer = plane * layers_.count + (layer - layers_.first);
  return ((plane_layer * shape_.block_count + block) * shape_.block_tokens + slot) * row +
         (head - heads_.first) * shape_.head_size;
}

void TestEngine::Fill(std::uint64_t seed) {
  const std::size_t tokens = std::size_t{shape_.block_tokens} * shape_.block_count;
  for (std::uint32_t plane = 0; plane < 2; ++plane) {
    for (std::uint32_t layer = layers_.first; layer < layers_.end(); ++layer) {
      for (std::uint32_t head = heads_.first; head < heads_.end(); ++head) {
        for (std::size_t token = 0; token < tokens; ++token) {
          SeededRandom random((((seed * 31 + plane) * 1031 + layer) * 1033 + head) * 65537 + token);
          std::uint16_t* row = &values_[IndexOf(plane, layer, head, token)];
          for (std::uint32_t d = 0; d < shape_.head_size; ++d) {
            // The sum of four uniform draws.
            const std::uint64_t bits = random.Next();
            float sum = -2.0F;
            for (int i = 0; i < 4; ++i) {
              sum += static_cast<float>((bits >> (16 * i)) & 0xFFFF) / 65536.0F;
            }
            row[d] = ToBf16(sum * 3.0F);
          }
        }
      }
    }
  }
}

void TestEngine::Poison() {
  std::fill(values_.begin(), values_.end(), kPoison);
}

bool TestEngine::AllPoison() const {
  return std::all_of(values_.begin(), values_.end(), [](std::uint16_t v) { return v == kPoison; });
}

bool TestEngine::SameAs(const TestEngine& other, std::size_t count) const {
  for (std::uint32_t plane = 0; plane < 2; ++plane) {
    for (std::uint32_t layer = layers_.first; layer < layers_.end(); ++layer) {
      for (std::uint32_t head = heads_.first; head < heads_.end(); ++head) {
        for (std::size_t token = 0; token < count; ++token) {
          if (std::memcmp(&values_[IndexOf(plane, layer, head, token)],
                          &other.values_[other.IndexOf(plane, layer, head, token)],
                          shape_.head_size * sizeof(std::uint16_t)) != 0) {
            return false;
          }
        }
      }
    }
  }
  return true;
}

}  // namespace kdn::test
