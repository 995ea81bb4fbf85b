// A model spec from bytes that anyone may have written: refused, or valid and exactly those bytes,
// and its layers can be cut into groups that cover them.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "proto/object/model_spec.h"
#include "proto/object/segment.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const kdn::ConstBytes bytes = std::as_bytes(std::span(data, size));
  const kdn::Result<kdn::ModelSpec> spec = kdn::DecodeModelSpec(bytes);
  if (!spec) {
    if (spec.error().code() != kdn::Code::kDataLoss) std::abort();
    return 0;
  }
  if (!kdn::ValidateModelSpec(*spec).ok()) std::abort();
  const std::vector<std::byte> again = kdn::EncodeModelSpec(*spec);
  if (!std::equal(again.begin(), again.end(), bytes.begin(), bytes.end())) std::abort();
  const auto layer_count = static_cast<std::uint16_t>(kdn::LayerCount(*spec));
  std::uint32_t covered = 0;
  for (const kdn::Range& group : kdn::LayerGroups(*spec, {0, layer_count}, 4)) {
    if (group.first != covered || group.count == 0 || group.count > 4) std::abort();
    covered = group.end();
  }
  if (covered != layer_count) std::abort();
  return 0;
}
