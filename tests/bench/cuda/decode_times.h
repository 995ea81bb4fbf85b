// Fused decoding of chunks into pages: held against the CPU, and timed.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tests/bench/cuda/device_chunks.h"
#include "tests/bench/cuda/device_timing.h"

namespace kdn::codec {

class DecodeBench {
 public:
  DecodeBench(const ModelSpec& spec, const Subject& subject)
      : spec_(spec), subject_(subject), pages_(spec, kChunks) {
    object_ = EncodeChunk(spec, subject.encoded, subject.profile);
    opened_ = OpenPlaces(object_);
    if (subject.profile != nullptr) {
      image_.emplace(spec, *subject.profile);
      profile_.emplace(LaunchProfile{*image_, images_.emplace_back(image_->bytes()).data()});
    }
    for (std::size_t i = 0; i < kChunks; ++i) tiles_.emplace_back(object_);
  }

  // Whether the GPU's pages of all chunks are the CPU's.
  bool Run(std::vector<Row>& rows) {
    const DecodePlan all = PlanOf(0, kChunks);
    const DeviceBytes all_dev(all.bytes);
    const DeviceBytes verdicts(4 * std::size_t{all.shape.verdicts()});
    const DeviceBytes workspace(all.shape.workspace_bytes);
    const auto decode = [&](const DecodePlan& plan, const std::byte* plan_dev) {
      MustBeOk(LaunchDecode(plan.shape, plan_dev, workspace.data(),
                            reinterpret_cast<std::uint32_t*>(verdicts.data()), stream_.device()),
               "launch");
    };
    decode(all, all_dev.data());
    stream_.Wait();
    if (!IsTheCpus()) return false;

    const std::size_t chunk_bytes = pages_.memory(0).size();
    const double micros = DeviceMicros(stream_, [&] { decode(all, all_dev.data()); });
    const double tera = static_cast<double>(kChunks * chunk_bytes) / micros * 1e-6;
    rows.push_back({subject_.name + ", 256 MiB out", tera, "TB/s of bf16", subject_.bar, false});
    TimeOne(decode, rows);
    return true;
  }

 private:
  DecodePlan PlanOf(std::size_t first, std::size_t count) {
    DecodePlanner planner = DecodePlanner::Make(spec_).value();
    for (std::size_t i = first; i < first + count; ++i) {
      std::vector<std::vector<LaunchTile>> tiles;
      for (const std::vector<TileBytes>& place : opened_.places) {
        auto& mine = tiles.emplace_back();
        for (std::size_t l = 0; l < std::min(subject_.levels, place.size()); ++l) {
          mine.push_back({place[l].entry, place[l].bytes,
                          tiles_[i].data() + (place[l].bytes.data() - object_.data())});
        }
      }
      const std::vector<std::span<const LaunchTile>> places(tiles.begin(), tiles.end());
      MustBeOk(planner.Add(opened_.header, places, pages_.kv(i), pages_.blocks(), where_,
                           profile_ ? &*profile_ : nullptr),
               "plan");
    }
    return planner.Take();
  }

  bool IsTheCpus() {
    const ObjectCodec codec = ObjectCodec::Make(spec_).value();
    CodecScratch scratch;
    for (const std::vector<TileBytes>& place : opened_.places) {
      MustBeOk(
          codec.DecodeTile(opened_.header, std::span(place).first(subject_.levels),
                           pages_.host().kv(), pages_.blocks(), where_, subject_.profile, scratch),
          "decode on the CPU");
    }
    std::vector<std::byte> got(pages_.host().bytes().size());
    for (std::size_t i = 0; i < kChunks; ++i) {
      pages_.memory(i).Read(got);
      if (std::ranges::equal(got, pages_.host().bytes())) continue;
      std::printf("WRONG %s: chunk %zu is not the CPU's\n", subject_.name.c_str(), i);
      return false;
    }
    return true;
  }

  // One chunk: launched as it is, from a graph, and with its plan made and sent as well. All chunks
  // take turns: together they are more than a cache holds.
  template <class Decode>
  void TimeOne(Decode&& decode, std::vector<Row>& rows) {
    std::vector<DecodePlan> plans;
    std::vector<DeviceBytes> plans_dev;
    std::vector<void*> pinned;
    std::vector<Graph> graphs;
    for (std::size_t i = 0; i < kChunks; ++i) {
      const DecodePlan& plan = plans.emplace_back(PlanOf(i, 1));
      const DeviceBytes& plan_dev = plans_dev.emplace_back(plan.bytes);
      MustCuda(cudaMallocHost(&pinned.emplace_back(), plan.bytes.size()), "pinned memory");
      std::memcpy(pinned[i], plan.bytes.data(), plan.bytes.size());
      graphs.emplace_back(stream_, [&] {
        MustCuda(cudaMemcpyAsync(plan_dev.data(), pinned[i], plan.bytes.size(),
                                 cudaMemcpyHostToDevice, stream_.get()),
                 "send the plan");
        decode(plan, plan_dev.data());
      });
    }
    const auto decode_one = [&](std::size_t i) { decode(plans[i], plans_dev[i].data()); };
    const std::string name = subject_.name + ", one chunk of 32 MiB";
    rows.push_back(
        {name + ", kernel", DeviceMicros(stream_, InTurn(kChunks, decode_one)), "us", 0, true});
    rows.push_back({name + " with launch", HostMicros(stream_, InTurn(kChunks, decode_one)), "us",
                    subject_.bar_micros, true});
    rows.push_back(
        {name + ", plan sent, from a graph",
         HostMicros(stream_, InTurn(kChunks, [&](std::size_t i) { graphs[i].Launch(stream_); })),
         "us", 0, true});
    for (void* one : pinned) cudaFreeHost(one);
    const auto begin = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < 5; ++i) (void)PlanOf(i, 1);
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
    rows.push_back({name + ", planning on the host", took.count() / 5, "us", 0, true});
    rows.push_back(
        {name + ", its plan", static_cast<double>(plans[0].bytes.size()) / 1024, "KiB", 0, true});
  }

  const ModelSpec& spec_;
  const Subject& subject_;
  const ChunkPlace where_{.first_token = 0, .token_count = bench::kChunkTokens, .moved = 512};
  DevicePages pages_;
  std::vector<std::byte> object_;
  OpenedPlaces opened_;
  std::optional<ProfileImage> image_;
  std::vector<DeviceBytes> images_;
  std::optional<LaunchProfile> profile_;
  std::vector<DeviceBytes> tiles_;  // a whole object each
  Stream stream_;
};

}  // namespace kdn::codec
