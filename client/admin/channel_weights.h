// How much attention feels an error of each channel, from a file: what `kdnctl profile learn` needs
// to make a profile's bins narrow where it matters. Who runs a model knows its queries; the cluster
// sees keys and values only. docs/format.md has the file's form, docs/operations.md what to count.
//
// Thread-safety: pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace kdn::admin {

// By strip (layer, plane, KV head) and channel, as codec::LearnOptions::weights.
using ChannelWeights = std::vector<std::vector<double>>;

// Of the text of such a file. kInvalidArgument if it is not one, holds numbers that are not finite
// or below 0, or was written for another model. How many strips and channels there have to be is
// the learner's to say.
[[nodiscard]] Result<ChannelWeights> ParseChannelWeights(std::string_view text,
                                                         const ModelFingerprint& model);

// kNotFound if it cannot be read; else as ParseChannelWeights().
[[nodiscard]] Result<ChannelWeights> ReadChannelWeights(const std::string& path,
                                                        const ModelFingerprint& model);

[[nodiscard]] std::string ChannelWeightsText(const ChannelWeights& weights,
                                             const ModelFingerprint& model);

}  // namespace kdn::admin
