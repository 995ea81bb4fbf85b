#include "tests/bench/attention_weights.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "client/llama/rotary.h"

namespace kdn::bench {
namespace {

constexpr std::uint32_t kFirstRow = 63;  // queries that see at least so many tokens more
constexpr std::uint32_t kRowStep = 32;
constexpr std::uint32_t kKeysSeen = 4;  // positions from which a query is looked at

// Sums over queries of one layer and KV head.
struct HeadSums {
  std::vector<double> squares;  // of a query's channels, turned back by some key's position
  double queries = 0.0;
  double concentration = 0.0;  // Σ a²
  double pull = 0.0;           // Σ a² |v − o|²
  double power = 0.0;          // |o|²
};

// One query of `size` channels at `row` over keys and values [token][size].
void AddQuery(std::span<const float> query, std::uint32_t row, std::span<const float> keys,
              std::span<const float> values, HeadSums& sums) {
  const std::size_t size = query.size();
  std::vector<double> a(row + 1);
  for (std::size_t t = 0; t <= row; ++t) {
    double dot = 0.0;
    for (std::size_t c = 0; c < size; ++c) dot += double{query[c]} * double{keys[t * size + c]};
    a[t] = dot / std::sqrt(static_cast<double>(size));
  }
  const double largest = std::ranges::max(a);
  double total = 0.0;
  for (double& x : a) total += x = std::exp(x - largest);
  std::vector<double> out(size);
  for (std::size_t t = 0; t <= row; ++t) {
    a[t] /= total;
    for (std::size_t c = 0; c < size; ++c) out[c] += a[t] * double{values[t * size + c]};
  }
  for (std::size_t t = 0; t <= row; ++t) {
    double distance = 0.0;
    for (std::size_t c = 0; c < size; ++c) {
      distance += std::pow(double{values[t * size + c]} - out[c], 2);
    }
    sums.concentration += a[t] * a[t];
    sums.pull += a[t] * a[t] * distance;
  }
  for (const double o : out) sums.power += o * o;
  sums.queries += 1.0;
}

// Looks at the query as keys at positions before it do.
void AddSquares(std::span<const float> query, std::uint32_t row, const llama::RotaryTable& turns,
                std::size_t rotated, HeadSums& sums) {
  const std::size_t half = rotated / 2;
  for (std::uint32_t k = 0; k < kKeysSeen; ++k) {
    const float* turn = turns.Row((2 * k + 1) * row / (2 * kKeysSeen));
    std::vector<double> x(query.begin(), query.end());
    for (std::size_t i = 0; i < half; ++i) {
      const double a = x[i];
      const double b = x[i + half];
      x[i] = a * double{turn[i]} + b * double{turn[half + i]};
      x[i + half] = b * double{turn[i]} - a * double{turn[half + i]};
    }
    for (std::size_t c = 0; c < x.size(); ++c) sums.squares[c] += x[c] * x[c] / kKeysSeen;
  }
}

}  // namespace

std::vector<std::vector<double>> AttentionWeights(const std::vector<const TextContext*>& contexts,
                                                  std::uint32_t query_heads, const Rotary& rotary) {
  const KvGroup& group = contexts[0]->kv->spec().groups[0];
  const std::size_t size = group.k_head_size;
  const std::size_t shared = query_heads / group.kv_heads;
  llama::RotaryTable turns(rotary);
  turns.Extend(contexts[0]->tokens());
  std::vector<std::vector<double>> weights;
  for (std::size_t l = 0; l < group.layers.size(); ++l) {
    std::vector<HeadSums> heads(group.kv_heads);
    double power = 0.0;  // of a token's output, all heads together
    for (std::size_t h = 0; h < query_heads; ++h) {
      HeadSums& sums = heads[h / shared];
      sums.squares.resize(size);
      const double power_before = sums.power;
      const double queries_before = sums.queries;
      for (const TextContext* context : contexts) {
        const std::uint32_t tokens = context->tokens();
        const auto keys = HeadOf(*context->kv, 0, l, h / shared);
        const auto values = HeadOf(*context->kv, 1, l, h / shared);
        for (std::uint32_t row = kFirstRow; row < tokens; row += kRowStep) {
          const auto query = std::span(context->queries)
                                 .subspan(((l * query_heads + h) * tokens + row) * size, size);
          AddQuery(query, row, keys, values, sums);
          AddSquares(query, row, turns, rotary.dims, sums);
        }
      }
      power += (sums.power - power_before) / (sums.queries - queries_before);
    }
    for (std::size_t p = 0; p < 2; ++p) {
      for (const HeadSums& head : heads) {
        // What one token's output suffers from all query heads of this KV head.
        const double of_head = static_cast<double>(shared) / head.queries;
        std::vector<double>& of = weights.emplace_back(size, head.concentration * of_head / power);
        for (std::size_t c = 0; p == 0 && c < size; ++c) {
          of[c] = head.pull * of_head / power * head.squares[c] / head.queries /
                  static_cast<double>(size);
        }
      }
    }
  }
  return weights;
}

}  // namespace kdn::bench
