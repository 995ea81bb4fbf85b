// A config.json from anyone: refused for a reason that has a message, or a model whose spec holds.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "base/bytes.h"
#include "client/llama/config.h"
#include "proto/object/model_spec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto config = kdn::llama::ParseConfig(kdn::AsText(std::as_bytes(std::span(data, size))));
  if (!config) {
    const kdn::Code code = config.error().code();
    if (code != kdn::Code::kInvalidArgument && code != kdn::Code::kUnimplemented) std::abort();
    if (config.error().message().empty()) std::abort();
    return 0;
  }
  const kdn::ModelSpec spec =
      kdn::llama::MakeModelSpec(*config, kdn::DType::kBf16, "fuzzed", "none");
  if (!kdn::ValidateModelSpec(spec).ok()) std::abort();
  return 0;
}
