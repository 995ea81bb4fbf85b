// A model's weights in fp32, joined for the products that the executor runs.
//
// Thread-safety: immutable after construction.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/result.h"
#include "client/llama/aligned.h"
#include "client/llama/config.h"

namespace kdn::llama {

// How the columns of a product are cut into items for the workers. It depends on the width alone,
// so that results do not depend on the number of threads.
struct ColumnSlices {
  explicit ColumnSlices(std::size_t columns);
  // First column of a slice; of slice `count`, the width.
  [[nodiscard]] std::size_t First(std::size_t slice) const;
  std::size_t width;
  std::size_t count;
};

// Matrices are row-major, one row per output. A bias that the model lacks is empty.
struct LayerWeights {
  AlignedFloats input_norm;
  AlignedFloats qkv;  // queries, keys, values
  AlignedFloats qkv_bias;
  AlignedFloats output;
  AlignedFloats output_bias;
  AlignedFloats post_norm;
  // For each slice of ColumnSlices(intermediate_size): its gate rows, then its up rows.
  AlignedFloats gate_up;
  AlignedFloats down;
};

struct Weights {
  AlignedFloats embedding;  // [vocab_size, hidden_size]
  std::vector<LayerWeights> layers;
  AlignedFloats final_norm;
  AlignedFloats head;  // empty if the model ties it to the embedding

  [[nodiscard]] const float* head_rows() const {
    return head.size() > 0 ? head.data() : embedding.data();
  }
};

// Reads folder/model.safetensors. Errors as SafetensorsFile; kUnimplemented if the folder has
// several files of weights instead.
[[nodiscard]] Result<Weights> ReadWeights(const std::string& folder, const LlamaConfig& config);

// A digest of config.json and model.safetensors, 64 hexadecimal digits: what to call the weights'
// revision where there is no better name. Errors as ReadWeights().
[[nodiscard]] Result<std::string> WeightsRevision(const std::string& folder);

}  // namespace kdn::llama
