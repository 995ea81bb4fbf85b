// What was acknowledged is there after SIGKILL, whenever it comes: the daemon's own process is
// killed in the middle of changing contexts, again and again, and compared with what it had
// promised.
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "proto/wire/context.h"
#include "tests/coordinator/core_world.h"
#include "tests/support/temp_dir.h"
#include "transport/channel.h"

namespace kdn::coordinator {
namespace {

constexpr const char* kClusterId = "0123456789abcdef0123456789abcdef";
constexpr int kKills = 5;

// The daemon as a child process. Killed, not stopped, when this goes.
class Daemon {
 public:
  explicit Daemon(const test::TempDir& folder) {
    const std::vector<std::string> settings = {"data_dir=" + folder.File("data"),
                                               "tenants_file=" + folder.File("tenants.toml"),
                                               "listen=127.0.0.1:0",
                                               "grpc_listen=127.0.0.1:0",
                                               "status_listen=",
                                               "log_level=error",
                                               std::string("cluster_id=") + kClusterId};
    std::vector<std::string> arguments = {KDN_COORDINATOR_PROGRAM};
    for (const std::string& setting : settings) {
      arguments.push_back("--set");
      arguments.push_back("coordinator." + setting);
    }
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    std::array<int, 2> pipe_fds{};
    if (::pipe(pipe_fds.data()) != 0) return;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, pipe_fds[0]);
    posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(pipe_fds[1]);
    FILE* out = ::fdopen(pipe_fds[0], "r");
    std::array<char, 256> transport{};
    std::array<char, 256> grpc{};
    if (std::fscanf(out, "ready %255s %255s", transport.data(), grpc.data()) == 2) {
      endpoint_ = transport.data();
    }
    std::fclose(out);
  }
  ~Daemon() { Kill(); }

  void Kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
  }
  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }  // empty: not started

 private:
  pid_t pid_ = 0;
  std::string endpoint_;
};

class CrashTest : public testing::Test {
 protected:
  CrashTest() {
    std::ofstream(folder_.File("tenants.toml"))
        << "[[tenant]]\nname = \"test\"\nid = 7\nallow_none = true\n";
    transport::Options options;
    options.connections = 1;
    domain_ = std::move(*transport::OpenDomain(options, clock_, system_random_, log_));
  }

  void Start() {
    channel_.reset();
    daemon_ = std::make_unique<Daemon>(folder_);
    ASSERT_FALSE(daemon_->endpoint().empty()) << "the daemon did not start";
    transport::Identity identity;
    ASSERT_TRUE(FromHex(kClusterId, identity.cluster));
    identity.tenant = kTestTenant;
    auto connected =
        domain_->Connect(daemon_->endpoint(), identity, clock_.Now() + std::chrono::seconds(5));
    ASSERT_TRUE(connected.has_value()) << connected.error().ToString();
    channel_ = std::move(*connected);
  }

  template <class Request>
  void Submit(const Request& request) {
    wire::Buffer bytes;
    request.Encode(bytes);
    transport::Call call;
    call.tag = ++last_tag_;
    call.request = bytes;
    call.deadline = clock_.Now() + std::chrono::seconds(10);
    ASSERT_TRUE(channel_->Submit(call).ok());
  }
  // The next answer.
  std::pair<Code, wire::Buffer> Wait() {
    transport::Event event;
    while (channel_->Poll({&event, 1}) == 0) {
    }
    return {event.code, wire::Buffer(event.response.begin(), event.response.end())};
  }

  // Extends one of the contexts by a chunk or a few; cuts it now and then.
  wire::ContextUpdateRequest RandomUpdate() {
    wire::ContextUpdateRequest update;
    update.name = "context-" + std::to_string(random_.Next() % 3);
    const std::size_t length = promised_[update.name].size();
    update.first_chunk = static_cast<std::uint32_t>(random_.Next() % 8 == 0 ? length / 2 : length);
    for (std::uint64_t i = 0; i <= random_.Next() % 300; ++i) {
      update.keys.push_back(RandomId<ChunkKey>(random_));
    }
    return update;
  }
  static std::vector<ChunkKey> After(std::vector<ChunkKey> keys,
                                     const wire::ContextUpdateRequest& update) {
    keys.resize(update.first_chunk);
    keys.insert(keys.end(), update.keys.begin(), update.keys.end());
    return keys;
  }
  std::vector<ChunkKey> Stored(const std::string& name) {
    wire::ContextGetRequest get;
    get.name = name;
    Submit(get);
    const auto [code, bytes] = Wait();
    if (code == Code::kNotFound) return {};
    EXPECT_EQ(code, Code::kOk);
    return wire::ContextGetResponse::Decode(bytes).value().keys;
  }

  test::TempDir folder_;
  SteadyClock clock_;
  SystemRandom system_random_;
  SeededRandom random_{11};
  NullLog log_;
  std::unique_ptr<transport::Domain> domain_;
  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<transport::Channel> channel_;
  std::uint64_t last_tag_ = 0;
  std::map<std::string, std::vector<ChunkKey>> promised_;
};

TEST_F(CrashTest, AcknowledgedContextsSurviveSigkill) {
  for (int kill = 0; kill < kKills; ++kill) {
    ASSERT_NO_FATAL_FAILURE(Start());
    for (const auto& [name, keys] : promised_) {
      ASSERT_EQ(Stored(name), keys) << name << " after " << kill << " kills";
    }
    for (std::uint64_t i = 0; i < 5 + random_.Next() % 20; ++i) {
      const auto update = RandomUpdate();
      Submit(update);
      ASSERT_EQ(Wait().first, Code::kOk);
      promised_[update.name] = After(promised_[update.name], update);
    }
    // One more, and the kill while it is on its way: it may have happened or not, but whole.
    const auto last = RandomUpdate();
    Submit(last);
    transport::Event event;
    (void)channel_->Poll({&event, 1});
    daemon_->Kill();
    ASSERT_NO_FATAL_FAILURE(Start());
    const auto stored = Stored(last.name);
    const auto with = After(promised_[last.name], last);
    ASSERT_TRUE(stored == promised_[last.name] || stored == with) << "half of an update";
    promised_[last.name] = stored;
    daemon_->Kill();
  }
}

}  // namespace
}  // namespace kdn::coordinator
