// Bench: decoding on a GPU. First holds the kernel against the CPU's decoder, bit for bit, over
// every case of tests/codec/lane_cases.h; then times fused decoding of chunks of Llama-3.1-8B's
// shape into 16-token pages: many chunks in one launch, and one of them alone with its launch.
//
// usage: cuda_bench [--check] [--json FILE]
//   --check   only compare with the CPU
//   --json    write the figures there as well
//
// Ends with 77, and says so, where there is no GPU; with 1 if bits differ or a bar is missed.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "codec/codec_scratch.h"
#include "codec/profile_learner.h"
#include "tests/bench/codec_pages.h"
#include "tests/codec/device_machine.h"
#include "tests/codec/lane_cases.h"
#include "tests/codec/profile_ids.h"

namespace kdn::codec {
namespace {

constexpr int kSkipped = 77;
constexpr std::size_t kChunks = 8;  // 256 MiB: several times what a GPU's cache holds
constexpr int kRuns = 30;

struct Row {
  std::string name;
  double value;
  std::string unit;
  double bar;  // 0: none
  bool at_most;
  [[nodiscard]] bool holds() const { return bar == 0 || (at_most ? value <= bar : value >= bar); }
};

bool CheckAgainstCpu() {
  std::size_t cases = 0;
  std::size_t wrong = 0;
  AllLaneCases([&](const std::string& name, const LaneCase& c) {
    DeviceMachine machine;
    const std::string what = CompareWithCpu(c, machine);
    ++cases;
    if (what.empty()) return;
    ++wrong;
    std::printf("WRONG %s: %s\n", name.c_str(), what.c_str());
  });
  std::printf("%zu cases held against the CPU, %zu of them differ\n", cases, wrong);
  return wrong == 0;
}

class Stream {
 public:
  Stream() { MustCuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream"); }
  Stream(const Stream&) = delete;
  ~Stream() { cudaStreamDestroy(stream_); }
  [[nodiscard]] cudaStream_t get() const { return stream_; }
  [[nodiscard]] DeviceStream device() const { return {stream_}; }
  void Wait() const { MustCuda(cudaStreamSynchronize(stream_), "wait"); }

 private:
  cudaStream_t stream_ = nullptr;
};

// Microseconds that the stream spent on each call of `work`, the median.
template <class Work>
double DeviceMicros(const Stream& stream, Work&& work) {
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  MustCuda(cudaEventCreate(&begin), "event");
  MustCuda(cudaEventCreate(&end), "event");
  std::vector<double> micros;
  for (int run = -3; run < kRuns; ++run) {
    MustCuda(cudaEventRecord(begin, stream.get()), "event");
    work();
    MustCuda(cudaEventRecord(end, stream.get()), "event");
    stream.Wait();
    float ms = 0.0F;
    MustCuda(cudaEventElapsedTime(&ms, begin, end), "event");
    if (run >= 0) micros.push_back(1e3 * double{ms});
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  std::sort(micros.begin(), micros.end());
  return micros[micros.size() / 2];
}

// The same by the host's clock, from the call to the end of the work.
template <class Work>
double HostMicros(const Stream& stream, Work&& work) {
  std::vector<double> micros;
  for (int run = -3; run < 2 * kRuns; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    stream.Wait();
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
    if (run >= 0) micros.push_back(took.count());
  }
  std::sort(micros.begin(), micros.end());
  return micros[micros.size() / 2];
}

ModelSpec BenchSpec() {
  ModelSpec spec = bench::LlamaSpec();
  spec.rotary = {.pairing = RotaryPairing::kNeox, .dims = 128, .base = 500000.0};
  return spec;
}

// Learned of what is coded with it: a transform of 64 channels, 1.5 bits at draft.
Profile LearnProfile(const ModelSpec& spec) {
  bench::Pages pages(spec);
  bench::FillWithGaussian(pages.bytes(), 1);
  ProfileLearner learner = ProfileLearner::Make(spec).value();
  MustBeOk(learner.Add(pages.kv(), pages.blocks(),
                       {.first_token = 0, .token_count = bench::kChunkTokens}, 1000),
           "learn");
  Profile profile = learner.Learn(ModelFingerprint(), LearnOptions()).value();
  MustBeOk(profile.FinishForEncoding(), "finish the profile");
  profile.Name(NumberedProfileId(1));
  return profile;
}

std::vector<std::byte> EncodeChunk(const ModelSpec& spec, LevelSet levels, const Profile* profile) {
  bench::Pages pages(spec);
  bench::FillWithGaussian(pages.bytes(), 1);
  LaneCase c{.spec = spec, .tokens = bench::kChunkTokens, .levels = levels, .profile = profile};
  ObjectHeader header = HeaderOf(c);
  header.layers_per_group = 4;
  header.heads_per_group = 1;
  std::vector<std::byte> object;
  CodecScratch scratch;
  MustBeOk(ObjectCodec::Make(spec)->Encode(header, pages.kv(), pages.blocks(),
                                           {.first_token = 0, .token_count = bench::kChunkTokens},
                                           profile, object, scratch),
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

class Bench {
 public:
  Bench(const ModelSpec& spec, const Subject& subject)
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
    const DecodePlan all = PlanOf(kChunks);
    const DecodePlan one = PlanOf(1);
    const DeviceBytes all_dev(all.bytes);
    const DeviceBytes verdicts(4 * std::size_t{all.shape.units});
    const auto decode = [&](const DecodePlan& plan, const std::byte* plan_dev) {
      MustBeOk(LaunchDecode(plan.shape, plan_dev, reinterpret_cast<std::uint32_t*>(verdicts.data()),
                            stream_.device()),
               "launch");
    };
    decode(all, all_dev.data());
    stream_.Wait();
    if (!IsTheCpus()) return false;

    const std::size_t chunk_bytes = pages_.memory(0).size();
    const double micros = DeviceMicros(stream_, [&] { decode(all, all_dev.data()); });
    const double tera = static_cast<double>(kChunks * chunk_bytes) / micros * 1e-6;
    rows.push_back({subject_.name + ", 256 MiB out", tera, "TB/s of bf16", subject_.bar, false});
    TimeOne(one, decode, rows);
    return true;
  }

 private:
  DecodePlan PlanOf(std::size_t chunks) {
    DecodePlanner planner = DecodePlanner::Make(spec_).value();
    for (std::size_t i = 0; i < chunks; ++i) {
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

  // One chunk: launched as it is, from a graph, and with its plan made and sent as well.
  template <class Decode>
  void TimeOne(const DecodePlan& plan, Decode&& decode, std::vector<Row>& rows) {
    const DeviceBytes plan_dev(plan.bytes);
    void* pinned = nullptr;
    MustCuda(cudaMallocHost(&pinned, plan.bytes.size()), "pinned memory");
    std::memcpy(pinned, plan.bytes.data(), plan.bytes.size());
    const auto send = [&] {
      MustCuda(cudaMemcpyAsync(plan_dev.data(), pinned, plan.bytes.size(), cudaMemcpyHostToDevice,
                               stream_.get()),
               "send the plan");
    };
    const std::string name = subject_.name + ", one chunk of 32 MiB";
    rows.push_back({name + ", kernel",
                    DeviceMicros(stream_, [&] { decode(plan, plan_dev.data()); }), "us", 0, true});
    rows.push_back({name + " with launch",
                    HostMicros(stream_, [&] { decode(plan, plan_dev.data()); }), "us",
                    subject_.bar_micros, true});
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t ready = nullptr;
    MustCuda(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeGlobal), "capture");
    send();
    decode(plan, plan_dev.data());
    MustCuda(cudaStreamEndCapture(stream_.get(), &graph), "capture");
    MustCuda(cudaGraphInstantiate(&ready, graph, 0), "graph");
    rows.push_back(
        {name + ", plan sent, from a graph",
         HostMicros(stream_, [&] { MustCuda(cudaGraphLaunch(ready, stream_.get()), "graph"); }),
         "us", 0, true});
    cudaGraphExecDestroy(ready);
    cudaGraphDestroy(graph);
    cudaFreeHost(pinned);
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < 5; ++i) (void)PlanOf(1);
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
    rows.push_back({name + ", planning on the host", took.count() / 5, "us", 0, true});
    rows.push_back(
        {name + ", its plan", static_cast<double>(plan.bytes.size()) / 1024, "KiB", 0, true});
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

void TimeCopy(std::vector<Row>& rows) {
  constexpr std::size_t kBytes = std::size_t{256} << 20;
  const Stream stream;
  const DeviceBytes from(kBytes);
  const DeviceBytes to(kBytes);
  const double micros = DeviceMicros(stream, [&] {
    MustCuda(
        cudaMemcpyAsync(to.data(), from.data(), kBytes, cudaMemcpyDeviceToDevice, stream.get()),
        "copy");
  });
  rows.push_back({"copy on the GPU, 256 MiB", static_cast<double>(kBytes) / micros * 1e-6,
                  "TB/s, read or written", 0, false});
}

bool TimeAll(std::vector<Row>& rows) {
  const ModelSpec spec = BenchSpec();
  const Profile profile = LearnProfile(spec);
  const LevelSet lossy(0b111);
  const Subject subjects[] = {
      {.name = "draft", .levels = 1, .encoded = lossy, .bar = 1.2, .bar_micros = 60},
      {.name = "standard", .levels = 2, .encoded = lossy, .bar = 0.8, .bar_micros = 60},
      {.name = "fine", .levels = 3, .encoded = lossy},
      {.name = "standard with a profile", .levels = 2, .encoded = lossy, .profile = &profile},
      {.name = "exact alone", .levels = 1, .encoded = Level::kExact},
  };
  TimeCopy(rows);
  bool good = true;
  for (const Subject& subject : subjects) good = Bench(spec, subject).Run(rows) && good;
  return good;
}

void Write(const char* path, const std::vector<Row>& rows, bool same_bits) {
  cudaDeviceProp properties;
  MustCuda(cudaGetDeviceProperties(&properties, 0), "properties");
  std::FILE* file = std::fopen(path, "w");
  if (file == nullptr) {
    std::fprintf(stderr, "cannot write %s\n", path);
    std::exit(1);
  }
  std::fprintf(file, "{\n  \"machine\": \"%s, %d multiprocessors\",\n", properties.name,
               properties.multiProcessorCount);
  std::fprintf(file, "  \"command\": \"scripts/gpu\",\n  \"same_bits_as_cpu\": %s,\n  \"rows\": [",
               same_bits ? "true" : "false");
  const char* comma = "";
  for (const Row& row : rows) {
    std::fprintf(file, "%s\n    {\"name\": \"%s\", \"value\": %.4g, \"unit\": \"%s\"", comma,
                 row.name.c_str(), row.value, row.unit.c_str());
    if (row.bar != 0) {
      std::fprintf(file, ", \"bar\": %g, \"holds\": %s", row.bar, row.holds() ? "true" : "false");
    }
    std::fprintf(file, "}");
    comma = ",";
  }
  std::fprintf(file, "\n  ]\n}\n");
  std::fclose(file);
}

int Main(int count, char** arguments) {
  bool check_only = false;
  const char* json = nullptr;
  for (int i = 1; i < count; ++i) {
    const std::string_view argument = arguments[i];
    if (argument == "--check") {
      check_only = true;
    } else if (argument == "--json" && i + 1 < count) {
      json = arguments[++i];
    } else {
      std::fprintf(stderr, "usage: cuda_bench [--check] [--json FILE]\n");
      return 2;
    }
  }
  if (DeviceCount() == 0) {
    std::printf("SKIPPED: there is no GPU here\n");
    return kSkipped;
  }
  MustBeOk(PrepareDevice(), "prepare");
  bool good = CheckAgainstCpu();
  if (check_only) return good ? 0 : 1;
  std::vector<Row> rows;
  good = TimeAll(rows) && good;
  const bool same_bits = good;
  for (const Row& row : rows) {
    std::printf("%-60s %10.3f %s", row.name.c_str(), row.value, row.unit.c_str());
    if (row.bar != 0) std::printf("   bar %g: %s", row.bar, row.holds() ? "holds" : "BELOW");
    std::printf("\n");
    good = good && row.holds();
  }
  if (json != nullptr) Write(json, rows, same_bits);
  return good ? 0 : 1;
}

}  // namespace
}  // namespace kdn::codec

int main(int count, char** arguments) {
  return kdn::codec::Main(count, arguments);
}
