// Linked instead of device_decoder.cu when the build has no CUDA.
#include "codec/cuda/device_decoder.h"

namespace kdn::codec {

int DeviceCount() noexcept {
  return 0;
}

Status PrepareDevice() {
  return Status(Code::kUnimplemented, "this build has no CUDA");
}

Status LaunchDecode(const LaunchShape& /*shape*/, const std::byte* /*plan_dev*/,
                    std::byte* /*workspace_dev*/, std::uint32_t* /*verdicts_dev*/,
                    DeviceStream /*stream*/) {
  return Status(Code::kUnimplemented, "this build has no CUDA");
}

}  // namespace kdn::codec
