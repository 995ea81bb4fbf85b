// Goal: with a profile lossy levels take fewer bytes, and are never other values for it: what it
// cannot decode is a miss. A profile is learned by itself, found again after a restart, and its
// tenant's alone.
// Method: embedded clients over one folder, one after the other; recorded KV, learned from its
// first chunk and judged by its second; profiles taken from the disk behind the client's back.
#include "client/core/profiles.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <cmath>
#include <optional>
#include <thread>

#include "client/core/blob.h"
#include "client/core/profile_names.h"
#include "codec/codec_scratch.h"
#include "codec/profile_learner.h"
#include "kdn/embedded.h"
#include "storage/disk_tier.h"
#include "tests/client/test_engine.h"
#include "tests/codec/level_pages.h"
#include "tests/codec/recorded_kv.h"
#include "tests/support/temp_dir.h"

namespace kdn::client {
namespace {

constexpr std::uint32_t kChunk = 256;
constexpr LevelSet kAll(0b1111);

// While this lives, threads that begin are to have more stack than there is address space: the
// system gives none.
class NoThreads {
 public:
  NoThreads() {
    pthread_attr_t none;
    EXPECT_EQ(pthread_getattr_default_np(&before_), 0);
    EXPECT_EQ(pthread_getattr_default_np(&none), 0);
    EXPECT_EQ(pthread_attr_setstacksize(&none, std::size_t{1} << 47), 0);
    EXPECT_EQ(pthread_setattr_default_np(&none), 0);
    EXPECT_EQ(pthread_attr_destroy(&none), 0);
  }
  ~NoThreads() {
    EXPECT_EQ(pthread_setattr_default_np(&before_), 0);
    EXPECT_EQ(pthread_attr_destroy(&before_), 0);
  }
  NoThreads(const NoThreads&) = delete;
  NoThreads& operator=(const NoThreads&) = delete;

 private:
  pthread_attr_t before_{};
};

class ProfilesTest : public testing::Test {
 protected:
  void SetUp() override {
    kv_.emplace(codec::RecordedKv::Read().value());
    text_.emplace(kv_->spec(), 2 * kChunk);
    const codec::ObjectCodec codec = codec::ObjectCodec::Make(kv_->spec()).value();
    for (std::uint32_t c = 0; c < 2; ++c) {
      ObjectHeader header = kv_->HeaderFor(kChunk, 1, 1);
      header.first_position = c * kChunk;
      header.flags = kFlagExactAlone;
      const std::vector<std::byte> object = kv_->EncodeChunk(header, c * kChunk);
      const codec::Opened opened = codec::Open(object);
      for (const codec::Place& place : opened.places) {
        ASSERT_TRUE(codec
                        .DecodeTile(opened.header, place.tiles, text_->kv(), text_->tables(),
                                    {.first_token = c * kChunk, .token_count = kChunk}, nullptr,
                                    scratch_)
                        .ok());
      }
    }
  }

  void Open(std::uint32_t learn_chunks, TenantId tenant = TenantId{7}) {
    EmbeddedOptions options;
    options.disk_folder = folder_.File("store");
    options.client.tenant = tenant;
    OpenWith(options, learn_chunks, kChunk);
  }
  // With nothing on disk, and nothing left by other clients.
  void OpenInMemory(std::uint32_t learn_chunks, std::uint32_t chunk_tokens = kChunk) {
    EmbeddedOptions options;
    options.client.tenant = TenantId{7};
    OpenWith(options, learn_chunks, chunk_tokens);
  }
  void OpenWith(EmbeddedOptions options, std::uint32_t learn_chunks, std::uint32_t chunk_tokens) {
    client_.reset();
    options.dram_bytes = std::size_t{64} << 20;
    options.sync = false;
    options.client.chunk_secrets = {{SecretId{1}, std::vector<std::byte>(32, std::byte{9})}};
    options.client.chunk_tokens = chunk_tokens;
    options.client.staging_bytes = std::size_t{32} << 20;
    options.client.timeout = std::chrono::seconds(60);
    options.client.profile_refresh = std::chrono::milliseconds(1);
    options.client.profile_learn_chunks = learn_chunks;
    auto client = OpenEmbedded(options);
    ASSERT_TRUE(client.has_value()) << client.error().ToString();
    client_ = *std::move(client);
    model_ = client_->UseModel(kv_->spec(), {}).value();
  }

  // Stores the first chunks of the recorded text, under tokens of this seed.
  StoreReport Store(std::size_t chunks, std::uint64_t seed = 1, LevelSet levels = kAll) {
    return Store(Tokens(chunks, seed), levels);
  }
  StoreReport Store(const std::vector<TokenId>& tokens, LevelSet levels) {
    StorePlanOptions options;
    options.provenance = kExactProvenance;
    options.levels = levels;
    const auto plan = client_->PlanStore(*model_, tokens, options);
    if (!plan) return {.code = plan.error().code()};
    auto store = client_->Store(*model_, *plan, {}, text_->kv(), text_->tables());
    if (!store) return {.code = store.error().code()};
    return (*store)->Wait();
  }
  static std::vector<TokenId> Tokens(std::size_t chunks, std::uint64_t seed) {
    return test::TokensOf(seed, chunks * kChunk);
  }

  LoadReport Load(codec::Page& page, std::size_t chunks, Level level, std::uint64_t seed = 1) {
    const LookupResult found = client_->Lookup(*model_, Tokens(chunks, seed), {})->Take();
    EXPECT_EQ(found.tokens_matched(), chunks * kChunk);
    LoadOptions options;
    options.level_max = level;
    auto load = client_->Load(*model_, found, page.kv(), page.tables(), options);
    return load ? (*load)->Wait() : LoadReport{.code = load.error().code()};
  }

  // What loading the second chunk alone, which no profile was learned from, moves.
  std::uint64_t BytesOfSecond(codec::Page& page, Level level, std::uint64_t seed) {
    EXPECT_EQ(Load(page, 2, level, seed).tokens_loaded, 2 * kChunk);
    codec::Page again(kv_->spec(), 2 * kChunk);
    const LookupResult found = client_->Lookup(*model_, Tokens(2, seed), {})->Take();
    LoadOptions options;
    options.level_max = level;
    options.skip_tokens = kChunk;
    const auto load = client_->Load(*model_, found, again.kv(), again.tables(), options);
    return load ? (*load)->Wait().bytes_received : 0;
  }
  void Print(const char* transform, std::uint64_t without, std::uint64_t with,
             codec::Page& page_without, codec::Page& page_with) {
    std::printf("%s, standard of held-out text: %llu bytes without, %llu with; error %.3f, %.3f\n",
                transform, static_cast<unsigned long long>(without),
                static_cast<unsigned long long>(with), Error(*text_, page_without),
                Error(*text_, page_with));
  }

  // Until another thread has learned a profile.
  ProfileId AwaitLearned() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < deadline) {
      const auto id = client_->AwaitProfile(*model_, {});
      if (id && !id->IsZero()) return *id;
      std::this_thread::yield();
    }
    ADD_FAILURE() << "nothing was learned";
    return {};
  }

  codec::Profile Learned(std::uint16_t block, double bits) {
    codec::ProfileLearner learner = codec::ProfileLearner::Make(kv_->spec(), block).value();
    EXPECT_TRUE(
        learner.Add(text_->kv(), text_->tables(), {.first_token = 0, .token_count = kChunk}, 0)
            .ok());
    return learner.Learn(model_->fingerprint(), {.draft_bits = bits, .block = block}).value();
  }
  Status Offer(const codec::Profile& profile) {
    const StoredProfiles stored = StoredProfiles::Make(*client_).value();
    return stored.Store(model_->fingerprint(), profile.bytes(), /*as_current=*/true, interrupt_);
  }

  // Deletes what the disk has of this kind, and says how much that was.
  std::size_t DeleteOnDisk(ObjectKind kind) {
    client_.reset();
    storage::DiskOptions options;
    options.folder = folder_.File("store");
    const auto disk = storage::OpenRocksTier(options).value();
    std::vector<storage::ObjectId> found;
    EXPECT_TRUE(disk->Scan([&](const storage::ObjectId& id, const ObjectHeader& header, LevelSet) {
                      if (header.kind == kind) found.push_back(id);
                    })
                    .ok());
    for (const storage::ObjectId& id : found) EXPECT_TRUE(disk->Delete(id, kAll).ok());
    EXPECT_TRUE(disk->Close().ok());
    return found.size();
  }

  static double Error(codec::Page& want, codec::Page& got) {
    double error = 0.0;
    double power = 0.0;
    for (std::size_t plane = 0; plane < 2; ++plane) {
      for (std::size_t i = 0; i < got.plane(plane).size(); i += 2) {
        const double value = double{codec::Bf16At(want.plane(plane).data() + i)};
        error += std::pow(value - double{codec::Bf16At(got.plane(plane).data() + i)}, 2);
        power += value * value;
      }
    }
    return std::sqrt(error / power);
  }

  test::TempDir folder_;
  std::optional<codec::RecordedKv> kv_;
  std::optional<codec::Page> text_;
  codec::CodecScratch scratch_;
  Interrupt interrupt_;
  std::unique_ptr<Client> client_;
  const Model* model_ = nullptr;
};

TEST_F(ProfilesTest, IsLearnedByItselfAndServesOtherText) {
  Open(/*learn_chunks=*/0);
  ASSERT_EQ(Store(2).code, Code::kOk);
  codec::Page page_without(kv_->spec(), 2 * kChunk);
  const std::uint64_t without = BytesOfSecond(page_without, Level::kStandard, 1);
  EXPECT_EQ(client_->AwaitProfile(*model_, {}).value(), ProfileId());

  Open(/*learn_chunks=*/1);
  EXPECT_EQ(client_->AwaitProfile(*model_, {}).value(), ProfileId());
  ASSERT_EQ(Store(1, 2).code, Code::kOk);
  const ProfileId id = AwaitLearned();
  ASSERT_EQ(Store(2, 2).code, Code::kOk);
  codec::Page page_with(kv_->spec(), 2 * kChunk);
  const std::uint64_t with = BytesOfSecond(page_with, Level::kStandard, 2);
  Print("learned", without, with, page_without, page_with);
  EXPECT_LT(static_cast<double>(with), 0.9 * static_cast<double>(without));
  EXPECT_LT(Error(*text_, page_with), Error(*text_, page_without) * 1.25);
  codec::Page exact(kv_->spec(), 2 * kChunk);
  EXPECT_EQ(Load(exact, 2, Level::kExact, 2).provenance, kExactProvenance);
  EXPECT_EQ(exact.plane(0), text_->plane(0));
  EXPECT_EQ(exact.plane(1), text_->plane(1));
  // The others' is not replaced, whoever comes second.
  EXPECT_EQ(Offer(Learned(1, 3.0)).code(), Code::kAlreadyExists);
  EXPECT_EQ(client_->AwaitProfile(*model_, {}).value(), id);
}

TEST_F(ProfilesTest, WithoutAThreadWhatWaitsEndsAndTheNextOneIsServed) {
  Open(/*learn_chunks=*/0);
  const codec::Profile profile = Learned(1, 2.0);
  ASSERT_TRUE(Offer(profile).ok());
  const auto begun = std::chrono::steady_clock::now();
  {
    const NoThreads none;
    EXPECT_EQ(client_->AwaitProfile(*model_, {}).error().code(), Code::kUnavailable);
  }
  ASSERT_EQ(client_->AwaitProfile(*model_, {}).value(), ProfileIdOf(profile.bytes()));
  ASSERT_EQ(Store(2).code, Code::kOk);
  Open(/*learn_chunks=*/0);
  codec::Page page(kv_->spec(), 2 * kChunk);
  {
    const NoThreads none;
    EXPECT_EQ(Load(page, 2, Level::kFine).tokens_loaded, 0U);
  }
  EXPECT_EQ(Load(page, 2, Level::kFine).tokens_loaded, 2 * kChunk);
  // Nobody waited until a deadline, which is a minute away.
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(50));
}

TEST_F(ProfilesTest, LearningIsTriedAgainWhenThereWasNoThreadForIt) {
  OpenInMemory(/*learn_chunks=*/1);
  ASSERT_EQ(client_->AwaitProfile(*model_, {}).value(), ProfileId());
  {
    const NoThreads none;
    ASSERT_EQ(Store(1, 100).code, Code::kOk);
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  for (std::uint64_t seed = 101; std::chrono::steady_clock::now() < deadline; ++seed) {
    ASSERT_EQ(Store(1, seed).code, Code::kOk);
    if (!client_->AwaitProfile(*model_, {}).value().IsZero()) return;
  }
  FAIL() << "nothing was learned";
}

TEST_F(ProfilesTest, LearningIsTriedAgainWhenThereWasTooLittleToLearnFrom) {
  OpenInMemory(/*learn_chunks=*/1, /*chunk_tokens=*/64);
  ASSERT_EQ(client_->AwaitProfile(*model_, {}).value(), ProfileId());
  std::vector<TokenId> few = Tokens(1, 100);
  few.resize(64);
  ASSERT_EQ(Store(few, kAll).code, Code::kOk);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  for (std::uint64_t seed = 101; std::chrono::steady_clock::now() < deadline; ++seed) {
    ASSERT_EQ(Store(1, seed).code, Code::kOk);
    if (!client_->AwaitProfile(*model_, {}).value().IsZero()) return;
  }
  FAIL() << "nothing was learned";
}

TEST_F(ProfilesTest, IdentityTakesFewerBitsOfOtherTextToo) {
  Open(/*learn_chunks=*/0);
  ASSERT_EQ(Store(2).code, Code::kOk);
  codec::Page page_without(kv_->spec(), 2 * kChunk);
  const std::uint64_t without = BytesOfSecond(page_without, Level::kStandard, 1);
  ASSERT_TRUE(Offer(Learned(1, codec::TransformChoices().back().draft_bits)).ok());
  ASSERT_FALSE(client_->AwaitProfile(*model_, {}).value().IsZero());
  ASSERT_EQ(Store(2, 2).code, Code::kOk);
  codec::Page page_with(kv_->spec(), 2 * kChunk);
  const std::uint64_t with = BytesOfSecond(page_with, Level::kStandard, 2);
  Print("identity", without, with, page_without, page_with);
  EXPECT_LT(with, without);
  // To the profile errors of keys count more than those of values; here they count alike.
  EXPECT_LT(Error(*text_, page_with), Error(*text_, page_without) * 1.3);
}

TEST_F(ProfilesTest, WhoStoresExactAloneNeedsNone) {
  Open(/*learn_chunks=*/1);
  ASSERT_EQ(Store(2, 1, LevelSet(Level::kExact)).code, Code::kOk);
  EXPECT_EQ(client_->AwaitProfile(*model_, {}).value(), ProfileId());
  EXPECT_NE(client_->Metrics().find("kdn_client_profiles_learned_total 0"), std::string::npos);
}

TEST_F(ProfilesTest, DecodedValuesAreThoseOfTheCodecItself) {
  Open(/*learn_chunks=*/0);
  for (const std::uint16_t block : {1, 64}) {
    Open(/*learn_chunks=*/0, TenantId{std::uint64_t{10} + block});
    codec::Profile profile = Learned(block, 2.0);
    ASSERT_TRUE(Offer(profile).ok());
    ASSERT_EQ(client_->AwaitProfile(*model_, {}).value(), ProfileIdOf(profile.bytes()));
    ASSERT_EQ(Store(2).code, Code::kOk);
    ASSERT_TRUE(profile.FinishForEncoding().ok());
    profile.Name(ProfileIdOf(profile.bytes()));
    const codec::ObjectCodec codec = codec::ObjectCodec::Make(kv_->spec()).value();
    for (std::size_t levels = 1; levels <= 4; ++levels) {
      codec::Page want(kv_->spec(), 2 * kChunk);
      for (std::uint32_t c = 0; c < 2; ++c) {
        ObjectHeader header = kv_->HeaderFor(kChunk, 1, 1);
        header.levels_encoded = kAll;
        header.first_position = c * kChunk;
        header.profile = profile.id();
        const codec::ChunkPlace place{.first_token = c * kChunk, .token_count = kChunk};
        std::vector<std::byte> object;
        ASSERT_TRUE(
            codec.Encode(header, text_->kv(), text_->tables(), place, &profile, object, scratch_)
                .ok());
        const codec::Opened opened = codec::Open(object);
        for (const codec::Place& tiles : opened.places) {
          ASSERT_TRUE(codec
                          .DecodeTile(opened.header, std::span(tiles.tiles).first(levels),
                                      want.kv(), want.tables(), place, &profile, scratch_)
                          .ok());
        }
      }
      codec::Page got(kv_->spec(), 2 * kChunk);
      ASSERT_EQ(Load(got, 2, static_cast<Level>(levels - 1)).tokens_loaded, 2 * kChunk);
      EXPECT_EQ(got.plane(0), want.plane(0)) << levels << " levels, block " << block;
      EXPECT_EQ(got.plane(1), want.plane(1)) << levels << " levels, block " << block;
    }
  }
}

TEST_F(ProfilesTest, AnotherProcessFetchesWhatAnObjectNames) {
  Open(/*learn_chunks=*/0);
  const codec::Profile profile = Learned(1, 2.0);
  ASSERT_TRUE(Offer(profile).ok());
  const ProfileId id = client_->AwaitProfile(*model_, {}).value();
  EXPECT_EQ(id, ProfileIdOf(profile.bytes()));
  ASSERT_EQ(Store(2).code, Code::kOk);
  Open(/*learn_chunks=*/0);
  codec::Page page(kv_->spec(), 2 * kChunk);
  const LoadReport loaded = Load(page, 2, Level::kExact);
  EXPECT_EQ(loaded.tokens_loaded, 2 * kChunk);
  EXPECT_EQ(loaded.replicas_failed_over, 0U);
  EXPECT_EQ(page.plane(0), text_->plane(0));
  EXPECT_NE(client_->Metrics().find("kdn_client_profiles_fetched_total 1"), std::string::npos);
  EXPECT_EQ(client_->AwaitProfile(*model_, {}).value(), id);
}

TEST_F(ProfilesTest, WithoutItsProfileAnObjectIsAMissAndNothingIsWritten) {
  Open(/*learn_chunks=*/0);
  ASSERT_TRUE(Offer(Learned(1, codec::TransformChoices().back().draft_bits)).ok());
  ASSERT_FALSE(client_->AwaitProfile(*model_, {}).value().IsZero());
  ASSERT_EQ(Store(2).code, Code::kOk);
  ASSERT_EQ(Store(2, 3, LevelSet(Level::kExact)).code, Code::kOk);
  ASSERT_GT(DeleteOnDisk(ObjectKind::kProfile), 0U);
  Open(/*learn_chunks=*/0);
  for (const Level level : {Level::kDraft, Level::kExact}) {
    codec::Page page(kv_->spec(), 2 * kChunk);
    codec::Page untouched(kv_->spec(), 2 * kChunk);
    const LoadReport loaded = Load(page, 2, level);
    EXPECT_NE(loaded.code, Code::kOk);
    EXPECT_EQ(loaded.tokens_loaded, 0U);
    EXPECT_EQ(loaded.pieces_corrupt, 0U);
    EXPECT_EQ(page.plane(0), untouched.plane(0));
    EXPECT_EQ(page.plane(1), untouched.plane(1));
  }
  // Exact alone needs none, and what is stored from now on does without.
  codec::Page page(kv_->spec(), 2 * kChunk);
  EXPECT_EQ(Load(page, 2, Level::kExact, 3).tokens_loaded, 2 * kChunk);
  EXPECT_EQ(page.plane(0), text_->plane(0));
  ASSERT_EQ(Store(2, 4).code, Code::kOk);
  codec::Page again(kv_->spec(), 2 * kChunk);
  EXPECT_EQ(Load(again, 2, Level::kExact, 4).tokens_loaded, 2 * kChunk);
  EXPECT_EQ(again.plane(0), text_->plane(0));
}

TEST_F(ProfilesTest, IsItsTenantsAlone) {
  Open(/*learn_chunks=*/0);
  const codec::Profile profile = Learned(1, 2.0);
  ASSERT_TRUE(Offer(profile).ok());
  const ProfileId id = ProfileIdOf(profile.bytes());
  const StoredProfiles mine = StoredProfiles::Make(*client_).value();
  EXPECT_TRUE(mine.Fetch(*model_, id, nullptr, interrupt_).has_value());
  Open(/*learn_chunks=*/0, TenantId{8});
  EXPECT_EQ(client_->AwaitProfile(*model_, {}).value(), ProfileId());
  const StoredProfiles theirs = StoredProfiles::Make(*client_).value();
  EXPECT_EQ(theirs.Fetch(*model_, id, nullptr, interrupt_).error().code(), Code::kNotFound);
}

TEST_F(ProfilesTest, WhatIsNotWhatItsNameSaysIsNotUsed) {
  Open(/*learn_chunks=*/0);
  const codec::Profile good = Learned(1, 2.0);
  const ProfileId id = ProfileIdOf(good.bytes());
  const auto blobs =
      Model::MakeOfKind(BlobSpec("kdn/profile"), ObjectKind::kProfile, kStoredBlobChunkTokens)
          .value();
  std::string bad(AsText(good.bytes()));
  bad[bad.size() / 2] ^= 1;
  const std::string contexts[] = {ProfileContext(model_->fingerprint(), id)};
  ASSERT_TRUE(
      StoreBlob(*client_, *blobs, bad, BlobExtras(model_->fingerprint(), id), contexts, interrupt_)
          .ok());
  const StoredProfiles stored = StoredProfiles::Make(*client_).value();
  EXPECT_EQ(stored.Fetch(*model_, id, nullptr, interrupt_).error().code(), Code::kDataLoss);
  // Nor is a profile of another model, whole as it is.
  codec::ProfileLearner learner = codec::ProfileLearner::Make(kv_->spec(), 1).value();
  ASSERT_TRUE(
      learner.Add(text_->kv(), text_->tables(), {.first_token = 0, .token_count = kChunk}, 0).ok());
  const codec::Profile foreign =
      learner.Learn(ModelFingerprint(), {.draft_bits = 2.0, .block = 1}).value();
  ASSERT_TRUE(Offer(foreign).ok());
  EXPECT_EQ(client_->AwaitProfile(*model_, {}).error().code(), Code::kNotFound);
  ASSERT_EQ(Store(1).code, Code::kOk);
  codec::Page page(kv_->spec(), 2 * kChunk);
  EXPECT_EQ(Load(page, 1, Level::kExact).tokens_loaded, kChunk);
}

TEST_F(ProfilesTest, NamesOfKdnsOwnAreNotForChunks) {
  Open(/*learn_chunks=*/0);
  StorePlanOptions options;
  options.context = ProfileContext(model_->fingerprint());
  EXPECT_EQ(client_->PlanStore(*model_, Tokens(1, 1), options).error().code(),
            Code::kInvalidArgument);
}

}  // namespace
}  // namespace kdn::client
