#include "tests/bench/quality_texts.h"

#include <array>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <utility>

namespace kdn::bench {
namespace {

using llama::TokenId;
using llama::Tokenizer;
using nlohmann::json;

// How a fact is told and asked, as tests/models/train/questions.py writes it.
struct Form {
  std::string_view direct;     // between name and value
  std::string_view reference;  // between name and the other name
  std::string_view ask_before;
  std::string_view ask_after;
};
constexpr std::array<Form, 3> kForms = {
    Form{" lives in ", " lives where ", "Q: Where does ", " live? A:"},
    Form{" has a ", " has the same pet as ", "Q: Which pet does ", " have? A:"},
    Form{" likes ", " likes the color that ", "Q: Which color does ", " like? A:"}};

struct Row {
  std::vector<std::string> documents;
  std::string question;
  std::string answer;
};

struct Vocabulary {
  std::set<std::string, std::less<>> names;
  std::array<std::set<std::string, std::less<>>, kForms.size()> values;
};

using FactKey = std::pair<std::size_t, std::string>;  // form, name

std::string QuestionOf(const FactKey& key) {
  const Form& form = kForms[key.first];
  return std::string(form.ask_before) + key.second + std::string(form.ask_after);
}

std::optional<FactKey> KeyOf(std::string_view question) {
  for (std::size_t f = 0; f < kForms.size(); ++f) {
    const Form& form = kForms[f];
    if (!question.starts_with(form.ask_before) || !question.ends_with(form.ask_after)) continue;
    question.remove_prefix(form.ask_before.size());
    question.remove_suffix(form.ask_after.size());
    return FactKey{f, std::string(question)};
  }
  return std::nullopt;
}

Result<std::vector<Row>> ReadRows(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Error(Code::kNotFound, "cannot open " + path);
  std::vector<Row> rows;
  for (std::string line; std::getline(file, line);) {
    const json row = json::parse(line, nullptr, /*allow_exceptions=*/false);
    const std::string where = path + ":" + std::to_string(rows.size() + 1);
    if (!row.is_object() || !row.contains("documents") || !row.contains("question")) {
      return Error(Code::kInvalidArgument, where + ": no question over documents");
    }
    rows.push_back({row["documents"].get<std::vector<std::string>>(),
                    row["question"].get<std::string>(), row["answer"].get<std::string>()});
    if (!KeyOf(rows.back().question) || rows.back().answer.size() < 2) {
      return Error(Code::kInvalidArgument, where + ": a question of no known form");
    }
  }
  return rows;
}

// Which words are names, and which are values, the questions tell.
Vocabulary WordsOf(std::span<const Row> rows) {
  Vocabulary words;
  for (const Row& row : rows) {
    const FactKey key = *KeyOf(row.question);
    words.names.insert(key.second);
    words.values[key.first].insert(row.answer.substr(1));
  }
  return words;
}

// The word that ends before `at`, and that which begins there.
std::string_view WordBefore(std::string_view text, std::size_t at) {
  const std::size_t space = text.rfind(' ', at == 0 ? 0 : at - 1);
  return space == std::string_view::npos ? "" : text.substr(space + 1, at - space - 1);
}
std::string_view WordAt(std::string_view text, std::size_t at) {
  return text.substr(at, text.find_first_of(" .", at) - at);
}

// Calls `found(name, word)` wherever a name stands before `between`.
template <class Found>
void FindFacts(std::string_view text, std::string_view between, const Vocabulary& words,
               const Found& found) {
  for (std::size_t at = text.find(between); at != std::string_view::npos;
       at = text.find(between, at + 1)) {
    const std::string_view name = WordBefore(text, at);
    if (words.names.contains(name)) found(std::string(name), WordAt(text, at + between.size()));
  }
}

// Every fact of the documents with its value. References are to facts of earlier documents.
std::map<FactKey, std::string> FactsOf(const Row& row, const Vocabulary& words) {
  std::map<FactKey, std::string> facts;
  for (const std::string& document : row.documents) {
    std::map<FactKey, std::string> found;
    for (std::size_t f = 0; f < kForms.size(); ++f) {
      FindFacts(document, kForms[f].direct, words, [&](std::string name, std::string_view value) {
        if (words.values[f].contains(value)) found.emplace(FactKey{f, std::move(name)}, value);
      });
      FindFacts(document, kForms[f].reference, words,
                [&](std::string name, std::string_view other) {
                  const auto told = facts.find({f, std::string(other)});
                  if (told != facts.end()) found.emplace(FactKey{f, std::move(name)}, told->second);
                });
    }
    facts.merge(found);
  }
  return facts;
}

std::vector<TokenId> ContextOf(const Row& row, const Tokenizer& tokenizer) {
  std::vector<TokenId> tokens = {0};
  for (const std::string& document : row.documents) {
    const std::vector<TokenId> ids = tokenizer.Encode(document);
    tokens.insert(tokens.end(), ids.begin(), ids.end());
  }
  return tokens;
}

// The row's own question and after it others about its facts, `count_max` in all.
Result<AskedContext> AskAbout(const Row& row, const Vocabulary& words, const Tokenizer& tokenizer,
                              std::size_t count_max) {
  const std::map<FactKey, std::string> facts = FactsOf(row, words);
  const FactKey own = *KeyOf(row.question);
  const auto told = facts.find(own);
  if (told == facts.end() || " " + told->second != row.answer) {
    return Error(Code::kInvalidArgument, "the documents do not tell: " + row.question);
  }
  AskedContext context{.tokens = ContextOf(row, tokenizer), .questions = {}};
  // From the row's own fact on, and around.
  auto fact = told;
  while (context.questions.size() < std::min(count_max, facts.size())) {
    const std::vector<TokenId> answer = tokenizer.Encode(" " + fact->second);
    if (answer.size() != 1) {
      return Error(Code::kInvalidArgument, "not one token: " + fact->second);
    }
    context.questions.push_back({tokenizer.Encode(QuestionOf(fact->first)), answer[0]});
    if (++fact == facts.end()) fact = facts.begin();
  }
  return context;
}

}  // namespace

Result<std::vector<AskedContext>> ReadQuestions(const std::string& model_folder,
                                                const Tokenizer& tokenizer, std::size_t count) {
  KDN_ASSIGN_OR_RETURN(const std::vector<Row> rows, ReadRows(model_folder + "/questions.jsonl"));
  const Vocabulary words = WordsOf(rows);
  constexpr std::size_t kEach = 5;     // of one context, at most
  constexpr std::size_t kPrime = 331;  // lines of one kind stand together: this mixes them
  std::vector<AskedContext> contexts;
  std::size_t asked = 0;
  for (std::size_t i = 0; i < rows.size() && asked < count; ++i) {
    const Row& row = rows[i * kPrime % rows.size()];
    KDN_ASSIGN_OR_RETURN(AskedContext context,
                         AskAbout(row, words, tokenizer, std::min(kEach, count - asked)));
    asked += context.questions.size();
    contexts.push_back(std::move(context));
  }
  if (asked < count) {
    return Error(Code::kInvalidArgument,
                 "there are only " + std::to_string(asked) + " questions in " + model_folder);
  }
  return contexts;
}

Result<std::vector<Window>> ReadWindows(const std::string& model_folder, const Tokenizer& tokenizer,
                                        const WindowSizes& sizes) {
  std::ifstream file(model_folder + "/heldout.bin", std::ios::binary);
  if (!file) return Error(Code::kNotFound, "cannot open " + model_folder + "/heldout.bin");
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const std::vector<TokenId> ids = tokenizer.Encode(bytes);
  const std::size_t before = sizes.context_tokens - 1;  // behind the NUL
  std::vector<Window> windows;
  for (std::size_t half = 0; half < 2; ++half) {
    const auto part = std::span(ids).subspan(half * (ids.size() / 2), ids.size() / 2);
    for (std::size_t at = before; at + sizes.text_tokens <= part.size(); at += sizes.text_tokens) {
      const auto context = part.subspan(at - before, before);
      const auto text = part.subspan(at, sizes.text_tokens);
      Window window{.context = {0}, .text = {text.begin(), text.end()}, .half = half};
      window.context.insert(window.context.end(), context.begin(), context.end());
      windows.push_back(std::move(window));
    }
  }
  return windows;
}

}  // namespace kdn::bench
