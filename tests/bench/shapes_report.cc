// Bits a value and error of every level: recorded keys and values, and synthetic ones of the shapes
// of three well-known models. Prints the table of docs/codec.md. The one thing that can fail is
// that exact gives back other bits.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "codec/profile_learner.h"
#include "tests/bench/bars.h"
#include "tests/bench/synthetic_kv.h"
#include "tests/codec/profile_ids.h"
#include "tests/codec/recorded_kv.h"

namespace {

using namespace kdn;         // NOLINT: a program of one file
using namespace kdn::bench;  // NOLINT
using codec::Profile;
using codec::ProfileLearner;

constexpr std::uint32_t kTokens = 256;
constexpr std::uint64_t kLearnedChunks = 8;
constexpr std::uint16_t kLayers = 2;  // of the synthetic models: all are alike

using Chunks = std::vector<std::unique_ptr<ChunkMemory>>;

// Errors in units of each channel's own deviation from its mean.
struct Errors {
  double mean_square = 0.0;
  double largest = 0.0;
};

Errors Compare(const ChunkMemory& want, const ChunkMemory& got) {
  Errors errors;
  double channels = 0.0;
  for (std::size_t p = 0; p < 2; ++p) {
    const std::size_t size = want.HeadSize(p);
    const std::size_t tokens = want.tokens();
    for (std::size_t strip = 0; strip < want.plane(p).size(); strip += tokens * size) {
      for (std::size_t c = 0; c < size; ++c) {
        double sum = 0.0;
        double squares = 0.0;
        double off = 0.0;
        double largest = 0.0;
        for (std::size_t t = 0; t < tokens; ++t) {
          const std::size_t i = strip + t * size + c;
          const double x = FromBf16(want.plane(p)[i]);
          const double e = std::fabs(x - double{FromBf16(got.plane(p)[i])});
          sum += x;
          squares += x * x;
          off += e * e;
          largest = std::max(largest, e);
        }
        const double n = static_cast<double>(tokens);
        const double variance = std::max(squares / n - sum / n * sum / n, 1e-12);
        errors.mean_square += off / n / variance;
        errors.largest = std::max(errors.largest, largest / std::sqrt(variance));
        channels += 1.0;
      }
    }
  }
  errors.mean_square /= channels;
  return errors;
}

class Table {
 public:
  explicit Table(Bars& bars) : bars_(bars) {
    std::printf("| values | profile | draft | standard | fine | exact on top |\n");
    std::printf("|---|---|---|---|---|---|\n");
  }

  // A row without a profile, and one with each that is to be had, at its default bins.
  void Rows(const std::string& name, const Chunks& learned, const ChunkMemory& chunk,
            std::uint64_t position) {
    Row(name, "none", chunk, position, nullptr);
    for (const codec::TransformChoice& choice : codec::TransformChoices()) {
      const Profile profile = Learn(chunk.spec(), learned, choice);
      Row(name, std::string(choice.name).c_str(), chunk, position, &profile);
    }
  }

  [[nodiscard]] double values() const { return values_; }
  [[nodiscard]] double given_back() const { return given_back_; }

 private:
  static Profile Learn(const ModelSpec& spec, const Chunks& learned,
                       const codec::TransformChoice& choice) {
    ProfileLearner learner = ProfileLearner::Make(spec).value();
    for (std::size_t c = 0; c < learned.size(); ++c) {
      const ChunkMemory& chunk = *learned[c];
      const Status added = learner.Add(chunk.kv(), chunk.tables(), chunk.place(), c * kTokens);
      if (!added.ok()) Fail("learn", added);
    }
    Profile profile = learner.Learn({}, codec::OptionsOf(choice)).value();
    const Status finished = profile.FinishForEncoding();
    if (!finished.ok()) Fail("learn", finished);
    profile.Name(codec::NumberedProfileId(1));
    return profile;
  }

  void Row(const std::string& name, const char* how, const ChunkMemory& chunk,
           std::uint64_t position, const Profile* profile) {
    const LevelObject object = EncodeLevels(chunk, position, profile, kLevelCount);
    ChunkMemory out(chunk.spec(), chunk.tokens());
    std::printf("| %s | %s |", name.c_str(), how);
    Figures row{.labels = {{"values", name}, {"profile", how}}, .numbers = {}};
    for (std::size_t levels = 1; levels <= kLevelCount; ++levels) {
      DecodeLevels(object, levels, out);
      const Errors errors = Compare(chunk, out);
      const double bits = object.BitsOf(levels);
      row.numbers["bits"].push_back(bits);
      row.numbers["mean_square"].push_back(errors.mean_square);
      row.numbers["largest"].push_back(errors.largest);
      if (levels < kLevelCount) {
        std::printf(" %.2f b, %.4f, %.2f |", bits, errors.mean_square, errors.largest);
      } else {
        std::printf(" %.2f b |\n", bits);
      }
    }
    for (std::size_t p = 0; p < 2; ++p) {
      for (std::size_t i = 0; i < chunk.plane(p).size(); ++i) {
        given_back_ += chunk.plane(p)[i] == out.plane(p)[i] ? 1.0 : 0.0;
      }
    }
    values_ += static_cast<double>(chunk.values());
    bars_.AddFigures(std::move(row));
  }

  Bars& bars_;
  double values_ = 0.0;
  double given_back_ = 0.0;
};

// What tests/models recorded: 512 tokens, learned from the first half.
void Recorded(Table& table) {
  const auto recorded = codec::RecordedKv::Read();
  if (!recorded) Fail("recorded KV", recorded.error());
  Chunks chunks;
  for (std::uint32_t c = 0; c < 2; ++c) {
    LevelObject exact;
    ObjectHeader header = recorded->HeaderFor(kTokens, 1, recorded->spec().groups[0].kv_heads);
    header.flags = kFlagExactAlone;
    exact.bytes = recorded->EncodeChunk(header, c * kTokens);
    exact.header = DecodeHeader(exact.bytes).value();
    chunks.push_back(std::make_unique<ChunkMemory>(recorded->spec(), kTokens));
    DecodeLevels(exact, 1, *chunks.back());
  }
  const auto measured = std::move(chunks.back());
  chunks.pop_back();
  table.Rows("recorded, 6 layers, 2 heads of 64", chunks, *measured, kTokens);
}

void Synthetic(const char* name, const ModelSpec& spec, Table& table) {
  for (const Spread spread : kAllSpreads) {
    Chunks learned;
    for (std::uint64_t c = 0; c < kLearnedChunks; ++c) {
      learned.push_back(std::make_unique<ChunkMemory>(spec, kTokens));
      FillSynthetic(spread, 100 + c, c * kTokens, *learned.back());
    }
    ChunkMemory chunk(spec, kTokens);
    FillSynthetic(spread, 1, 0, chunk);
    table.Rows(std::string(name) + ", " + SpreadName(spread), learned, chunk, 0);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Bars bars(ParseBarsOptions(
      argc, argv, "Bits a value and error of every level, by model shape and kind of values"));

  Table table(bars);
  Recorded(table);
  Synthetic("Llama-3.1-8B", Llama8bShape(kLayers), table);
  Synthetic("Qwen2.5-7B", Qwen7bShape(kLayers), table);
  Synthetic("DeepSeek-V3", DeepSeekV3Shape(kLayers), table);
  bars.Add({"values that exact gives back", table.given_back(), table.values(), "values",
            Bar::Side::kAtLeast, 1.0});
  return bars.Finish();
}
