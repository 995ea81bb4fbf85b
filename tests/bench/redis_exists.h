// A redis-server of its own, on a loopback port, filled with keys, and asked with EXISTS in
// batches, pipelined: the peer of the directory's lookups.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/random.h"
#include "tests/support/temp_dir.h"

namespace kdn::bench {

class RedisExists {
 public:
  // nullptr if there is no redis-server to be started. `keys` outlive the object.
  [[nodiscard]] static std::unique_ptr<RedisExists> Start(std::span<const ChunkKey> keys);
  ~RedisExists();
  RedisExists(const RedisExists&) = delete;
  RedisExists& operator=(const RedisExists&) = delete;

  // Keys a second, asked for in runs of neighbours, 64 of them a batch, with so many runs in
  // flight. Ends the program at an answer that is not 64. Requires: run_keys a multiple of 64.
  [[nodiscard]] double Run(std::size_t runs_in_flight, std::size_t run_keys, double seconds);

 private:
  explicit RedisExists(std::span<const ChunkKey> keys);
  void Fill();
  void Ask(std::size_t batches);
  void SendAll(const std::string& bytes);
  // Waits for more bytes and returns how many whole replies they end; all have to be `expected`.
  [[nodiscard]] std::size_t TakeReplies(std::string_view expected);

  std::span<const ChunkKey> keys_;
  test::TempDir folder_;
  pid_t pid_ = -1;
  int socket_ = -1;
  SeededRandom random_{2};
  std::string sent_;  // reused, as is the next one
  std::vector<char> received_;
  std::string left_;  // of a reply that is not whole yet
};

}  // namespace kdn::bench
