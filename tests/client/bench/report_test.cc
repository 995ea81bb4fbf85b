// Goal: the JSON of runs on several machines adds up to one run's, and wrong bytes are never lost.
// Method: two runs made by hand, and what is wrong with JSON of others.
#include "client/bench/report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace kdn::bench {
namespace {

nlohmann::json RunOf(int milliseconds, std::uint64_t wrong) {
  Options options;
  options.histograms = true;
  Tallies tallies;
  Tally& reads = tallies[static_cast<std::size_t>(Kind::kRead)];
  for (int i = 0; i < 100; ++i) reads.latency.Record(std::chrono::milliseconds(milliseconds));
  reads.outcomes[static_cast<std::size_t>(Outcome::kDone)] = 100 - wrong;
  reads.outcomes[static_cast<std::size_t>(Outcome::kWrong)] = wrong;
  reads.ended = 100 - wrong;
  reads.bytes = 1'000'000;
  return ReportJson(options, {.seconds = 2.0, .bytes_verified = 5}, tallies);
}

TEST(ReportTest, RunsAddUp) {
  const auto merged = MergeReports({RunOf(1, 0), RunOf(10, 3)});
  ASSERT_TRUE(merged) << merged.error().ToString();
  const auto& reads = merged->at("operations").at("read");
  EXPECT_EQ(reads.at("count"), 200);
  EXPECT_DOUBLE_EQ(reads.at("ops_per_second"), 98.5);
  EXPECT_DOUBLE_EQ(reads.at("mb_per_second"), 1.0);
  EXPECT_NEAR(reads.at("latency_us").at("p50").get<double>(), 1000.0, 8.0);
  EXPECT_NEAR(reads.at("latency_us").at("p90").get<double>(), 10'000.0, 80.0);
  EXPECT_EQ(merged->at("bytes_verified"), 10);
  EXPECT_EQ(CountOf(*merged, Outcome::kWrong), 3U);
  EXPECT_NE(ReportText(*merged).find("read: 3 of 200 wrong"), std::string::npos);
}

TEST(ReportTest, RunsThatDoNotFitAreRefused) {
  nlohmann::json longer = RunOf(1, 0);
  longer["seconds"] = 3.0;
  EXPECT_FALSE(MergeReports({RunOf(1, 0), longer}));
  nlohmann::json bare = RunOf(1, 0);
  bare["operations"]["read"]["latency_us"].erase("buckets");
  EXPECT_FALSE(MergeReports({bare}));
  EXPECT_FALSE(MergeReports({nlohmann::json::parse("{", nullptr, false)}));
  nlohmann::json other = RunOf(1, 0);
  other["operations"]["fly"] = other["operations"]["read"];
  EXPECT_FALSE(MergeReports({other}));
}

}  // namespace
}  // namespace kdn::bench
