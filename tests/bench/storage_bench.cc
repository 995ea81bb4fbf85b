// Goal: reads from the disk tier cost at most twice what pread costs from the page cache, and at
// most a third more than O_DIRECT where it is cold; durable puts reach two fifths of append and
// fdatasync. Method: objects of 1 MiB through the tier, and the same bytes in a plain file beside
// it, in turn within each round; medians of the rounds. Several in flight: as many threads on both
// sides, each with a file of its own on the plain one. Reads from DRAM against memcpy come along
// without a bar.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "storage/disk_tier.h"
#include "storage/object_store.h"
#include "tests/bench/bars.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_object.h"

namespace kdn::bench {
namespace {

using kdn::test::MakeObject;
using kdn::test::SegmentOf;
using kdn::test::TestObject;
using storage::DiskTier;
using storage::ObjectId;

constexpr double kCachedBar = 0.5;
constexpr double kColdBar = 0.75;
constexpr double kDurableBar = 0.4;
constexpr int kRounds = 7;
constexpr std::size_t kObjectBytes = limits::kMiB;
constexpr std::size_t kReadObjects = 192;
constexpr std::size_t kPutObjects = 64;  // of one round
constexpr std::size_t kSeveral = 4;
constexpr std::size_t kSectorBytes = 4096;

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "storage_bench: %s failed\n", what);
  std::exit(2);
}

double SecondsOf(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::vector<TestObject> MakeObjects(std::size_t count, std::uint64_t first_seed) {
  std::vector<TestObject> objects;
  for (std::size_t i = 0; i < count; ++i) {
    objects.push_back(MakeObject({.seed = first_seed + i, .size_bytes = kObjectBytes}));
  }
  return objects;
}

ObjectId IdOf(const TestObject& object) {
  const ObjectHeader& header = object.header;
  return {header.tenant, header.key, header.part.number, header.put_id};
}

Status WriteObject(DiskTier& tier, const TestObject& object) {
  const ConstBytes segment = SegmentOf(object, Level::kExact);
  DiskTier::Segments segments;
  segments[static_cast<std::size_t>(Level::kExact)] = std::span(&segment, 1);
  return tier.Write(IdOf(object), EncodeHeader(object.header), segments);
}

// A file that is appended to and read without any tier.
class PlainFile {
 public:
  explicit PlainFile(const std::string& path)
      : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)),
        direct_fd_(::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC)) {
    Require(fd_ >= 0, "opening a file");
  }
  ~PlainFile() {
    ::close(fd_);
    if (direct_fd_ >= 0) ::close(direct_fd_);
  }
  PlainFile(const PlainFile&) = delete;
  PlainFile& operator=(const PlainFile&) = delete;

  void AppendDurably(ConstBytes bytes) const {
    Require(::write(fd_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()),
            "write");
    Require(::fdatasync(fd_) == 0, "fdatasync");
  }
  void Read(std::size_t object, MutableBytes out, bool direct) const {
    Require(!direct || direct_fd_ >= 0, "O_DIRECT");
    const ssize_t got = ::pread(direct ? direct_fd_ : fd_, out.data(), out.size(),
                                static_cast<off_t>(object * kObjectBytes));
    Require(got == static_cast<ssize_t>(out.size()), "pread");
  }

 private:
  int fd_;
  int direct_fd_;
};

void DropFromPageCache(const std::string& folder) {
  ::sync();
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    const int fd = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    Require(fd >= 0 && ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0, "fadvise");
    ::close(fd);
  }
}

// Runs `work(thread)` on as many threads.
void OnThreads(std::size_t threads, const std::function<void(std::size_t)>& work) {
  std::vector<std::thread> running;
  for (std::size_t i = 1; i < threads; ++i) running.emplace_back([&work, i] { work(i); });
  work(0);
  for (std::thread& thread : running) thread.join();
}

// Memory that reads go to, one target per thread, aligned for O_DIRECT.
class Targets {
 public:
  Targets() {
    for (auto& target : targets_) {
      target = static_cast<std::byte*>(std::aligned_alloc(kSectorBytes, kObjectBytes));
      Require(target != nullptr, "memory");
      std::memset(target, 1, kObjectBytes);
    }
  }
  ~Targets() {
    for (std::byte* const target : targets_) std::free(target);
  }
  Targets(const Targets&) = delete;
  Targets& operator=(const Targets&) = delete;
  [[nodiscard]] MutableBytes Of(std::size_t thread) const {
    return {targets_[thread], kObjectBytes};
  }

 private:
  std::array<std::byte*, kSeveral> targets_{};
};

struct Sides {
  std::vector<double> ours;  // seconds
  std::vector<double> theirs;
};

// In GB/s.
double RateOf(const std::vector<double>& seconds, std::size_t bytes) {
  return static_cast<double>(bytes) / Median(seconds) / 1e9;
}

void AddBar(Bars& bars, const std::string& what, const Sides& sides, std::size_t bytes,
            double bar) {
  bars.Add({what, RateOf(sides.ours, bytes), RateOf(sides.theirs, bytes), "GB/s",
            Bar::Side::kAtLeast, bar});
}

class Reads {
 public:
  Reads() : objects_(MakeObjects(kReadObjects, 1)), plain_(folder_.File("plain")) {
    for (const TestObject& object : objects_) {
      plain_.AppendDurably(ConstBytes(object.bytes).first(kObjectBytes));
    }
    // Closed and opened again: nothing is left in write buffers.
    auto tier = storage::OpenRocksTier({.folder = folder_.File("tier"), .sync = false});
    Require(tier.has_value(), "OpenRocksTier");
    for (const TestObject& object : objects_) Require(WriteObject(**tier, object).ok(), "Write");
    Require((*tier)->Close().ok(), "Close");
    tier = storage::OpenRocksTier({.folder = folder_.File("tier")});
    Require(tier.has_value(), "OpenRocksTier");
    tier_ = *std::move(tier);
    for (std::size_t i = 0; i < objects_.size(); ++i) order_.push_back(i);
    std::shuffle(order_.begin(), order_.end(), std::mt19937_64(1));
    CheckBytes();
  }

  void Measure(bool cold, std::size_t threads, double bar, Bars& bars) {
    Sides sides;
    if (!cold) Both(false, threads, nullptr);
    for (int round = 0; round < kRounds; ++round) Both(cold, threads, &sides);
    const std::string what = std::string("reads of 1 MiB, ") + (cold ? "cold" : "from page cache") +
                             ", " + std::to_string(threads) + " in flight";
    AddBar(bars, what, sides, kReadObjects * kObjectBytes, bar);
  }

 private:
  void Both(bool cold, std::size_t threads, Sides* sides) {
    if (cold) DropFromPageCache(folder_.path());
    const double ours = SecondsOf([&] {
      OnThreads(threads, [&](std::size_t thread) {
        for (std::size_t i = thread; i < order_.size(); i += threads) {
          ReadOurs(order_[i], targets_.Of(thread));
        }
      });
    });
    const double theirs = SecondsOf([&] {
      OnThreads(threads, [&](std::size_t thread) {
        for (std::size_t i = thread; i < order_.size(); i += threads) {
          plain_.Read(order_[i], targets_.Of(thread), cold);
        }
      });
    });
    if (sides == nullptr) return;
    sides->ours.push_back(ours);
    sides->theirs.push_back(theirs);
  }
  MutableBytes ReadOurs(std::size_t i, MutableBytes target) {
    const TestObject& object = objects_[i];
    const MutableBytes out =
        target.first(object.header.level_bytes[static_cast<std::size_t>(Level::kExact)]);
    Require(tier_->Read(IdOf(object), Level::kExact, 0, std::span(&out, 1)).ok(), "Read");
    return out;
  }
  void CheckBytes() {
    for (std::size_t i = 0; i < objects_.size(); ++i) {
      const MutableBytes out = ReadOurs(i, targets_.Of(0));
      const ConstBytes right = SegmentOf(objects_[i], Level::kExact);
      Require(std::memcmp(out.data(), right.data(), right.size()) == 0, "comparing bytes");
    }
  }

  const test::TempDir folder_;
  const std::vector<TestObject> objects_;
  const PlainFile plain_;
  const Targets targets_;
  std::unique_ptr<DiskTier> tier_;
  std::vector<std::size_t> order_;
};

// In batches, in turn, so that both meet the disk, and what the tier does behind, in the same
// moods.
Sides MeasurePuts(std::size_t threads) {
  constexpr std::size_t kBatch = 16;
  const test::TempDir folder;
  std::vector<std::unique_ptr<PlainFile>> files;
  for (std::size_t i = 0; i < threads; ++i) {
    files.push_back(std::make_unique<PlainFile>(folder.File("plain" + std::to_string(i))));
  }
  const auto tier = storage::OpenRocksTier({.folder = folder.File("tier")});
  Require(tier.has_value(), "OpenRocksTier");
  Sides sides;
  std::uint64_t seed = 1;
  // The first round is not counted: log and files are made in it.
  for (int round = 0; round <= kRounds; ++round) {
    const std::vector<TestObject> objects = MakeObjects(kPutObjects, seed);
    seed += kPutObjects;
    double ours = 0.0;
    double theirs = 0.0;
    for (std::size_t first = 0; first < kPutObjects; first += kBatch) {
      const auto batch = std::span(objects).subspan(first, kBatch);
      ours += SecondsOf([&] {
        OnThreads(threads, [&](std::size_t thread) {
          for (std::size_t i = thread; i < kBatch; i += threads) {
            Require(WriteObject(**tier, batch[i]).ok(), "Write");
          }
        });
      });
      theirs += SecondsOf([&] {
        OnThreads(threads, [&](std::size_t thread) {
          for (std::size_t i = thread; i < kBatch; i += threads) {
            files[thread]->AppendDurably(batch[i].bytes);
          }
        });
      });
    }
    if (round == 0) continue;
    sides.ours.push_back(ours);
    sides.theirs.push_back(theirs);
  }
  Require((*tier)->Close().ok(), "Close");
  return sides;
}

void StoreInDram(storage::ObjectStore& store, const TestObject& object) {
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
  std::array<storage::Completion, 4> done;
  Require(store.Poll(done) == 1 && done[0].code == Code::kOk, "Commit");
}

// Whole objects copied out of the DRAM tier, against memcpy of as many bytes as scattered.
void MeasureDram() {
  constexpr std::size_t kObjects = 128;
  const std::vector<TestObject> objects = MakeObjects(kObjects, 1);
  const SteadyClock clock;
  NullLog log;
  MetricRegistry metrics;
  const auto store = storage::OpenObjectStore({.dram_bytes = 2 * kObjects * kObjectBytes,
                                               .write_mode = storage::WriteMode::kDramOnly,
                                               .dirty_bytes_max = 0},
                                              {}, nullptr, {clock, log, metrics});
  Require(store.has_value(), "OpenObjectStore");
  for (const TestObject& object : objects) StoreInDram(**store, object);
  std::vector<std::byte> target(kObjectBytes);
  const auto read_all = [&](bool copy) {
    for (const TestObject& object : objects) {
      const storage::ReadRequest request{IdOf(object), kAllLevels, {0, 0xFFFF}, {0, 0xFFFF}};
      const auto result = (*store)->StartRead(request, 1);
      Require(result.has_value() && *result != nullptr, "StartRead");
      std::size_t at = 0;
      for (const ConstBytes run : (*result)->runs) {
        if (copy) std::memcpy(target.data() + at, run.data(), run.size());
        at += run.size();
      }
      (*store)->ReleaseRead((*result)->slot);
    }
  };
  std::vector<double> lookups, ours, theirs;
  for (int round = 0; round < kRounds; ++round) {
    lookups.push_back(SecondsOf([&] { read_all(false); }));
    ours.push_back(SecondsOf([&] { read_all(true); }));
    theirs.push_back(SecondsOf([&] {
      for (const TestObject& object : objects) {
        std::memcpy(target.data(), object.bytes.data(), kObjectBytes);
      }
    }));
  }
  const double bytes = kObjects * kObjectBytes;
  std::printf("  DRAM: a hot read costs %.2f us without the copy, %.1f GB/s with it; memcpy %.1f\n",
              Median(lookups) / kObjects * 1e6, bytes / Median(ours) / 1e9,
              bytes / Median(theirs) / 1e9);
}

}  // namespace
}  // namespace kdn::bench

int main(int argc, char** argv) {
  using namespace kdn::bench;
  Bars bars(
      ParseBarsOptions(argc, argv, "The disk tier against pread, O_DIRECT and fdatasync", "path"));
  if (bars.options().details) MeasureDram();
  {
    Reads reads;
    for (const std::size_t threads : {std::size_t{1}, kSeveral}) {
      reads.Measure(/*cold=*/false, threads, kCachedBar, bars);
      reads.Measure(/*cold=*/true, threads, kColdBar, bars);
    }
  }
  constexpr std::size_t kPutBytes = kPutObjects * kObjectBytes;
  AddBar(bars, "durable puts of 1 MiB, 1 in flight", MeasurePuts(1), kPutBytes, kDurableBar);
  if (bars.options().details) {
    const Sides several = MeasurePuts(kSeveral);
    const double ours = RateOf(several.ours, kPutBytes);
    const double theirs = RateOf(several.theirs, kPutBytes);
    std::printf("  durable puts of 1 MiB, %zu in flight: %.4g against %.4g GB/s, ratio %.3f\n",
                kSeveral, ours, theirs, ours / theirs);
    bars.AddFigures({.labels = {{"what", "durable puts, several in flight"}},
                     .numbers = {{"ours", {ours}}, {"theirs", {theirs}}}});
  }
  return bars.Finish();
}
