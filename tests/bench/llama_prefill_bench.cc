// Goal: prefill runs at no less than 0.6 of the rate at which OpenBLAS alone multiplies matrices of
// the same shapes, with as many threads.
// Method: 2,048 tokens through the executor, and the bare products of the same steps (QKV, output,
// gate and up, down, QKᵀ and PV of each KV head over all keys up to the step's end, logits of the
// last token) through OpenBLAS with its own threads; in turns, the best of each.
#include <cblas.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "client/llama/executor.h"
#include "tests/bench/report.h"

namespace kdn::llama {
namespace {

constexpr double kBar = 0.6;

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// One product, out[rows, columns] = a[rows, inner] · b; b as one row per output, as weights and
// keys lie, or as one row per inner index, as values do.
struct Product {
  int rows;
  int columns;
  int inner;
  CBLAS_TRANSPOSE transpose_b;
  std::size_t b_first;  // where b begins in Operands::b

  [[nodiscard]] double flops() const { return 2.0 * rows * columns * inner; }
};

// As warm as the executor's: each layer has its weights, all share one input and one output.
struct Operands {
  std::vector<float> a;
  std::vector<float> b;
  std::vector<float> out;
};

// Every product of a prefill, in order.
class Products {
 public:
  Products(const LlamaConfig& config, std::uint32_t tokens) {
    const int hidden = static_cast<int>(config.hidden_size);
    for (int keys = kStep; keys <= static_cast<int>(tokens); keys += kStep) {
      std::size_t weights = 0;
      for (std::uint32_t layer = 0; layer < config.layers; ++layer) {
        AddLayer(config, keys, weights);
      }
    }
    Add({1, static_cast<int>(config.vocab_size), hidden, CblasTrans, 0});
    for (const Product& p : products_) {
      const auto need = [](std::vector<float>& values, std::size_t count) {
        if (values.size() < count) values.resize(count, 0.25F);
      };
      need(operands_.a, Size(p.rows, p.inner));
      need(operands_.b, p.b_first + Size(p.columns, p.inner));
      need(operands_.out, Size(p.rows, p.columns));
    }
  }

  double SecondsWith(std::size_t threads) {
    openblas_set_num_threads(static_cast<int>(threads));
    const auto start = std::chrono::steady_clock::now();
    for (const Product& p : products_) {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, p.transpose_b, p.rows, p.columns, p.inner, 1.0F,
                  operands_.a.data(), p.inner, operands_.b.data() + p.b_first,
                  p.transpose_b == CblasTrans ? p.inner : p.columns, 0.0F, operands_.out.data(),
                  p.columns);
    }
    const double seconds = SecondsSince(start);
    openblas_set_num_threads(1);  // as the executor has it
    return seconds;
  }
  [[nodiscard]] double flops() const { return flops_; }

 private:
  static constexpr int kStep = kStepTokens;

  static std::size_t Size(int a, int b) {
    return static_cast<std::size_t>(a) * static_cast<std::size_t>(b);
  }
  void Add(const Product& product) {
    products_.push_back(product);
    flops_ += product.flops();
  }
  void AddLinear(int columns, int inner, std::size_t& weights) {
    Add({kStep, columns, inner, CblasTrans, weights});
    weights += Size(columns, inner);
  }
  void AddLayer(const LlamaConfig& config, int keys, std::size_t& weights) {
    const int hidden = static_cast<int>(config.hidden_size);
    const int inner = static_cast<int>(config.intermediate_size);
    const int size = static_cast<int>(config.head_size);
    const int rows = kStep * static_cast<int>(config.heads / config.kv_heads);
    AddLinear(static_cast<int>(config.qkv_width()), hidden, weights);
    for (std::uint32_t head = 0; head < config.kv_heads; ++head) {
      Add({rows, keys, size, CblasTrans, weights});
      Add({rows, size, keys, CblasNoTrans, weights});
    }
    AddLinear(hidden, static_cast<int>(config.query_width()), weights);
    AddLinear(2 * inner, hidden, weights);
    AddLinear(hidden, inner, weights);
  }

  std::vector<Product> products_;
  Operands operands_;
  double flops_ = 0.0;
};

struct Arguments {
  std::string model = KDN_TEST_MODEL;
  std::string json;
  std::uint32_t tokens = 2048;
  std::size_t threads = 0;
  int rounds = 12;
};

int Run(const Arguments& arguments, const std::string& command) {
  auto executor = Executor::Load(arguments.model, {.threads = arguments.threads});
  if (!executor) {
    std::fprintf(stderr, "%s\n", executor.error().ToString().c_str());
    return 2;
  }
  const LlamaConfig& config = (*executor)->config();
  auto cache = PagedCache::Make(config, {.block_count = arguments.tokens / 16});
  if (!cache) {
    std::fprintf(stderr, "%s\n", cache.error().ToString().c_str());
    return 2;
  }
  std::vector<std::uint32_t> blocks(arguments.tokens / 16);
  std::iota(blocks.begin(), blocks.end(), 0U);
  std::vector<TokenId> tokens(arguments.tokens);
  for (std::uint32_t i = 0; i < tokens.size(); ++i) tokens[i] = i * 7919 % config.vocab_size;
  Products products(config, arguments.tokens);

  double ours = std::numeric_limits<double>::infinity();
  double theirs = ours;
  for (int round = 0; round < arguments.rounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    if (auto logits = (*executor)->Prefill(tokens, 0, {*cache, blocks}); !logits) {
      std::fprintf(stderr, "%s\n", logits.error().ToString().c_str());
      return 2;
    }
    ours = std::min(ours, SecondsSince(start));
    theirs = std::min(theirs, products.SecondsWith((*executor)->thread_count()));
  }
  std::printf(
      "%u tokens, %zu threads, kernels %s, OpenBLAS %s, best of %d: prefill %.1f ms, "
      "products alone %.1f ms\n",
      arguments.tokens, (*executor)->thread_count(), std::string((*executor)->kernels()).c_str(),
      openblas_get_corename(), arguments.rounds, ours * 1e3, theirs * 1e3);
  return bench::Report({.name = "llama_prefill_bench",
                        .group = "demo",
                        .ours = products.flops() / ours / 1e9,
                        .theirs = products.flops() / theirs / 1e9,
                        .unit = "GFLOP/s",
                        .ratio = theirs / ours,
                        .bar = kBar,
                        .command = command},
                       arguments.json);
}

}  // namespace
}  // namespace kdn::llama

int main(int argc, char** argv) {
  kdn::llama::Arguments arguments;
  CLI::App app("Prefill of the built-in executor against OpenBLAS alone on the same shapes");
  app.add_option("--json", arguments.json, "write the result to this file");
  app.add_option("--model", arguments.model, "folder of the model");
  app.add_option("--tokens", arguments.tokens, "prompt length, a multiple of 256")
      ->check(CLI::Range(256, 1 << 20));
  app.add_option("--threads", arguments.threads, "0: as many as the machine has cores");
  app.add_option("--rounds", arguments.rounds, "of both sides")->check(CLI::Range(1, 1000));
  CLI11_PARSE(app, argc, argv);
  arguments.tokens -= arguments.tokens % kdn::llama::kStepTokens;
  return kdn::llama::Run(arguments, kdn::bench::CommandLine(argc, argv));
}
