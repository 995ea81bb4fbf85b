// Goal: clients of one cluster agree on a model's profile, whoever learns it; what a profile coded
// is loaded by every client of the tenant while one replica of the profile is left, and by none
// after it has been forgotten; every verb of `kdnctl profile` does what it says.
// Method: real processes; several clients in this one. What a verb says is checked by a client, and
// the other way round.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "client/admin/channel_weights.h"
#include "client/admin/local_cluster.h"
#include "client/core/model.h"
#include "client/core/stored_profiles.h"
#include "storage/disk_tier.h"
#include "tests/client/test_engine.h"
#include "tests/support/temp_dir.h"

namespace kdn::client {
namespace {

using nlohmann::json;
using test::EngineShape;
using test::TestEngine;

constexpr std::uint32_t kChunk = 64;
constexpr std::size_t kTokens = 4 * kChunk;

// A client of the cluster, with memory of its own.
struct Member {
  std::unique_ptr<Client> client;
  const Model* model = nullptr;
  std::unique_ptr<TestEngine> engine;

  StoreReport Store(std::uint64_t seed, const std::string& context = {}) {
    engine->Fill(seed);
    StorePlanOptions options;
    options.provenance = kExactProvenance;
    options.levels = LevelSet(0b1111);
    options.context = context;
    const auto plan = client->PlanStore(*model, test::TokensOf(seed, kTokens), options);
    if (!plan) return {.code = plan.error().code()};
    const auto store = client->Store(*model, *plan, {}, engine->kv(), engine->blocks());
    return store ? (*store)->Wait() : StoreReport{.code = store.error().code()};
  }
  // Tokens that were loaded, of what Store(seed) stored; every bit of them is checked.
  std::uint64_t Load(std::uint64_t seed, Level level = Level::kExact) {
    engine->Poison();
    const LookupResult found = client->Lookup(*model, test::TokensOf(seed, kTokens), {})->Take();
    LoadOptions options;
    options.level_max = level;
    const auto load = client->Load(*model, found, engine->kv(), engine->blocks(), options);
    if (!load) return 0;
    const LoadReport report = (*load)->Wait();
    if (report.tokens_loaded == 0) {
      EXPECT_TRUE(engine->AllPoison());
    }
    if (level == Level::kExact) {
      TestEngine want{EngineShape()};
      want.Fill(seed);
      EXPECT_TRUE(engine->SameAs(want, report.tokens_loaded));
    }
    return report.tokens_loaded;
  }
  ProfileId Profile() {
    const auto id = client->AwaitProfile(*model, {});
    return id ? *id : ProfileId();
  }
  // Until some client has learned one.
  ProfileId AwaitLearned() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (Profile().IsZero() && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
    return Profile();
  }
};

class ProfilesCluster : public testing::Test {
 protected:
  void SetUp() override { StartCluster({}); }
  void StartCluster(const std::vector<std::string>& node_settings) {
    admin::LocalClusterOptions options;
    options.node_settings = node_settings;
    options.folder = folder_.File("cluster");
    options.program_folder = KDN_PROGRAM_FOLDER;
    options.nodes = 2;
    options.dram_mib = 64;
    options.replicas = 2;
    auto cluster = admin::LocalCluster::Start(options);
    ASSERT_TRUE(cluster.has_value()) << cluster.error().ToString();
    cluster_ = std::make_unique<admin::LocalCluster>(*std::move(cluster));
  }
  void TearDown() override {
    if (cluster_) {
      EXPECT_TRUE(cluster_->Stop(std::chrono::seconds(20)).ok());
    }
  }

  Member Open(std::uint32_t learn_chunks) {
    ClientOptions options = admin::ClientOptionsOf(cluster_->settings().value()).value();
    options.chunk_tokens = kChunk;
    options.staging_bytes = std::size_t{16} << 20;
    options.profile_refresh = std::chrono::milliseconds(1);
    options.profile_learn_chunks = learn_chunks;
    Member member;
    member.client = OpenClient(options).value();
    member.model = member.client->UseModel(test::SpecOf(EngineShape()), {}).value();
    member.engine = std::make_unique<TestEngine>(EngineShape());
    return member;
  }

  // What kdnctl prints, and its exit code.
  struct Said {
    int exit_code = -1;
    std::string text;
    [[nodiscard]] json Json() const { return json::parse(text, nullptr, false); }
  };
  Said Ctl(const std::string& words) {
    const std::string command = std::string(KDN_PROGRAM_FOLDER) + "/kdnctl --cluster " +
                                cluster_->folder() + " --output json " + words + " 2>/dev/null";
    Said said;
    FILE* const out = popen(command.c_str(), "r");
    if (out == nullptr) return said;
    char piece[4096];
    while (const std::size_t size = std::fread(piece, 1, sizeof(piece), out)) {
      said.text.append(piece, size);
    }
    const int status = pclose(out);
    said.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return said;
  }

  // Until a client's word of the model has reached the cluster, which it does in its own time.
  void AwaitSpec() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (Ctl("contexts --prefix kdn/model/").Json() == json::array() &&
           std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
  }

  test::TempDir folder_;
  std::unique_ptr<admin::LocalCluster> cluster_;
};

TEST_F(ProfilesCluster, ClientsThatLearnAtOnceAgreeOnOneAndReadEachOther) {
  Member early = Open(0);  // there before anything is
  EXPECT_TRUE(early.Profile().IsZero());
  std::vector<Member> members;
  members.push_back(Open(4));
  members.push_back(Open(4));
  std::vector<std::thread> threads;
  std::vector<ProfileId> learned(2);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(members[i].Profile().IsZero());
  }
  for (std::size_t i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      for (std::uint64_t s = 0; s < 3; ++s) {
        EXPECT_EQ(members[i].Store(10 * i + s).code, Code::kOk);
      }
      learned[i] = members[i].AwaitLearned();
      EXPECT_EQ(members[i].Store(10 * i + 5).code, Code::kOk);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(learned[0].IsZero());
  EXPECT_EQ(members[0].Profile(), members[1].Profile());
  EXPECT_EQ(early.Profile(), members[0].Profile());
  Member late = Open(0);
  for (const std::uint64_t seed : {0U, 2U, 5U, 10U, 12U, 15U}) {
    for (Member* member : {&members[0], &members[1], &early, &late}) {
      EXPECT_EQ(member->Load(seed), kTokens) << seed;
      EXPECT_EQ(member->Load(seed, Level::kDraft), kTokens) << seed;
    }
  }
  // One replica of the profile is enough.
  ASSERT_TRUE(cluster_->Signal(1, SIGKILL).ok());
  Member after = Open(0);
  EXPECT_EQ(after.Load(5), kTokens);
}

// Nothing but a reader, or an operator's `kdnctl verify`, looks at what nodes have.
class DamagedProfile : public ProfilesCluster {
 protected:
  void SetUp() override { StartCluster({"node.scrub_mib_per_second=0"}); }

  // While a node is down, turns over one bit of each of its profile objects; says how many.
  std::size_t Damage(std::size_t node) {
    EXPECT_TRUE(cluster_->Signal(node, SIGTERM).ok());
    storage::DiskOptions options;
    options.folder = cluster_->folder() + "/" + cluster_->daemons()[node].name + "/objects";
    const auto disk = storage::OpenRocksTier(options).value();
    struct Found {
      storage::ObjectId id;
      ObjectHeader header;
    };
    std::vector<Found> found;
    EXPECT_TRUE(disk->Scan([&](const storage::ObjectId& id, const ObjectHeader& header, LevelSet) {
                      if (header.kind == ObjectKind::kProfile) found.push_back({id, header});
                    })
                    .ok());
    for (const Found& object : found) {
      std::vector<std::byte> bytes(SumOfLevels(object.header.level_bytes, Level::kExact));
      const MutableBytes out(bytes);
      EXPECT_TRUE(disk->Read(object.id, Level::kExact, 0, {&out, 1}).ok());
      bytes[bytes.size() - 20] ^= std::byte{1};
      const ConstBytes run(bytes);
      storage::DiskTier::Segments segments;
      segments[static_cast<std::size_t>(Level::kExact)] = {&run, 1};
      EXPECT_TRUE(disk->Delete(object.id, kAllLevels).ok());
      EXPECT_TRUE(disk->Write(object.id, EncodeHeader(object.header), segments).ok());
    }
    EXPECT_TRUE(disk->Close().ok());
    EXPECT_TRUE(cluster_->Restart(node).ok());
    // The other one has it on disk alone too, lest everybody prefers that.
    EXPECT_TRUE(cluster_->Signal(3 - node, SIGTERM).ok());
    EXPECT_TRUE(cluster_->Restart(3 - node).ok());
    EXPECT_TRUE(cluster_->WaitAlive(2, std::chrono::seconds(30)).ok());
    return found.size();
  }
  // Reads that a client of its own gave up for another replica, while it fetched the profile and
  // loaded what it codes.
  std::uint64_t FailoversWhileLoading(std::uint64_t seed) {
    Member member = Open(0);
    EXPECT_EQ(member.Load(seed), kTokens);
    constexpr std::string_view kName = "\nkdn_client_failovers_total ";
    const std::string metrics = member.client->Metrics();
    const std::size_t at = metrics.find(kName);
    EXPECT_NE(at, std::string::npos);
    return std::stoull(metrics.substr(at + kName.size()));
  }
};

TEST_F(DamagedProfile, IsReadFromTheOtherReplicaAndDroppedLikeAChunk) {
  Member member = Open(0);
  ASSERT_EQ(member.Store(1, "one").code, Code::kOk);
  AwaitSpec();
  ASSERT_EQ(Ctl("profile learn --context one").exit_code, 0);
  const ProfileId id = member.Profile();
  ASSERT_FALSE(id.IsZero());
  ASSERT_EQ(member.Store(2).code, Code::kOk);
  // Each node in its turn: whichever a client asks first has been the damaged one.
  std::uint64_t failovers = 0;
  for (const std::size_t node : {1U, 2U}) {
    ASSERT_GT(Damage(node), 0U);
    for (int i = 0; i < 4; ++i) failovers += FailoversWhileLoading(2);
    // Dropped by the node that was asked for it, or at the latest by whoever verifies: the
    // directory knows of one replica, and nobody meets it again.
    EXPECT_NE(Ctl("verify").exit_code, -1);
    const auto replicas = [&] { return Ctl("profile list").Json()[0]["replicas"]; };
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (replicas() != 1 && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
    EXPECT_EQ(replicas(), 1);
    EXPECT_EQ(FailoversWhileLoading(2), 0U);
    EXPECT_EQ(Ctl("verify").exit_code, 0);
    // Stored again, by an operator who kept it, it has as many as before.
    const std::string file = folder_.File("profile");
    ASSERT_EQ(Ctl("profile show test/engine --out " + file).exit_code, 0);
    ASSERT_EQ(Ctl("profile forget test/engine " + ToHex(id)).exit_code, 0);
    ASSERT_EQ(Ctl("profile use test/engine --file " + file).exit_code, 0);
    EXPECT_EQ(replicas(), 2);
    EXPECT_EQ(member.Profile(), id);
  }
  EXPECT_GT(failovers, 0U);
}

TEST_F(ProfilesCluster, VerbsOfProfileDoWhatTheySay) {
  Member member = Open(0);
  EXPECT_EQ(Ctl("profile list").Json(), json::array());
  ASSERT_EQ(member.Store(1, "one").code, Code::kOk);
  ASSERT_EQ(member.Store(2, "two").code, Code::kOk);
  const std::string model = "test/engine";
  AwaitSpec();

  // learn: what it stores is what clients use.
  EXPECT_EQ(Ctl("profile learn " + model + " --dry-run").Json()["stored"], false);
  EXPECT_TRUE(member.Profile().IsZero());
  const Said learned = Ctl("profile learn " + model + " --context one --context two");
  ASSERT_EQ(learned.exit_code, 0) << learned.text;
  EXPECT_EQ(learned.Json()["tokens"], 2 * kTokens);
  // No more than asked for, be it within a chunk.
  const Said few = Ctl("profile learn " + model + " --dry-run --tokens 130");
  ASSERT_EQ(few.exit_code, 0) << few.text;
  EXPECT_EQ(few.Json()["tokens"], 130);
  const ProfileId first = member.Profile();
  EXPECT_EQ(learned.Json()["profile_id"], ToHex(first));
  ASSERT_EQ(member.Store(3).code, Code::kOk);

  // A second one, which is stored and not used.
  const Said klt =
      Ctl("profile learn --context one --transform klt --block 32 --target 1.4 --no-use");
  ASSERT_EQ(klt.exit_code, 0) << klt.text;
  const std::string second = klt.Json()["profile_id"];
  EXPECT_EQ(member.Profile(), first);
  const json list = Ctl("profile list").Json();
  ASSERT_EQ(list.size(), 2U);
  for (const json& row : list) {
    EXPECT_EQ(row["model"], model);
    EXPECT_EQ(row["replicas"], 2);
    EXPECT_EQ(row["current"], row["profile_id"] == ToHex(first));
  }
  // show: bytes whose digest is the id, of the transform that was asked for.
  const std::string file = folder_.File("profile");
  const json shown = Ctl("profile show " + model + " " + second + " --out " + file).Json();
  EXPECT_EQ(shown["transform"], "klt");
  EXPECT_EQ(shown["block"], 32);
  std::ifstream in(file, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  EXPECT_EQ(ToHex(ProfileIdOf(AsBytes(bytes))), second);
  EXPECT_EQ(Ctl("profile show " + model).Json()["profile_id"], ToHex(first));

  // use: clients follow.
  ASSERT_EQ(Ctl("profile use " + model + " " + second).exit_code, 0);
  EXPECT_EQ(ToHex(member.Profile()), second);
  ASSERT_EQ(member.Store(4).code, Code::kOk);

  // forget: first only told, then done.
  EXPECT_GT(Ctl("profile forget " + model + " " + second + " --dry-run").Json()["objects"], 0);
  EXPECT_EQ(ToHex(member.Profile()), second);
  ASSERT_EQ(Ctl("profile forget " + model + " " + second).exit_code, 0);
  EXPECT_TRUE(member.Profile().IsZero());
  EXPECT_EQ(Ctl("profile list").Json().size(), 1U);
  Member other = Open(0);
  EXPECT_EQ(other.Load(4), 0U);
  EXPECT_EQ(other.Load(4, Level::kDraft), 0U);
  EXPECT_EQ(other.Load(3), kTokens);
  // From the file it comes back, the same.
  ASSERT_EQ(Ctl("profile use " + model + " --file " + file).exit_code, 0);
  EXPECT_EQ(ToHex(member.Profile()), second);
  EXPECT_EQ(Open(0).Load(4), kTokens);
}

// What attention feels twice as much gets finer bins: another profile than without weights, which
// chunks are stored with and read by.
TEST_F(ProfilesCluster, AProfileFollowsTheWeightsOfItsChannels) {
  Member member = Open(0);
  ASSERT_EQ(member.Store(1, "one").code, Code::kOk);
  AwaitSpec();
  const ModelSpec spec = test::SpecOf(EngineShape());
  admin::ChannelWeights weights;
  for (const KvGroup& group : spec.groups) {
    for (std::size_t layer = 0; layer < group.layers.size(); ++layer) {
      weights.insert(weights.end(), group.kv_heads, std::vector(group.k_head_size, 1.0));
      weights.insert(weights.end(), group.kv_heads, std::vector(group.v_head_size, 4.0));
    }
  }
  weights[0][0] = 100.0;
  const std::string file = folder_.File("weights.json");
  const auto write = [&](const ModelFingerprint& model) {
    std::ofstream(file) << admin::ChannelWeightsText(weights, model);
  };
  const std::string learn = "profile learn --context one --transform identity";
  const json alike = Ctl(learn + " --dry-run").Json();
  EXPECT_EQ(alike["weighted"], false);

  write(FingerprintOf(spec));
  const Said weighted = Ctl(learn + " --weights " + file);
  ASSERT_EQ(weighted.exit_code, 0) << weighted.text;
  EXPECT_EQ(weighted.Json()["weighted"], true);
  EXPECT_NE(weighted.Json()["profile_id"], alike["profile_id"]);
  EXPECT_EQ(weighted.Json()["profile_id"], ToHex(member.Profile()));
  ASSERT_EQ(member.Store(2).code, Code::kOk);
  EXPECT_EQ(Open(0).Load(2), kTokens);

  write(ModelFingerprint());
  EXPECT_EQ(Ctl(learn + " --weights " + file).exit_code, 2);
  weights.pop_back();
  write(FingerprintOf(spec));
  EXPECT_EQ(Ctl(learn + " --weights " + file).exit_code, 2);
  EXPECT_EQ(Ctl(learn + " --weights " + folder_.File("none")).exit_code, 3);
}

TEST_F(ProfilesCluster, VerbsOfProfileFailWithTheirExitCodes) {
  EXPECT_EQ(Ctl("profile").exit_code, 2);
  EXPECT_EQ(Ctl("profile show none").exit_code, 3);
  EXPECT_EQ(Ctl("profile learn").exit_code, 2);
  EXPECT_EQ(Ctl("profile learn --context none").exit_code, 3);
  EXPECT_EQ(Ctl("profile use none").exit_code, 2);
  EXPECT_EQ(Ctl("profile forget none 123456").exit_code, 3);
  Member member = Open(0);
  ASSERT_EQ(member.Store(1, "one").code, Code::kOk);
  AwaitSpec();
  EXPECT_EQ(Ctl("profile show test/engine").exit_code, 3);
  EXPECT_EQ(Ctl("profile learn test/engine --transform dct").exit_code, 2);
  EXPECT_EQ(Ctl("profile learn test/engine --dry-run --transform klt --block 32").exit_code, 0);
  EXPECT_EQ(Ctl("profile learn test/engine --dry-run --transform identity --block 32").exit_code,
            2);
  EXPECT_EQ(Ctl("profile use test/engine --file " + folder_.File("none")).exit_code, 3);
  std::ofstream(folder_.File("noise")) << "noise";
  EXPECT_EQ(Ctl("profile use test/engine --file " + folder_.File("noise")).exit_code, 2);
  EXPECT_EQ(Ctl("contexts").Json().size(), 1U);  // KDN's own are not listed unasked
  EXPECT_EQ(Ctl("contexts --prefix kdn/model/").Json().size(), 1U);
}

}  // namespace
}  // namespace kdn::client
