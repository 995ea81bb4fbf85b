// Goal: a node that cannot serve all serves the more urgent, keeps each tenant to its rate, and
// sheds load before its control group's memory runs out.
// Method: control groups made of files; a clock that stands still.
#include "node/admission.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <vector>

#include "base/limits.h"
#include "node/memory_watch.h"
#include "proto/wire/overload.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temp_dir.h"

namespace kdn::node {
namespace {

using std::chrono::milliseconds;
using wire::Priority;
using wire::ShedReason;

constexpr Priority kAscending[] = {Priority::kBackground, Priority::kPut, Priority::kPrefetch,
                                   Priority::kLoad};

// A root folder with one limited control group of version 2, in a group without a limit.
class Group {
 public:
  Group() {
    Write("proc/self/cgroup", "0::/kdn/node\n");
    Write("sys/fs/cgroup/kdn/memory.max", "max\n");
    Write("sys/fs/cgroup/kdn/memory.current", "1\n");
  }
  void Set(std::uint64_t limit_mib, std::uint64_t used_mib, std::uint64_t clean_file_mib = 0) {
    const std::string folder = "sys/fs/cgroup/kdn/node/";
    Write(folder + "memory.max", std::to_string(limit_mib << 20) + "\n");
    Write(folder + "memory.current", std::to_string((used_mib + clean_file_mib) << 20) + "\n");
    // Dirty pages are not to be had back at once: they count as used.
    Write(folder + "memory.stat", "anon 1\nactive_file 1048576\ninactive_file " +
                                      std::to_string((clean_file_mib << 20)) +
                                      "\nfile_dirty 1048576\nfile_writeback 0\n");
  }
  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = folder_.File(path);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  [[nodiscard]] std::string root() const { return folder_.path(); }

 private:
  test::TempDir folder_;
};

TEST(GroupMemory, IsThatOfTheTightestGroupWithoutWhatIsCachedOfFiles) {
  Group group;
  EXPECT_FALSE(ReadGroupMemory(group.root())) << "no group has a limit";
  group.Set(512, 100, 300);
  auto memory = ReadGroupMemory(group.root());
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->limit_bytes, 512 * limits::kMiB);
  EXPECT_EQ(memory->used_bytes, 100 * limits::kMiB);
  group.Write("sys/fs/cgroup/kdn/memory.max", std::to_string(150 << 20));
  group.Write("sys/fs/cgroup/kdn/memory.current", std::to_string(149 << 20));
  memory = ReadGroupMemory(group.root());
  EXPECT_EQ(memory->limit_bytes, 150 * limits::kMiB);
}

TEST(GroupMemory, OfVersionOneIsRead) {
  Group group;
  group.Write("proc/self/cgroup", "4:memory:/a\n0::/\n");
  group.Write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000000");
  group.Write("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "600000");
  group.Write("sys/fs/cgroup/memory/a/memory.stat",
              "cache 300000\ntotal_inactive_file 200000\ntotal_active_file 50000\ntotal_dirty 0\n");
  group.Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
  group.Write("sys/fs/cgroup/memory/memory.usage_in_bytes", "9000000");
  const auto memory = ReadGroupMemory(group.root());
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->limit_bytes, 1'000'000U);
  EXPECT_EQ(memory->used_bytes, 350'000U);
}

TEST(MemoryWatch, ShedsTheLessUrgentFirstByWhatIsLeftBeyondTheStart) {
  Group group;
  MetricRegistry metrics;
  group.Set(1000, 800);
  MemoryWatch watch(60, metrics, group.root());
  watch.SetBase();
  TimePoint now{std::chrono::hours(1)};
  const auto shed_at = [&](std::uint64_t used_mib) {
    group.Set(1000, used_mib);
    now += MemoryWatch::kPeriod;
    watch.Sample(now);
    std::size_t count = 0;
    for (const Priority priority : kAscending) count += watch.Sheds(priority) ? 1 : 0;
    // Never one without those below it.
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(watch.Sheds(kAscending[i]), i < count);
    return count;
  };
  EXPECT_EQ(shed_at(800), 0U);
  EXPECT_EQ(shed_at(890), 0U);
  EXPECT_EQ(shed_at(902), 1U);
  EXPECT_EQ(shed_at(922), 2U);
  EXPECT_EQ(shed_at(952), 3U);
  EXPECT_EQ(shed_at(992), 4U);
  EXPECT_EQ(shed_at(700), 0U) << "it does not forgive";
}

TEST(MemoryWatch, ALimitThatComesWhileTheNodeRunsLeavesItWhatItHadAtItsStart) {
  Group group;
  MetricRegistry metrics;
  const auto pages = (std::uint64_t{800} << 20) / static_cast<std::uint64_t>(getpagesize());
  group.Write("proc/self/statm", "999999999 " + std::to_string(pages) + " 1 1 0 1 0\n");
  MemoryWatch watch(60, metrics, group.root());
  watch.SetBase();
  group.Set(1000, 850);
  watch.Sample(TimePoint{std::chrono::hours(1)});
  EXPECT_EQ(watch.percent(), 25U);
  EXPECT_FALSE(watch.Sheds(Priority::kBackground)) << "for what it took before there was a limit";
}

TEST(MemoryWatch, AsksForMemoryBackOneAtATimeAndNotWithoutEnd) {
  Group group;
  MetricRegistry metrics;
  group.Set(1000, 800);
  MemoryWatch watch(60, metrics, group.root());
  watch.SetBase();
  TimePoint now{std::chrono::hours(1)};
  EXPECT_FALSE(watch.BeginRelease(now)) << "nothing is short";
  group.Set(1000, 910);
  watch.Sample(now);
  EXPECT_TRUE(watch.BeginRelease(now));
  now += MemoryWatch::kReleasePeriod;
  EXPECT_FALSE(watch.BeginRelease(now)) << "one is under way";
  watch.EndRelease();
  EXPECT_TRUE(watch.BeginRelease(now));
  watch.EndRelease();
  EXPECT_FALSE(watch.BeginRelease(now + MemoryWatch::kReleasePeriod / 2)) << "one was just now";
}

TEST(MemoryWatch, WithoutALimitShedsNothing) {
  Group group;
  MetricRegistry metrics;
  MemoryWatch watch(10, metrics, group.root());
  watch.SetBase();
  watch.Sample(TimePoint(std::chrono::hours(1)));
  for (const Priority priority : kAscending) EXPECT_FALSE(watch.Sheds(priority));
}

class AdmissionTest : public testing::Test {
 protected:
  Admission::Verdict Judge(Priority priority, std::size_t bytes = 1, TenantId tenant = kTenant,
                           bool rated = true) {
    return admission_->Judge({tenant, priority, bytes, rated});
  }
  // How many of a priority are let in when nothing else is there.
  std::size_t Filled(Priority priority, std::size_t bytes) {
    std::vector<Admission::Token> tokens;
    for (;;) {
      Admission::Verdict verdict = Judge(priority, bytes);
      if (verdict.refused) {
        EXPECT_EQ(verdict.refused->reason, ShedReason::kQueue);
        EXPECT_EQ(verdict.refused->priority, priority);
        EXPECT_GT(verdict.refused->retry_after, milliseconds(0));
        return tokens.size();
      }
      tokens.push_back(std::move(verdict.token));
    }
  }
  void Make(const AdmissionOptions& options) {
    admission_ = std::make_unique<Admission>(options, memory_, clock_, metrics_);
    ClusterView view;
    view.tenants_version = 1;
    view.tenants[kTenant] = {};
    view.tenants[kRated] = {{}, false, {.requests_per_second = 5, .bytes_per_second = 1000}};
    admission_->SetTenants(view);
  }

  static constexpr TenantId kTenant{1};
  static constexpr TenantId kRated{2};
  test::ManualClock clock_;
  MetricRegistry metrics_;
  Group group_;
  MemoryWatch memory_{60, metrics_, group_.root()};
  std::unique_ptr<Admission> admission_;
};

TEST_F(AdmissionTest, KeepsRoomForTheMoreUrgentAndGetsItBack) {
  Make({.requests_max = 100, .bytes_max = limits::kMiB});
  EXPECT_EQ(Filled(Priority::kBackground, 1), 50U);
  EXPECT_EQ(Filled(Priority::kPut, 1), 70U);
  EXPECT_EQ(Filled(Priority::kPrefetch, 1), 85U);
  EXPECT_EQ(Filled(Priority::kLoad, 1), 100U);
  EXPECT_EQ(admission_->requests_open(), 0U);
  EXPECT_EQ(admission_->bytes_open(), 0U);
}

TEST_F(AdmissionTest, CountsBytesAndTakesOneRequestHoweverLarge) {
  Make({.requests_max = 1000, .bytes_max = 100 * limits::kMiB});
  EXPECT_NEAR(static_cast<double>(Filled(Priority::kLoad, limits::kMiB)), 100, 1);
  EXPECT_NEAR(static_cast<double>(Filled(Priority::kBackground, limits::kMiB)), 50, 1);
  EXPECT_FALSE(Judge(Priority::kBackground, 200 * limits::kMiB).refused);
}

TEST_F(AdmissionTest, ATenantBeyondItsRateIsRefusedAndNobodyElse) {
  Make({.requests_max = 1000, .bytes_max = 100 * limits::kMiB});
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(Judge(Priority::kLoad, 1, kRated).refused);
  auto verdict = Judge(Priority::kLoad, 1, kRated);
  ASSERT_TRUE(verdict.refused);
  EXPECT_EQ(verdict.refused->reason, ShedReason::kTenantRequests);
  EXPECT_FALSE(Judge(Priority::kLoad).refused);
  EXPECT_FALSE(Judge(Priority::kPut, 1, kRated, false).refused) << "what another node forwards";
  clock_.Advance(verdict.refused->retry_after);
  EXPECT_FALSE(Judge(Priority::kLoad, 5000, kRated).refused);
  clock_.Advance(milliseconds(1000));
  verdict = Judge(Priority::kLoad, 1, kRated);
  ASSERT_TRUE(verdict.refused);
  EXPECT_EQ(verdict.refused->reason, ShedReason::kTenantBytes);
  EXPECT_NE(metrics_.Render().find(
                R"(kdn_node_calls_shed_total{reason="tenant_bytes",priority="load",tenant="2"} 1)"),
            std::string::npos);
}

TEST_F(AdmissionTest, ShedsByMemory) {
  group_.Set(1000, 800);
  memory_.SetBase();
  Make({.requests_max = 1000, .bytes_max = 100 * limits::kMiB});
  EXPECT_FALSE(Judge(Priority::kPut).refused);
  group_.Set(1000, 930);
  memory_.Sample(clock_.Now());
  const auto verdict = Judge(Priority::kPut);
  ASSERT_TRUE(verdict.refused);
  EXPECT_EQ(verdict.refused->reason, ShedReason::kMemory);
  EXPECT_FALSE(Judge(Priority::kLoad).refused);
}

}  // namespace
}  // namespace kdn::node
