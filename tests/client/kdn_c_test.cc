// Goal: the C ABI keeps the rules at the top of kdn.h.
// Method: libkdn_embedded.so through kdn.h alone; what it delivers is compared bit for bit.
#include <gtest/gtest.h>
#include <kdn/kdn.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <mutex>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace {

constexpr kdn_code kOk = 0;
constexpr kdn_code kInvalidArgument = 3;
constexpr kdn_code kResourceExhausted = 8;
constexpr kdn_code kFailedPrecondition = 9;
constexpr std::uint8_t kDram = 1;  // kdn_lookup_report::tier

constexpr std::uint32_t kLayers = 2;
constexpr std::uint32_t kHeads = 2;
constexpr std::uint32_t kHeadSize = 16;
constexpr std::uint32_t kBlockTokens = 16;
constexpr std::uint32_t kBlocks = 16;
constexpr std::size_t kLayerValues = std::size_t{kBlocks} * kBlockTokens * kHeads * kHeadSize;

template <class T>
T Sized() {
  T value{};
  value.struct_size = sizeof(T);
  return value;
}

class KdnC : public testing::Test {
 protected:
  KdnC() {
    values_.resize(2 * kLayers * kLayerValues);
    for (std::uint32_t b = 0; b < kBlocks; ++b) table_.push_back(kBlocks - 1 - b);
    for (std::uint32_t t = 0; t < 192; ++t) tokens_.push_back(t * 31 + 7);
    blocks_.tables = tables_;
    blocks_.block_counts = counts_;
    blocks_.table_count = 1;
  }
  ~KdnC() override {
    kdn_kv_close(kv_);
    kdn_client_close(client_);
  }

  kdn_client_options Options() const {
    auto options = Sized<kdn_client_options>();
    options.tenant_id = 1;
    options.chunk_secret = secret_;
    options.chunk_secret_size = sizeof(secret_);
    options.chunk_tokens = 64;
    options.timeout_ms = 20000;
    options.embedded_dram_bytes = std::uint64_t{32} << 20;
    return options;
  }

  kdn_model_spec Spec(const kdn_kv_group& group) const {
    auto spec = Sized<kdn_model_spec>();
    spec.name = "test/c";
    spec.revision = "1";
    spec.dtype = KDN_BF16;
    spec.rotary_pairing = 1;
    spec.rotary_dims = kHeadSize;
    spec.rotary_base = 10000;
    spec.groups = &group;
    spec.group_count = 1;
    return spec;
  }

  kdn_kv_group Group() const {
    auto group = Sized<kdn_kv_group>();
    group.attention = KDN_GROUPED;
    group.layers = layers_;
    group.layer_count = kLayers;
    group.kv_heads = kHeads;
    group.k_head_size = kHeadSize;
    group.v_head_size = kHeadSize;
    return group;
  }

  void OpenAll() { OpenAll(Options()); }

  void OpenAll(const kdn_client_options& options) {
    ASSERT_EQ(kdn_client_open(&options, &client_), kOk) << kdn_last_error();
    const kdn_kv_group group = Group();
    const kdn_model_spec spec = Spec(group);
    ASSERT_EQ(kdn_model_open(client_, &spec, &model_), kOk) << kdn_last_error();
    auto pool = Sized<kdn_kv_pool>();
    for (std::uint32_t plane = 0; plane < 2; ++plane) {
      for (std::uint32_t layer = 0; layer < kLayers; ++layer) {
        bases_[plane][layer] = &values_[(plane * kLayers + layer) * kLayerValues];
      }
      pool.planes[plane].base = bases_[plane];
      pool.planes[plane].dim_stride = 2;
      pool.planes[plane].head_stride = 2 * kHeadSize;
      pool.planes[plane].slot_stride = 2 * kHeadSize * kHeads;
      pool.planes[plane].block_stride = 2 * kHeadSize * kHeads * kBlockTokens;
    }
    pool.block_tokens = kBlockTokens;
    pool.block_count = kBlocks;
    pool.head_count = kHeads;
    ASSERT_EQ(kdn_kv_open(model_, &pool, 1, &kv_), kOk) << kdn_last_error();
  }

  void Fill() {
    for (std::size_t i = 0; i < values_.size(); ++i) {
      values_[i] = static_cast<std::uint16_t>(0x3F80 + (i * 2654435761U >> 25));
    }
  }

  kdn_store_report Store() {
    auto options = Sized<kdn_plan_options>();
    options.provenance = 3;
    return Store(options);
  }

  kdn_store_report Store(const kdn_plan_options& options) {
    auto report = Sized<kdn_store_report>();
    kdn_plan* plan = nullptr;
    kdn_store* store = nullptr;
    std::uint32_t chunks = 0;
    EXPECT_EQ(
        kdn_plan_open(client_, model_, tokens_.data(), tokens_.size(), &options, &plan, &chunks),
        kOk);
    EXPECT_EQ(chunks, 3U);
    EXPECT_EQ(kdn_store_start(client_, model_, plan, nullptr, kv_, &blocks_, &store), kOk)
        << kdn_last_error();
    EXPECT_EQ(kdn_store_wait(store, &report), kOk);
    kdn_store_close(store);
    kdn_plan_close(plan);
    return report;
  }

  kdn_lookup* Lookup(std::uint64_t& matched, const kdn_lookup_options* options = nullptr) {
    kdn_lookup* lookup = nullptr;
    EXPECT_EQ(kdn_lookup_start(client_, model_, tokens_.data(), tokens_.size(), options, &lookup),
              kOk);
    EXPECT_EQ(kdn_lookup_wait(lookup, &matched), kOk);
    return lookup;
  }

  const std::uint8_t secret_[32] = {1, 2, 3};
  const std::uint16_t layers_[kLayers] = {0, 1};
  std::vector<std::uint16_t> values_;
  std::vector<std::uint32_t> table_;
  std::vector<std::uint32_t> tokens_;
  void* bases_[2][kLayers] = {};
  const std::uint32_t* tables_[1] = {nullptr};
  std::size_t counts_[1] = {12};  // 192 tokens
  kdn_block_tables blocks_ = Sized<kdn_block_tables>();
  kdn_client* client_ = nullptr;
  const kdn_model* model_ = nullptr;
  kdn_kv* kv_ = nullptr;

  void SetUp() override { tables_[0] = table_.data(); }
};

TEST_F(KdnC, WhatWasStoredIsLoadedBitForBit) {
  OpenAll();
  Fill();
  const kdn_store_report stored = Store();
  EXPECT_EQ(stored.code, kOk);
  EXPECT_EQ(stored.chunks_stored, 3U);
  const std::vector<std::uint16_t> before = values_;
  std::uint64_t matched = 0;
  kdn_lookup* lookup = Lookup(matched);
  EXPECT_EQ(matched, 192U);
  // The blocks of the 192 tokens; the others are not KDN's business.
  for (std::size_t plane_layer = 0; plane_layer < 2 * kLayers; ++plane_layer) {
    const std::size_t first = plane_layer * kLayerValues + 4 * kLayerValues / kBlocks;
    std::memset(&values_[first], 0xAA, 12 * kLayerValues / kBlocks * sizeof(std::uint16_t));
  }
  ASSERT_NE(values_, before);
  kdn_load* load = nullptr;
  ASSERT_EQ(kdn_load_start(client_, model_, lookup, kv_, &blocks_, nullptr, &load), kOk);
  for (std::uint32_t layer = 0; layer < kLayers; ++layer) {
    EXPECT_EQ(kdn_load_wait_layer(load, layer), kOk);
    EXPECT_EQ(kdn_load_layer_ready(load, layer), 1);
  }
  auto report = Sized<kdn_load_report>();
  EXPECT_EQ(kdn_load_wait(load, &report), kOk);
  EXPECT_EQ(report.code, kOk);
  EXPECT_EQ(report.tokens_loaded, 192U);
  EXPECT_EQ(report.provenance, 3U);
  EXPECT_EQ(values_, before);
  kdn_load_close(load);
  kdn_lookup_close(lookup);
}

TEST_F(KdnC, AModelHasNoProfileAtFirst) {
  OpenAll();
  uint8_t id[32];
  std::memset(id, 7, sizeof(id));
  ASSERT_EQ(kdn_model_await_profile(client_, model_, 0, id), kOk) << kdn_last_error();
  EXPECT_TRUE(std::all_of(std::begin(id), std::end(id), [](uint8_t byte) { return byte == 0; }));
  EXPECT_EQ(kdn_model_await_profile(client_, model_, 0, nullptr), kInvalidArgument);
}

TEST_F(KdnC, NullWhereSomethingIsNeededIsAnErrorWithAText) {
  OpenAll();
  const kdn_client_options options = Options();
  kdn_client* client = nullptr;
  EXPECT_EQ(kdn_client_open(nullptr, &client), kInvalidArgument);
  EXPECT_STRNE(kdn_last_error(), "");
  EXPECT_EQ(kdn_client_open(&options, nullptr), kInvalidArgument);
  std::size_t size = 0;
  EXPECT_EQ(kdn_client_metrics(nullptr, nullptr, 0, &size), kInvalidArgument);
  EXPECT_EQ(kdn_client_metrics(client_, nullptr, 0, nullptr), kInvalidArgument);
  const kdn_model* model = nullptr;
  EXPECT_EQ(kdn_model_open(client_, nullptr, &model), kInvalidArgument);
  kdn_kv* kv = nullptr;
  EXPECT_EQ(kdn_kv_open(model_, nullptr, 1, &kv), kInvalidArgument);
  kdn_lookup* lookup = nullptr;
  EXPECT_EQ(kdn_lookup_start(client_, model_, nullptr, 1, nullptr, &lookup), kInvalidArgument);
  EXPECT_EQ(kdn_lookup_wait(nullptr, nullptr), kInvalidArgument);
  EXPECT_EQ(kdn_lookup_truncate(nullptr, 0), kInvalidArgument);
  EXPECT_EQ(kdn_lookup_deserialize(nullptr, 0, &lookup), kInvalidArgument);
  kdn_load* load = nullptr;
  EXPECT_EQ(kdn_load_start(client_, model_, nullptr, kv_, &blocks_, nullptr, &load),
            kInvalidArgument);
  EXPECT_EQ(kdn_load_wait_layer(nullptr, 0), kInvalidArgument);
  EXPECT_EQ(kdn_load_wait(nullptr, nullptr), kInvalidArgument);
  kdn_plan* plan = nullptr;
  EXPECT_EQ(kdn_plan_open(client_, model_, nullptr, 1, nullptr, &plan, nullptr), kInvalidArgument);
  EXPECT_EQ(kdn_plan_deserialize(nullptr, 0, &plan), kInvalidArgument);
  kdn_store* store = nullptr;
  EXPECT_EQ(kdn_store_start(client_, model_, nullptr, nullptr, kv_, &blocks_, &store),
            kInvalidArgument);
  EXPECT_EQ(kdn_store_wait(nullptr, nullptr), kInvalidArgument);
  EXPECT_EQ(client, nullptr);
}

TEST_F(KdnC, ClosingAndAskingNullDoesNothing) {
  kdn_client_close(nullptr);
  kdn_kv_close(nullptr);
  kdn_lookup_close(nullptr);
  kdn_load_cancel(nullptr);
  kdn_load_close(nullptr);
  kdn_plan_close(nullptr);
  kdn_store_cancel(nullptr);
  kdn_store_close(nullptr);
  EXPECT_EQ(kdn_client_connected(nullptr), 0);
}

TEST_F(KdnC, TheLastErrorSaysWhatWasWrong) {
  OpenAll();
  const kdn_kv_group group = Group();
  kdn_model_spec spec = Spec(group);
  spec.group_count = 0;
  const kdn_model* model = nullptr;
  EXPECT_EQ(kdn_model_open(client_, &spec, &model), kInvalidArgument);
  EXPECT_GT(std::strlen(kdn_last_error()), 8U) << kdn_last_error();
  EXPECT_STREQ(kdn_version(), KDN_VERSION);
}

TEST_F(KdnC, AnOlderCallersShorterStructIsReadAsFarAsItGoes) {
  // What lies behind struct_size is another's memory: nothing of it may count.
  kdn_client_options options = Options();
  options.embedded_disk_folder = reinterpret_cast<const char*>(1);
  options.struct_size = offsetof(kdn_client_options, embedded_disk_folder);
  ASSERT_EQ(kdn_client_open(&options, &client_), kOk) << kdn_last_error();
}

TEST_F(KdnC, ANewerCallersLongerStructIsAccepted) {
  struct Newer {
    kdn_client_options options;
    std::uint64_t field_of_later = ~std::uint64_t{0};
  } newer{Options()};
  newer.options.struct_size = sizeof(newer);
  ASSERT_EQ(kdn_client_open(&newer.options, &client_), kOk) << kdn_last_error();
}

TEST_F(KdnC, AReportIsNotWrittenPastTheCallersStruct) {
  OpenAll();
  std::uint64_t matched = 1;
  kdn_lookup* lookup = Lookup(matched);
  EXPECT_EQ(matched, 0U);
  kdn_load* load = nullptr;
  ASSERT_EQ(kdn_load_start(client_, model_, lookup, kv_, &blocks_, nullptr, &load), kOk)
      << kdn_last_error();
  kdn_load_report report;
  std::memset(&report, 0x5A, sizeof(report));
  report.struct_size = offsetof(kdn_load_report, provenance);
  EXPECT_EQ(kdn_load_wait(load, &report), kOk);
  EXPECT_EQ(report.tokens_loaded, 0U);
  EXPECT_EQ(report.struct_size, offsetof(kdn_load_report, provenance));
  EXPECT_EQ(report.provenance, 0x5A);
  EXPECT_EQ(report.replicas_failed_over, 0x5A5A5A5AU);
  kdn_load_close(load);
  kdn_lookup_close(lookup);
}

TEST_F(KdnC, ABufferThatIsTooSmallIsLeftAloneAndItsSizeSaid) {
  OpenAll();
  Fill();
  Store();
  std::uint64_t matched = 0;
  kdn_lookup* lookup = Lookup(matched);
  std::size_t size = 0;
  EXPECT_EQ(kdn_lookup_serialize(lookup, nullptr, 0, &size), kResourceExhausted);
  ASSERT_GT(size, 0U);
  std::vector<std::uint8_t> bytes(size, 0x5A);
  EXPECT_EQ(kdn_lookup_serialize(lookup, bytes.data(), size - 1, &size), kResourceExhausted);
  EXPECT_EQ(bytes, std::vector<std::uint8_t>(size, 0x5A));
  EXPECT_EQ(kdn_lookup_serialize(lookup, bytes.data(), bytes.size(), &size), kOk);
  EXPECT_EQ(size, bytes.size());
  kdn_lookup_close(lookup);
  EXPECT_EQ(kdn_lookup_deserialize(bytes.data(), size, &lookup), kOk);
  EXPECT_EQ(kdn_lookup_wait(lookup, &matched), kOk);
  EXPECT_EQ(matched, 192U);
  kdn_lookup_close(lookup);
  lookup = nullptr;
  EXPECT_EQ(kdn_lookup_deserialize(bytes.data(), size - 1, &lookup), kInvalidArgument);
  EXPECT_EQ(lookup, nullptr);
}

TEST_F(KdnC, MetricsAreTextWithItsZero) {
  OpenAll();
  std::size_t size = 0;
  EXPECT_EQ(kdn_client_metrics(client_, nullptr, 0, &size), kResourceExhausted);
  std::string text(size, 'x');
  EXPECT_EQ(kdn_client_metrics(client_, text.data(), text.size(), &size), kOk);
  EXPECT_EQ(std::strlen(text.c_str()) + 1, size);
}

TEST_F(KdnC, ALoadBeforeItsLookupWasWaitedForIsRefused) {
  OpenAll();
  kdn_lookup* lookup = nullptr;
  ASSERT_EQ(kdn_lookup_start(client_, model_, tokens_.data(), tokens_.size(), nullptr, &lookup),
            kOk);
  kdn_load* load = nullptr;
  EXPECT_EQ(kdn_load_start(client_, model_, lookup, kv_, &blocks_, nullptr, &load),
            kFailedPrecondition);
  EXPECT_EQ(load, nullptr);
  kdn_lookup_close(lookup);
}

TEST_F(KdnC, ANamedContextIsFoundWithoutTokensAndDescribed) {
  OpenAll();
  Fill();
  auto options = Sized<kdn_plan_options>();
  options.provenance = 3;
  options.context = "report";
  EXPECT_EQ(Store(options).chunks_stored, 3U);
  kdn_lookup* lookup = nullptr;
  ASSERT_EQ(kdn_lookup_context_start(client_, model_, "report", nullptr, &lookup), kOk);
  auto report = Sized<kdn_lookup_report>();
  ASSERT_EQ(kdn_lookup_describe(lookup, &report), kOk) << kdn_last_error();
  EXPECT_EQ(report.tokens_matched, 192U);
  EXPECT_EQ(report.chunks_matched, 3U);
  EXPECT_GT(report.bytes, 0U);
  EXPECT_EQ(report.provenance, 3U);
  EXPECT_EQ(report.tier, kDram);
  kdn_lookup_close(lookup);
  ASSERT_EQ(kdn_lookup_context_start(client_, model_, "none", nullptr, &lookup), kOk);
  ASSERT_EQ(kdn_lookup_describe(lookup, &report), kOk);
  EXPECT_EQ(report.tokens_matched, 0U);
  EXPECT_EQ(report.tier, 0U);
  kdn_lookup_close(lookup);
  EXPECT_EQ(kdn_lookup_context_start(client_, model_, nullptr, nullptr, &lookup), kInvalidArgument);
}

class Lines {
 public:
  static void Take(void* lines, std::int32_t level, const char* line) {
    auto& self = *static_cast<Lines*>(lines);
    const std::scoped_lock lock(self.mutex_);
    self.lines_.push_back(std::to_string(level) + " " + line);
  }
  std::size_t CountOf(const std::string& text) {
    const std::scoped_lock lock(mutex_);
    return static_cast<std::size_t>(std::count_if(
        lines_.begin(), lines_.end(),
        [&](const std::string& line) { return line.find(text) != std::string::npos; }));
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

TEST_F(KdnC, TheCallersTraceStandsInTheLinesOfItsRequests) {
  Lines lines;
  kdn_client_options options = Options();
  options.log = Lines::Take;
  options.log_context = &lines;
  options.log_level = KDN_LOG_DEBUG;
  OpenAll(options);
  Fill();
  const std::uint8_t trace[16] = {0xAB, 0xCD};
  auto plan = Sized<kdn_plan_options>();
  plan.provenance = 3;
  plan.trace = trace;
  Store(plan);
  auto ask = Sized<kdn_lookup_options>();
  ask.provenance_floor = 3;
  ask.level_min = 3;
  ask.trace = trace;
  std::uint64_t matched = 0;
  kdn_lookup* lookup = Lookup(matched, &ask);
  auto fetch = Sized<kdn_load_options>();
  fetch.prefetch = 1;
  fetch.trace = trace;
  kdn_load* load = nullptr;
  ASSERT_EQ(kdn_load_start(client_, model_, lookup, kv_, &blocks_, &fetch, &load), kOk);
  auto report = Sized<kdn_load_report>();
  EXPECT_EQ(kdn_load_wait(load, &report), kOk);
  EXPECT_EQ(report.tokens_loaded, 192U);
  EXPECT_EQ(kdn_load_tokens_ready(load), 192U);
  EXPECT_EQ(report.reads_hedged, 0U);
  kdn_load_close(load);
  kdn_lookup_close(lookup);
  const std::string name = "trace=abcd0000000000000000000000000000";
  EXPECT_EQ(lines.CountOf(name), 3U);
  EXPECT_EQ(lines.CountOf("0 event=\"lookup over\" " + name), 1U);
}

TEST_F(KdnC, LinesBelowTheCallersLevelAreDropped) {
  Lines lines;
  kdn_client_options options = Options();
  options.log = Lines::Take;
  options.log_context = &lines;
  options.log_level = KDN_LOG_ERROR;
  OpenAll(options);
  Fill();
  Store();
  EXPECT_EQ(lines.CountOf(""), 0U);
  options.log_level = 4;
  kdn_client* client = nullptr;
  EXPECT_EQ(kdn_client_open(&options, &client), kInvalidArgument);
}

TEST_F(KdnC, WhatWasStoredUnderAnEarlierSecretIsFound) {
  const kdn::test::TempDir folder;
  kdn_client_options options = Options();
  options.embedded_disk_folder = folder.path().c_str();
  OpenAll(options);
  Fill();
  EXPECT_EQ(Store().chunks_stored, 3U);
  kdn_kv_close(kv_);
  kv_ = nullptr;
  kdn_client_close(client_);
  const std::uint8_t later[32] = {4, 5, 6};
  options.chunk_secret = later;
  options.chunk_secret_id = 2;
  std::uint64_t matched = 0;
  OpenAll(options);
  kdn_lookup_close(Lookup(matched));
  EXPECT_EQ(matched, 0U);
  kdn_kv_close(kv_);
  kdn_client_close(client_);
  auto earlier = Sized<kdn_chunk_secret>();
  earlier.bytes = secret_;
  earlier.size = sizeof(secret_);
  options.other_chunk_secrets = &earlier;
  options.other_chunk_secret_count = 1;
  OpenAll(options);
  kdn_lookup_close(Lookup(matched));
  EXPECT_EQ(matched, 192U);
}

}  // namespace
