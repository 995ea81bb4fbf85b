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
#include <utility>
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

// Where a client that shares memory shows it to the server, and what says there which connection it
// is for. Told only once the client has proved who it is.
inline constexpr std::size_t kShareSocketBytesMax = 107;
struct ShareInvite {
  std::string socket;  // an AF_UNIX name; one without a leading '/' is abstract
  Nonce ticket{};      // of this connection alone

  void Encode(std::vector<std::byte>& out) const;  // the fields alone
  friend bool operator==(const ShareInvite&, const ShareInvite&) = default;
};

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
  std::optional<ShareInvite> share{};  // where both sides share memory, and only there

  void Encode(std::vector<std::byte>& out) const;
  static std::optional<ServerProof> Decode(ConstBytes body);
  friend bool operator==(const ServerProof&, const ServerProof&) = default;
};

// HMAC-SHA-256 under `secret` over a label for the direction and both Hello messages as sent,
// prefixes included; of a server that shares memory also over its invitation, so that nobody in
// between can have a client's memory shown to him.
[[nodiscard]] Digest ProofOf(ConstBytes secret, bool by_client, ConstBytes client_hello,
                             ConstBytes server_hello,
                             const std::optional<ShareInvite>& share = std::nullopt);

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
  // Appends the first message to `out`. `features`: what this side can do; sharing memory only if
  // the identity names a host.
  HelloClient(const Identity& identity, const Nonce& nonce, std::vector<std::byte>& out,
              std::uint64_t features = 0);

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
  // Where to show memory, if both sides share it. Requires: accepted.
  [[nodiscard]] const std::optional<ShareInvite>& share() const { return share_; }

 private:
  void OnServerHello(std::vector<std::byte>& out);
  void OnServerProof();
  void Refuse(Code code, std::string reason);

  ClientHello hello_;
  std::vector<std::byte> secret_;
  std::vector<std::byte> sent_;      // the ClientHello as sent
  std::vector<std::byte> received_;  // the ServerHello as received
  ServerHello answer_;
  std::optional<ShareInvite> share_;
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
  HostId host{};  // where sharing memory is among the features: peers of this host only
};

class HelloServer {
 public:
  // `policy` outlives it. `over_loopback`: no network lies between the two.
  // `share`: what a client is told that shares memory; without it none does.
  HelloServer(const HelloPolicy& policy, const Nonce& nonce, bool over_loopback,
              std::optional<ShareInvite> share = std::nullopt)
      : policy_(policy), nonce_(nonce), over_loopback_(over_loopback), share_(std::move(share)) {}

  // As HelloClient::Feed().
  std::size_t Feed(ConstBytes in, std::vector<std::byte>& out);
  [[nodiscard]] std::size_t wanted() const { return reader_.wanted(); }
  [[nodiscard]] HelloState state() const { return state_; }
  // Why it was refused; for the log.
  [[nodiscard]] const Status& status() const { return status_; }
  // Who the peer proved to be. Requires: accepted.
  [[nodiscard]] const Peer& peer() const { return peer_; }
  // What the client was invited to, if it was. Requires: accepted.
  [[nodiscard]] const std::optional<ShareInvite>& share() const { return share_; }

 private:
  void OnClientHello(std::vector<std::byte>& out);
  void OnClientProof(std::vector<std::byte>& out);
  [[nodiscard]] Status Judge(const ClientHello& hello) const;

  [[nodiscard]] std::uint64_t FeaturesWith(const ClientHello& hello) const;

  const HelloPolicy& policy_;
  Nonce nonce_;
  bool over_loopback_;
  std::optional<ShareInvite> share_;
  ClientHello hello_;
  std::vector<std::byte> received_;  // the ClientHello as received
  std::vector<std::byte> sent_;      // the ServerHello as sent
  HelloReader reader_;
  HelloState state_ = HelloState::kTalking;
  Peer peer_;
  Status status_;
};

}  // namespace kdn::transport
