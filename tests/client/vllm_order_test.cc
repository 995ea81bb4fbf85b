// Goal: the C ABI serves an engine that calls it in vLLM's order, from a scheduler and two worker
// processes that hold half of the heads each.
// Method: an engine in C99 (vllm_engine.c) over a cluster of real nodes; it checks every bit of its
// memory against what computing everything would have given. This test starts it, harms the cluster
// between lookup and load, and compares what the engine says it loaded, computed and stored.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "client/admin/local_cluster.h"
#include "tests/support/temp_dir.h"

namespace kdn {
namespace {

constexpr std::uint32_t kPromptTokens = 512;
constexpr std::uint32_t kChunkTokens = 64;
constexpr std::uint32_t kChunks = kPromptTokens / kChunkTokens;
constexpr std::uint32_t kBlockTokens = 16;

struct RankOutcome {
  std::uint32_t tokens_loaded = 0;
  std::uint32_t bad_blocks = 0;
  std::uint32_t chunks_stored = 0;
  std::uint32_t chunks_pending = 0;
  std::uint64_t wrong_values = 1;
};

std::string Hex(const std::vector<std::byte>& bytes) {
  std::string text;
  char pair[3];
  for (const std::byte byte : bytes) {
    std::snprintf(pair, sizeof(pair), "%02x", static_cast<unsigned>(byte));
    text += pair;
  }
  return text;
}

// One run of the engine: one prompt.
class Engine {
 public:
  Engine(const client::ClientOptions& options, std::uint32_t rank1_tokens_max) {
    const std::vector<std::string> words = {
        KDN_ENGINE,
        std::to_string(rank1_tokens_max),
        options.coordinator,
        Hex(options.access_secret),
        std::to_string(static_cast<std::uint32_t>(options.chunk_secrets[0].id)),
        Hex(options.chunk_secrets[0].bytes),
        std::to_string(static_cast<std::uint64_t>(options.tenant))};
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    int in[2];
    int out[2];
    if (pipe(in) != 0 || pipe(out) != 0) std::abort();
    pid_ = fork();
    if (pid_ == 0) {
      dup2(in[0], STDIN_FILENO);
      dup2(out[1], STDOUT_FILENO);
      for (const int fd : {in[0], in[1], out[0], out[1]}) close(fd);
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    in_ = fdopen(in[1], "w");
    out_ = fdopen(out[0], "r");
  }
  ~Engine() {
    std::fclose(in_);
    std::fclose(out_);
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // What the lookup found, and what the ranks agreed to load.
  std::pair<std::uint32_t, std::uint32_t> Matched() {
    std::pair<std::uint32_t, std::uint32_t> matched{~0U, ~0U};
    if (std::fscanf(out_, " matched %u %u", &matched.first, &matched.second) != 2) {
      ADD_FAILURE() << "the engine ended before it had looked up";
    }
    return matched;
  }

  // Lets it load, compute and store.
  std::vector<RankOutcome> Finish() {
    std::fputs("go\n", in_);
    std::fflush(in_);
    std::vector<RankOutcome> outcomes(2);
    for (RankOutcome& rank : outcomes) {
      unsigned long wrong = 0;
      EXPECT_EQ(std::fscanf(out_, " done %u %u %u %u %lu", &rank.tokens_loaded, &rank.bad_blocks,
                            &rank.chunks_stored, &rank.chunks_pending, &wrong),
                5);
      rank.wrong_values = wrong;
    }
    int status = -1;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    EXPECT_EQ(status, 0);
    return outcomes;
  }

 private:
  pid_t pid_ = 0;
  std::FILE* in_ = nullptr;
  std::FILE* out_ = nullptr;
};

class VllmOrder : public testing::Test {
 protected:
  void SetUp() override {
    signal(SIGPIPE, SIG_IGN);
    admin::LocalClusterOptions options;
    options.folder = folder_.File("cluster");
    options.program_folder = KDN_PROGRAM_FOLDER;
    options.nodes = 2;
    options.dram_mib = 64;
    options.replicas = 1;  // so that a node's death loses chunks
    auto cluster = admin::LocalCluster::Start(options);
    ASSERT_TRUE(cluster.has_value()) << cluster.error().ToString();
    cluster_ = std::make_unique<admin::LocalCluster>(*std::move(cluster));
    const auto settings = cluster_->settings();
    ASSERT_TRUE(settings.has_value());
    const auto client_options = admin::ClientOptionsOf(*settings);
    ASSERT_TRUE(client_options.has_value());
    options_ = *client_options;
  }
  void TearDown() override {
    if (cluster_) {
      EXPECT_TRUE(cluster_->Stop(std::chrono::seconds(10)).ok());
    }
  }

  // A first engine that finds nothing, computes everything and stores it.
  void ServeCold() {
    Engine cold(options_, kPromptTokens);
    EXPECT_EQ(cold.Matched().first, 0U);
    std::uint32_t stored = 0;
    for (const RankOutcome& rank : cold.Finish()) {
      EXPECT_EQ(rank.tokens_loaded, 0U);
      EXPECT_EQ(rank.chunks_stored + rank.chunks_pending, kChunks);
      EXPECT_EQ(rank.wrong_values, 0U);
      stored += rank.chunks_stored;
    }
    EXPECT_EQ(stored, kChunks);  // each is visible once its second part is there
  }

  const test::TempDir folder_;
  std::unique_ptr<admin::LocalCluster> cluster_;
  client::ClientOptions options_;
};

TEST_F(VllmOrder, WhatTwoRanksSavedIsLoadedBitForBitByTheNextEngine) {
  ServeCold();
  Engine warm(options_, kPromptTokens);
  EXPECT_EQ(warm.Matched(), std::pair(kPromptTokens, kPromptTokens));
  for (const RankOutcome& rank : warm.Finish()) {
    EXPECT_EQ(rank.tokens_loaded, kPromptTokens);
    EXPECT_EQ(rank.bad_blocks, 0U);
    EXPECT_EQ(rank.chunks_stored, 0U);  // all of it was there
    EXPECT_EQ(rank.wrong_values, 0U);
  }
}

TEST_F(VllmOrder, AllRanksLoadWhatTheWeakestCanTake) {
  ServeCold();
  Engine warm(options_, 330);
  EXPECT_EQ(warm.Matched(), std::pair(kPromptTokens, 320U));  // whole chunks
  for (const RankOutcome& rank : warm.Finish()) {
    EXPECT_EQ(rank.tokens_loaded, 320U);
    EXPECT_EQ(rank.bad_blocks, 0U);
    EXPECT_EQ(rank.wrong_values, 0U);
  }
}

TEST_F(VllmOrder, NodesKilledBetweenLookupAndLoadAreBlocksToRecompute) {
  ServeCold();
  Engine warm(options_, kPromptTokens);
  EXPECT_EQ(warm.Matched().second, kPromptTokens);
  ASSERT_TRUE(cluster_->Signal(1, SIGKILL).ok());
  ASSERT_TRUE(cluster_->Signal(2, SIGKILL).ok());
  for (const RankOutcome& rank : warm.Finish()) {
    EXPECT_EQ(rank.tokens_loaded, 0U);
    EXPECT_EQ(rank.bad_blocks, kPromptTokens / kBlockTokens);
    EXPECT_EQ(rank.wrong_values, 0U);
  }
}

TEST_F(VllmOrder, OneNodeKilledLeavesWhatTheOtherHolds) {
  ServeCold();
  Engine warm(options_, kPromptTokens);
  EXPECT_EQ(warm.Matched().second, kPromptTokens);
  ASSERT_TRUE(cluster_->Signal(2, SIGKILL).ok());
  for (const RankOutcome& rank : warm.Finish()) {
    EXPECT_EQ(rank.tokens_loaded % kChunkTokens, 0U);
    EXPECT_EQ(rank.bad_blocks, (kPromptTokens - rank.tokens_loaded) / kBlockTokens);
    EXPECT_EQ(rank.wrong_values, 0U);
  }
}

TEST_F(VllmOrder, WithoutACoordinatorTheEngineComputesAndDropsItsStores) {
  ASSERT_TRUE(cluster_->Signal(0, SIGKILL).ok());
  Engine alone(options_, kPromptTokens);
  EXPECT_EQ(alone.Matched().first, 0U);
  for (const RankOutcome& rank : alone.Finish()) {
    EXPECT_EQ(rank.chunks_stored + rank.chunks_pending, 0U);
    EXPECT_EQ(rank.wrong_values, 0U);
  }
}

}  // namespace
}  // namespace kdn
