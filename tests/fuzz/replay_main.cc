// Runs a fuzz target over its corpus without libFuzzer, so that every build and every test run
// does: each file, each file cut short, and seeded mutations of it. Finds less than a fuzzer and
// never forgets what a fuzzer found.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/random.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;

constexpr std::size_t kMutationsInAll = 4000;
constexpr std::size_t kInputBytesMax = 1 << 20;

Input ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return Input(std::istreambuf_iterator<char>(file), {});
}

std::vector<Input> ReadCorpus(int count, char** paths) {
  std::vector<std::filesystem::path> files;
  for (int i = 0; i < count; ++i) {
    if (!std::filesystem::is_directory(paths[i])) {
      files.emplace_back(paths[i]);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(paths[i])) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());  // Folders have no order of their own.
  std::vector<Input> corpus = {Input()};
  for (const auto& file : files) corpus.push_back(ReadFile(file));
  return corpus;
}

// Runs an exactly sized copy, so that a sanitizer sees a read past the end.
void Run(const Input& input) {
  const Input copy(input.begin(), input.end());
  LLVMFuzzerTestOneInput(copy.data(), copy.size());
}

Input Mutated(Input input, const std::vector<Input>& corpus, kdn::SeededRandom& random) {
  for (std::uint64_t changes = random.Next() % 4 + 1; changes > 0; --changes) {
    const std::size_t at = input.empty() ? 0 : random.Next() % input.size();
    const auto offset = static_cast<std::ptrdiff_t>(at);
    switch (random.Next() % 6) {
      case 0:
        if (!input.empty()) input[at] ^= static_cast<std::uint8_t>(1U << (random.Next() % 8));
        break;
      case 1:
        if (!input.empty()) input[at] = static_cast<std::uint8_t>(random.Next());
        break;
      case 2:  // The values at which lengths go wrong.
        for (std::size_t i = at; i < std::min(at + 4, input.size()); ++i) input[i] = 0xFF;
        break;
      case 3:
        input.resize(at);
        break;
      case 4:
        input.insert(input.begin() + offset, static_cast<std::uint8_t>(random.Next()));
        break;
      default: {
        const Input& other = corpus[random.Next() % corpus.size()];
        for (std::size_t i = at; i < std::min(input.size(), other.size()); ++i) {
          input[i] = other[i];
        }
      }
    }
  }
  if (input.size() > kInputBytesMax) input.resize(kInputBytesMax);
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<Input> corpus = ReadCorpus(argc - 1, argv + 1);
  kdn::SeededRandom random(1);
  for (const Input& input : corpus) Run(input);
  for (std::size_t i = 0; i < kMutationsInAll; ++i) {
    Run(Mutated(corpus[i % corpus.size()], corpus, random));
  }
  std::printf("%zu inputs and %zu mutations\n", corpus.size(), kMutationsInAll);
  return 0;
}
