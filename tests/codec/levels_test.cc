// Goal: an object of several levels gives at each of them what it promises: finer levels are
// closer, exact is the engine's own bits whatever they are, any prefix of the levels decodes, and
// keys come back at any position that is asked for. Method: recorded KV and bit patterns of every
// kind through ObjectCodec into poisoned memory; moved keys against a rotation in double precision.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "codec/codec_scratch.h"
#include "codec/kernels/select.h"
#include "codec/object_codec.h"
#include "codec/rotary.h"
#include "proto/object/object.h"
#include "tests/codec/level_pages.h"
#include "tests/codec/paged_memory.h"
#include "tests/codec/recorded_kv.h"
#include "tests/codec/values.h"

namespace kdn::codec {
namespace {

constexpr LevelSet kAll(0b1111);

class RecordedLevels : public testing::Test {
 protected:
  static constexpr std::uint32_t kTokens = 256;

  void SetUp() override {
    kv_.emplace(RecordedKv::Read().value());
    ObjectHeader header = kv_->HeaderFor(kTokens, 2, 1);
    header.levels_encoded = kAll;
    header.first_position = kTokens;
    object_ = kv_->EncodeChunk(header, kTokens);
    ASSERT_FALSE(object_.empty());
    header.levels_encoded = LevelSet(Level::kExact);
    header.flags = kFlagExactAlone;
    alone_ = kv_->EncodeChunk(header, kTokens);
    original_.emplace(kv_->spec(), kTokens);
    Decode(alone_, 1, 0, *original_);
  }

  // The first `levels` of every place.
  void Decode(ConstBytes object, std::size_t levels, std::int64_t moved, Page& page,
              std::string_view kernels = {}) {
    const Opened opened = Open(object);
    const ObjectCodec codec = ObjectCodec::Make(kv_->spec(), kernels).value();
    const ChunkPlace to{.first_token = 0, .token_count = kTokens, .moved = moved};
    for (const Place& place : opened.places) {
      const Status status = codec.DecodeTile(opened.header, std::span(place.tiles).first(levels),
                                             page.kv(), page.tables(), to, nullptr, scratch_);
      ASSERT_TRUE(status.ok()) << status.ToString();
    }
  }

  double RelativeError(Page& got, std::size_t plane) {
    double error = 0.0;
    double power = 0.0;
    for (std::size_t i = 0; i < got.plane(plane).size(); i += 2) {
      const double want = double{Bf16At(original_->plane(plane).data() + i)};
      error += std::pow(want - double{Bf16At(got.plane(plane).data() + i)}, 2);
      power += want * want;
    }
    return std::sqrt(error / power);
  }

  std::optional<RecordedKv> kv_;
  std::vector<std::byte> object_;
  std::vector<std::byte> alone_;
  std::optional<Page> original_;
  CodecScratch scratch_;
};

TEST_F(RecordedLevels, FinerIsCloserAndExactIsExact) {
  double before[2] = {1.0, 1.0};
  for (std::size_t levels = 1; levels <= 3; ++levels) {
    Page page(kv_->spec(), kTokens);
    Decode(object_, levels, 0, page);
    for (std::size_t plane = 0; plane < 2; ++plane) {
      const double error = RelativeError(page, plane);
      EXPECT_LT(error, before[plane] * 0.6) << "plane " << plane << ", " << levels << " levels";
      before[plane] = error;
    }
    RecordProperty("error_k_" + std::to_string(levels), std::to_string(before[0]));
  }
  Page page(kv_->spec(), kTokens);
  Decode(object_, 4, 0, page);
  EXPECT_EQ(page.plane(0), original_->plane(0));
  EXPECT_EQ(page.plane(1), original_->plane(1));
}

TEST_F(RecordedLevels, ExactOnTopOfFineCostsLittleMoreThanExactAlone) {
  const Opened opened = Open(object_);
  const double raw = static_cast<double>(kTokens * BytesPerToken(kv_->spec()));
  double bits = 0.0;
  for (const LevelInfo& info : Levels()) {
    const auto l = static_cast<std::size_t>(info.level);
    bits = 16.0 * opened.header.level_bytes[l] / raw;
    std::printf("%-8s %.3f bits a value\n", std::string(info.name).c_str(), bits);
  }
  const double ratio = raw / static_cast<double>(object_.size());
  std::printf("all levels: ratio %.3f; exact alone: %.3f\n", ratio,
              raw / static_cast<double>(alone_.size()));
  EXPECT_GT(ratio, 1.3);
}

TEST_F(RecordedLevels, KeysComeBackAtTheWantedPosition) {
  const RotaryAngles angles = RotaryAngles::Make(kv_->spec().rotary).value();
  for (const std::int64_t moved : {std::int64_t{-256}, std::int64_t{1}, std::int64_t{5000}}) {
    for (const auto& [object, levels, bound] :
         {std::tuple(&object_, 3, 0.1), std::tuple(&object_, 4, 0.004),
          std::tuple(&alone_, 1, 0.004)}) {
      Page page(kv_->spec(), kTokens);
      Decode(*object, static_cast<std::size_t>(levels), moved, page);
      double error = 0.0;
      double power = 0.0;
      for (std::size_t row = 0; row < page.plane(0).size(); row += 128) {
        for (std::size_t i = 0; i < 32; ++i) {
          const double angle = static_cast<double>(moved) * angles.frequencies()[i];
          const double a = double{Bf16At(original_->plane(0).data() + row + 2 * i)};
          const double b = double{Bf16At(original_->plane(0).data() + row + 2 * i + 64)};
          const double x = a * std::cos(angle) - b * std::sin(angle);
          error += std::pow(x - double{Bf16At(page.plane(0).data() + row + 2 * i)}, 2);
          power += x * x;
        }
      }
      EXPECT_LT(std::sqrt(error / power), bound) << moved << ", " << levels << " levels";
    }
  }
}

TEST_F(RecordedLevels, EveryKernelTableGivesTheSameBits) {
  for (std::size_t levels = 1; levels <= 4; ++levels) {
    Page want(kv_->spec(), kTokens);
    Decode(object_, levels, 77, want, "scalar");
    for (const Kernels* kernels : SupportedKernels()) {
      Page got(kv_->spec(), kTokens);
      Decode(object_, levels, 77, got, kernels->name);
      EXPECT_EQ(got.plane(0), want.plane(0)) << kernels->name << ", " << levels << " levels";
      EXPECT_EQ(got.plane(1), want.plane(1)) << kernels->name << ", " << levels << " levels";
    }
  }
}

// Bits of every kind, types and head sizes, with all levels: exact gives them back.
TEST(Levels, ExactGivesBackWhateverBitsThereWere) {
  for (const DType dtype : kAllDTypes) {
    for (const Pattern pattern : kAllPatterns) {
      for (const std::uint32_t tokens : {1U, 33U}) {
        ModelSpec spec;
        spec.name = "bits";
        spec.dtype = dtype;
        spec.groups.push_back(
            {.layers = {0, 1}, .kv_heads = 2, .k_head_size = 32, .v_head_size = 48});
        spec.rotary = {.pairing = RotaryPairing::kGptJ, .dims = 16, .base = 1e4};
        const std::vector<MemoryShape> shapes(1);
        const ChunkPlace place{.first_token = 3, .token_count = tokens};
        TestMemory memory(spec, shapes);
        const TestTables tables(shapes, place, 5);
        // The pattern over all of memory, padding and other blocks too.
        for (auto& tensor : memory.group(0).tensors()) {
          const std::size_t size = DTypeBytes(dtype);
          const auto values = MakeValues(dtype, pattern, tensor.size() / size, tokens);
          std::copy(values.begin(), values.end(), tensor.begin());
        }
        ObjectHeader header;
        header.key.bytes[0] = std::byte{1};
        header.dtype = dtype;
        header.token_count = tokens;
        header.levels_encoded = kAll;
        header.part.layers = {0, 2};
        header.part.kv_heads = {0, 2};
        header.layers_per_group = 2;
        header.heads_per_group = 2;
        const ObjectCodec codec = ObjectCodec::Make(spec).value();
        CodecScratch scratch;
        std::vector<std::byte> object;
        ASSERT_TRUE(
            codec.Encode(header, memory.kv(), tables.tables(), place, nullptr, object, scratch)
                .ok());
        EXPECT_LE(object.size(), codec.EncodedBytesMax(header));
        // What exact alone, whose own tests compare it with the memory, brings into poisoned
        // memory.
        header.levels_encoded = Level::kExact;
        std::vector<std::byte> alone;
        ASSERT_TRUE(
            codec.Encode(header, memory.kv(), tables.tables(), place, nullptr, alone, scratch)
                .ok());
        const auto decoded = [&](const std::vector<std::byte>& bytes) {
          for (auto& tensor : memory.group(0).tensors()) {
            std::fill(tensor.begin(), tensor.end(), std::byte{0x5A});
          }
          const Opened opened = Open(bytes);
          for (const Place& one : opened.places) {
            EXPECT_TRUE(codec
                            .DecodeTile(opened.header, one.tiles, memory.kv(), tables.tables(),
                                        place, nullptr, scratch)
                            .ok());
          }
          return memory.Snapshot();
        };
        EXPECT_TRUE(decoded(object) == decoded(alone))
            << DTypeName(dtype) << " " << PatternName(pattern) << " " << tokens;
      }
    }
  }
}

}  // namespace
}  // namespace kdn::codec
