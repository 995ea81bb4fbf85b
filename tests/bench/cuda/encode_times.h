// Encoding of chunks out of pages: held against the CPU, and timed.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "tests/bench/cuda/device_chunks.h"
#include "tests/bench/cuda/device_timing.h"

namespace kdn::codec {

class EncodeBench {
 public:
  EncodeBench(const ModelSpec& spec, const Subject& subject)
      : spec_(spec), subject_(subject), pages_(spec, kChunks) {
    bench::FillWithGaussian(pages_.host().bytes(), kCodedSeed);
    for (std::size_t i = 0; i < kChunks; ++i) pages_.Fill(i, pages_.host().bytes());
    if (subject.profile != nullptr) {
      image_.emplace(spec, *subject.profile);
      image_dev_.emplace(image_->bytes());
      profile_.emplace(EncodeProfile{*image_, image_dev_->data()});
    }
  }

  // Whether the GPU's objects of all chunks are the CPU's.
  bool Run(std::vector<Row>& rows) {
    const EncodePlan all = PlanOf(0, kChunks);
    const DeviceBytes all_dev(all.bytes);
    const DeviceBytes workspace(all.shape.workspace_bytes);
    const DeviceBytes out(all.shape.out_bytes_max);
    const DeviceBytes sizes(4 * std::size_t{all.shape.tiles});
    const EncodeBuffers buffers{workspace.data(), out.data(),
                                reinterpret_cast<std::uint32_t*>(sizes.data())};
    const auto encode = [&](const EncodePlan& plan, const DeviceBytes& plan_dev) {
      MustBeOk(LaunchEncode(plan.shape, plan_dev.data(), buffers, stream_.device()), "launch");
    };
    encode(all, all_dev);
    stream_.Wait();
    if (!AreTheCpus(all, out, sizes)) return false;

    const double bytes = static_cast<double>(pages_.memory(0).size());
    const double micros = DeviceMicros(stream_, [&] { encode(all, all_dev); });
    rows.push_back({"encode " + subject_.name + ", 256 MiB in", kChunks * bytes / micros * 1e-3,
                    "GB/s of bf16", 0, false});
    // One chunk; all take turns: together they are more than a cache holds.
    std::vector<EncodePlan> plans;
    std::vector<DeviceBytes> plans_dev;
    std::vector<Graph> graphs;
    const auto encode_one = [&](std::size_t i) { encode(plans[i], plans_dev[i]); };
    for (std::size_t i = 0; i < kChunks; ++i) {
      plans.push_back(PlanOf(i, 1));
      plans_dev.emplace_back(plans[i].bytes);
      graphs.emplace_back(stream_, [&] { encode_one(i); });
    }
    const std::string name = "encode " + subject_.name + ", one chunk of 32 MiB";
    rows.push_back(
        {name + ", kernels", DeviceMicros(stream_, InTurn(kChunks, encode_one)), "us", 0, true});
    rows.push_back(
        {name + ", from a graph",
         HostMicros(stream_, InTurn(kChunks, [&](std::size_t i) { graphs[i].Launch(stream_); })),
         "us", 0, true});
    rows.push_back({name + ", its workspace",
                    static_cast<double>(plans[0].shape.workspace_bytes) / (1 << 20), "MiB", 0,
                    true});
    return true;
  }

 private:
  EncodePlan PlanOf(std::size_t first, std::size_t count) {
    EncodePlanner planner = EncodePlanner::Make(spec_).value();
    const ObjectHeader header = ChunkHeader(spec_, subject_.encoded, subject_.profile);
    for (std::size_t i = first; i < first + count; ++i) {
      MustBeOk(planner.Add(header, pages_.kv(i), pages_.blocks(), where_,
                           profile_ ? &*profile_ : nullptr),
               "plan");
    }
    return planner.Take();
  }

  bool AreTheCpus(const EncodePlan& plan, const DeviceBytes& out, const DeviceBytes& sizes) {
    const std::vector<std::byte> want = EncodeChunk(spec_, subject_.encoded, subject_.profile);
    std::vector<std::uint32_t> sizes_of(plan.shape.tiles);
    sizes.Read(std::as_writable_bytes(std::span(sizes_of)));
    std::vector<std::byte> tiles(out.size());
    out.Read(tiles);
    for (std::size_t i = 0; i < kChunks; ++i) {
      std::vector<std::byte> object;
      if (AppendObject(plan, i, sizes_of, tiles, object).ok() && object == want) continue;
      std::printf("WRONG encode %s: chunk %zu is not the CPU's\n", subject_.name.c_str(), i);
      return false;
    }
    return true;
  }

  const ModelSpec& spec_;
  const Subject& subject_;
  const ChunkPlace where_{.first_token = 0, .token_count = bench::kChunkTokens};
  DevicePages pages_;
  std::optional<EncodeImage> image_;
  std::optional<DeviceBytes> image_dev_;
  std::optional<EncodeProfile> profile_;
  Stream stream_;
};

}  // namespace kdn::codec
