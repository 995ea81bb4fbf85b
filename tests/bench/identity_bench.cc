// Goal: a fetched past changes nothing: 200 of 200 prompts give the recomputed prefill's logits and
// text, bit for bit.
// Method: held-out texts of 900 to 5,000 bytes with a question each, over a cluster of processes
// with two nodes. Each text is stored as 1 and as 2 ranks' shares of the KV heads; each prompt is
// answered once with its past recomputed, and fetched into poisoned caches by 1 and by 2 ranks. A
// prompt counts if all four fetches took every full chunk from the cluster and all bits are equal.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "client/admin/local_cluster.h"
#include "tests/bench/report.h"
#include "tests/demo/demo_engine.h"
#include "tests/demo/demo_prompts.h"
#include "tests/support/temp_dir.h"

namespace kdn::demo {
namespace {

constexpr std::uint16_t kRanks[] = {1, 2};  // the model has two KV heads

[[noreturn]] void Die(const Status& status) {
  std::fprintf(stderr, "identity_bench: %s\n", status.ToString().c_str());
  std::exit(2);
}

template <class T>
T OrDie(Result<T> result) {
  if (!result) Die(result.error());
  return *std::move(result);
}

class Bench {
 public:
  Bench(client::Client& client, std::size_t threads) {
    for (const std::uint16_t writers : kRanks) {
      EngineOptions options;
      options.model_folder = KDN_TEST_MODEL;
      options.threads = threads;
      options.tiles.extras = {static_cast<std::byte>(writers)};  // keys of their own
      engines_.push_back(OrDie(Engine::Open(options, client)));
    }
    if (const Status status = engines_[0]->WarmUp(); !status.ok()) Die(status);
  }

  // True if nothing about the prompt shows where its past came from.
  bool Identical(const Document& document) {
    Engine& computing = *engines_[0];
    const auto tokens = computing.TokensOf(document.text);
    const auto prompt = computing.PromptOf(document.text, document.question);
    const std::uint64_t stored_tokens = tokens.size() - tokens.size() % computing.chunk_tokens();
    const Answer recomputed = OrDie(computing.Ask(prompt, {.how = How::kRecompute}));
    bool identical = stored_tokens > 0;
    for (std::uint16_t writers = 1; writers <= engines_.size(); ++writers) {
      Engine& engine = *engines_[writers - 1U];
      if (OrDie(engine.Remember(document.name, tokens, writers)).code != Code::kOk) return false;
      for (const std::uint16_t readers : kRanks) {
        const Answer fetched = OrDie(engine.Ask(prompt, {.readers = readers}));
        fetched_tokens_ += fetched.hit_tokens;
        if (fetched.hit_tokens == stored_tokens && SameBits(recomputed, fetched)) continue;
        identical = false;
        std::printf(
            "%s, written as %u, read as %u: %llu of %llu tokens fetched, text '%s', not '%s'\n",
            document.name.c_str(), writers, readers,
            static_cast<unsigned long long>(fetched.hit_tokens),
            static_cast<unsigned long long>(stored_tokens), fetched.text.c_str(),
            recomputed.text.c_str());
      }
    }
    return identical;
  }

  [[nodiscard]] std::uint64_t fetched_tokens() const { return fetched_tokens_; }

 private:
  std::vector<std::unique_ptr<Engine>> engines_;  // by writers, from 1
  std::uint64_t fetched_tokens_ = 0;
};

std::size_t CountIdentical(std::size_t prompts, std::size_t threads) {
  const test::TempDir folder;
  admin::LocalClusterOptions options;
  options.folder = folder.File("cluster");
  options.nodes = 2;
  options.dram_mib = 1024;  // all that 200 prompts store
  auto cluster = OrDie(admin::LocalCluster::Start(options));
  const auto client =
      OrDie(client::OpenClient(OrDie(admin::ClientOptionsOf(OrDie(cluster.settings())))));
  std::size_t identical = 0;
  {
    Bench bench(*client, threads);
    for (const Document& document : OrDie(HeldOutDocuments(KDN_TEST_MODEL, prompts))) {
      identical += bench.Identical(document) ? 1 : 0;
    }
    std::printf("%zu prompts, %llu tokens fetched in all\n", prompts,
                static_cast<unsigned long long>(bench.fetched_tokens()));
  }
  (void)cluster.Stop(std::chrono::seconds(20));
  return identical;
}

}  // namespace
}  // namespace kdn::demo

int main(int argc, char** argv) {
  CLI::App app("How many of 200 prompts give the same bits with a fetched past");
  std::string json_path;
  std::size_t prompts = 200;
  std::size_t threads = 0;
  app.add_option("--json", json_path, "where to write the result");
  app.add_option("--prompts", prompts, "how many")->check(CLI::Range(1, 960));
  app.add_option("--threads", threads, "of the executor; 0: as many as the machine has cores");
  CLI11_PARSE(app, argc, argv);
  const auto identical = static_cast<double>(kdn::demo::CountIdentical(prompts, threads));
  const auto all = static_cast<double>(prompts);
  return kdn::bench::Report({.name = "identity_bench",
                             .group = "demo",
                             .ours = identical,
                             .theirs = all,
                             .unit = "prompts",
                             .ratio = identical / all,
                             .bar = 1.0,
                             .command = kdn::bench::CommandLine(argc, argv)},
                            json_path);
}
