// Goal: what a model makes of a cache that was coded at draft, standard or fine is hardly worse
// than what it makes of its own: right answers −3, −0.5 and −0.2 points at most, bits per byte of
// held-out text +2, +0.3 and +0.05 % at most, with one-sided 95 % bounds, with a learned profile
// and without one.
// Method: the executor prefills a context; its KV goes through the codec in every way; the same
// questions, or the text that really follows, are computed over each. Everything is paired. A
// profile is learned on one half of the held-out text: texts of the other half are judged with it,
// and questions with the first half's.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "base/crypto.h"
#include "tests/bench/attention_weights.h"
#include "tests/bench/coded_context.h"
#include "tests/bench/paired.h"
#include "tests/bench/quality_log.h"
#include "tests/bench/quality_texts.h"
#include "tests/bench/recorded_text.h"
#include "tests/bench/report.h"
#include "tests/codec/profile_ids.h"

namespace {

using namespace kdn;         // NOLINT: a program of one file
using namespace kdn::bench;  // NOLINT
using llama::TokenId;

constexpr std::size_t kLevels = codec::kLossyLevels;
constexpr std::array<double, kLevels> kAnswerBars = {0.03, 0.005, 0.002};
constexpr std::array<double, kLevels> kTextBars = {0.02, 0.003, 0.0005};
constexpr std::size_t kProofQuestions = 4000;  // with fewer a bound is too wide to prove anything
constexpr WindowSizes kWindow = {.context_tokens = 1024, .text_tokens = 512};
constexpr std::size_t kClusterWindows = 4;  // neighbours share most of their context
constexpr std::size_t kWeighedTexts = 3;    // of a half, whose queries weights come from
constexpr std::uint32_t kWeighedTokens = 1536;

std::string OptionOf(const codec::TransformChoice& choice) {
  std::ostringstream text;
  text << choice.block << ':' << choice.draft_bits;
  return text.str();
}

struct Arguments {
  std::string model = KDN_TEST_MODEL;
  std::string json;
  std::string log;
  std::size_t questions = 240;
  std::size_t windows = 16;
  std::size_t learn_windows = 16;
  std::size_t threads = 1;
  std::vector<std::string> profiles = {OptionOf(codec::TransformChoices().front())};
};

// A profile to learn, as --profile has it.
struct ProfileOption {
  std::uint16_t block = 0;
  double draft_bits = 0.0;
  bool weighted = false;  // bins follow what attention feels of each channel
};
Result<ProfileOption> ParseProfileOption(const std::string& text) {
  ProfileOption option;
  std::string weighted;
  char colon = 0;
  std::istringstream in(text);
  const bool numbers = static_cast<bool>(in >> option.block >> colon >> option.draft_bits);
  in >> weighted;
  option.weighted = weighted == ":weighted";
  if (!numbers || colon != ':' || (!weighted.empty() && !option.weighted)) {
    return Error(Code::kInvalidArgument, "not a profile to learn: " + text);
  }
  return option;
}

// A way of coding: without a profile, or with those learned on either half of the held-out text.
struct Coding {
  std::string name;
  std::array<std::unique_ptr<codec::Profile>, 2> learned_on;
};

[[noreturn]] void Fail(const Status& status) {
  std::fprintf(stderr, "quality_bench: %s\n", status.ToString().c_str());
  std::exit(2);
}
void Check(const Status& status) {
  if (!status.ok()) Fail(status);
}
template <class T>
T Get(Result<T> result) {
  if (!result) Fail(result.error());
  return *std::move(result);
}

// −log2 of the probability of each token behind the first, together.
double BitsOf(std::span<const float> logits, std::span<const TokenId> tokens) {
  const std::size_t vocabulary = logits.size() / tokens.size();
  double nats = 0.0;
  for (std::size_t i = 1; i < tokens.size(); ++i) {
    const auto row = logits.subspan((i - 1) * vocabulary, vocabulary);
    const double max = *std::ranges::max_element(row);
    double sum = 0.0;
    for (const float logit : row) sum += std::exp(double{logit} - max);
    nats += std::log(sum) + max - double{row[tokens[i]]};
  }
  return nats / std::log(2.0);
}

class QualityBench {
 public:
  explicit QualityBench(const Arguments& arguments)
      : arguments_(arguments),
        tokenizer_(Get(llama::Tokenizer::FromFile(arguments.model + "/vocab.txt"))),
        model_(Get(CodedContext::Open(arguments.model, arguments.threads, 2048))),
        contexts_(Get(ReadQuestions(arguments.model, tokenizer_, arguments.questions))),
        all_windows_(Get(ReadWindows(arguments.model, tokenizer_, kWindow))) {
    const std::size_t count = std::min(arguments.windows, all_windows_.size());
    for (std::size_t i = 0; i < count; ++i) {
      windows_.push_back(i * all_windows_.size() / count);
    }
    codings_.push_back({.name = "no profile", .learned_on = {}});
    for (const std::string& option : arguments.profiles) codings_.push_back(Learn(option));
    log_ = std::make_unique<QualityLog>(Get(QualityLog::Open(arguments.log, Key())));
  }

  void Run() {
    for (std::size_t i = 0; i < contexts_.size(); ++i) {
      const std::string name = NameOf(i);
      if (log_->Find(name) == nullptr) Check(log_->Add(name, Ask(contexts_[i])));
      if (i % 100 == 99) Say(i + 1, contexts_.size(), "contexts asked about");
    }
    for (std::size_t i = 0; i < windows_.size(); ++i) {
      const std::string name = "window " + std::to_string(windows_[i]);
      if (log_->Find(name) == nullptr) Check(log_->Add(name, Read(all_windows_[windows_[i]])));
      if (i % 20 == 19) Say(i + 1, windows_.size(), "texts read");
    }
  }

  // Prints all figures and returns the least share of a bar that was kept: below 1, a bar was
  // missed, or with few questions, was missed so far that chance does not explain it.
  double Judge() {
    PrintBaseline();
    std::printf("%-18s %-9s %6s  %23s %8s  %22s %8s\n", "coded", "level", "bits",
                "answers, points (bound)", "bar", "bits per byte (bound)", "bar");
    double worst = 1e9;
    for (std::size_t c = 0; c < codings_.size(); ++c) {
      for (std::size_t level = 0; level < kLevels; ++level) {
        worst = std::min(worst, JudgeOne(codings_[c].name, c * kLevels + level));
      }
    }
    return worst;
  }

 private:
  // "64:2": a transform of blocks of 64 channels, draft of 2 bits a value.
  Coding Learn(const std::string& text) {
    Coding coding{.name = "profile " + text, .learned_on = {}};
    const ProfileOption option = Get(ParseProfileOption(text));
    for (std::size_t half = 0; half < 2; ++half) {
      auto learner = Get(codec::ProfileLearner::Make(model_->spec()));
      // Every other window, so that their contexts do not overlap.
      std::vector<const Window*> from;
      for (std::size_t i = half; i < all_windows_.size(); i += 2) {
        if (all_windows_[i].half == half) from.push_back(&all_windows_[i]);
      }
      const std::size_t count = std::min(arguments_.learn_windows, from.size());
      for (std::size_t i = 0; i < count; ++i) {
        Check(model_->Prefill(from[i * from.size() / count]->context));
        Check(model_->Teach(learner));
      }
      codec::LearnOptions options{
          .draft_bits = option.draft_bits, .block = option.block, .weights = {}};
      if (option.weighted) options.weights = WeightsOf(half);
      coding.learned_on[half] = std::make_unique<codec::Profile>(
          Get(learner.Learn(FingerprintOf(model_->spec()), options)));
      Check(coding.learned_on[half]->FinishForEncoding());
      coding.learned_on[half]->Name(codec::NumberedProfileId(half));
    }
    return coding;
  }

  // By the queries of texts of that half.
  std::vector<std::vector<double>> WeightsOf(std::size_t half) {
    if (!text_model_) text_model_ = Get(TextModel::Load(arguments_.model));
    constexpr std::size_t kHalf = TextModel::kContexts / 2;
    std::vector<TextContext> contexts;
    std::vector<const TextContext*> borrowed;
    contexts.reserve(kWeighedTexts);
    for (std::size_t i = 0; i < kWeighedTexts; ++i) {
      const std::size_t part = half * kHalf + i * kHalf / kWeighedTexts;
      borrowed.push_back(&contexts.emplace_back(text_model_->Record(part, kWeighedTokens)));
    }
    return AttentionWeights(borrowed, text_model_->query_heads(), text_model_->spec().rotary);
  }

  // What results depend on: the ways of coding, and what they make of a context.
  std::string Key() {
    std::string key = "quality 1, " + model_->spec().revision;
    Check(model_->Prefill(all_windows_[0].context));
    for (const Coding& coding : codings_) {
      Check(model_->Encode(coding.learned_on[1].get()));
      for (std::size_t level = 0; level < kLevels; ++level) {
        Check(model_->Decode(static_cast<Level>(level)));
        const Digest digest = Sha256(model_->CodedKv());
        key += ", " + coding.name + " ";
        for (const std::byte byte : std::span(digest).first(8)) {
          key += std::to_string(std::to_integer<unsigned>(byte)) + ".";
        }
      }
    }
    return key;
  }

  // Codes the prefilled context in every way and calls `use` when each stands in the cache.
  template <class Use>
  void ForEachCoding(std::size_t profile_half, QualitySample& sample, const Use& use) {
    sample.values = static_cast<double>(model_->Values());
    for (const Coding& coding : codings_) {
      Check(model_->Encode(coding.learned_on[profile_half].get()));
      for (std::size_t l = 0; l < kLevels; ++l) {
        const auto level = static_cast<Level>(l);
        Check(model_->Decode(level));
        sample.bytes.push_back(static_cast<double>(model_->CodedBytes(level)));
        use();
      }
    }
  }

  [[nodiscard]] std::string NameOf(std::size_t context) const {
    return "context " + std::to_string(context) + ", " +
           std::to_string(contexts_[context].questions.size()) + " questions";
  }

  // Whether the likeliest token behind the question is the answer.
  bool IsRight(std::span<const float> logits, const AskedQuestion& question) const {
    return llama::Likeliest(logits.last(model_->config().vocab_size)) == question.answer;
  }

  QualitySample Ask(const AskedContext& context) {
    QualitySample sample;
    Check(model_->Prefill(context.tokens));
    std::vector<bool> right;
    for (const AskedQuestion& question : context.questions) {
      right.push_back(IsRight(Get(model_->Continue(question.tokens)), question));
    }
    sample.weight = static_cast<double>(right.size());
    sample.right = static_cast<double>(std::ranges::count(right, true));
    ForEachCoding(0, sample, [&] {
      double won = 0.0;
      double lost = 0.0;
      for (std::size_t q = 0; q < right.size(); ++q) {
        const AskedQuestion& question = context.questions[q];
        const bool coded_right = IsRight(Get(model_->ContinueCoded(question.tokens)), question);
        won += coded_right && !right[q] ? 1.0 : 0.0;
        lost += !coded_right && right[q] ? 1.0 : 0.0;
      }
      sample.won.push_back(won);
      sample.lost.push_back(lost);
      sample.more.push_back(won - lost);
    });
    return sample;
  }

  QualitySample Read(const Window& window) {
    QualitySample sample;
    Check(model_->Prefill(window.context));
    sample.weight = BitsOf(Get(model_->Continue(window.text)), window.text);
    for (const TokenId id : std::span(window.text).subspan(1)) {
      sample.text_bytes += static_cast<double>(tokenizer_.bytes(id).size());
    }
    ForEachCoding(1 - window.half, sample, [&] {
      const double bits = BitsOf(Get(model_->ContinueCoded(window.text)), window.text);
      sample.more.push_back(bits - sample.weight);
    });
    return sample;
  }

  void PrintBaseline() const {
    double asked = 0.0;
    double right = 0.0;
    double bits = 0.0;
    double bytes = 0.0;
    for (std::size_t i = 0; i < contexts_.size(); ++i) {
      const QualitySample& sample = *log_->Find(NameOf(i));
      asked += sample.weight;
      right += sample.right;
    }
    for (const std::size_t w : windows_) {
      const QualitySample& sample = *log_->Find("window " + std::to_string(w));
      bits += sample.weight;
      bytes += sample.text_bytes;
    }
    std::printf(
        "not coded: %.0f of %.0f answers over %zu contexts right, %.2f %%; %.4f bits per "
        "byte of %.0f bytes behind %zu contexts of %zu tokens\n",
        right, asked, contexts_.size(), 100.0 * right / asked, bits / bytes, bytes, windows_.size(),
        kWindow.context_tokens);
  }

  // One line; the share of the bars that is kept, both of them.
  double JudgeOne(const std::string& name, std::size_t way) const {
    std::vector<Cluster> answers;
    std::vector<Cluster> texts;
    double won = 0.0;
    double lost = 0.0;
    double bytes = 0.0;
    double values = 0.0;
    for (std::size_t i = 0; i < contexts_.size(); ++i) {
      const QualitySample& sample = *log_->Find(NameOf(i));
      answers.push_back({sample.more[way], sample.weight});
      won += sample.won[way];
      lost += sample.lost[way];
    }
    for (std::size_t i = 0; i < windows_.size(); ++i) {
      const QualitySample& sample = *log_->Find("window " + std::to_string(windows_[i]));
      if (i % kClusterWindows == 0) texts.emplace_back();
      texts.back().difference += sample.more[way];
      texts.back().weight += sample.weight;
      bytes += sample.bytes[way];
      values += sample.values;
    }
    const std::size_t level = way % kLevels;
    const Estimate asked =
        EstimateOfAnswers(answers, static_cast<std::size_t>(won), static_cast<std::size_t>(lost));
    const Estimate read = EstimateOf(texts);
    std::printf("%-18s %-9s %6.3f  %+6.2f (%+.2f; +%.0f -%.0f) %8.2f  %+8.3f %% (%+.3f) %8.2f %%\n",
                name.c_str(), std::string(LevelName(static_cast<Level>(level))).c_str(),
                8.0 * bytes / values, 100.0 * asked.mean, 100.0 * asked.Low(), won, lost,
                -100.0 * kAnswerBars[level], 100.0 * read.mean, 100.0 * read.High(),
                100.0 * kTextBars[level]);
    const bool proof = arguments_.questions >= kProofQuestions;
    const double answers_lost = proof ? -asked.Low() : -asked.High();
    const double bits_more = proof ? read.High() : read.Low();
    return std::min(kAnswerBars[level] / std::max(answers_lost, 1e-9),
                    kTextBars[level] / std::max(bits_more, 1e-9));
  }

  static void Say(std::size_t done, std::size_t all, const char* what) {
    std::fprintf(stderr, "%zu of %zu %s\n", done, all, what);
  }

  Arguments arguments_;
  llama::Tokenizer tokenizer_;
  std::unique_ptr<CodedContext> model_;
  std::unique_ptr<TextModel> text_model_;  // where queries are to be had; loaded when wanted
  std::vector<AskedContext> contexts_;
  std::vector<Window> all_windows_;
  std::vector<std::size_t> windows_;  // those that are read
  std::vector<Coding> codings_;
  std::unique_ptr<QualityLog> log_;
};

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("What a model makes of a coded cache: right answers, bits per byte of text");
  app.add_option("--json", arguments.json, "write the result to this file");
  app.add_option("--model", arguments.model, "folder of the model");
  app.add_option("--questions", arguments.questions,
                 "how many; from 4000 on bars must be kept by the 95 % bound, with fewer a bar is "
                 "missed only if it surely is")
      ->check(CLI::Range(100, 4000));
  app.add_option("--windows", arguments.windows, "texts to read, of 512 tokens behind 1024")
      ->check(CLI::Range(8, 10000));
  app.add_option("--profile", arguments.profiles,
                 "profiles to learn: channels of the transform, 1 for none, and draft's bits a "
                 "value, such as 64:2; 64:2:weighted has bins follow what attention feels")
      ->check([](const std::string& text) {
        const auto option = ParseProfileOption(text);
        return option ? std::string() : option.error().message();
      });
  app.add_option("--learn-windows", arguments.learn_windows,
                 "contexts of 1024 tokens that a profile is learned from")
      ->check(CLI::Range(1, 100));
  app.add_option("--log", arguments.log, "go on with what this file has, and keep it up to date");
  app.add_option("--threads", arguments.threads, "of the executor")->check(CLI::Range(1, 64));
  CLI11_PARSE(app, argc, argv);

  QualityBench bench(arguments);
  bench.Run();
  const double worst = bench.Judge();
  return Report({.name = "quality_bench",
                 .group = "codec",
                 .ours = worst,
                 .theirs = 1.0,
                 .unit = "least share of what a level may cost over what it does",
                 .ratio = worst,
                 .bar = 1.0,
                 .command = CommandLine(argc, argv)},
                arguments.json);
}
