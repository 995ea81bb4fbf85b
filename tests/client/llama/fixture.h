// What the executor's tests share: the tiny model, and its files read as plain vectors.
//
// Thread-safety: pure functions.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "client/llama/executor.h"
#include "client/llama/paged_cache.h"
#include "client/llama/safetensors.h"
#include "client/llama/tokenizer.h"

namespace kdn::llama {

inline const std::string kModelFolder = KDN_TEST_MODEL;

inline std::unique_ptr<Executor> LoadModel(const ExecutorOptions& options = {.threads = 2}) {
  auto loaded = Executor::Load(kModelFolder, options);
  EXPECT_TRUE(loaded.has_value()) << loaded.error().ToString();
  return std::move(*loaded);
}

inline PagedCache MakeCache(const Executor& executor, const PagedCacheOptions& options) {
  auto made = PagedCache::Make(executor.config(), options);
  EXPECT_TRUE(made.has_value()) << made.error().ToString();
  PagedCache cache = std::move(*made);
  cache.Poison();
  return cache;
}

// All of a cache's blocks, scattered as a long-running engine's are.
inline std::vector<std::uint32_t> ScatteredBlocks(std::uint32_t count, std::uint32_t stride = 7) {
  while (std::gcd(count, stride) != 1) ++stride;
  std::vector<std::uint32_t> blocks(count);
  for (std::uint32_t i = 0; i < count; ++i) blocks[i] = (i * stride + 3) % count;
  return blocks;
}

inline std::string HeldOutText() {
  std::ifstream file(kModelFolder + "/heldout.bin", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Held-out text behind one NUL, as the model's prompts begin.
inline std::vector<TokenId> Prompt(std::size_t tokens, std::size_t start_byte = 0) {
  const auto tokenizer = Tokenizer::FromFile(kModelFolder + "/vocab.txt");
  EXPECT_TRUE(tokenizer.has_value());
  const std::string text = HeldOutText();
  std::vector<TokenId> ids = tokenizer->Encode(text.substr(start_byte, 8 * tokens));
  ids.insert(ids.begin(), 0);
  EXPECT_GE(ids.size(), tokens);
  ids.resize(tokens);
  return ids;
}

template <class T>
std::vector<T> ReadTensor(const SafetensorsFile& file, const std::string& name) {
  const auto bytes = file.ReadBytes(name);
  EXPECT_TRUE(bytes.has_value()) << name;
  std::vector<T> values(bytes->size() / sizeof(T));
  std::memcpy(values.data(), bytes->data(), values.size() * sizeof(T));
  return values;
}

// The largest difference, relative to the largest wanted value; infinite if anything is NaN.
inline double Deviation(std::span<const float> got, std::span<const float> want) {
  EXPECT_EQ(got.size(), want.size());
  double error = 0.0;
  double largest = 0.0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double difference = std::abs(double{got[i]} - double{want[i]});
    if (std::isnan(difference)) return HUGE_VAL;
    error = std::max(error, difference);
    largest = std::max(largest, std::abs(double{want[i]}));
  }
  return error / largest;
}

inline bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

}  // namespace kdn::llama
