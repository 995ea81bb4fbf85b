// Linked instead of device_encoder.cu when the build has no CUDA.
#include "codec/cuda/device_encoder.h"

namespace kdn::codec {

Status PrepareEncoder() {
  return Status(Code::kUnimplemented, "this build has no CUDA");
}

Status LaunchEncode(const EncodeShape& /*shape*/, const std::byte* /*plan_dev*/,
                    const EncodeBuffers& /*buffers*/, DeviceStream /*stream*/) {
  return Status(Code::kUnimplemented, "this build has no CUDA");
}

}  // namespace kdn::codec
