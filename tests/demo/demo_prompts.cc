#include "tests/demo/demo_prompts.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

namespace kdn::demo {
namespace {

using nlohmann::json;

// The objects of a file that has one a line, up to `count_max`.
Result<std::vector<json>> ReadLines(const std::string& path, std::size_t count_max) {
  std::ifstream file(path);
  if (!file) return Error(Code::kNotFound, "cannot open " + path);
  std::vector<json> objects;
  for (std::string line; objects.size() < count_max && std::getline(file, line);) {
    json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) {
      return Error(Code::kInvalidArgument,
                   path + ":" + std::to_string(objects.size() + 1) + ": no JSON object");
    }
    objects.push_back(std::move(object));
  }
  return objects;
}

std::string TextOf(const json& object, const char* field) {
  const auto found = object.find(field);
  return found == object.end() || !found->is_string() ? std::string() : found->get<std::string>();
}

}  // namespace

Result<std::vector<Document>> ReadDocuments(const std::string& path) {
  KDN_ASSIGN_OR_RETURN(const std::vector<json> objects, ReadLines(path, 1000));
  std::vector<Document> documents;
  for (const json& object : objects) {
    documents.push_back({TextOf(object, "name"), TextOf(object, "text"), TextOf(object, "question"),
                         TextOf(object, "answer")});
    if (documents.back().name.empty() || documents.back().text.empty()) {
      return Error(Code::kInvalidArgument,
                   path + ":" + std::to_string(documents.size()) + ": needs \"name\" and \"text\"");
    }
  }
  return documents;
}

Result<std::vector<Document>> HeldOutDocuments(const std::string& model_folder, std::size_t count) {
  std::ifstream file(model_folder + "/heldout.bin", std::ios::binary);
  if (!file) return Error(Code::kNotFound, "cannot open " + model_folder + "/heldout.bin");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  KDN_ASSIGN_OR_RETURN(const std::vector<json> questions,
                       ReadLines(model_folder + "/questions.jsonl", count));
  constexpr std::size_t kBytesMin = 900;
  constexpr std::size_t kBytesMax = 5000;
  constexpr std::size_t kPrime = 1013;  // spreads lengths and places over their ranges
  if (text.size() < 2 * kBytesMax || questions.empty()) {
    return Error(Code::kInvalidArgument, model_folder + " has too little held-out text");
  }
  std::vector<Document> documents;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t size_bytes = kBytesMin + i * kPrime % (kBytesMax - kBytesMin);
    const std::size_t first = i * (text.size() - kBytesMax) / count;
    const json& asked = questions[i % questions.size()];
    documents.push_back({"held-out " + std::to_string(i), text.substr(first, size_bytes),
                         TextOf(asked, "question"), TextOf(asked, "answer")});
  }
  return documents;
}

}  // namespace kdn::demo
