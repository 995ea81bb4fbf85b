// The texts that the tiny model is asked about: documents with a question each, and held-out text
// of any length.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/result.h"

namespace kdn::demo {

struct Document {
  std::string name;
  std::string text;
  std::string question;
  std::string answer;  // what a model that has read it says
};

// One JSON object a line. kNotFound if the file cannot be read, kInvalidArgument naming the line.
[[nodiscard]] Result<std::vector<Document>> ReadDocuments(const std::string& path);

// `count` pieces of the held-out text of a model's folder, from 900 bytes to about 5,000, none like
// another, each with a question from the folder's questions.jsonl. Errors as ReadDocuments().
[[nodiscard]] Result<std::vector<Document>> HeldOutDocuments(const std::string& model_folder,
                                                             std::size_t count);

}  // namespace kdn::demo
