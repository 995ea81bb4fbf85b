// The Hello with which every connection begins, as two state machines without I/O: bytes in, bytes
// out. TCP, loopback and later RDMA carry the same bytes; docs/protocol.md has their layout.
//
//   client                                server
//   ClientHello  -------------------->            versions, who, nonce, scheme, credential
//                <--------------------  ServerHello   verdict, version, identity, epoch, nonce
//   ClientProof  -------------------->            HMAC over both messages
//                <--------------------  ServerProof   verdict, HMAC over both messages
//
// Before it is accepted, a peer costs one HelloReader; no length that it declares is allocated.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/crypto.h"
#include "base/limits.h"
#include "transport/channel.h"

namespace kdn::transport {

// The protocol versions that this build speaks: the newest, and the one before it.
inline constexpr std::uint16_t kProtocolVersionMin = 1;
inline constexpr std::uint16_t kProtocolVersionMax = 1;
inline constexpr std::chrono::seconds kHelloTimeout{3};

// Bits of `features`. A bit is set by who can, and used if both did.
inline constexpr std::uint64_t kFeatureSharedMemory = 1;
inline constexpr std::uint64_t kFeatureRdma = 2;
inline constexpr std::uint64_t kFeatureTls = 4;

enum class HelloKind : std::uint8_t {
  kClientHello = 1,
  kServerHello = 2,
  kClientProof = 3,
  kServerProof = 4,
};

inline constexpr std::size_t kNonceBytes = 32;
inline constexpr std::size_t kHelloPrefixBytes = 8;  // magic, kind, reserved, size of the body
inline constexpr std::size_t kHelloBodyBytesMax = limits::kHelloBytesMax - kHelloPrefixBytes;
inline constexpr std::size_t kCredentialBytesMax = 2 * limits::kKiB;
inline constexpr std::size_t kReasonBytesMax = 256;

using Nonce = std::array<std::byte, kNonceBytes>;

// Each Encode() appends prefix and body; each Decode() reads a body and refuses what is too short,
// too long, or not zero where it is reserved.
struct ClientHello {
  std::uint16_t version_min = kProtocolVersionMin;
  std::uint16_t version_max = kProtocolVersionMax;
  ClusterId cluster;
  PeerRole role = PeerRole::kClient;
  HelloScheme scheme = HelloScheme::kNone;
  TenantId tenant{};
  PeerId peer;
  HostId host;
  std::uint64_t features = 0;
  Nonce nonce{};
  std::vector<std::byte> credential;  // of a scheme that needs one; empty for kNone and kHmac

  void Encode(std::vector<std::byte>& out) const;
  static std::optional<ClientHello> Decode(ConstBytes body);
  friend bool operator==(const ClientHello&, const ClientHello&) = default;
};

struct ServerHello {
  Code code = Code::kOk;      // unless kOk, the server closes after this message
  std::uint16_t version = 0;  // the one that is spoken from here on
  ClusterId cluster;
  PeerId peer;
  std::uint64_t features = 0;
  Epoch epoch{};
  std::uint64_t map_version = 0;
  Nonce nonce{};
  std::string reason;  // a sentence for a human if refused

  void Encode(std::vector<std::byte>& out) const;
  static std::optional<ServerHello> Decode(ConstBytes body);
  friend bool operator==(const ServerHello&, const ServerHello&) = default;
};

struct ClientProof {
  std::vector<std::byte> proof;  // a Digest for kHmac, nothing for kNone

  void Encode(std::vector<std::byte>& out) const;
  static std::optional<ClientProof> Decode(ConstBytes body);
  friend bool operator==(const ClientProof&, const ClientProof&) = default;
};

struct ServerProof {
  Code code = Code::kOk;
  std::vector<std::byte> proof;  // empty if refused
  std::string reason;

  void Encode(std::vector<std::byte>& out) const;
  static std::optional<ServerProof> Decode(ConstBytes body);
  friend bool operator==(const ServerProof&, const ServerProof&) = default;
};

// HMAC-SHA-256 under `secret` over a label for the direction and both Hello messages as sent,
// prefixes included.
[[nodiscard]] Digest ProofOf(ConstBytes secret, bool by_client, ConstBytes client_hello,
                             ConstBytes server_hello);

// Gathers one message after another in a buffer of fixed size.
class HelloReader {
 public:
  // How many bytes the message at hand still lacks, as far as is known; never more than fit.
  [[nodiscard]] std::size_t wanted() const;
  // Takes at most wanted() bytes from the front of `in` and returns how many. False in `ok()` once
  // the prefix is not that of a Hello message or its size is over the limit.
  std::size_t Take(ConstBytes in);
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool complete() const;
  [[nodiscard]] HelloKind kind() const;
  [[nodiscard]] ConstBytes message() const { return {buffer_.data(), size_}; }
  [[nodiscard]] ConstBytes body() const { return message().subspan(kHelloPrefixBytes); }
  void Reset() { size_ = 0; }

 private:
  [[nodiscard]] std::size_t BodySize() const;

  std::array<std::byte, limits::kHelloBytesMax> buffer_{};
  std::size_t size_ = 0;
  bool ok_ = true;
};

enum class HelloState : std::uint8_t { kTalking, kAccepted, kRefused };

class HelloClient {
 public:
  // Appends the first message to `out`.
  HelloClient(const Identity& identity, const Nonce& nonce, std::vector<std::byte>& out);

  // Takes what belongs to the Hello from the front of `in`, appends what is to be sent to `out`,
  // and returns how much it took. Never takes a byte of what follows the Hello.
  std::size_t Feed(ConstBytes in, std::vector<std::byte>& out);
  [[nodiscard]] std::size_t wanted() const { return reader_.wanted(); }
  [[nodiscard]] HelloState state() const { return state_; }
  // Why it was refused: kUnauthenticated, kFailedPrecondition, kUnimplemented,
  // kResourceExhausted, or kDataLoss for what was no Hello at all.
  [[nodiscard]] const Status& status() const { return status_; }
  // What the server said. Requires: accepted.
  [[nodiscard]] const ServerHello& answer() const { return answer_; }

 private:
  void OnServerHello(std::vector<std::byte>& out);
  void OnServerProof();
  void Refuse(Code code, std::string reason);

  ClientHello hello_;
  std::vector<std::byte> secret_;
  std::vector<std::byte> sent_;      // the ClientHello as sent
  std::vector<std::byte> received_;  // the ServerHello as received
  ServerHello answer_;
  HelloReader reader_;
  HelloState state_ = HelloState::kTalking;
  Status status_;
};

// What the server's side of a Hello is judged against.
struct HelloPolicy {
  ClusterId cluster;
  PeerId self;
  const Authenticator* authenticator = nullptr;
  std::uint64_t features = 0;
};

class HelloServer {
 public:
  // `policy` outlives it. `over_loopback`: no network lies between the two.
  HelloServer(const HelloPolicy& policy, const Nonce& nonce, bool over_loopback)
      : policy_(policy), nonce_(nonce), over_loopback_(over_loopback) {}

  // As HelloClient::Feed().
  std::size_t Feed(ConstBytes in, std::vector<std::byte>& out);
  [[nodiscard]] std::size_t wanted() const { return reader_.wanted(); }
  [[nodiscard]] HelloState state() const { return state_; }
  // Why it was refused; for the log.
  [[nodiscard]] const Status& status() const { return status_; }
  // Who the peer proved to be. Requires: accepted.
  [[nodiscard]] const Peer& peer() const { return peer_; }

 private:
  void OnClientHello(std::vector<std::byte>& out);
  void OnClientProof(std::vector<std::byte>& out);
  [[nodiscard]] Status Judge(const ClientHello& hello) const;

  const HelloPolicy& policy_;
  Nonce nonce_;
  bool over_loopback_;
  ClientHello hello_;
  std::vector<std::byte> received_;  // the ClientHello as received
  std::vector<std::byte> sent_;      // the ServerHello as sent
  HelloReader reader_;
  HelloState state_ = HelloState::kTalking;
  Peer peer_;
  Status status_;
};

}  // namespace kdn::transport
