// Encodes a plan (codec/lane/encode_planner.h) on a GPU: from paged memory to complete tiles of
// draft, standard and fine, one after the other, in six kernels of one stream. What the host adds
// after they have been copied back are indices and checksums (AppendObject()).
//
// A build without CUDA links device_encoder_none.cc, in which the calls return kUnimplemented. This
// header needs no CUDA toolkit; a .cu file includes it, so it stays within C++17.
//
// Thread-safety: calls are asynchronous with respect to the host and ordered by their stream; calls
// on different streams may run concurrently, with workspaces and outputs of their own.
#pragma once

#include "base/status.h"
#include "codec/cuda/device_decoder.h"
#include "codec/lane/encode_plan.h"

namespace kdn::codec {

// Loads the kernels. Once per process and device, before the first launch and outside of any
// capture.
[[nodiscard]] Status PrepareEncoder();

// Enqueues the kernels, which may be captured into a graph: nothing is allocated, nothing is waited
// for. `plan_dev` is a copy of EncodePlan::bytes at a multiple of 16. `buffers` are the device's:
// workspace has shape.workspace_bytes, out shape.out_bytes_max, sizes shape.tiles numbers, whatever
// they hold. Tiles lie in `out` in the plan's order without gaps, so that the sum of `sizes` is
// what has to be copied back. The plan, the image of a profile, the pages and the buffers stay
// until the work is done. An OK status means enqueued, not finished. Requires: PrepareEncoder().
[[nodiscard]] Status LaunchEncode(const EncodeShape& shape, const std::byte* plan_dev,
                                  const EncodeBuffers& buffers, DeviceStream stream);

}  // namespace kdn::codec
