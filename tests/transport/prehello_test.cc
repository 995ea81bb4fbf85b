// Goal: until its Hello is accepted, a connection costs a server at most 64 KiB, whatever it sends.
// Method: this program counts what it allocates; strangers connect, send, and declare sizes.
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "tests/transport/raw_peer.h"
#include "tests/transport/world.h"

namespace {

std::atomic<std::size_t> allocated_bytes{0};
std::atomic<std::size_t> largest_bytes{0};

}  // namespace

void* operator new(std::size_t size) {
  allocated_bytes += size;
  if (size > largest_bytes) largest_bytes = size;
  void* memory = std::malloc(size);
  if (memory == nullptr) std::abort();
  return memory;
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace kdn::transport::test {
namespace {

// Polled on the test's own thread, so that nothing else allocates meanwhile.
class Strangers : public testing::Test {
 protected:
  Strangers() : domain_(*OpenDomain({.connections = 1}, clock_, random_, log_)) {
    server_ = *domain_->Listen("127.0.0.1:0", TestCluster(), PeerId{}, service_, authenticator_);
  }
  // Polls until the server has nothing more to do with what was sent.
  void Settle() {
    pollfd fd{server_->WaitFd(), POLLIN, 0};
    while (poll(&fd, 1, 50) == 1) server_->Poll();
  }
  // What the server allocated, all in all, because of one connection that sends `bytes`.
  std::size_t CostOf(ConstBytes bytes) {
    RawPeer peer(server_->endpoint());
    peer.Send(bytes);
    const std::size_t before = allocated_bytes;
    largest_bytes = 0;
    Settle();
    return allocated_bytes - before;
  }

  SteadyClock clock_;
  SystemRandom random_;
  NullLog log_;
  TestService service_;
  TestAuthenticator authenticator_;
  std::unique_ptr<Domain> domain_;
  std::unique_ptr<Server> server_;
};

TEST_F(Strangers, WhoSaysNothingCostsLittle) {
  EXPECT_LE(CostOf({}), limits::kPreHelloBytesMax / 2);
}

TEST_F(Strangers, GarbageCostsLittle) {
  EXPECT_LE(CostOf(Pattern(limits::kMiB, 1)), limits::kPreHelloBytesMax);
}

TEST_F(Strangers, ADeclaredSizeIsNotAllocated) {
  std::vector<std::byte> bytes;
  ClientHello hello;
  hello.cluster = TestCluster();
  hello.Encode(bytes);
  bytes[6] = std::byte{0xF8};  // a body of 4,088 bytes, of which only the first come
  bytes[7] = std::byte{0x0F};
  EXPECT_LE(CostOf(bytes), limits::kPreHelloBytesMax / 2);
  EXPECT_LE(largest_bytes, 2 * limits::kHelloBytesMax);
}

TEST_F(Strangers, TheLargestHelloThatIsRefusedCostsLittle) {
  std::vector<std::byte> bytes;
  ClientHello hello;
  hello.cluster = TestCluster();
  hello.scheme = HelloScheme::kHmac;
  hello.tenant = kTenant;
  hello.credential.resize(kCredentialBytesMax);
  hello.Encode(bytes);
  ClientProof proof;
  proof.proof.resize(32);
  proof.Encode(bytes);
  const std::vector<std::byte> more = Pattern(limits::kMiB, 2);
  bytes.insert(bytes.end(), more.begin(), more.end());
  EXPECT_LE(CostOf(bytes), limits::kPreHelloBytesMax);
}

}  // namespace
}  // namespace kdn::transport::test
