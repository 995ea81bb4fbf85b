// Learns a profile from KV values of a model: means, covariances and, from those, a transform, bins
// and tables for each layer, head and plane. docs/codec.md says why so.
//
// The memory it takes does not grow with the number of chunks: one matrix per layer, head and
// plane, or none if there is to be no transform.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "codec/object_codec.h"
#include "codec/profile.h"
#include "codec/rotary.h"

namespace kdn::codec {

struct LearnOptions {
  // Bits a value that draft should take; standard and fine take about one more each.
  double draft_bits = 2.0;
  // Karhunen-Loève transform of blocks of so many channels, a multiple of 16, or of the largest
  // multiple below it that divides the head's size; 1: none.
  std::uint16_t block = 64;
  // How much an error of each channel matters: by layer, plane, head and channel; empty: all heads
  // of a plane alike, relative to their power, and keys more than values. Of any common unit, each
  // finite and at least 0, not all 0.
  std::vector<std::vector<double>> weights;  // by strip, in the order of Profile's strips
};

// What a profile may do to values before it cuts them into bins. To change what is learned unless
// somebody says otherwise, move the row to the front.
struct TransformChoice {
  std::string_view name;
  std::uint16_t block;  // as of LearnOptions
  double draft_bits;  // that keep fine's cost to a model's text below its bar (docs/benchmarks.md)
};
[[nodiscard]] std::span<const TransformChoice> TransformChoices();
[[nodiscard]] inline LearnOptions OptionsOf(const TransformChoice& choice) {
  return {.draft_bits = choice.draft_bits, .block = choice.block, .weights = {}};
}

class ProfileLearner {
 public:
  // Counts what Learn() needs for blocks of up to `block_max` channels, or, unless that is
  // kMatrixBlockMax, up to the largest multiple of 16 below it that divides the head's size.
  // kInvalidArgument for a spec that ValidateModelSpec() refuses, kUnimplemented for a model whose
  // keys cannot be freed of their position or whose head sizes are no multiples of 16.
  static Result<ProfileLearner> Make(const ModelSpec& spec,
                                     std::uint16_t block_max = kMatrixBlockMax);
  // Bytes that one for this model takes, of its counts. Requires: a spec that Make() takes.
  static std::size_t BytesFor(const ModelSpec& spec, std::uint16_t block_max);

  // Counts the values of place.token_count tokens, prefilled at `first_position`; all or, on an
  // error that the memory's shape makes, those of some strips: such a learner is of no more use.
  // kInvalidArgument: the memory lacks a layer or head, does not cover the tokens, or is not of the
  // model's shape; there are no tokens, or more than a chunk has.
  Status Add(const PagedKv& kv, const BlockTables& blocks, const ChunkPlace& place,
             std::uint64_t first_position);

  [[nodiscard]] std::uint64_t tokens() const { return tokens_; }

  // kFailedPrecondition before there are 64 tokens and twice as many as a block has channels;
  // kInvalidArgument for blocks that were not counted or are no multiple of 16, for weights that
  // are not what LearnOptions says, and for values so large that a profile cannot say their means
  // or scales; kUnimplemented for a model so large that a profile has no room for its tables.
  [[nodiscard]] Result<Profile> Learn(const ModelFingerprint& model,
                                      const LearnOptions& options) const;

 private:
  struct Statistics {
    std::uint32_t layer = 0;
    std::size_t plane = 0;
    std::uint32_t head = 0;
    std::uint32_t channels = 0;
    std::uint32_t block = 0;       // channels whose products are counted together
    bool values = false;           // V, or the latent that it is made of
    std::vector<double> sums;      // of each channel
    std::vector<double> products;  // of each channel with those of its block, channels x block
  };
  ProfileLearner(ModelSpec spec, RotaryAngles angles, std::uint16_t block_max);

  ModelSpec spec_;
  RotaryAngles angles_;
  std::uint16_t block_max_;
  std::vector<Statistics> strips_;
  std::uint64_t tokens_ = 0;
};

}  // namespace kdn::codec
