// kdn-demo-engine: remembers documents in one process and answers questions about them in another,
// over a cluster or with storage of its own. Results are JSON, one object a document and line;
// scripts/demo shows them.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "client/admin/settings.h"
#include "kdn/embedded.h"
#include "tests/demo/demo_engine.h"
#include "tests/demo/demo_prompts.h"

namespace kdn::demo {
namespace {

struct Arguments {
  std::string cluster;   // folder of a local cluster
  std::string embedded;  // or a folder of this process's own storage
  std::string model = KDN_TEST_MODEL;
  std::string documents = KDN_TEST_MODEL "/demo_documents.jsonl";
};

int Fail(const Status& status) {
  std::fprintf(stderr, "kdn-demo-engine: %s\n", status.ToString().c_str());
  return 2;
}

void Print(const nlohmann::json& row) {
  // Text comes from a model: what is no UTF-8 is shown as such.
  std::printf("%s\n", row.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  std::fflush(stdout);
}

Result<std::unique_ptr<client::Client>> OpenStore(const Arguments& arguments) {
  constexpr std::uint32_t kDecodeThreads = 2;
  if (!arguments.embedded.empty()) {
    client::EmbeddedOptions options;
    options.disk_folder = arguments.embedded;
    options.client.decode_threads = kDecodeThreads;
    // One machine's own storage guards nothing from anyone: any secret does, kept from run to run.
    options.client.chunk_secrets = {{SecretId{1}, std::vector<std::byte>(32, std::byte{1})}};
    return client::OpenEmbedded(options);
  }
  KDN_ASSIGN_OR_RETURN(const admin::Settings settings,
                       admin::ReadSettings(arguments.cluster + "/kdnctl.toml"));
  KDN_ASSIGN_OR_RETURN(client::ClientOptions options, admin::ClientOptionsOf(settings));
  options.decode_threads = kDecodeThreads;
  return client::OpenClient(options);
}

int Remember(Engine& engine, const std::vector<Document>& documents) {
  bool stored_all = true;
  for (const Document& document : documents) {
    const std::vector<TokenId> tokens = engine.TokensOf(document.text);
    const auto report = engine.Remember(document.name, tokens);
    if (!report) return Fail(report.error());
    stored_all = stored_all && report->code == Code::kOk;
    Print({{"document", document.name},
           {"tokens", tokens.size()},
           {"stored", report->code == Code::kOk},
           {"chunks_stored", report->chunks_stored},
           {"chunks_present", report->chunks_present},
           {"bytes_raw", report->bytes_raw},
           {"bytes_sent", report->bytes_sent}});
  }
  return stored_all ? 0 : 1;
}

int AnswerAll(Engine& engine, const std::vector<Document>& documents) {
  bool identical_all = true;
  for (const Document& document : documents) {
    const std::vector<TokenId> prompt = engine.PromptOf(document.text, document.question);
    const auto recomputed = engine.Ask(prompt, {.how = How::kRecompute});
    if (!recomputed) return Fail(recomputed.error());
    const auto fetched = engine.Ask(prompt, {.how = How::kFetch});
    if (!fetched) return Fail(fetched.error());
    const bool identical = SameBits(*recomputed, *fetched);
    identical_all = identical_all && identical;
    Print({{"document", document.name},
           {"question", document.question},
           {"tokens", prompt.size()},
           {"bytes", fetched->bytes},
           {"recompute_ms", recomputed->first_token_ms},
           {"fetch_ms", fetched->first_token_ms},
           {"hit_tokens", fetched->hit_tokens},
           {"tier", fetched->tier},
           {"identical", identical},
           {"text", recomputed->text},
           {"text_fetched", fetched->text},
           {"text_right", document.answer},
           {"lookup_ms", fetched->lookup_ms},
           {"load_ms", fetched->load_ms},
           {"replicas_failed_over", fetched->replicas_failed_over}});
  }
  return identical_all ? 0 : 1;
}

int Run(const Arguments& arguments, bool remember) {
  const auto documents = ReadDocuments(arguments.documents);
  if (!documents) return Fail(documents.error());
  const auto store = OpenStore(arguments);
  if (!store) return Fail(store.error());
  const auto engine = Engine::Open({.model_folder = arguments.model}, **store);
  if (!engine) return Fail(engine.error());
  if (const Status status = (*engine)->WarmUp(); !status.ok()) return Fail(status);
  return remember ? Remember(**engine, *documents) : AnswerAll(**engine, *documents);
}

}  // namespace
}  // namespace kdn::demo

int main(int argc, char** argv) {
  kdn::demo::Arguments arguments;
  CLI::App app("An engine that remembers documents in a KDN store and answers questions");
  app.require_subcommand(1);
  auto* cluster = app.add_option("--cluster", arguments.cluster,
                                 "folder of a cluster that `kdnctl cluster up` started");
  auto* embedded =
      app.add_option("--embedded", arguments.embedded, "folder to store in, without a cluster");
  cluster->excludes(embedded);
  app.add_option("--model", arguments.model, "folder of the model");
  app.add_option("--documents", arguments.documents, "documents and questions, one JSON a line");
  const CLI::App* remember =
      app.add_subcommand("remember", "Computes the documents' KV caches and stores them");
  app.add_subcommand("answer",
                     "Answers with the past recomputed and with it fetched; fails if "
                     "any bit differs");
  CLI11_PARSE(app, argc, argv);
  if (arguments.cluster.empty() && arguments.embedded.empty()) {
    std::fprintf(stderr, "kdn-demo-engine: needs --cluster or --embedded\n");
    return 2;
  }
  return kdn::demo::Run(arguments, remember->parsed());
}
