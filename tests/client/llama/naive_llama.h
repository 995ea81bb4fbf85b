// What a Llama-architecture model computes, written as plainly as it can be: double precision, one
// token at a time, no cache type, no blocks. The specification that the executor is held to where
// the reference values of tests/models do not reach.
//
// Thread-safety: pure functions.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "client/llama/config.h"
#include "client/llama/tokenizer.h"

namespace kdn::llama {

// Logits of every token, tokens × vocab_size, positions from 0.
[[nodiscard]] std::vector<double> NaiveLogits(const std::string& folder, const LlamaConfig& config,
                                              std::span<const TokenId> tokens);

}  // namespace kdn::llama
