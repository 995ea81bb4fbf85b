// Goal: a coordinator that has too much to do, or whose tenant asks too often, says when to come
// back; and what finishes a put that has begun is always taken.
// Method: a clock that stands still, then a running coordinator.
#include "coordinator/service/admission.h"

#include <gtest/gtest.h>

#include <chrono>

#include "tests/coordinator/service_world.h"
#include "tests/support/manual_clock.h"

namespace kdn::coordinator {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using wire::MessageType;
using wire::Priority;
using wire::ShedReason;

constexpr TenantId kUsual{1};
constexpr TenantId kRated{2};
constexpr Admission::Queue kEmpty{.size = 0, .size_max = 100};

class AdmissionTest : public testing::Test {
 protected:
  std::optional<wire::Overload> Judge(MessageType type, TenantId tenant = kUsual,
                                      const Admission::Queue& queue = kEmpty,
                                      Priority priority = Priority::kUsual) {
    return admission_.Judge({.type = type, .priority = priority}, tenant, queue);
  }
  void TakeTurns(int count, Duration each) {
    for (int i = 0; i < count; ++i) admission_.NoteTurn(each);
  }

  test::ManualClock clock_;
  MetricRegistry metrics_;
  Admission admission_{{{kUsual, {}}, {kRated, {.requests_per_second = 5, .bytes_per_second = 1}}},
                       {},
                       clock_,
                       metrics_};
};

TEST_F(AdmissionTest, PutsAreRefusedWhileHalfOfTheQueueIsFullAndTheirCommitsNever) {
  const Admission::Queue below{.size = 49, .size_max = 100};
  const Admission::Queue half{.size = 50, .size_max = 100};
  EXPECT_FALSE(Judge(MessageType::kPutStart, kUsual, below));
  const auto refused = Judge(MessageType::kPutStart, kUsual, half);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->reason, ShedReason::kQueue);
  EXPECT_EQ(refused->priority, Priority::kPut);
  EXPECT_GT(refused->retry_after, milliseconds(0));
  EXPECT_TRUE(Judge(MessageType::kContextUpdate, kUsual, half));
  for (const MessageType type : {MessageType::kPutCommit, MessageType::kPutAbort,
                                 MessageType::kLookup, MessageType::kContextGet}) {
    EXPECT_FALSE(Judge(type, kUsual, half)) << static_cast<int>(type);
  }
}

TEST_F(AdmissionTest, LongTurnsShedPutsFirstThenAllButCommitsAndAreForgotten) {
  TakeTurns(1, milliseconds(300));
  EXPECT_FALSE(Judge(MessageType::kPutStart)) << "one long turn is no load";
  TakeTurns(50, milliseconds(100));
  EXPECT_TRUE(Judge(MessageType::kPutStart));
  EXPECT_FALSE(Judge(MessageType::kLookup));
  TakeTurns(50, seconds(1));
  const auto refused = Judge(MessageType::kLookup);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->retry_after, milliseconds(1000)) << "nobody is sent away for long";
  EXPECT_FALSE(Judge(MessageType::kPutCommit));
  TakeTurns(100, milliseconds(1));
  EXPECT_FALSE(Judge(MessageType::kPutStart));
}

TEST_F(AdmissionTest, ATenantBeyondItsRateIsRefusedAndNobodyElse) {
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(Judge(MessageType::kLookup, kRated)) << i;
  const auto refused = Judge(MessageType::kLookup, kRated);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->reason, ShedReason::kTenantRequests);
  EXPECT_EQ(refused->priority, Priority::kLoad) << "whatever it asks";
  EXPECT_FALSE(Judge(MessageType::kPutCommit, kRated));
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(Judge(MessageType::kLookup, kUsual));
  EXPECT_NE(metrics_.Render().find(
                R"(_calls_shed_total{reason="tenant_requests",priority="load",tenant="2"} 1)"),
            std::string::npos);
  clock_.Advance(refused->retry_after);
  EXPECT_FALSE(Judge(MessageType::kLookup, kRated));
}

class RatedCoordinator : public ServiceWorld {};

TEST_F(RatedCoordinator, TellsACallerWhenToComeBackAndItsNodesTheRateUntilItIsTakenAway) {
  const auto refused_of = [&](int calls) {
    int refused = 0;
    for (int i = 0; i < calls; ++i) {
      wire::LookupRequest request;
      request.chains = {{NumberedKey(1)}};
      const auto [code, bytes] = Call(request);
      if (code == Code::kOk) continue;
      ++refused;
      EXPECT_EQ(code, Code::kResourceExhausted);
      const auto overload = wire::Overload::Decode(bytes);
      if (!overload.has_value()) {
        ADD_FAILURE() << "it is not said when to come back";
        continue;
      }
      EXPECT_EQ(overload->reason, ShedReason::kTenantRequests);
      EXPECT_GT(overload->retry_after, milliseconds(0));
      EXPECT_LE(overload->retry_after, milliseconds(1001));
    }
    return refused;
  };
  const std::string tenant = "[[tenant]]\nname = \"test\"\nid = 7\nallow_none = true\n";
  std::ofstream(config_.tenants_file) << tenant << "requests_per_second = 1\nmib_per_second = 2\n";
  Restart();
  const auto access = Register(1, "127.0.0.1:9").tenants(0);
  EXPECT_EQ(access.requests_per_second(), 1U);
  EXPECT_EQ(access.bytes_per_second(), 2U << 20);
  EXPECT_GE(refused_of(20), 1);
  // The rate is stored; a coordinator reads it again, and forgets what the file no longer says.
  std::ofstream(config_.tenants_file) << tenant;
  Restart();
  EXPECT_EQ(Register(1, "127.0.0.1:9").tenants(0).requests_per_second(), 0U);
  EXPECT_EQ(refused_of(20), 0);
}

}  // namespace
}  // namespace kdn::coordinator
