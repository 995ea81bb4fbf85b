// What a model is asked to judge a lossy cache by: contexts with questions whose answers only the
// context tells, and held-out text that goes on behind its own beginning. Both come from the files
// of a model's folder, as tests/models/README.md describes them.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/result.h"
#include "client/llama/tokenizer.h"

namespace kdn::bench {

struct AskedQuestion {
  std::vector<llama::TokenId> tokens;
  llama::TokenId answer = 0;
};

// Documents that are read once, and all that is asked about them.
struct AskedContext {
  std::vector<llama::TokenId> tokens;
  std::vector<AskedQuestion> questions;
};

// `count` questions over the documents of questions.jsonl, spread over all of its lines: of each
// the question that stands there and then others about facts of the same documents, direct ones
// and references, which are found in the text and resolved. kNotFound if a file cannot be read;
// kInvalidArgument if there are fewer questions, or if a fact that is found contradicts the file.
[[nodiscard]] Result<std::vector<AskedContext>> ReadQuestions(const std::string& model_folder,
                                                              const llama::Tokenizer& tokenizer,
                                                              std::size_t count);

// A piece of held-out text: `context` begins with a NUL, `text` follows it.
struct Window {
  std::vector<llama::TokenId> context;
  std::vector<llama::TokenId> text;
  std::size_t half = 0;  // of the held-out text that both of them lie in: 0 or 1
};

struct WindowSizes {
  std::size_t context_tokens = 0;
  std::size_t text_tokens = 0;
};

// Windows whose texts follow each other without gaps, but for the middle of the held-out text and
// the contexts of the first window of each half. kNotFound if the file cannot be read.
[[nodiscard]] Result<std::vector<Window>> ReadWindows(const std::string& model_folder,
                                                      const llama::Tokenizer& tokenizer,
                                                      const WindowSizes& sizes);

}  // namespace kdn::bench
