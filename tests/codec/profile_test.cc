// Goal: a profile is worth its bytes: correlated channels cost less at equal error; it survives
// writing and reading, and any bytes are refused or usable.
// Method: recorded KV, learned on its first half and used on its second; synthetic channels of
// known correlation; every byte of a small profile changed in turn.
#include "codec/profile.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <random>

#include "codec/codec_scratch.h"
#include "codec/kernels/select.h"
#include "codec/profile_learner.h"
#include "tests/codec/level_pages.h"
#include "tests/codec/profile_ids.h"
#include "tests/codec/recorded_kv.h"

namespace kdn::codec {
namespace {

constexpr LevelSet kAll(0b1111);
constexpr std::uint32_t kTokens = 256;

std::uint16_t ToBf16(float x) {
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16);
}

// Recorded KV of the test model: two chunks.
class RecordedProfile : public testing::Test {
 protected:
  void SetUp() override {
    kv_.emplace(RecordedKv::Read().value());
    for (std::uint32_t c = 0; c < 2; ++c) {
      ObjectHeader header = kv_->HeaderFor(kTokens, 1, 1);
      header.first_position = c * kTokens;
      header.flags = kFlagExactAlone;
      const Opened opened =
          codec::Open(opened_bytes_.emplace_back(kv_->EncodeChunk(header, c * kTokens)));
      Page& page = pages_[c].emplace(kv_->spec(), kTokens);
      const ObjectCodec codec = ObjectCodec::Make(kv_->spec()).value();
      for (const Place& place : opened.places) {
        ASSERT_TRUE(codec
                        .DecodeTile(opened.header, place.tiles, page.kv(), page.tables(),
                                    {.first_token = 0, .token_count = kTokens}, nullptr, scratch_)
                        .ok());
      }
    }
  }

  Profile Learned(const LearnOptions& options) {
    ProfileLearner learner = ProfileLearner::Make(kv_->spec()).value();
    EXPECT_TRUE(learner
                    .Add(pages_[0]->kv(), pages_[0]->tables(),
                         {.first_token = 0, .token_count = kTokens}, 0)
                    .ok());
    Profile profile = learner.Learn(ModelFingerprint(), options).value();
    EXPECT_TRUE(profile.FinishForEncoding().ok());
    profile.Name(NumberedProfileId(1));
    return profile;
  }

  // The second chunk's object.
  std::vector<std::byte> Encode(const Profile* profile, std::string_view kernels = {}) {
    ObjectHeader header = kv_->HeaderFor(kTokens, 2, 2);
    header.levels_encoded = kAll;
    header.first_position = kTokens;
    if (profile != nullptr) header.profile = profile->id();
    std::vector<std::byte> object;
    const ObjectCodec codec = ObjectCodec::Make(kv_->spec(), kernels).value();
    const Status status =
        codec.Encode(header, pages_[1]->kv(), pages_[1]->tables(),
                     {.first_token = 0, .token_count = kTokens}, profile, object, scratch_);
    EXPECT_TRUE(status.ok()) << status.ToString();
    EXPECT_LE(object.size(), codec.EncodedBytesMax(header));
    return object;
  }
  void Decode(ConstBytes object, std::size_t levels, const Profile* profile, Page& page,
              std::string_view kernels = {}) {
    const Opened opened = codec::Open(object);
    const ObjectCodec codec = ObjectCodec::Make(kv_->spec(), kernels).value();
    for (const Place& place : opened.places) {
      const Status status = codec.DecodeTile(
          opened.header, std::span(place.tiles).first(levels), page.kv(), page.tables(),
          {.first_token = 0, .token_count = kTokens}, profile, scratch_);
      ASSERT_TRUE(status.ok()) << status.ToString();
    }
  }
  // Error relative to the spread of each plane's channels, of both planes.
  double Error(ConstBytes object, std::size_t levels, const Profile* profile) {
    Page got(kv_->spec(), kTokens);
    Decode(object, levels, profile, got);
    double error = 0.0;
    double power = 0.0;
    for (std::size_t plane = 0; plane < 2; ++plane) {
      for (std::size_t i = 0; i < got.plane(plane).size(); i += 2) {
        const double want = double{Bf16At(pages_[1]->plane(plane).data() + i)};
        error += std::pow(want - double{Bf16At(got.plane(plane).data() + i)}, 2);
        power += want * want;
      }
    }
    return std::sqrt(error / power);
  }
  double Bits(ConstBytes object, std::size_t levels) {
    const ObjectHeader header = DecodeHeader(object).value();
    double bytes = 0.0;
    for (std::size_t l = 0; l < levels; ++l) bytes += header.level_bytes[l];
    return 16.0 * bytes / static_cast<double>(kTokens * BytesPerToken(kv_->spec()));
  }

  std::optional<RecordedKv> kv_;
  std::vector<std::vector<std::byte>> opened_bytes_;
  std::optional<Page> pages_[2];
  CodecScratch scratch_;
};

TEST_F(RecordedProfile, ATransformIsWorthThreeTenthsOfABit) {
  const Profile identity = Learned({.draft_bits = 2.0, .block = 1});
  const Profile klt = Learned({.draft_bits = 1.5, .block = 64});
  const auto without = Encode(nullptr);
  const auto with_identity = Encode(&identity);
  const auto with_klt = Encode(&klt);
  for (std::size_t levels = 1; levels <= 4; ++levels) {
    std::printf("%zu levels: none %.2f b %.3f | identity %.2f b %.3f | klt %.2f b %.3f\n", levels,
                Bits(without, levels), Error(without, levels, nullptr), Bits(with_identity, levels),
                Error(with_identity, levels, &identity), Bits(with_klt, levels),
                Error(with_klt, levels, &klt));
  }
  // At three tenths of a bit less the transformed one is better than the plain one.
  EXPECT_LT(Bits(with_klt, 2), Bits(with_identity, 2) - 0.3);
  EXPECT_LT(Error(with_klt, 2, &klt), Error(with_identity, 2, &identity));
  EXPECT_EQ(Error(with_klt, 4, &klt), 0.0);
  EXPECT_EQ(Error(with_identity, 4, &identity), 0.0);
}

TEST_F(RecordedProfile, ChannelsThatMatterMostAreNotClipped) {
  // Their bins would be so narrow that codes of 8 bits held half a deviation.
  const std::size_t heads = LayerCount(kv_->spec()) * 2 * kv_->spec().groups[0].kv_heads;
  std::vector<double> weights(kv_->spec().groups[0].k_head_size, 1.0);
  weights[3] = weights[20] = 1e4;
  const Profile profile =
      Learned({.draft_bits = 2.5, .block = 1, .weights = std::vector(heads, weights)});
  const auto object = Encode(&profile);
  Page got(kv_->spec(), kTokens);
  Decode(object, 3, &profile, got);
  double error = 0.0;
  double power = 0.0;
  const std::size_t row = 2 * weights.size();
  for (std::size_t i = 0; i < got.plane(1).size(); i += row) {
    for (const std::size_t c : {3, 20}) {
      const double want = double{Bf16At(pages_[1]->plane(1).data() + i + 2 * c)};
      error += std::pow(want - double{Bf16At(got.plane(1).data() + i + 2 * c)}, 2);
      power += want * want;
    }
  }
  EXPECT_LT(std::sqrt(error / power), 0.04);
}

TEST_F(RecordedProfile, IsTheSameAfterWritingAndReading) {
  const Profile profile = Learned({.draft_bits = 1.5, .block = 32});
  Profile read = Profile::Decode(kv_->spec(), profile.bytes()).value();
  EXPECT_TRUE(read.id().IsZero());
  read.Name(profile.id());
  EXPECT_EQ(read.bytes(), profile.bytes());
  ASSERT_TRUE(read.FinishForEncoding().ok());
  EXPECT_EQ(Encode(&read), Encode(&profile));
}

TEST_F(RecordedProfile, EveryKernelTableGivesTheSameBits) {
  for (const std::uint16_t block : {1, 16, 32, 64}) {
    const Profile profile = Learned({.draft_bits = 1.5, .block = block});
    const auto object = Encode(&profile, "scalar");
    for (const Kernels* kernels : SupportedKernels()) {
      EXPECT_EQ(Encode(&profile, kernels->name), object) << kernels->name << ", block " << block;
      for (std::size_t levels = 1; levels <= 4; ++levels) {
        Page want(kv_->spec(), kTokens);
        Page got(kv_->spec(), kTokens);
        Decode(object, levels, &profile, want, "scalar");
        Decode(object, levels, &profile, got, kernels->name);
        EXPECT_EQ(got.plane(0), want.plane(0)) << kernels->name << ", block " << block;
        EXPECT_EQ(got.plane(1), want.plane(1)) << kernels->name << ", block " << block;
      }
    }
  }
}

TEST_F(RecordedProfile, WeightsHaveAnyCommonUnit) {
  const std::size_t heads = LayerCount(kv_->spec()) * 2 * kv_->spec().groups[0].kv_heads;
  std::vector<double> weights(kv_->spec().groups[0].k_head_size, 1.0);
  weights[3] = 8.0;
  weights[5] = 0.0;
  const auto of_unit = [&](double unit) {
    std::vector<double> scaled = weights;
    for (double& w : scaled) w *= unit;
    return Learned({.draft_bits = 1.5, .block = 32, .weights = std::vector(heads, scaled)}).bytes();
  };
  const std::vector<std::byte> one = of_unit(1.0);
  // Powers of two, which round alike.
  EXPECT_EQ(of_unit(0x1p-200), one);
  EXPECT_EQ(of_unit(0x1p200), one);
  EXPECT_EQ(of_unit(0x1p1000), one);
}

TEST_F(RecordedProfile, AnObjectWantsItsProfileAndNoOther) {
  const Profile profile = Learned({});
  const Opened opened = codec::Open(opened_bytes_.emplace_back(Encode(&profile)));
  const ObjectCodec codec = ObjectCodec::Make(kv_->spec()).value();
  // One that was learned of the same model decodes to values just as smoothly; they are others.
  Profile other = Learned({.draft_bits = 1.6});
  other.Name(NumberedProfileId(2));
  Profile nameless = Learned({});
  nameless.Name({});
  ObjectHeader names_none = opened.header;
  names_none.profile = ProfileId();
  Page page(kv_->spec(), kTokens);
  const std::vector<std::byte> poison[] = {page.plane(0), page.plane(1)};
  const auto decode = [&](const ObjectHeader& header, const Profile* with) {
    return codec
        .DecodeTile(header, opened.places[0].tiles, page.kv(), page.tables(),
                    {.first_token = 0, .token_count = kTokens}, with, scratch_)
        .code();
  };
  EXPECT_EQ(decode(opened.header, nullptr), Code::kInvalidArgument);
  EXPECT_EQ(decode(opened.header, &other), Code::kInvalidArgument);
  EXPECT_EQ(decode(opened.header, &nameless), Code::kInvalidArgument);
  EXPECT_EQ(decode(names_none, &nameless), Code::kInvalidArgument);
  EXPECT_EQ(decode(names_none, &profile), Code::kInvalidArgument);
  for (std::size_t plane = 0; plane < 2; ++plane) {
    EXPECT_EQ(page.plane(plane), poison[plane]);
  }
  other.Name(profile.id());
  EXPECT_NE(decode(opened.header, &other), Code::kInvalidArgument);
  EXPECT_EQ(decode(opened.header, &profile), Code::kOk);
  // Nor is anything coded with a profile that its header does not name.
  ObjectHeader header = opened.header;
  header.profile = NumberedProfileId(3);
  std::vector<std::byte> object;
  EXPECT_EQ(codec
                .Encode(header, page.kv(), page.tables(),
                        {.first_token = 0, .token_count = kTokens}, &profile, object, scratch_)
                .code(),
            Code::kInvalidArgument);
  EXPECT_TRUE(object.empty());
}

TEST_F(RecordedProfile, DamagedBytesAreRefusedOrUsable) {
  const Profile profile = Learned({.draft_bits = 1.5, .block = 16});
  const std::vector<std::byte>& good = profile.bytes();
  std::mt19937 random(5);
  for (int trial = 0; trial < 300; ++trial) {
    std::vector<std::byte> bad = good;
    bad[random() % bad.size()] ^= static_cast<std::byte>(1U << (random() % 8));
    auto read = Profile::Decode(kv_->spec(), bad);
    if (!read) continue;
    read->Name(profile.id());
    // What was accepted decodes to something or is refused: never more than that.
    const Opened opened = codec::Open(opened_bytes_.emplace_back(Encode(&profile)));
    const ObjectCodec codec = ObjectCodec::Make(kv_->spec()).value();
    Page page(kv_->spec(), kTokens);
    (void)codec.DecodeTile(opened.header, opened.places[0].tiles, page.kv(), page.tables(),
                           {.first_token = 0, .token_count = kTokens}, &*read, scratch_);
    opened_bytes_.pop_back();
  }
  for (std::size_t size = 0; size < 2000; size += 7) {
    EXPECT_FALSE(Profile::Decode(kv_->spec(), ConstBytes(good).first(size)));
  }
}

// Channels that are one signal and a little noise of their own.
TEST(ProfileLearner, FindsWhatChannelsHaveInCommon) {
  ModelSpec spec;
  spec.name = "common";
  spec.groups.push_back({.layers = {0}, .kv_heads = 1, .k_head_size = 32, .v_head_size = 32});
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  Page page(spec, 4096);
  for (std::size_t plane = 0; plane < 2; ++plane) {
    for (std::size_t at = 0; at < page.plane(plane).size(); at += 64) {
      const float signal = normal(random);
      for (std::size_t c = 0; c < 32; ++c) {
        const std::uint16_t word = ToBf16(3.0F + signal + 0.1F * normal(random));
        std::memcpy(page.plane(plane).data() + at + 2 * c, &word, sizeof(word));
      }
    }
  }
  ProfileLearner learner = ProfileLearner::Make(spec).value();
  const ChunkPlace place{.first_token = 0, .token_count = 4096};
  ASSERT_TRUE(learner.Add(page.kv(), page.tables(), place, 0).ok());
  const Profile profile = learner.Learn({}, {.draft_bits = 0.5, .block = 32}).value();
  const StripProfile& strip = profile.strip(0, 0, 0);
  // One component is wide, and is in a class of its own kind; the others begin later.
  ASSERT_GE(strip.classes.size(), 2U);
  EXPECT_EQ(strip.classes[0].start, 0);
  EXPECT_GT(strip.classes[1].start, 0);
  EXPECT_NEAR(strip.mean[7], 3.0F, 0.1F);
}

}  // namespace
}  // namespace kdn::codec
