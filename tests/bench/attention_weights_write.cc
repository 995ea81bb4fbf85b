// Writes how much attention feels each channel of the model of tests/models, as
// `kdnctl profile learn --weights` reads it: from the queries of the held-out text's first parts.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "client/admin/channel_weights.h"
#include "tests/bench/attention_weights.h"
#include "tests/bench/recorded_text.h"

int main(int argc, char** argv) {
  std::string folder = KDN_TEST_MODEL;
  std::string out;
  std::size_t parts = 6;
  std::uint32_t tokens = 1536;
  CLI::App app("Weights of a model's channels, by what attention makes of their errors");
  app.add_option("--model", folder, "folder of the model");
  app.add_option("--out", out, "file to write")->required();
  app.add_option("--parts", parts, "texts to count")
      ->check(CLI::Range(std::size_t{1}, kdn::bench::TextModel::kContexts));
  app.add_option("--tokens", tokens, "of each")->check(CLI::Range(128, 4096));
  CLI11_PARSE(app, argc, argv);

  const auto model = kdn::bench::TextModel::Load(folder);
  if (!model) {
    std::fprintf(stderr, "%s: %s\n", folder.c_str(), model.error().ToString().c_str());
    return 1;
  }
  std::vector<kdn::bench::TextContext> contexts;
  contexts.reserve(parts);
  std::vector<const kdn::bench::TextContext*> borrowed;
  for (std::size_t part = 0; part < parts; ++part) {
    borrowed.push_back(&contexts.emplace_back((*model)->Record(part, tokens)));
  }
  const kdn::ModelSpec& spec = (*model)->spec();
  const auto weights = kdn::bench::AttentionWeights(borrowed, (*model)->query_heads(), spec.rotary);
  std::ofstream file(out, std::ios::binary);
  file << kdn::admin::ChannelWeightsText(weights, kdn::FingerprintOf(spec));
  if (!file.flush()) {
    std::fprintf(stderr, "cannot write %s\n", out.c_str());
    return 1;
  }
  std::printf("%zu strips of weights from %zu texts of %u tokens\n", weights.size(), parts, tokens);
  return 0;
}
