// Goal: whoever continues from a fetched past says bit for bit what he would have said after
// computing that past himself: over a cluster of real processes and embedded, whoever wrote and
// whoever reads which heads.
// Method: one engine stores documents as 1 and as 2 ranks, and answers questions about them with
// the past recomputed and with it fetched by 1 and by 2 ranks into poisoned caches.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "client/admin/local_cluster.h"
#include "kdn/embedded.h"
#include "tests/demo/demo_engine.h"
#include "tests/demo/demo_prompts.h"
#include "tests/support/temp_dir.h"

namespace kdn::demo {
namespace {

constexpr std::size_t kPrompts = 3;

class Logits : public testing::Test {
 protected:
  void SetUp() override {
    auto documents = HeldOutDocuments(KDN_TEST_MODEL, kPrompts);
    ASSERT_TRUE(documents.has_value()) << documents.error().ToString();
    documents_ = *std::move(documents);
  }

  // Values stored as so many ranks have keys of their own: the extras keep them apart.
  static EngineOptions OptionsOf(std::uint16_t writers) {
    EngineOptions options;
    options.model_folder = KDN_TEST_MODEL;
    options.threads = 2;
    options.tiles.extras = {static_cast<std::byte>(writers)};
    return options;
  }

  void AllAnswersAreIdentical(client::Client& client) {
    for (const std::uint16_t writers : {1, 2}) {
      SCOPED_TRACE("written as " + std::to_string(writers) + " parts");
      const auto engine = Engine::Open(OptionsOf(writers), client);
      ASSERT_TRUE(engine.has_value()) << engine.error().ToString();
      for (const Document& document : documents_) RememberAndAsk(**engine, document, writers);
    }
  }

  void RememberAndAsk(Engine& engine, const Document& document, std::uint16_t writers) {
    const auto tokens = engine.TokensOf(document.text);
    const auto stored = engine.Remember(document.name, tokens, writers);
    ASSERT_TRUE(stored.has_value()) << stored.error().ToString();
    ASSERT_EQ(stored->code, Code::kOk);
    const auto prompt = engine.PromptOf(document.text, document.question);
    const auto recomputed = engine.Ask(prompt, {.how = How::kRecompute});
    ASSERT_TRUE(recomputed.has_value()) << recomputed.error().ToString();
    EXPECT_EQ(recomputed->hit_tokens, 0U);
    for (const std::uint16_t readers : {1, 2}) {
      for (const auto order :
           {client::LoadOrder::kChunkByChunk, client::LoadOrder::kLayerByLayer}) {
        const auto fetched = engine.Ask(prompt, {.readers = readers, .order = order});
        ASSERT_TRUE(fetched.has_value()) << fetched.error().ToString();
        EXPECT_EQ(fetched->hit_tokens,
                  tokens.size() / engine.chunk_tokens() * engine.chunk_tokens());
        EXPECT_TRUE(SameBits(*recomputed, *fetched))
            << document.name << ", read by " << readers << ": '" << recomputed->text << "' and '"
            << fetched->text << "'";
      }
    }
  }

  std::vector<Document> documents_;
};

TEST_F(Logits, OfAPastFetchedFromAClusterAreTheRecomputedOnes) {
  const test::TempDir folder;
  admin::LocalClusterOptions options;
  options.folder = folder.File("cluster");
  options.program_folder = KDN_PROGRAM_FOLDER;
  options.nodes = 2;
  options.dram_mib = 64;
  auto cluster = admin::LocalCluster::Start(options);
  ASSERT_TRUE(cluster.has_value()) << cluster.error().ToString();
  const auto settings = cluster->settings();
  ASSERT_TRUE(settings.has_value()) << settings.error().ToString();
  const auto client_options = admin::ClientOptionsOf(*settings);
  ASSERT_TRUE(client_options.has_value()) << client_options.error().ToString();
  {
    const auto client = client::OpenClient(*client_options);
    ASSERT_TRUE(client.has_value()) << client.error().ToString();
    AllAnswersAreIdentical(**client);
  }
  EXPECT_TRUE(cluster->Stop(std::chrono::seconds(20)).ok());
}

TEST_F(Logits, OfAPastFetchedFromEmbeddedStorageAreTheRecomputedOnes) {
  client::EmbeddedOptions options;
  options.dram_bytes = std::size_t{128} << 20;
  options.client.chunk_secrets = {{SecretId{1}, std::vector<std::byte>(32, std::byte{5})}};
  options.client.timeout = std::chrono::seconds(20);
  const auto client = client::OpenEmbedded(options);
  ASSERT_TRUE(client.has_value()) << client.error().ToString();
  AllAnswersAreIdentical(**client);
}

}  // namespace
}  // namespace kdn::demo
