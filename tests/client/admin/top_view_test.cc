// Goal: top's rates are differences over the time between two looks, whatever happened in between.
// Method: overviews made by hand.
#include "client/admin/top_view.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace kdn::admin {
namespace {

v1::OverviewResponse Overview(std::uint64_t at_us, std::uint64_t gets, std::uint64_t keys) {
  v1::OverviewResponse overview;
  overview.mutable_coordinator()->set_epoch(1);
  overview.mutable_coordinator()->set_at_us(at_us);
  overview.mutable_coordinator()->set_lookup_keys(keys);
  overview.mutable_coordinator()->set_lookup_hits(keys / 2);
  v1::NodeOverview& node = *overview.add_nodes();
  node.set_node_id(7);
  node.set_state("alive");
  node.set_dram_bytes(1 << 20);
  node.set_dram_bytes_used(1 << 18);
  v1::NodeLoad& load = *node.mutable_load();
  load.set_at_us(5'000'000 + at_us);
  load.set_gets(gets);
  load.set_gets_missed(gets / 4);
  load.set_get_bytes(gets * 1'000'000);
  for (int i = 0; i < 12; ++i) load.mutable_get_times()->add_counts(i == 10 ? gets : 0);
  return overview;
}

TEST(TopViewTest, RatesAreDifferencesOverTheTimeBetween) {
  const auto top = TopJson(Overview(1'000'000, 100, 50), Overview(3'000'000, 300, 150));
  const auto& rates = top.at("nodes").at(0).at("rates");
  EXPECT_DOUBLE_EQ(rates.at("gets_per_second").get<double>(), 100.0);
  EXPECT_DOUBLE_EQ(rates.at("bytes_out_per_second").get<double>(), 1e8);
  EXPECT_DOUBLE_EQ(rates.at("hit_ratio").get<double>(), 0.8);
  EXPECT_DOUBLE_EQ(top.at("coordinator").at("lookup_keys_per_second").get<double>(), 50.0);
  EXPECT_DOUBLE_EQ(top.at("coordinator").at("lookup_hit_ratio").get<double>(), 0.5);
}

TEST(TopViewTest, ANodeThatBeganAnewCountsFromItsStart) {
  const auto top = TopJson(Overview(1'000'000, 1000, 0), Overview(3'000'000, 10, 0));
  EXPECT_GT(top.at("nodes").at(0).at("rates").at("gets_per_second").get<double>(), 0.0);
  EXPECT_LT(top.at("nodes").at(0).at("rates").at("gets_per_second").get<double>(), 10.0);
}

TEST(TopViewTest, WhatWasToldOnceOrByADeadNodeHasNoRates) {
  const auto same = Overview(1'000'000, 10, 10);
  EXPECT_TRUE(TopJson(same, same).at("nodes").at(0).at("rates").is_null());
  auto dead = Overview(3'000'000, 20, 10);
  dead.mutable_nodes(0)->set_state("dead");
  dead.mutable_nodes(0)->set_silent_ms(4200);
  const auto top = TopJson(same, dead);
  EXPECT_TRUE(top.at("nodes").at(0).at("rates").is_null());
  const std::string text = TopText(top, 200);
  EXPECT_NE(text.find("dead 4s"), std::string::npos) << text;
  EXPECT_NE(text.find("256.0 KiB 25%"), std::string::npos) << text;
}

TEST(TopViewTest, QuantilesLieWithinTheirBucket) {
  v1::Durations none;
  v1::Durations times;
  for (int i = 0; i < 27; ++i) times.add_counts(i == 4 ? 90 : i == 8 ? 10 : 0);
  EXPECT_GT(QuantileUs(none, times, 0.5), 8.0);
  EXPECT_LE(QuantileUs(none, times, 0.5), 16.0);
  EXPECT_GT(QuantileUs(none, times, 0.99), 128.0);
  EXPECT_LE(QuantileUs(none, times, 0.99), 256.0);
  EXPECT_EQ(QuantileUs(times, times, 0.5), 0.0);
  EXPECT_EQ(QuantileUs(none, none, 0.5), 0.0);
}

TEST(TopViewTest, LinesAreCutAtTheTerminalsWidth) {
  const auto top = TopJson(Overview(1'000'000, 1, 1), Overview(2'000'000, 2, 2));
  const std::string text = TopText(top, 40);
  std::size_t at = 0;
  int lines = 0;
  while (at < text.size()) {
    const std::size_t end = text.find('\n', at);
    ASSERT_NE(end, std::string::npos);
    EXPECT_LE(end - at, 40U);
    at = end + 1;
    ++lines;
  }
  EXPECT_EQ(lines, 6);
}

}  // namespace
}  // namespace kdn::admin
