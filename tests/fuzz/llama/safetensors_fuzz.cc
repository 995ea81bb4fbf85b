// A safetensors file from bytes that anyone may have written: refused, or every tensor that it
// names lies within it and can be read.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "client/llama/safetensors.h"

namespace {

void Check(const kdn::llama::SafetensorsFile& file, std::size_t size) {
  for (const auto& [name, info] : file.tensors()) {
    if (info.offset_bytes > size || info.size_bytes > size - info.offset_bytes) std::abort();
    if (info.value_count > info.size_bytes) std::abort();
    const auto bytes = file.ReadBytes(name);
    if (!bytes || bytes->size() != info.size_bytes) std::abort();
    std::vector<float> values(info.value_count);
    const kdn::Code code = file.ReadFloats(name, info.shape, values).code();
    if (code != kdn::Code::kOk && code != kdn::Code::kInvalidArgument) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const int descriptor = memfd_create("safetensors", MFD_CLOEXEC);  // a file in memory
  if (descriptor < 0 || write(descriptor, data, size) != static_cast<ssize_t>(size)) std::abort();
  const auto file =
      kdn::llama::SafetensorsFile::Open("/proc/self/fd/" + std::to_string(descriptor));
  if (file) {
    Check(*file, size);
  } else if (file.error().code() != kdn::Code::kDataLoss) {
    std::abort();
  }
  close(descriptor);
  return 0;
}
