#include "client/admin/channel_weights.h"

#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

namespace kdn::admin {
namespace {

using json = nlohmann::json;

constexpr std::string_view kFormat = "kdn-channel-weights-1";
// A hundred times what a model of 100 layers with 64 heads of 128 channels takes.
constexpr std::streamoff kFileBytesMax = std::streamoff{1} << 30;

std::unexpected<Status> Refuse(const std::string& why) {
  return Error(Code::kInvalidArgument, "not channel weights: " + why);
}

}  // namespace

Result<ChannelWeights> ParseChannelWeights(std::string_view text, const ModelFingerprint& model) {
  const json file = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!file.is_object()) return Refuse("no JSON object");
  if (file.value("format", json()) != kFormat) {
    return Refuse("`format` is not " + std::string(kFormat));
  }
  if (file.value("model_fingerprint", json()) != ToHex(model)) {
    return Refuse("`model_fingerprint` is not " + ToHex(model));
  }
  const json strips = file.value("strips", json());
  if (!strips.is_array() || strips.empty()) return Refuse("`strips` is not a list of lists");
  ChannelWeights weights;
  weights.reserve(strips.size());
  for (const json& strip : strips) {
    if (!strip.is_array()) return Refuse("`strips` is not a list of lists");
    std::vector<double>& channels = weights.emplace_back();
    channels.reserve(strip.size());
    for (const json& channel : strip) {
      if (!channel.is_number()) return Refuse("a weight is not a number");
      const auto weight = channel.get<double>();
      if (!std::isfinite(weight) || weight < 0.0) return Refuse("a weight is below 0");
      channels.push_back(weight);
    }
  }
  return weights;
}

Result<ChannelWeights> ReadChannelWeights(const std::string& path, const ModelFingerprint& model) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return Error(Code::kNotFound, "cannot read " + path);
  if (file.tellg() > kFileBytesMax) return Refuse(path + " is larger than 1 GiB");
  file.seekg(0);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file.bad()) return Error(Code::kNotFound, "cannot read " + path);
  return ParseChannelWeights(text, model);
}

std::string ChannelWeightsText(const ChannelWeights& weights, const ModelFingerprint& model) {
  return json{{"format", kFormat}, {"model_fingerprint", ToHex(model)}, {"strips", weights}}
             .dump() +
         "\n";
}

}  // namespace kdn::admin
