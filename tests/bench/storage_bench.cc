// The storage tiers against what the machine does without them: reads from DRAM against memcpy,
// durable puts against append and fdatasync, reads from the page cache against pread. No bar yet.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "storage/disk_tier.h"
#include "storage/object_store.h"
#include "tests/bench/report.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_object.h"

namespace kdn::storage {
namespace {

using kdn::test::MakeObject;
using kdn::test::SegmentOf;
using kdn::test::TestObject;

constexpr std::size_t kMiB = limits::kMiB;

struct Options {
  std::size_t object_bytes = kMiB;
  std::size_t objects = 128;
  int rounds = 5;
};

struct Row {
  std::string name;
  double ours = 0.0;
  double theirs = 0.0;
  std::string unit;
};

// Seconds that `work` takes, the best of `rounds`.
double BestSeconds(int rounds, const std::function<void()>& work) {
  double best = 1e30;
  for (int round = 0; round < rounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    best = std::min(best, took.count());
  }
  return best;
}

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "storage_bench: %s failed\n", what);
  std::exit(2);
}

std::vector<TestObject> MakeObjects(const Options& options) {
  std::vector<TestObject> objects;
  for (std::size_t i = 0; i < options.objects; ++i) {
    objects.push_back(MakeObject({.seed = i + 1, .size_bytes = options.object_bytes}));
  }
  return objects;
}

ObjectId IdOf(const TestObject& object) {
  const ObjectHeader& header = object.header;
  return {header.tenant, header.key, header.part.number, header.put_id};
}

void Store(ObjectStore& store, const TestObject& object) {
  const std::size_t size = object.bytes.size();
  const auto expires = std::chrono::steady_clock::now() + std::chrono::hours(1);
  const auto slot = store.BeginPut(IdOf(object), size, expires);
  Require(slot.has_value(), "BeginPut");
  const auto memory = store.PutMemory(*slot, 0, size);
  Require(memory.has_value(), "PutMemory");
  std::size_t at = 0;
  for (const MutableBytes run : *memory) {
    std::memcpy(run.data(), object.bytes.data() + at, run.size());
    at += run.size();
  }
  Require(store.PutReceived(*slot, 0, size).has_value(), "PutReceived");
  store.Commit(IdOf(object), object.digest, 1);
  std::array<Completion, 4> done;
  Require(store.Poll(done) == 1 && done[0].code == Code::kOk, "Commit");
}

// Whole objects copied out of the DRAM tier, against memcpy of as many bytes as scattered.
Row DramRead(const Options& options, const std::vector<TestObject>& objects) {
  const SteadyClock clock;
  NullLog log;
  MetricRegistry metrics;
  const auto store = OpenObjectStore({.dram_bytes = 2 * options.objects * options.object_bytes,
                                      .write_mode = WriteMode::kDramOnly},
                                     {}, nullptr, {clock, log, metrics});
  Require(store.has_value(), "OpenObjectStore");
  for (const TestObject& object : objects) Store(**store, object);
  std::vector<std::byte> target(options.object_bytes);
  const double bytes = static_cast<double>(options.objects * options.object_bytes);
  std::size_t read_bytes = 0;
  const auto read_all = [&](bool copy) {
    for (const TestObject& object : objects) {
      const ReadRequest request{IdOf(object), kAllLevels, {0, 0xFFFF}, {0, 0xFFFF}};
      const auto result = (*store)->StartRead(request, 1);
      Require(result.has_value() && *result != nullptr, "StartRead");
      std::size_t at = 0;
      for (const ReadResult::Group& group : (*result)->groups) {
        for (const ConstBytes run : group.runs) {
          if (copy) std::memcpy(target.data() + at, run.data(), run.size());
          at += run.size();
        }
      }
      read_bytes += at;
      (*store)->ReleaseRead((*result)->slot);
    }
  };
  const double lookups = BestSeconds(options.rounds, [&] { read_all(false); });
  std::printf("  a hot read without the copy: %.2f us\n",
              lookups / static_cast<double>(options.objects) * 1e6);
  const double ours = BestSeconds(options.rounds, [&] { read_all(true); });
  const double theirs = BestSeconds(options.rounds, [&] {
    for (const TestObject& object : objects) {
      std::memcpy(target.data(), object.bytes.data(), object.bytes.size());
    }
  });
  Require(read_bytes > 0, "reading");
  return {"dram_read", bytes / ours / 1e9, bytes / theirs / 1e9, "GB/s"};
}

Status WriteObject(DiskTier& tier, const TestObject& object) {
  const ConstBytes segment = SegmentOf(object, Level::kExact);
  DiskTier::Segments segments;
  segments[static_cast<std::size_t>(Level::kExact)] = std::span(&segment, 1);
  return tier.Write(IdOf(object), EncodeHeader(object.header), segments);
}

struct DiskRows {
  Row put;
  Row read;
};

DiskRows Disk(const Options& options, const std::vector<TestObject>& objects) {
  const kdn::test::TempDir folder;
  const double bytes = static_cast<double>(options.objects * options.object_bytes);
  const int file = ::open(folder.File("plain").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  Require(file >= 0, "opening a file");
  // Alternately, so that both meet the disk in the same moods.
  const auto tier = OpenRocksTier({.folder = folder.File("tier")});
  Require(tier.has_value(), "OpenRocksTier");
  double ours_put = 0.0;
  double theirs_put = 0.0;
  constexpr std::size_t kBatch = 16;
  for (std::size_t first = 0; first < objects.size(); first += kBatch) {
    const auto batch = std::span(objects).subspan(first, std::min(kBatch, objects.size() - first));
    ours_put += BestSeconds(1, [&] {
      for (const TestObject& object : batch) Require(WriteObject(**tier, object).ok(), "Write");
    });
    theirs_put += BestSeconds(1, [&] {
      for (const TestObject& object : batch) {
        const ssize_t written = ::write(file, object.bytes.data(), object.bytes.size());
        Require(written == static_cast<ssize_t>(object.bytes.size()), "write");
        Require(::fdatasync(file) == 0, "fdatasync");
      }
    });
  }
  std::vector<std::byte> target(options.object_bytes);
  const double ours_read = BestSeconds(options.rounds, [&] {
    for (const TestObject& object : objects) {
      const MutableBytes out = MutableBytes(target).first(
          object.header.level_bytes[static_cast<std::size_t>(Level::kExact)]);
      Require((*tier)->Read(IdOf(object), Level::kExact, 0, std::span(&out, 1)).ok(), "Read");
    }
  });
  const double theirs_read = BestSeconds(options.rounds, [&] {
    off_t at = 0;
    for (const TestObject& object : objects) {
      const ssize_t read = ::pread(file, target.data(), object.bytes.size(), at);
      Require(read == static_cast<ssize_t>(object.bytes.size()), "pread");
      at += read;
    }
  });
  ::close(file);
  Require((*tier)->Close().ok(), "Close");
  return {{"disk_put_durable", bytes / ours_put / 1e9, bytes / theirs_put / 1e9, "GB/s"},
          {"disk_read_cached", bytes / ours_read / 1e9, bytes / theirs_read / 1e9, "GB/s"}};
}

nlohmann::json JsonOf(const Row& row, const std::string& command) {
  return {{"name", row.name},   {"group", "path"},
          {"ours", row.ours},   {"theirs", row.theirs},
          {"unit", row.unit},   {"ratio", row.ours / row.theirs},
          {"bar", nullptr},     {"holds", true},
          {"command", command}, {"machine", bench::MachineName()}};
}

int Run(const Options& options, const std::string& command, const std::string& json_path) {
  const std::vector<TestObject> objects = MakeObjects(options);
  std::vector<Row> rows;
  rows.push_back(DramRead(options, objects));
  const DiskRows disk = Disk(options, objects);
  rows.push_back(disk.put);
  rows.push_back(disk.read);
  // The first row stands for the program; the others come along.
  nlohmann::json json = JsonOf(rows.front(), command);
  json["name"] = "storage_bench";
  json["rows"] = nlohmann::json::array();
  for (const Row& row : rows) {
    std::printf("%s: %.3f against %.3f %s, ratio %.3f, no bar\n", row.name.c_str(), row.ours,
                row.theirs, row.unit.c_str(), row.ours / row.theirs);
    json["rows"].push_back(JsonOf(row, command));
  }
  if (json_path.empty()) return 0;
  std::ofstream file(json_path);
  file << json.dump(2) << "\n";
  if (file.flush()) return 0;
  std::fprintf(stderr, "storage_bench: cannot write %s\n", json_path.c_str());
  return 2;
}

}  // namespace
}  // namespace kdn::storage

int main(int argc, char** argv) {
  CLI::App app("What the storage tiers cost against what the machine does without them.");
  kdn::storage::Options options;
  std::string json_path;
  app.add_option("--object-bytes", options.object_bytes, "Bytes of one object")
      ->capture_default_str();
  app.add_option("--objects", options.objects, "Objects written and read")->capture_default_str();
  app.add_option("--rounds", options.rounds, "Measurements, of which the best counts")
      ->capture_default_str();
  app.add_option("--json", json_path, "Also write the rows to this file");
  CLI11_PARSE(app, argc, argv);
  return kdn::storage::Run(options, kdn::bench::CommandLine(argc, argv), json_path);
}
