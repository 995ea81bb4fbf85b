// Bench: the codec on a GPU. First holds its kernels against the CPU's codec, bit for bit, over
// every case of tests/codec/lane_cases.h, and those of tests/codec/lane_refusals.h; then times
// decoding and encoding of chunks of Llama-3.1-8B's shape in 16-token pages: many chunks in one
// launch, and one of them alone.
//
// usage: cuda_bench [--check] [--json FILE]
//   --check   only compare with the CPU
//   --json    write the figures there as well
//
// Ends with 77, and says so, where there is no GPU; with 1 if bits differ or a bar is missed.
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/bench/cuda/decode_times.h"
#include "tests/bench/cuda/encode_times.h"
#include "tests/codec/device_machine.h"
#include "tests/codec/lane_cases.h"
#include "tests/codec/lane_refusals.h"

namespace kdn::codec {
namespace {

constexpr int kSkipped = 77;
constexpr std::size_t kChangedStep = 17;

// Prints what differs, and returns whether nothing does.
class Tally {
 public:
  void Add(const std::string& name, const std::string& what) {
    ++cases_;
    if (what.empty()) return;
    ++wrong_;
    std::printf("WRONG %s: %s\n", name.c_str(), what.c_str());
  }
  [[nodiscard]] bool Good(const char* done) const {
    std::printf("%zu cases %s held against the CPU, %zu of them differ\n", cases_, done, wrong_);
    return wrong_ == 0;
  }

 private:
  std::size_t cases_ = 0;
  std::size_t wrong_ = 0;
};

bool CheckAgainstCpu() {
  Tally decoded;
  AllLaneCases([&](const std::string& name, const LaneCase& c) {
    DeviceMachine machine;
    decoded.Add(name, CompareWithCpu(c, machine));
  });
  Tally encoded;
  const auto encode = [&](const std::string& name, const LaneCase& c) {
    DeviceMachine machine;
    encoded.Add(name, CompareEncodedWithCpu(c, machine));
  };
  EncodeCases(encode);
  EncodeProfileCases(encode);
  Tally refused;
  LaneRefusals refusals(
      [](ChangeCopy change) { return std::make_unique<DeviceMachine>(std::move(change)); });
  refused.Add("bytes changed after the check", refusals.BytesThatChangeAfterTheyWereChecked());
  refused.Add("refused units", refusals.RefusedUnitsWriteNothing());
  refused.Add("exact on top", refusals.ExactOnTopOfWhatDoesNotDecodeWritesNothing());
  // A launch each: not all of the bytes, as a memory checker takes its time.
  refused.Add("tiles changed in a byte", refusals.TilesChangedInOneByte(kChangedStep));
  const bool decodes = decoded.Good("decoded");
  const bool encodes = encoded.Good("encoded");
  return refused.Good("of bytes that lie") && decodes && encodes;
}

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
      {.name = "exact on top of fine", .levels = 4, .encoded = kFourLevels},
  };
  TimeCopy(rows);
  bool good = true;
  for (const Subject& subject : subjects) good = DecodeBench(spec, subject).Run(rows) && good;
  const Subject encoded[] = {
      {.name = "draft", .levels = 1, .encoded = LevelSet(0b1)},
      {.name = "draft to fine", .levels = 3, .encoded = lossy},
      {.name = "draft to fine with a profile", .levels = 3, .encoded = lossy, .profile = &profile},
  };
  for (const Subject& subject : encoded) good = EncodeBench(spec, subject).Run(rows) && good;
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
  MustBeOk(PrepareEncoder(), "prepare");
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
