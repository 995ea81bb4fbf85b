// Goal: every item of every job is done exactly once before Run() returns.
#include "client/llama/workers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace kdn::llama {
namespace {

TEST(Workers, DoEveryItemOnceInEveryJob) {
  for (const std::size_t threads : {1U, 2U, 4U}) {
    Workers workers(threads);
    EXPECT_EQ(workers.thread_count(), threads);
    for (std::size_t items = 0; items < 50; ++items) {
      std::vector<int> done(items);  // plain: each item is one thread's, and Run() orders the rest
      workers.Run(items, [&](std::size_t item, std::size_t) { ++done[item]; });
      EXPECT_EQ(done, std::vector<int>(items, 1));
    }
  }
}

TEST(Workers, ThreadNumbersAreNeverSharedAtOnce) {
  Workers workers(3);
  std::vector<std::atomic<int>> inside(3);
  std::atomic<int> shared{0};
  for (int job = 0; job < 200; ++job) {
    workers.Run(16, [&](std::size_t, std::size_t thread) {
      if (inside[thread].fetch_add(1) != 0) ++shared;
      inside[thread].fetch_sub(1);
    });
  }
  EXPECT_EQ(shared.load(), 0);
}

TEST(Workers, JobsSeeWhatEarlierJobsWrote) {
  Workers workers(2);
  std::vector<int> values(64, 0);
  std::vector<int> mirrored(64, 0);
  for (int job = 0; job < 100; ++job) {
    workers.Run(64, [&](std::size_t item, std::size_t) { mirrored[item] = values[63 - item] + 1; });
    workers.Run(64, [&](std::size_t item, std::size_t) { values[item] = mirrored[63 - item]; });
  }
  EXPECT_EQ(values, std::vector<int>(64, 100));
}

TEST(Workers, EndWithoutEverHavingWorked) {
  const Workers workers(4);
}

}  // namespace
}  // namespace kdn::llama
