// Goal: who proves to know the secret gets in, nobody else does, and no bytes from a stranger do
// harm. Method: both state machines against each other without sockets; golden bytes; every message
// cut short at every place, and every one of its bits flipped.
#include "transport/hello.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "tests/transport/golden_cases.h"
#include "tests/transport/world.h"

namespace kdn::transport::test {
namespace {

using Buffer = std::vector<std::byte>;

Nonce NonceOf(int value) {
  Nonce nonce;
  nonce.fill(static_cast<std::byte>(value));
  return nonce;
}

class Hello : public testing::Test {
 protected:
  // Lets both talk until neither has anything to say. `tamper` may change what the client reads.
  void Talk(const Identity& identity, bool over_loopback = true) {
    to_server_.clear();
    client_ = std::make_unique<HelloClient>(identity, NonceOf(1), to_server_);
    if (edit_client_hello) edit_client_hello(to_server_);
    server_ = std::make_unique<HelloServer>(policy_, NonceOf(2), over_loopback);
    while (!to_server_.empty()) {
      Buffer to_client;
      server_->Feed(std::exchange(to_server_, {}), to_client);
      if (edit_answer) edit_answer(to_client);
      client_->Feed(to_client, to_server_);
    }
  }
  void ExpectRefused(Code code) {
    EXPECT_EQ(client_->state(), HelloState::kRefused);
    EXPECT_EQ(client_->status().code(), code) << client_->status().ToString();
    EXPECT_EQ(server_->state(), HelloState::kRefused);
  }

  TestAuthenticator authenticator_;
  HelloPolicy policy_{TestCluster(), PeerId{}, &authenticator_, 0};
  std::function<void(Buffer&)> edit_client_hello;
  std::function<void(Buffer&)> edit_answer;
  Buffer to_server_;
  std::unique_ptr<HelloClient> client_;
  std::unique_ptr<HelloServer> server_;
};

TEST_F(Hello, BytesAreThoseOfTheGoldenFiles) {
  for (const GoldenCase& golden : GoldenHellos()) {
    std::ifstream file(KDN_GOLDEN_FOLDER "/hello/" + golden.name + ".bin", std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
    EXPECT_EQ(AsText(golden.bytes), text) << golden.name;
  }
}

TEST_F(Hello, EachMessageReadsAsWhatWasWritten) {
  const std::vector<GoldenCase> goldens = GoldenHellos();
  const auto body = [&](std::size_t i) { return ConstBytes(goldens[i].bytes).subspan(8); };
  EXPECT_EQ(ClientHello::Decode(body(0)), GoldenClientHello());
  EXPECT_EQ(ServerHello::Decode(body(1)), GoldenServerHello());
  EXPECT_EQ(ClientProof::Decode(body(2)), GoldenClientProof());
  EXPECT_EQ(ServerProof::Decode(body(3)), GoldenServerProof());
}

TEST_F(Hello, AMessageCutShortOrDrawnOutIsRefused) {
  const std::vector<GoldenCase> goldens = GoldenHellos();
  const auto reads = [](std::size_t i, ConstBytes body) {
    return i == 0   ? ClientHello::Decode(body).has_value()
           : i == 1 ? ServerHello::Decode(body).has_value()
           : i == 2 ? ClientProof::Decode(body).has_value()
                    : ServerProof::Decode(body).has_value();
  };
  for (std::size_t i = 0; i < goldens.size(); ++i) {
    Buffer body(goldens[i].bytes.begin() + 8, goldens[i].bytes.end());
    EXPECT_TRUE(reads(i, body));
    for (std::size_t size = 0; size < body.size(); ++size) {
      EXPECT_FALSE(reads(i, ConstBytes(body).first(size))) << goldens[i].name << " " << size;
    }
    body.push_back(std::byte{0});
    EXPECT_FALSE(reads(i, body));
  }
}

TEST_F(Hello, KnowingTheSecretLetsIn) {
  Talk(HmacIdentity("open sesame"), /*over_loopback=*/false);
  ASSERT_EQ(client_->state(), HelloState::kAccepted);
  ASSERT_EQ(server_->state(), HelloState::kAccepted);
  EXPECT_EQ(server_->peer().tenant, kTenant);
  EXPECT_EQ(client_->answer().epoch, Epoch{3});
  EXPECT_EQ(client_->answer().map_version, 12U);
  EXPECT_EQ(client_->answer().version, 1);
}

TEST_F(Hello, ArrivesAlsoByteByByte) {
  Buffer to_server;
  HelloClient client(HmacIdentity("open sesame"), NonceOf(1), to_server);
  HelloServer server(policy_, NonceOf(2), false);
  while (client.state() == HelloState::kTalking) {
    Buffer to_client;
    for (const std::byte b : std::exchange(to_server, {})) {
      EXPECT_EQ(server.Feed({&b, 1}, to_client), 1U);
    }
    ASSERT_FALSE(to_client.empty());
    for (const std::byte b : to_client) EXPECT_EQ(client.Feed({&b, 1}, to_server), 1U);
  }
  EXPECT_EQ(client.state(), HelloState::kAccepted);
}

TEST_F(Hello, NothingBehindTheHelloIsTaken) {
  Buffer to_server;
  Buffer to_client;
  HelloClient client(ClientIdentity(), NonceOf(1), to_server);
  HelloServer server(policy_, NonceOf(2), true);
  server.Feed(std::exchange(to_server, {}), to_client);
  client.Feed(std::exchange(to_client, {}), to_server);
  const std::size_t proof = to_server.size();
  to_server.push_back(std::byte{'x'});
  EXPECT_EQ(server.Feed(to_server, to_client), proof);
  EXPECT_EQ(server.state(), HelloState::kAccepted);
}

TEST_F(Hello, WrongSecretIsRefused) {
  Talk(HmacIdentity("open barley"));
  ExpectRefused(Code::kUnauthenticated);
}

TEST_F(Hello, UnknownTenantIsRefusedLikeAWrongSecret) {
  Talk(HmacIdentity("open barley"));
  const std::string reason = client_->status().message();
  Talk(HmacIdentity("", TenantId{8}));
  ExpectRefused(Code::kUnauthenticated);
  EXPECT_EQ(client_->status().message(), reason);
}

TEST_F(Hello, ForeignClusterIsRefused) {
  Identity identity = HmacIdentity("open sesame");
  identity.cluster.bytes[3] = std::byte{1};
  Talk(identity);
  ExpectRefused(Code::kFailedPrecondition);
}

TEST_F(Hello, AClientThatNamesNoClusterTakesTheOneThatAnswers) {
  Identity identity = HmacIdentity("open sesame");
  identity.cluster = {};
  Talk(identity);
  EXPECT_EQ(client_->state(), HelloState::kAccepted);
  EXPECT_EQ(server_->state(), HelloState::kAccepted);
}

TEST_F(Hello, ForeignVersionIsRefused) {
  edit_client_hello = [](Buffer& bytes) { bytes[8] = bytes[10] = std::byte{9}; };
  Talk(ClientIdentity());
  ExpectRefused(Code::kFailedPrecondition);
}

TEST_F(Hello, NewerPeerSpeaksTheOlderVersion) {
  edit_client_hello = [](Buffer& bytes) { bytes[10] = std::byte{9}; };
  Talk(ClientIdentity());
  EXPECT_EQ(server_->peer().version, kProtocolVersionMax);
  EXPECT_EQ(client_->state(), HelloState::kAccepted);
}

TEST_F(Hello, NoneIsForLoopbackAndForThoseWhoMay) {
  Talk(ClientIdentity());
  EXPECT_EQ(client_->state(), HelloState::kAccepted);
  Talk(ClientIdentity(), /*over_loopback=*/false);
  ExpectRefused(Code::kUnauthenticated);
  authenticator_.allows_none = false;
  Talk(ClientIdentity());
  ExpectRefused(Code::kUnauthenticated);
}

TEST_F(Hello, TlsIsNotSpokenYet) {
  Identity identity = ClientIdentity();
  identity.scheme = HelloScheme::kTls;
  Talk(identity);
  ExpectRefused(Code::kUnimplemented);
}

TEST_F(Hello, AnyBitFlippedOnTheWayBreaksTheProof) {
  Talk(HmacIdentity("open sesame"));
  const std::size_t hello_size = [] {
    Buffer bytes;
    HelloClient(HmacIdentity("open sesame"), NonceOf(1), bytes);
    return bytes.size();
  }();
  for (std::size_t bit = 0; bit < hello_size * 8; ++bit) {
    edit_client_hello = [bit](Buffer& bytes) {
      bytes[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    };
    Talk(HmacIdentity("open sesame"));
    EXPECT_NE(client_->state(), HelloState::kAccepted) << bit;
    EXPECT_NE(server_->state(), HelloState::kAccepted) << bit;
  }
  edit_client_hello = nullptr;
  for (std::size_t bit = 0;; ++bit) {
    bool there = false;
    edit_answer = [&](Buffer& bytes) {  // the ServerHello, then the ServerProof
      if (there || bit / 8 >= bytes.size()) return;
      there = true;
      bytes[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    };
    Talk(HmacIdentity("open sesame"));
    if (!there) break;
    EXPECT_NE(client_->state(), HelloState::kAccepted) << bit;
  }
}

TEST_F(Hello, ServerThatDoesNotKnowTheSecretIsRefused) {
  edit_answer = [](Buffer& bytes) {
    ServerProof proof;
    proof.proof.resize(32);
    if (bytes[4] != std::byte{4}) return;  // not the last message
    bytes.clear();
    proof.Encode(bytes);
  };
  Talk(HmacIdentity("open sesame"));
  EXPECT_EQ(client_->state(), HelloState::kRefused);
  EXPECT_EQ(client_->status().code(), Code::kUnauthenticated);
}

TEST_F(Hello, AProofOfOneDirectionIsNoneOfTheOther) {
  const Buffer secret = Bytes("s");
  EXPECT_NE(ProofOf(secret, true, {}, {}), ProofOf(secret, false, {}, {}));
  EXPECT_NE(ProofOf(secret, true, Bytes("ab"), Bytes("c")),
            ProofOf(secret, true, Bytes("a"), Bytes("bc")));
}

TEST_F(Hello, SizesThatAreDeclaredAreNotBelieved) {
  HelloServer server(policy_, NonceOf(2), true);
  Buffer bytes;
  GoldenClientHello().Encode(bytes);
  bytes[6] = bytes[7] = std::byte{0xFF};
  Buffer out;
  server.Feed(bytes, out);
  EXPECT_EQ(server.state(), HelloState::kRefused);
  EXPECT_TRUE(out.empty());
  EXPECT_EQ(server.wanted(), 0U);
}

TEST_F(Hello, AMessageOutOfTurnIsRefused) {
  HelloServer server(policy_, NonceOf(2), true);
  Buffer bytes;
  GoldenClientProof().Encode(bytes);
  Buffer out;
  server.Feed(bytes, out);
  EXPECT_EQ(server.state(), HelloState::kRefused);
}

}  // namespace
}  // namespace kdn::transport::test
