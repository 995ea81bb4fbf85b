#include "client/admin/channel_weights.h"

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

namespace kdn::admin {
namespace {

using json = nlohmann::json;

constexpr std::string_view kFormat = "kdn-channel-weights-1";
// Some thirty times what a model of 100 layers with 64 heads of 128 channels takes.
constexpr std::uintmax_t kFileBytesMax = std::uintmax_t{1} << 30;

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
  const auto found = file.find("strips");  // gigabytes of a large model: not to be copied
  if (found == file.end() || !found->is_array() || found->empty()) {
    return Refuse("`strips` is not a list of lists");
  }
  const json& strips = *found;
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
  std::error_code error;
  const bool is_file = std::filesystem::is_regular_file(path, error);
  std::ifstream file(path, std::ios::binary);
  if (!is_file || !file) return Error(Code::kNotFound, "cannot read " + path);
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error || size > kFileBytesMax) return Refuse(path + " is larger than 1 GiB");
  std::string text(size, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(size))) {
    return Error(Code::kNotFound, "cannot read " + path);
  }
  return ParseChannelWeights(text, model);
}

std::string ChannelWeightsText(const ChannelWeights& weights, const ModelFingerprint& model) {
  return json{{"format", kFormat}, {"model_fingerprint", ToHex(model)}, {"strips", weights}}
             .dump() +
         "\n";
}

}  // namespace kdn::admin
