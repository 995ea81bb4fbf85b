// What the GPU's benches code: chunks of Llama-3.1-8B's shape in pages on the GPU, and how.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "codec/codec_scratch.h"
#include "codec/profile_learner.h"
#include "tests/bench/codec_pages.h"
#include "tests/codec/device_machine.h"
#include "tests/codec/lane_cases.h"
#include "tests/codec/profile_ids.h"

namespace kdn::codec {

inline constexpr std::size_t kChunks = 8;  // 256 MiB: several times what a GPU's cache holds

inline ModelSpec BenchSpec() {
  ModelSpec spec = bench::LlamaSpec();
  spec.rotary = {.pairing = RotaryPairing::kNeox, .dims = 128, .base = 500000.0};
  return spec;
}

inline constexpr int kCodedSeed = 1;
inline constexpr int kLearnedSeed = 1000;

// What is learned unless somebody says otherwise, of other values than are coded.
inline Profile LearnProfile(const ModelSpec& spec) {
  bench::Pages pages(spec);
  bench::FillWithGaussian(pages.bytes(), kLearnedSeed);
  ProfileLearner learner = ProfileLearner::Make(spec).value();
  MustBeOk(learner.Add(pages.kv(), pages.blocks(),
                       {.first_token = 0, .token_count = bench::kChunkTokens}, 1000),
           "learn");
  Profile profile =
      learner.Learn(ModelFingerprint(), OptionsOf(TransformChoices().front())).value();
  MustBeOk(profile.FinishForEncoding(), "finish the profile");
  profile.Name(NumberedProfileId(1));
  return profile;
}

inline ObjectHeader ChunkHeader(const ModelSpec& spec, LevelSet levels, const Profile* profile) {
  ObjectHeader header =
      HeaderOf({.spec = spec, .tokens = bench::kChunkTokens, .levels = levels, .profile = profile});
  header.layers_per_group = 4;
  header.heads_per_group = 1;
  return header;
}
inline std::vector<std::byte> EncodeChunk(const ModelSpec& spec, LevelSet levels,
                                          const Profile* profile) {
  bench::Pages pages(spec);
  bench::FillWithGaussian(pages.bytes(), kCodedSeed);
  std::vector<std::byte> object;
  CodecScratch scratch;
  MustBeOk(ObjectCodec::Make(spec)->Encode(
               ChunkHeader(spec, levels, profile), pages.kv(), pages.blocks(),
               {.first_token = 0, .token_count = bench::kChunkTokens}, profile, object, scratch),
           "encode");
  return object;
}

// Chunks' pages on the GPU, each with block tables of its own.
class DevicePages {
 public:
  DevicePages(const ModelSpec& spec, std::size_t chunks) : host_(spec) {
    for (std::size_t i = 0; i < chunks; ++i) {
      memory_.emplace_back(host_.bytes().size());
      pools_.push_back(host_.kv().pools[0]);
      auto& bases = bases_.emplace_back();
      for (std::size_t p = 0; p < 2; ++p) {
        for (const std::byte* base : host_.kv().pools[0].planes[p].base) {
          bases[p].push_back(memory_[i].data() + (base - host_.bytes().data()));
        }
      }
    }
    for (std::size_t i = 0; i < chunks; ++i) {
      for (std::size_t p = 0; p < 2; ++p) pools_[i].planes[p].base = bases_[i][p];
    }
  }
  [[nodiscard]] PagedKv kv(std::size_t i) const { return {{&pools_[i], 1}}; }
  [[nodiscard]] BlockTables blocks() const { return host_.blocks(); }
  [[nodiscard]] const DeviceBytes& memory(std::size_t i) const { return memory_[i]; }
  void Fill(std::size_t i, ConstBytes bytes) { memory_[i].Fill(bytes); }
  bench::Pages& host() { return host_; }

 private:
  bench::Pages host_;
  std::vector<DeviceBytes> memory_;
  std::vector<std::array<std::vector<std::byte*>, 2>> bases_;
  std::vector<KvPool> pools_;
};

// One way of coding, and its chunks on the GPU.
struct Subject {
  std::string name;
  std::size_t levels;
  LevelSet encoded;
  const Profile* profile = nullptr;
  double bar = 0;         // TB/s
  double bar_micros = 0;  // of one chunk
};

}  // namespace kdn::codec
