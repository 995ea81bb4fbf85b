// Goal: one spec, one encoding; whatever changes the meaning of a cache changes the encoding.
#include "proto/object/model_spec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "base/limits.h"
#include "tests/proto/object/golden_cases.h"

namespace kdn {
namespace {

ModelSpec HybridSpec() {
  return test::GoldenModelSpec();
}

TEST(ModelSpec, EveryFieldSurvivesTheRoundTrip) {
  const ModelSpec spec = HybridSpec();
  ASSERT_TRUE(ValidateModelSpec(spec).ok()) << ValidateModelSpec(spec).ToString();
  const Result<ModelSpec> decoded = DecodeModelSpec(EncodeModelSpec(spec));
  ASSERT_TRUE(decoded) << decoded.error().ToString();
  EXPECT_EQ(*decoded, spec);
}

TEST(ModelSpec, BothZerosAreOneEncoding) {
  ModelSpec spec = HybridSpec();
  spec.rotary.low_frequency_factor = 0.0;
  ModelSpec negative = spec;
  negative.rotary.low_frequency_factor = -0.0;
  ASSERT_EQ(spec, negative);
  EXPECT_EQ(EncodeModelSpec(spec), EncodeModelSpec(negative));
}

TEST(ModelSpec, NegativeZeroOnTheWireIsNotCanonical) {
  ModelSpec spec = HybridSpec();
  spec.rotary.low_frequency_factor = 0.0;
  std::vector<std::byte> bytes = EncodeModelSpec(spec);
  // magic, version, name, revision, dtype, scales, pairing, scaling, dims, base, factor
  const std::size_t at = 6 + 4 + spec.name.size() + 4 + spec.revision.size() + 1 + 8 + 4 + 16;
  bytes[at + 7] = std::byte{0x80};
  EXPECT_EQ(DecodeModelSpec(bytes).error().code(), Code::kDataLoss);
}

TEST(ModelSpec, EveryCutAndEveryAdditionIsRefused) {
  std::vector<std::byte> bytes = EncodeModelSpec(HybridSpec());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_EQ(DecodeModelSpec(ConstBytes(bytes).first(size)).error().code(), Code::kDataLoss);
  }
  bytes.push_back(std::byte{0});
  EXPECT_EQ(DecodeModelSpec(bytes).error().code(), Code::kDataLoss);
}

TEST(ModelSpec, EverySingleBitFlipIsRefusedOrAnotherSpec) {
  std::vector<std::byte> bytes = EncodeModelSpec(HybridSpec());
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    const std::byte mask{static_cast<unsigned char>(1U << (bit % 8))};
    bytes[bit / 8] ^= mask;
    const Result<ModelSpec> decoded = DecodeModelSpec(bytes);
    if (decoded) {
      EXPECT_FALSE(*decoded == HybridSpec());
      EXPECT_EQ(EncodeModelSpec(*decoded), bytes);
    }
    bytes[bit / 8] ^= mask;
  }
}

TEST(ModelSpec, TheLargestOneFitsItsLimit) {
  ModelSpec spec;
  spec.name = std::string(limits::kModelNameBytesMax, 'n');
  spec.revision = std::string(limits::kModelNameBytesMax, 'r');
  spec.groups.resize(limits::kKvGroupsMax);
  for (KvGroup& group : spec.groups) {
    group.kv_heads = 1;
    group.k_head_size = group.v_head_size = 64;
  }
  for (std::uint16_t layer = 0; layer < limits::kLayersMax; ++layer) {
    spec.groups[layer % spec.groups.size()].layers.push_back(layer);
  }
  ASSERT_TRUE(ValidateModelSpec(spec).ok());
  const std::vector<std::byte> bytes = EncodeModelSpec(spec);
  EXPECT_LE(bytes.size(), limits::kModelSpecBytesMax);
  EXPECT_EQ(DecodeModelSpec(bytes), spec);
}

struct BadSpec {
  const char* name;
  std::function<void(ModelSpec&)> spoil;
};

class ModelSpecWithABadField : public testing::TestWithParam<BadSpec> {};

TEST_P(ModelSpecWithABadField, IsRefusedAndDoesNotDecode) {
  ModelSpec spec = HybridSpec();
  GetParam().spoil(spec);
  EXPECT_EQ(ValidateModelSpec(spec).code(), Code::kInvalidArgument);
  EXPECT_EQ(DecodeModelSpec(EncodeModelSpec(spec)).error().code(), Code::kDataLoss);
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

INSTANTIATE_TEST_SUITE_P(
    All, ModelSpecWithABadField,
    testing::Values(
        BadSpec{"NoName", [](auto& s) { s.name.clear(); }},
        BadSpec{"LongName", [](auto& s) { s.name.resize(257, 'x'); }},
        BadSpec{"DType", [](auto& s) { s.dtype = static_cast<DType>(5); }},
        BadSpec{"ZeroScale", [](auto& s) { s.k_scale = 0.0F; }},
        BadSpec{"NanScale", [](auto& s) { s.v_scale = std::nanf(""); }},
        BadSpec{"ScaledBf16", [](auto& s) { s.dtype = DType::kBf16; }},
        BadSpec{"Pairing", [](auto& s) { s.rotary.pairing = static_cast<RotaryPairing>(3); }},
        BadSpec{"Scaling", [](auto& s) { s.rotary.scaling = static_cast<RotaryScaling>(5); }},
        BadSpec{"NanBase", [](auto& s) { s.rotary.base = kNan; }},
        BadSpec{"InfiniteContext", [](auto& s) { s.rotary.original_context = INFINITY; }},
        BadSpec{"OddDims", [](auto& s) { s.rotary.dims = 63; }},
        BadSpec{"DimsBeyondTheHead", [](auto& s) { s.rotary.dims = 66; }},
        BadSpec{"DimsWithoutPairing", [](auto& s) { s.rotary.pairing = RotaryPairing::kNone; }},
        BadSpec{"ParametersWithoutScaling",
                [](auto& s) { s.rotary.scaling = RotaryScaling::kNone; }},
        BadSpec{"NoFactor", [](auto& s) { s.rotary.factor = 0.0; }},
        BadSpec{"NoGroups", [](auto& s) { s.groups.clear(); }},
        BadSpec{"TooManyGroups", [](auto& s) { s.groups.resize(17, s.groups[0]); }},
        BadSpec{"EmptyGroup", [](auto& s) { s.groups[2].layers.clear(); }},
        BadSpec{"MissingLayer", [](auto& s) { s.groups[2].layers = {5}; }},
        BadSpec{"DoubleLayer", [](auto& s) { s.groups[2].layers = {2, 3}; }},
        BadSpec{"DescendingLayers", [](auto& s) { s.groups[0].layers = {2, 0}; }},
        BadSpec{"LayerBeyondLimit", [](auto& s) { s.groups[2].layers = {3, 1024}; }},
        BadSpec{"NoHeads", [](auto& s) { s.groups[0].kv_heads = 0; }},
        BadSpec{"LatentWithTwoHeads", [](auto& s) { s.groups[1].kv_heads = 2; }},
        BadSpec{"NoHeadSize", [](auto& s) { s.groups[0].k_head_size = 0; }},
        BadSpec{"HeadSizeBeyondLimit", [](auto& s) { s.groups[1].k_head_size = 1025; }},
        BadSpec{"StateWithASecondPlane", [](auto& s) { s.groups[2].v_head_size = 1; }},
        BadSpec{"NoValueSize", [](auto& s) { s.groups[0].v_head_size = 0; }}),
    [](const auto& bad) { return std::string(bad.param.name); });

TEST(ModelSpec, CountsLayersBytesAndFindsGroups) {
  const ModelSpec spec = HybridSpec();
  EXPECT_EQ(LayerCount(spec), 5U);
  EXPECT_EQ(BytesPerToken(spec), 2U * 8 * (128 + 96) + 2U * (512 + 64) + 1024U);
  for (std::uint32_t layer = 0; layer < 5; ++layer) {
    const std::size_t group[] = {0, 1, 0, 2, 1};
    EXPECT_EQ(&GroupOfLayer(spec, layer), &spec.groups[group[layer]]) << layer;
  }
}

TEST(DType, NamesAndSizes) {
  EXPECT_EQ(DTypeBytes(DType::kFp32), 4U);
  EXPECT_EQ(DTypeBytes(DType::kFp8E5M2), 1U);
  EXPECT_EQ(DTypeName(DType::kFp8E4M3), "fp8_e4m3");
  EXPECT_EQ(PlaneName(Plane::kLatent), "latent");
}

}  // namespace
}  // namespace kdn
