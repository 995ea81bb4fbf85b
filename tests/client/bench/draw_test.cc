// Goal: draws follow the distributions that are named, and options that make no sense are refused.
// Method: many draws against the distributions' formulas.
#include "client/bench/draw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "client/bench/keyspace.h"
#include "client/bench/objects.h"
#include "client/bench/options.h"

namespace kdn::bench {
namespace {

constexpr int kDraws = 200'000;

TEST(ZipfianTest, RanksComeAsOftenAsTheFormulaSays) {
  for (const double theta : {0.5, 0.99, 1.5}) {
    constexpr std::uint64_t kCount = 1000;
    double sum = 0.0;
    for (std::uint64_t r = 1; r <= kCount; ++r) sum += std::pow(static_cast<double>(r), -theta);
    const Zipfian zipfian(theta);
    Lots lots(1);
    std::map<std::uint64_t, int> seen;
    for (int i = 0; i < kDraws; ++i) ++seen[zipfian.Rank(kCount, lots)];
    EXPECT_GE(seen.begin()->first, 1U);
    EXPECT_LE(seen.rbegin()->first, kCount);
    for (const std::uint64_t rank : {1, 2, 3, 10, 100}) {
      const double want = kDraws * std::pow(static_cast<double>(rank), -theta) / sum;
      EXPECT_NEAR(seen[rank], want, 5.0 * std::sqrt(want) + 1.0) << theta << " " << rank;
    }
  }
}

TEST(RecordChooserTest, LatestPrefersTheNewest) {
  const RecordChooser chooser(Popularity::kLatest, 0.99);
  Lots lots(2);
  int newest = 0;
  int oldest_half = 0;
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t record = chooser.Choose(1000, lots);
    ASSERT_LT(record, 1000U);
    newest += record == 999 ? 1 : 0;
    oldest_half += record < 500 ? 1 : 0;
  }
  EXPECT_GT(newest, 1000);
  EXPECT_LT(oldest_half, 1500);
}

TEST(RecordChooserTest, UniformDrawsAllAlike) {
  const RecordChooser chooser(Popularity::kUniform, 0.99);
  Lots lots(3);
  std::array<int, 10> seen{};
  for (int i = 0; i < kDraws; ++i) ++seen[chooser.Choose(10, lots)];
  for (const int count : seen) EXPECT_NEAR(count, kDraws / 10.0, 1000.0);
}

TEST(SizesTest, ListsAreDrawnByTheirWeights) {
  const auto sizes = Sizes::Parse("64KiB:3,1MiB-2MiB:1");
  ASSERT_TRUE(sizes);
  int small = 0;
  for (std::uint64_t record = 0; record < 10'000; ++record) {
    const std::size_t size = sizes->Of(1, record);
    EXPECT_EQ(size, sizes->Of(1, record));
    if (size == 65536) {
      ++small;
    } else {
      EXPECT_GE(size, 1U << 20);
      EXPECT_LE(size, 2U << 20);
    }
  }
  EXPECT_NEAR(small, 7500, 200);
  EXPECT_EQ(sizes->min(), 65536U);
  EXPECT_EQ(sizes->max(), 2U << 20);
}

TEST(SizesTest, WhatIsNoSizeIsRefused) {
  for (const char* text : {"", "0", "-5", "1.3", "12XB", "1MiB-", "2MiB-1MiB", "1MiB:0", "1MiB:x",
                           "1MiB,,2MiB", "1e99", "nan"}) {
    EXPECT_FALSE(Sizes::Parse(text)) << text;
  }
}

Status StatusOf(void (*change)(Options&)) {
  Options options;
  change(options);
  const auto plan = PlanOf(options);
  return plan ? Status() : plan.error();
}

TEST(OptionsTest, NonsenseIsRefusedAndTheOptionNamed) {
  const std::pair<const char*, void (*)(Options&)> cases[] = {
      {"--mix", [](Options& o) { o.mix = "read=1,fly=2"; }},
      {"--mix", [](Options& o) { o.mix = "read=0"; }},
      {"--mix", [](Options& o) { o.mix = "read=-1"; }},
      {"--workload", [](Options& o) { o.workload = "g"; }},
      {"--popularity", [](Options& o) { o.popularity = "hot"; }},
      {"--theta", [](Options& o) { o.theta = 1.0; }},
      {"--size", [](Options& o) { o.size = "100"; }},
      {"--size", [](Options& o) { o.size = "4KiB,64MiB"; }},
      {"--size", [](Options& o) { o.size = "1GiB"; }},
      {"--geometry", [](Options& o) { o.geometry = "32x8"; }},
      {"--geometry", [](Options& o) { o.geometry = "0x8x128"; }},
      {"--geometry", [](Options& o) { o.geometry = "1000x64x128"; }},
      {"--chains", [](Options& o) { o.workload = "e"; }},
      {"--store-level", [](Options& o) { o.store_level = "best"; }},
      {"--store-level", [](Options& o) { o.store_level = "draft"; }},
      {"--read-level", [](Options& o) { o.read_level = "draft"; }},
      {"--arrivals", [](Options& o) { o.arrivals = "often"; }},
      {"--duration", [](Options& o) { o.duration_s = 0.0; }},
      {"--load-only", [](Options& o) { o.load_only = o.skip_load = true; }},
  };
  for (const auto& [option, change] : cases) {
    const Status status = StatusOf(change);
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << option;
    EXPECT_EQ(std::string(status.message()).find(option), 0U) << status.ToString();
  }
}

TEST(OptionsTest, EveryWorkloadOfYcsbIsPlanned) {
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) {
    Options options;
    options.workload = name;
    options.chains = 4;
    const auto plan = PlanOf(options);
    ASSERT_TRUE(plan) << name;
    double sum = 0.0;
    for (const double share : plan->mix) sum += share;
    EXPECT_DOUBLE_EQ(sum, 1.0);
  }
}

TEST(ShapeTest, ObjectsHaveTheSizeThatWasAskedFor) {
  for (const char* text : {"4KiB", "64KiB", "1MiB", "16MiB", "64MiB", "100KiB-3MiB"}) {
    const auto sizes = Sizes::Parse(text);
    ASSERT_TRUE(sizes);
    const auto shape = ShapeOfSizes(*sizes);
    ASSERT_TRUE(shape) << text;
    EXPECT_EQ(BytesPerToken(shape->spec), shape->token_bytes());
    EXPECT_EQ(shape->chunk_bytes(), (sizes->max() + shape->token_bytes() - 1) /
                                        shape->token_bytes() * shape->token_bytes());
    EXPECT_GE(shape->TokensFor(sizes->min()), 4U);
    EXPECT_TRUE(ValidateModelSpec(shape->spec).ok());
  }
}

TEST(PatternTest, EveryFlippedByteAndEveryOtherObjectIsTold) {
  const Pattern pattern(1, false);
  std::vector<std::byte> values(10'000);
  pattern.Fill(42, 3, values);
  EXPECT_TRUE(pattern.Matches(42, 3, values));
  EXPECT_FALSE(pattern.Matches(43, 3, values));
  EXPECT_FALSE(pattern.Matches(42, 2, values));
  for (std::size_t i = 0; i < values.size(); i += 97) {
    values[i] ^= std::byte{0x10};
    EXPECT_FALSE(pattern.Matches(42, 3, values));
    values[i] ^= std::byte{0x10};
  }
}

TEST(PatternTest, GaussianValuesOfAnotherObjectAreFarAway) {
  const Pattern pattern(1, true);
  std::vector<std::byte> values(65'536);
  pattern.Fill(42, 0, values);
  EXPECT_EQ(pattern.Error(42, 0, values), 0.0);
  EXPECT_NEAR(pattern.Error(43, 0, values), std::sqrt(2.0), 0.05);
}

TEST(KeyspaceTest, RecordsAreDrawnOnlyOnceTheyAndAllBeforeAreThere) {
  Keyspace keys(10, 3);
  const std::uint64_t first = keys.Insert();
  const std::uint64_t second = keys.Insert();
  EXPECT_EQ(first, 10U);
  keys.EndInsert(second);
  EXPECT_EQ(keys.count(), 10U);
  keys.EndInsert(first);
  EXPECT_EQ(keys.count(), 12U);
}

TEST(KeyspaceTest, AnOlderVersionThatEndsLaterDoesNotComeBack) {
  Keyspace keys(1, 0);
  const std::uint32_t first = keys.NextVersion(0);
  const std::uint32_t second = keys.NextVersion(0);
  keys.Acknowledge(0, second);
  keys.Acknowledge(0, first);
  EXPECT_EQ(keys.VersionOf(0), second);
}

}  // namespace
}  // namespace kdn::bench
