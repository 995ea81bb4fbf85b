#include "base/tenant_rates.h"

#include <gtest/gtest.h>

#include <chrono>

namespace kdn {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr TenantId kTenant{7};
const TimePoint kStart{std::chrono::hours(1)};

TenantRates RatesOf(const TenantRate& rate, double share = 1) {
  TenantRates rates;
  rates.Set({{kTenant, rate}}, {}, share);
  return rates;
}

// Requests that are let through when as many are tried as come, for so long.
int LetThrough(TenantRates& rates, std::uint64_t bytes, TimePoint from, Duration time) {
  int count = 0;
  for (Duration at{}; at < time; at += milliseconds(1)) {
    while (count < 100'000 && !rates.Take(kTenant, bytes, from + at)) ++count;
  }
  return count;
}

TEST(TenantRates, RequestsComeAtTheirRateBeyondOneSecondsWorth) {
  TenantRates rates = RatesOf({.requests_per_second = 100});
  EXPECT_EQ(LetThrough(rates, 0, kStart, milliseconds(1)), 100);
  EXPECT_NEAR(LetThrough(rates, 0, kStart + milliseconds(1), seconds(10)), 1000, 5);
}

TEST(TenantRates, BytesComeAtTheirRateAlsoInRequestsLargerThanABucket) {
  TenantRates rates = RatesOf({.bytes_per_second = 1 << 20});
  const int count = LetThrough(rates, 4 << 20, kStart, seconds(40));
  EXPECT_GE(count, 10);
  EXPECT_LE(count, 12);
}

TEST(TenantRates, ARefusalSaysWhenToComeBackAndThenThereIsRoom) {
  TenantRates rates = RatesOf({.bytes_per_second = 1000});
  EXPECT_FALSE(rates.Take(kTenant, 3000, kStart));
  const auto refusal = rates.Take(kTenant, 1, kStart);
  ASSERT_TRUE(refusal);
  EXPECT_TRUE(refusal->for_bytes);
  EXPECT_NEAR(std::chrono::duration<double>(refusal->wait).count(), 2, 0.01);
  EXPECT_TRUE(rates.Take(kTenant, 1, kStart + refusal->wait - milliseconds(10)));
  EXPECT_FALSE(rates.Take(kTenant, 1, kStart + refusal->wait + milliseconds(1)));
}

TEST(TenantRates, AShardGetsItsShareAndAnEntryWinsOverWhatIsUsual) {
  TenantRates rates;
  rates.Set({{kTenant, {}}, {TenantId{8}, {.requests_per_second = 40}}},
            {.requests_per_second = 10}, 0.5);
  EXPECT_EQ(LetThrough(rates, 0, kStart, milliseconds(1)), 5);
  int other = 0;
  while (!rates.Take(TenantId{8}, 0, kStart)) ++other;
  EXPECT_EQ(other, 20);
}

TEST(TenantRates, WithoutOneAnythingGoesAndAnUnchangedOneIsNotRefilled) {
  TenantRates rates = RatesOf({});
  EXPECT_EQ(LetThrough(rates, 1 << 30, kStart, milliseconds(1)), 100'000);
  EXPECT_FALSE(rates.Take(TenantId{99}, 1, kStart)) << "a tenant of whom nothing is known";
  rates.Set({{kTenant, {.requests_per_second = 3}}}, {}, 1);
  EXPECT_EQ(LetThrough(rates, 0, kStart, milliseconds(1)), 3);
  rates.Set({{kTenant, {.requests_per_second = 3}}}, {}, 1);
  EXPECT_EQ(LetThrough(rates, 0, kStart, milliseconds(1)), 0);
}

}  // namespace
}  // namespace kdn
