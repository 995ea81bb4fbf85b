#include "codec/profile_learner.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include "codec/diagonalise.h"
#include "codec/lossy_tile.h"
#include "codec/tile_memory.h"

namespace kdn::codec {
namespace {

// Classes begin at the level at which their root mean square is at least this many bins; then the
// raw planes that refine them cost little more than coding the finer bins in one piece.
constexpr double kStartRatio = 0.45;
// Raw planes are split off wide classes as long as so many bins are left: fewer cost up to 2 % more
// (entropy_bench), more leave symbols for which 8-bit probabilities are too coarse.
constexpr double kPlaneRatio = 0.7;
// How much a model feels an error of values against one of keys that is as large beside what the
// head's channels spread: chosen by what becomes of a model's predictions (docs/codec.md).
constexpr double kValueWeight = 0.5;
constexpr double kTinyVariance = 1e-24;
// Codes have 8 bits, eighths of draft's bins: components of which they would hold less than four
// deviations get wider bins instead of losing what is outside.
constexpr double kSpreadMax = 120.0 / 8.0 / 4.0;  // of a component, in draft's bins

// A strip in components: which real combinations of them its channels are, and how far they spread.
struct Components {
  std::uint32_t channels = 0;
  std::uint16_t block = 1;
  std::vector<double> mean;
  std::vector<double> basis;        // [channel][component of its block], in weighted space undone
  std::vector<double> deviation;    // of each component, in weighted units
  std::vector<std::uint16_t> rank;  // of each component among all, the widest first
};

// The strip with its widest components drawn together until codes hold them.
Components Held(Components strip, double step) {
  for (std::size_t k = 0; k < strip.channels; ++k) {
    const double wider = strip.deviation[k] / (kSpreadMax * step);
    if (wider <= 1.0) continue;
    strip.deviation[k] /= wider;
    const std::size_t first = k - k % strip.block;
    for (std::size_t c = first; c < first + strip.block; ++c) {
      strip.basis[c * strip.block + k % strip.block] *= wider;
    }
  }
  return strip;
}

// Mass and first moment of a Gaussian of deviation d between a and b.
struct Moments {
  double mass = 0.0;
  double first = 0.0;
};
Moments Between(double a, double b, double d) {
  const auto above = [d](double x) { return 0.5 * std::erfc(x / (d * std::sqrt(2.0))); };
  const auto density = [d](double x) {
    return d / std::sqrt(2.0 * 3.14159265358979323846) * std::exp(-0.5 * x * x / (d * d));
  };
  return {above(a) - above(b), density(a) - density(b)};
}

// The classes of a strip for draft bins of `step`, with the deviations of their components.
struct PlannedClass {
  ComponentClass one;
  std::vector<double> deviations;  // in code units
};
std::vector<PlannedClass> PlanClasses(const Components& strip, double step) {
  std::vector<double> sorted(strip.channels);
  for (std::size_t k = 0; k < sorted.size(); ++k) sorted[strip.rank[k]] = strip.deviation[k];
  std::vector<PlannedClass> classes;
  for (std::size_t first = 0; first < sorted.size(); first += kClassWidthUnit) {
    double squares = 0.0;
    for (std::size_t k = 0; k < kClassWidthUnit; ++k) {
      squares += sorted[first + k] * sorted[first + k];
    }
    double ratio = std::sqrt(squares / kClassWidthUnit) / step;
    ComponentClass one{.width = kClassWidthUnit};
    for (; one.start < kLossyLevels && ratio < kStartRatio; ++one.start) ratio *= 2.0;
    for (; one.start < kLossyLevels && ratio >= 2.0 * kPlaneRatio && one.planes < 2; ++one.planes) {
      ratio /= 2.0;
    }
    const bool alike = !classes.empty() && classes.back().one.start == one.start &&
                       classes.back().one.planes == one.planes;
    if (alike) {
      classes.back().one.width += kClassWidthUnit;
    } else {
      classes.push_back({one, {}});
    }
    for (std::size_t k = 0; k < kClassWidthUnit; ++k) {
      classes.back().deviations.push_back(std::max(sorted[first + k] / step * 8.0, 1e-3));
    }
  }
  return classes;
}

// Probabilities of the symbols of a class: the mixture of its components.
std::array<double, kRansSymbolsMax> SymbolMasses(const PlannedClass& planned) {
  std::array<double, kRansSymbolsMax> masses{};
  const double bin = std::exp2(planned.one.BinShift());
  for (const double deviation : planned.deviations) {
    for (int s = -31; s <= 31; ++s) {
      const double middle = s * bin;
      masses[static_cast<std::size_t>(s + kZeroSymbol)] +=
          Between(middle - bin / 2, middle + bin / 2, deviation).mass /
          static_cast<double>(planned.deviations.size());
    }
  }
  return masses;
}

double Entropy(const std::array<double, kRansSymbolsMax>& masses) {
  double bits = 0.0;
  for (const double m : masses) {
    if (m > 1e-12) bits -= m * std::log2(m);
  }
  return bits;
}

SymbolTable TableOf(const PlannedClass& planned) {
  const auto masses = SymbolMasses(planned);
  const int shift = static_cast<int>(planned.one.BinShift());
  // Codes have 8 bits: symbols further out would wrap. Those that hardly occur are clipped.
  const int furthest = std::min(31, (120 >> shift));
  Histogram histogram{};
  for (int s = -furthest; s <= furthest; ++s) {
    const auto at = static_cast<std::size_t>(s + kZeroSymbol);
    const bool rare = masses[at] < 2e-5 && std::abs(s) > 1;
    if (!rare) histogram[at] = static_cast<std::uint32_t>(std::lround(masses[at] * 1e6)) + 1;
  }
  SymbolTable table;
  table.model = ModelOf(histogram);
  const double bin = std::exp2(shift);
  for (unsigned level = planned.one.start; level < kLossyLevels; ++level) {
    const unsigned planes = planned.one.PlanesAt(level);
    const double part = bin / std::exp2(planes);
    for (std::size_t i = 0; i < table.model.count; ++i) {
      const double low = (table.model.symbol[i] - kZeroSymbol) * bin - bin / 2;
      double off = 0.0;
      double mass = 0.0;
      for (unsigned j = 0; j < (1U << planes); ++j) {
        const double a = low + j * part;
        for (const double deviation : planned.deviations) {
          const Moments m = Between(a, a + part, deviation);
          off += m.first - m.mass * (a + part / 2);
          mass += m.mass;
        }
      }
      const double shifted = mass > 1e-9 ? off / mass : 0.0;
      table.reconstruction[level][i] =
          static_cast<std::int8_t>(std::lround(low + part / 2 + shifted));
    }
  }
  return table;
}

// Tables are still to be named.
StripProfile StripOf(const Components& strip, const std::vector<PlannedClass>& classes,
                     double step) {
  StripProfile profile;
  for (const PlannedClass& planned : classes) profile.classes.push_back(planned.one);
  profile.order = strip.rank;
  profile.block = strip.block;
  const double unit = step / 8.0;
  for (std::size_t c = 0; c < strip.channels; ++c) {
    profile.mean.push_back(static_cast<float>(strip.mean[c]));
    const double* row = strip.basis.data() + c * strip.block;
    if (strip.block == 1) {
      profile.scale.push_back(static_cast<float>(row[0] * unit));
      continue;
    }
    double largest = 1e-30;
    for (std::size_t k = 0; k < strip.block; ++k) largest = std::max(largest, std::fabs(row[k]));
    profile.scale.push_back(static_cast<float>(largest * unit / 127.0));
    for (std::size_t k = 0; k < strip.block; ++k) {
      profile.matrix.push_back(static_cast<std::int8_t>(std::lround(row[k] / largest * 127.0)));
    }
  }
  return profile;
}

// What has been counted of one strip.
struct Counted {
  std::size_t channels;
  std::size_t block;
  bool values;  // V, or the latent that it is made of
  double tokens;
  std::span<const double> sums;
  std::span<const double> products;

  [[nodiscard]] double Mean(std::size_t i) const { return sums[i] / tokens; }
  [[nodiscard]] double Covariance(std::size_t i, std::size_t j) const {
    // Of one block both.
    const double product = products[std::max(i, j) * block + std::min(i, j) % block];
    return product / tokens - Mean(i) * Mean(j);
  }
};

// Weights have any common unit; these have a mean of 1, and none is further from it than numbers of
// doubles' precision bear. Empty if there is one that is not finite or below 0, or nothing but 0.
std::vector<std::vector<double>> Normalised(const std::vector<std::vector<double>>& weights) {
  constexpr double kFarthest = 1e12;
  double largest = 0.0;
  for (const auto& strip : weights) {
    for (const double w : strip) {
      if (!std::isfinite(w) || w < 0.0) return {};
      largest = std::max(largest, w);
    }
  }
  if (largest == 0.0) return {};
  double sum = 0.0;  // of shares of the largest: cannot overflow
  double count = 0.0;
  for (const auto& strip : weights) {
    for (const double w : strip) sum += w / largest;
    count += static_cast<double>(strip.size());
  }
  std::vector<std::vector<double>> normalised = weights;
  for (auto& strip : normalised) {
    for (double& w : strip) w = std::max(w / largest * (count / sum), 1.0 / kFarthest);
  }
  return normalised;
}

// Roots of the weights of channels.
std::vector<double> RootsOf(const Counted& from, const std::vector<double>* weights) {
  double power = 0.0;
  for (std::size_t c = 0; c < from.channels; ++c) {
    power += std::max(from.Covariance(c, c), kTinyVariance);
  }
  const double alike =
      static_cast<double>(from.channels) / power * (from.values ? kValueWeight : 1.0);
  std::vector<double> roots(from.channels);
  for (std::size_t c = 0; c < roots.size(); ++c) {
    roots[c] = std::sqrt(std::max(weights == nullptr ? alike : (*weights)[c], 1e-30));
  }
  return roots;
}

// The largest block up to `wanted` that divides the channels, a multiple of 16 as they are.
std::uint16_t BlockOf(std::size_t channels, std::uint16_t wanted) {
  std::size_t block = std::min<std::size_t>({wanted, kMatrixBlockMax, channels});
  block -= block % kClassWidthUnit;
  while (block > 0 && channels % block != 0) block -= kClassWidthUnit;
  return block == 0 ? std::uint16_t{1} : static_cast<std::uint16_t>(block);
}

// Channels whose products are counted together: enough for any block up to that size.
std::uint32_t CountedBlock(std::uint32_t channels, std::uint16_t block_max) {
  return block_max == 1                 ? 1
         : block_max >= kMatrixBlockMax ? channels
                                        : BlockOf(channels, block_max);
}

Components Separate(const Counted& from, std::uint16_t wanted_block,
                    const std::vector<double>* weights) {
  const std::size_t n = from.channels;
  Components to;
  to.channels = static_cast<std::uint32_t>(n);
  to.block = BlockOf(from.block, wanted_block);  // no more than were counted together
  for (std::size_t c = 0; c < n; ++c) to.mean.push_back(from.Mean(c));
  const std::vector<double> root = RootsOf(from, weights);
  const std::size_t block = to.block;
  to.basis.resize(n * block);
  to.deviation.resize(n);
  std::vector<double> a(block * block);
  std::vector<double> vectors;
  for (std::size_t first = 0; first < n; first += block) {
    for (std::size_t i = 0; i < block; ++i) {
      for (std::size_t j = 0; j < block; ++j) {
        a[i * block + j] =
            from.Covariance(first + i, first + j) * root[first + i] * root[first + j];
      }
    }
    Diagonalise(block, a, vectors);
    for (std::size_t k = 0; k < block; ++k) {
      to.deviation[first + k] = std::sqrt(std::max(a[k * block + k], kTinyVariance));
      for (std::size_t i = 0; i < block; ++i) {
        to.basis[(first + i) * block + k] = vectors[i * block + k] / root[first + i];
      }
    }
  }
  std::vector<std::uint16_t> by_spread(n);
  std::iota(by_spread.begin(), by_spread.end(), std::uint16_t{0});
  std::sort(by_spread.begin(), by_spread.end(), [&](std::uint16_t i, std::uint16_t j) {
    const bool alike = to.deviation[i] == to.deviation[j];
    return alike ? i < j : to.deviation[i] > to.deviation[j];
  });
  to.rank.resize(n);
  for (std::size_t r = 0; r < n; ++r) to.rank[by_spread[r]] = static_cast<std::uint16_t>(r);
  return to;
}

double DraftBits(std::span<const Components> strips, double step) {
  double bits = 0.0;
  double values = 0.0;
  for (const Components& strip : strips) {
    values += strip.channels;
    for (const PlannedClass& planned : PlanClasses(Held(strip, step), step)) {
      if (planned.one.start != 0) continue;
      bits += planned.one.width * (Entropy(SymbolMasses(planned)) + planned.one.planes);
    }
  }
  return bits / values;
}

// The width of draft's bins for which it takes so many bits a value.
double StepFor(std::span<const Components> strips, double draft_bits) {
  double low = -12.0;  // powers of two: too narrow, too wide
  double high = 12.0;
  for (int i = 0; i < 30; ++i) {
    const double middle = 0.5 * (low + high);
    (DraftBits(strips, std::exp2(middle)) > draft_bits ? low : high) = middle;
  }
  return std::exp2(0.5 * (low + high));
}

}  // namespace

std::span<const TransformChoice> TransformChoices() {
  static constexpr std::array kChoices = {
      TransformChoice{.name = "klt", .block = 64, .draft_bits = 2.0},
      TransformChoice{.name = "identity", .block = 1, .draft_bits = 2.8},
  };
  return kChoices;
}

ProfileLearner::ProfileLearner(ModelSpec spec, RotaryAngles angles, std::uint16_t block_max)
    : spec_(std::move(spec)), angles_(std::move(angles)), block_max_(block_max) {
  for (std::uint32_t layer = 0; layer < LayerCount(spec_); ++layer) {
    const KvGroup& group = GroupOfLayer(spec_, layer);
    for (std::size_t plane = 0; plane < PlaneCountOf(group); ++plane) {
      for (std::uint32_t head = 0; head < group.kv_heads; ++head) {
        const std::uint32_t channels = plane == 0 ? group.k_head_size : group.v_head_size;
        const std::uint32_t block = CountedBlock(channels, block_max);
        // A latent makes keys as well as values, and its rope is of keys alone.
        const bool values = plane == 1 && group.attention != AttentionKind::kLatent;
        strips_.push_back({layer, plane, head, channels, block, values,
                           std::vector<double>(channels),
                           std::vector<double>(std::size_t{channels} * block)});
      }
    }
  }
}

std::size_t ProfileLearner::BytesFor(const ModelSpec& spec, std::uint16_t block_max) {
  std::size_t bytes = 0;
  for (const KvGroup& group : spec.groups) {
    for (std::size_t plane = 0; plane < PlaneCountOf(group); ++plane) {
      const std::uint32_t channels = plane == 0 ? group.k_head_size : group.v_head_size;
      bytes += group.layers.size() * group.kv_heads * std::size_t{channels} *
               (1 + CountedBlock(channels, block_max)) * sizeof(double);
    }
  }
  return bytes;
}

Result<ProfileLearner> ProfileLearner::Make(const ModelSpec& spec, std::uint16_t block_max) {
  if (Status status = ValidateModelSpec(spec); !status.ok()) return std::unexpected(status);
  for (const KvGroup& group : spec.groups) {
    if (group.k_head_size % kClassWidthUnit != 0 || group.v_head_size % kClassWidthUnit != 0) {
      return Error(Code::kUnimplemented, "head sizes that are no multiple of 16 have exact alone");
    }
  }
  KDN_ASSIGN_OR_RETURN(RotaryAngles angles, RotaryAngles::Make(spec.rotary));
  return ProfileLearner(spec, std::move(angles), block_max);
}

Status ProfileLearner::Add(const PagedKv& kv, const BlockTables& blocks, const ChunkPlace& place,
                           std::uint64_t first_position) {
  ObjectHeader header;
  header.dtype = spec_.dtype;
  header.token_count = place.token_count;
  header.part.layers = {0, static_cast<std::uint16_t>(LayerCount(spec_))};
  for (const KvGroup& group : spec_.groups) {
    header.part.kv_heads.count = std::max(header.part.kv_heads.count, group.kv_heads);
  }
  KDN_RETURN_IF_ERROR(CheckHeader(spec_, header));
  const Memory memory{kv, blocks, place};
  const LossyContext context{kScalarKernels, spec_, &angles_, nullptr};
  std::size_t next = 0;
  std::vector<float> values;
  for (const TileCoordinates& at : TilesOf(spec_, header, Level::kExact)) {
    const Result<TilePlace> placed = PlaceOf(spec_, header, at);
    if (!placed) return placed.error();
    const TilePlace& tile = *placed;
    const TileMemory tile_memory(memory, tile, at.kv_heads);
    KDN_RETURN_IF_ERROR(tile_memory.Check());
    if (tile_memory.HeldStrips() != tile.shape.strips()) {
      return Status(Code::kInvalidArgument, "the memory lacks a layer or head");
    }
    ReadUnturned(context, {at, tile, first_position}, tile_memory, values);
    const auto strip = std::find_if(strips_.begin(), strips_.end(), [&](const Statistics& s) {
      return s.layer == at.layers.first && s.plane == tile.plane && s.head == at.kv_heads.first;
    });
    const std::size_t n = strip->channels;
    const std::size_t block = strip->block;
    for (std::size_t t = 0; t < tile.shape.tokens; ++t) {
      const float* x = values.data() + t * n;
      for (std::size_t i = 0; i < n; ++i) {
        strip->sums[i] += double{x[i]};
        const std::size_t first = i - i % block;
        double* row = strip->products.data() + i * block;
        for (std::size_t j = first; j <= i; ++j) row[j - first] += double{x[i]} * double{x[j]};
      }
    }
    ++next;
  }
  tokens_ += place.token_count;
  return next == strips_.size() ? Status() : Status(Code::kInternal);
}

Result<Profile> ProfileLearner::Learn(const ModelFingerprint& model,
                                      const LearnOptions& options) const {
  if (tokens_ < 2 * std::uint64_t{options.block} || tokens_ < 64) {
    return Error(Code::kFailedPrecondition, "too few tokens have been counted");
  }
  if (options.block == 0 || options.block > block_max_) {
    return Error(Code::kInvalidArgument, "blocks of that size have not been counted");
  }
  if (options.block != 1 && options.block % kClassWidthUnit != 0) {
    return Error(Code::kInvalidArgument, "a block is one channel or a multiple of 16");
  }
  if (!options.weights.empty() && options.weights.size() != strips_.size()) {
    return Error(Code::kInvalidArgument, "weights are not one list a strip");
  }
  const std::vector<std::vector<double>> normalised = Normalised(options.weights);
  if (!options.weights.empty() && normalised.empty()) {
    return Error(Code::kInvalidArgument, "a weight is not finite, below 0, or all are 0");
  }
  std::vector<Components> strips;
  for (std::size_t s = 0; s < strips_.size(); ++s) {
    const Statistics& from = strips_[s];
    if (!options.weights.empty() && options.weights[s].size() != from.channels) {
      return Error(Code::kInvalidArgument, "weights are not one a channel");
    }
    const std::vector<double>* weights = options.weights.empty() ? nullptr : &normalised[s];
    strips.push_back(Separate({from.channels, from.block, from.values, static_cast<double>(tokens_),
                               from.sums, from.products},
                              options.block, weights));
  }
  const double step = StepFor(strips, options.draft_bits);
  Profile::Parts parts;
  parts.model = model;
  for (const Components& whole : strips) {
    const Components strip = Held(whole, step);
    const std::vector<PlannedClass> classes = PlanClasses(strip, step);
    StripProfile made = StripOf(strip, classes, step);
    for (std::size_t i = 0; i < classes.size(); ++i) {
      if (classes[i].one.start == kLossyLevels) continue;
      made.classes[i].table = static_cast<std::uint16_t>(parts.tables.size());
      parts.tables.push_back(TableOf(classes[i]));
    }
    parts.strips.push_back(std::move(made));
  }
  if (parts.tables.size() > kTablesMax) {
    return Error(Code::kUnimplemented, "the model has more strips than a profile has tables");
  }
  return Profile::Make(spec_, std::move(parts));
}

}  // namespace kdn::codec
