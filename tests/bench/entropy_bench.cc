// What coding costs beyond the symbols themselves: bytes of the lossy levels against the entropy of
// what they code, chunks of 256 tokens, scales and tables counted apart; and fine as three levels
// against the same bins coded in one piece.
//
// The entropy is that of each class of each strip at its own frequencies: of its symbols, and of
// each raw bit given all that is coarser. No coder that knows no more than the class can do with
// less. One piece is the bins of fine coded at once, by the same blocks: of each class of each
// strip with a table of its own frequencies, which is not counted, and as many raw bits below the
// symbols as make it smallest.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "codec/kernels/select.h"
#include "codec/lean_blocks.h"
#include "codec/profile_learner.h"
#include "codec/rans_model.h"
#include "tests/bench/bars.h"
#include "tests/bench/recorded_text.h"
#include "tests/bench/synthetic_kv.h"
#include "tests/bench/tile_anatomy.h"
#include "tests/codec/profile_ids.h"

namespace {

using namespace kdn;         // NOLINT: a program of one file
using namespace kdn::bench;  // NOLINT
using codec::Profile;
using codec::ProfileLearner;

constexpr std::uint32_t kTokens = 256;
constexpr double kHighBits = 3.0;  // from here on the first bar, at draft the second
constexpr double kHighBar = 1.05;
constexpr double kDraftBits = 1.5;
constexpr double kDraftBar = 1.09;
constexpr double kEmbeddingBar = 1.05;

using Chunks = std::vector<std::unique_ptr<ChunkMemory>>;

Profile LearnFrom(const ModelSpec& spec, const Chunks& chunks, std::uint16_t block) {
  ProfileLearner learner = ProfileLearner::Make(spec).value();
  std::uint64_t position = 0;
  for (const auto& chunk : chunks) {
    const Status added = learner.Add(chunk->kv(), chunk->tables(), chunk->place(), position);
    if (!added.ok()) Fail("learn", added);
    // Texts begin at 0; chunks of 256 tokens follow one another.
    if (chunk->tokens() == kTokens) position += kTokens;
  }
  Profile profile =
      learner.Learn({}, {.draft_bits = kDraftBits, .block = block, .weights = {}}).value();
  const Status finished = profile.FinishForEncoding();
  if (!finished.ok()) Fail("learn", finished);
  profile.Name(codec::NumberedProfileId(1));
  return profile;
}

// A class's bins as one run of lean blocks with `raw` bits of each apart, and what a directory says
// of them; infinite if there are more symbols than a table has.
double PieceBytes(const CodedClass& one, unsigned raw) {
  std::map<std::uint32_t, std::size_t> counts;
  for (const std::uint32_t bin : one.bins) ++counts[bin >> raw];
  const auto [most, unused] =
      *std::ranges::max_element(counts, {}, [](const auto& entry) { return entry.second; });
  const auto symbol_of = [middle = most](std::uint32_t bin) {
    return static_cast<int>(bin) - static_cast<int>(middle) + static_cast<int>(codec::kLeanMiddle);
  };
  if (symbol_of(counts.begin()->first) < 0) return std::numeric_limits<double>::infinity();
  if (symbol_of(counts.rbegin()->first) >= static_cast<int>(codec::kRansSymbolsMax)) {
    return std::numeric_limits<double>::infinity();
  }
  codec::Histogram histogram{};
  ++histogram[codec::kLeanMiddle + 1];  // a table has two symbols
  std::vector<std::uint8_t> symbols;
  for (const std::uint32_t bin : one.bins) {
    symbols.push_back(static_cast<std::uint8_t>(symbol_of(bin >> raw)));
    ++histogram[symbols.back()];
  }
  codec::RansEncodeTable table;
  codec::FillEncodeTable(codec::ModelOf(histogram), table);
  codec::AlignedVector<std::byte> room;
  codec::AlignedVector<std::byte> data;
  std::vector<std::byte> directory;
  codec::AppendLeanBlocks(*codec::SupportedKernels().back(), table, symbols, room, directory, data);
  const double planes = raw * static_cast<double>(symbols.size()) / 8.0;
  return static_cast<double>(data.size() + directory.size()) + planes;
}

double OnePieceBytes(const Anatomy& anatomy) {
  double bytes = 0.0;
  for (const CodedClass& one : anatomy.classes) {
    if (one.one.start >= codec::kLossyLevels) continue;
    double least = std::numeric_limits<double>::infinity();
    for (unsigned raw = 0; raw <= one.raw_bits; ++raw) {
      least = std::min(least, PieceBytes(one, raw));
    }
    // What fits no table would let any bar hold.
    if (!std::isfinite(least)) {
      Fail("one piece", Status(Code::kInternal, "a class has more symbols than a table"));
    }
    bytes += least;
  }
  return bytes;
}

// Adds up the parts of several objects; their classes are compared object by object.
struct Sums {
  std::array<TileParts, codec::kLossyLevels> parts;
  std::array<double, codec::kLossyLevels> entropy{};
  double one_piece = 0.0;
  double values = 0.0;
};

Sums Measure(const ModelSpec& spec, const Chunks& chunks,
             const std::vector<std::uint64_t>& positions, const Profile* profile) {
  Sums sums;
  for (std::size_t c = 0; c < chunks.size(); ++c) {
    const LevelObject object = EncodeLevels(*chunks[c], positions[c], profile, codec::kLossyLevels);
    const Anatomy anatomy = Dissect(object, spec);
    for (std::size_t l = 0; l < codec::kLossyLevels; ++l) {
      sums.parts[l] += anatomy.Until(l);
      sums.entropy[l] += anatomy.EntropyBytes(l);
    }
    sums.one_piece += OnePieceBytes(anatomy);
    sums.values += static_cast<double>(anatomy.values);
  }
  return sums;
}

void Compare(const std::string& name, const Sums& sums, Bars& bars) {
  const double bits = 8.0 / sums.values;
  std::printf("%s\n", name.c_str());
  for (std::size_t l = 0; l < codec::kLossyLevels; ++l) {
    const TileParts& parts = sums.parts[l];
    const std::string level(LevelName(static_cast<Level>(l)));
    std::printf(
        "  until %-8s %.3f bits: words %.3f, raw bits %.3f, states %.3f, of both lost %.3f, "
        "directory %.3f, "
        "padding %.3f; entropy %.3f; apart: scales and tables %.3f, exponents %.4f\n",
        level.c_str(), parts.Symbols() * bits, parts.words * bits, parts.planes * bits,
        parts.states * bits, parts.lost * bits, parts.directory * bits, parts.padding * bits,
        sums.entropy[l] * bits, parts.own * bits, parts.exponents * bits);
    bars.AddFigures({.labels = {{"values", name}, {"level", level}},
                     .numbers = {{"symbols", {parts.Symbols() * bits}},
                                 {"entropy", {sums.entropy[l] * bits}},
                                 {"apart", {(parts.own + parts.exponents) * bits}}}});
    const bool high = sums.entropy[l] * bits >= kHighBits;
    if (!high && (l > 0 || parts.own > 0.0)) continue;
    bars.Add({name + ", " + level, parts.Symbols() * bits, sums.entropy[l] * bits, "bits a value",
              Bar::Side::kAtMost, high ? kHighBar : kDraftBar});
  }
  const TileParts& fine = sums.parts[codec::kLossyLevels - 1];
  bars.Add({name + ", fine embedded against one piece", fine.Symbols() * bits,
            sums.one_piece * bits, "bits a value", Bar::Side::kAtMost, kEmbeddingBar});
}

void CompareAll(const std::string& data, const ModelSpec& spec, const Chunks& learned,
                const Chunks& measured, const std::vector<std::uint64_t>& positions, Bars& bars) {
  Compare(data + ", no profile", Measure(spec, measured, positions, nullptr), bars);
  for (const std::uint16_t block : {std::uint16_t{1}, std::uint16_t{64}}) {
    const Profile profile = LearnFrom(spec, learned, block);
    Compare(data + (block == 1 ? ", no transform" : ", transform"),
            Measure(spec, measured, positions, &profile), bars);
  }
}

// Chunks of the model's text: two from each of some parts, none of which was learned from.
void RecordedText(const TextModel& model, Bars& bars) {
  Chunks learned;
  for (const std::size_t part : {0, 2, 4, 6, 8, 10}) {
    learned.push_back(model.Record(part, 6 * kTokens).kv);
  }
  Chunks measured;
  std::vector<std::uint64_t> positions;
  for (const std::size_t part : {13, 15, 17, 19}) {
    const TextContext context = model.Record(part, 2 * kTokens);
    for (std::uint32_t first = 0; first < 2 * kTokens; first += kTokens) {
      measured.push_back(PartOf(*context.kv, first, kTokens));
      positions.push_back(first);
    }
  }
  CompareAll("recorded KV", model.spec(), learned, measured, positions, bars);
}

void GaussianChunks(Bars& bars) {
  const ModelSpec spec = Llama8bShape(2);
  Chunks learned;
  for (std::uint64_t c = 0; c < 8; ++c) {
    learned.push_back(std::make_unique<ChunkMemory>(spec, kTokens));
    FillSynthetic(Spread::kGaussian, 100 + c, c * kTokens, *learned.back());
  }
  Chunks measured;
  measured.push_back(std::make_unique<ChunkMemory>(spec, kTokens));
  FillSynthetic(Spread::kGaussian, 1, 0, *measured.back());
  CompareAll("Gaussian, Llama-3.1-8B's shape", spec, learned, measured, {0}, bars);
}

}  // namespace

int main(int argc, char** argv) {
  Bars bars(ParseBarsOptions(argc, argv,
                             "Bytes of the lossy levels against the entropy of what they code"));

  const auto model = TextModel::Load(KDN_TEST_MODEL);
  if (!model) Fail("the model of tests/models", model.error());
  RecordedText(**model, bars);
  GaussianChunks(bars);
  return bars.Finish();
}
