#include "transport/hello.h"

#include <algorithm>
#include <utility>

namespace kdn::transport {
namespace {

constexpr std::uint32_t kHelloMagic = 0x484E444B;  // "KDNH"
constexpr std::string_view kClientLabel = "kdn hello v1 client";
constexpr std::string_view kServerLabel = "kdn hello v1 server";

// Appends a prefix, lets `body` write, and sets the size.
template <class Body>
void EncodeMessage(HelloKind kind, std::vector<std::byte>& out, const Body& body) {
  ByteWriter writer(out);
  writer.Integer(kHelloMagic);
  writer.Integer(kind);
  writer.Zeros(1);
  const std::size_t size_at = out.size();
  writer.Zeros(2);
  const std::size_t begin = out.size();
  body(writer);
  const std::size_t size = out.size() - begin;
  out[size_at] = static_cast<std::byte>(size & 0xFF);
  out[size_at + 1] = static_cast<std::byte>(size >> 8);
}

Nonce ReadNonce(ByteReader& in) {
  Nonce nonce{};
  const ConstBytes raw = in.Bytes(kNonceBytes);
  std::copy(raw.begin(), raw.end(), nonce.begin());
  return nonce;
}

std::vector<std::byte> ReadSized(ByteReader& in, std::size_t size_max) {
  const ConstBytes bytes = in.Sized(size_max);
  return {bytes.begin(), bytes.end()};
}

std::string ReadReason(ByteReader& in) {
  return std::string(AsText(in.Sized(kReasonBytesMax)));
}

void WriteReason(ByteWriter& out, std::string_view reason) {
  out.Sized(AsBytes(reason.substr(0, kReasonBytesMax)));
}

}  // namespace

void ClientHello::Encode(std::vector<std::byte>& out) const {
  EncodeMessage(HelloKind::kClientHello, out, [this](ByteWriter& body) {
    body.Integer(version_min);
    body.Integer(version_max);
    body.Integer(role);
    body.Integer(scheme);
    body.Zeros(2);
    body.Id(cluster);
    body.Integer(tenant);
    body.Id(peer);
    body.Id(host);
    body.Integer(features);
    body.Bytes(nonce);
    body.Sized(credential);
  });
}

std::optional<ClientHello> ClientHello::Decode(ConstBytes body) {
  ByteReader in(body);
  ClientHello hello;
  hello.version_min = in.Integer<std::uint16_t>();
  hello.version_max = in.Integer<std::uint16_t>();
  const auto role = in.Integer<std::uint8_t>();
  if (role > static_cast<std::uint8_t>(PeerRole::kAdmin)) in.Fail();
  hello.role = static_cast<PeerRole>(role);
  // An unknown scheme is read, so that it can be refused by name.
  hello.scheme = static_cast<HelloScheme>(in.Integer<std::uint8_t>());
  in.Zeros(2);
  hello.cluster = in.OpaqueId<ClusterId>();
  hello.tenant = in.Integer<TenantId>();
  hello.peer = in.OpaqueId<PeerId>();
  hello.host = in.OpaqueId<HostId>();
  hello.features = in.Integer<std::uint64_t>();
  hello.nonce = ReadNonce(in);
  hello.credential = ReadSized(in, kCredentialBytesMax);
  if (!in.AtEnd()) return std::nullopt;
  return hello;
}

void ServerHello::Encode(std::vector<std::byte>& out) const {
  EncodeMessage(HelloKind::kServerHello, out, [this](ByteWriter& body) {
    body.Integer(code);
    body.Zeros(1);
    body.Integer(version);
    body.Integer(epoch);
    body.Id(cluster);
    body.Id(peer);
    body.Integer(features);
    body.Integer(map_version);
    body.Bytes(nonce);
    WriteReason(body, reason);
  });
}

std::optional<ServerHello> ServerHello::Decode(ConstBytes body) {
  ByteReader in(body);
  ServerHello hello;
  hello.code = CodeFromNumber(in.Integer<std::uint8_t>());
  in.Zeros(1);
  hello.version = in.Integer<std::uint16_t>();
  hello.epoch = in.Integer<Epoch>();
  hello.cluster = in.OpaqueId<ClusterId>();
  hello.peer = in.OpaqueId<PeerId>();
  hello.features = in.Integer<std::uint64_t>();
  hello.map_version = in.Integer<std::uint64_t>();
  hello.nonce = ReadNonce(in);
  hello.reason = ReadReason(in);
  if (!in.AtEnd()) return std::nullopt;
  return hello;
}

void ClientProof::Encode(std::vector<std::byte>& out) const {
  EncodeMessage(HelloKind::kClientProof, out, [this](ByteWriter& body) { body.Sized(proof); });
}

std::optional<ClientProof> ClientProof::Decode(ConstBytes body) {
  ByteReader in(body);
  ClientProof message;
  message.proof = ReadSized(in, sizeof(Digest));
  if (!in.AtEnd()) return std::nullopt;
  return message;
}

void ShareInvite::Encode(std::vector<std::byte>& out) const {
  ByteWriter writer(out);
  writer.Sized(AsBytes(socket));
  writer.Bytes(ticket);
}

void ServerProof::Encode(std::vector<std::byte>& out) const {
  EncodeMessage(HelloKind::kServerProof, out, [&](ByteWriter& body) {
    body.Integer(code);
    body.Zeros(3);
    body.Sized(proof);
    WriteReason(body, reason);
    if (share) share->Encode(out);
  });
}

std::optional<ServerProof> ServerProof::Decode(ConstBytes body) {
  ByteReader in(body);
  ServerProof message;
  message.code = CodeFromNumber(in.Integer<std::uint8_t>());
  in.Zeros(3);
  message.proof = ReadSized(in, sizeof(Digest));
  message.reason = ReadReason(in);
  if (in.AtEnd()) return message;
  ShareInvite& share = message.share.emplace();
  share.socket = AsText(in.Sized(kShareSocketBytesMax));
  share.ticket = ReadNonce(in);
  if (!in.AtEnd() || share.socket.empty()) return std::nullopt;
  return message;
}

Digest ProofOf(ConstBytes secret, bool by_client, ConstBytes client_hello, ConstBytes server_hello,
               const std::optional<ShareInvite>& share) {
  std::vector<std::byte> transcript;
  ByteWriter writer(transcript);
  writer.Sized(AsBytes(by_client ? kClientLabel : kServerLabel));
  writer.Sized(client_hello);
  writer.Sized(server_hello);
  if (share) share->Encode(transcript);
  return HmacSha256(secret, transcript);
}

std::size_t HelloReader::BodySize() const {
  return static_cast<std::size_t>(buffer_[6]) | static_cast<std::size_t>(buffer_[7]) << 8;
}

HelloKind HelloReader::kind() const {
  return static_cast<HelloKind>(buffer_[4]);
}

bool HelloReader::complete() const {
  return ok_ && size_ >= kHelloPrefixBytes && size_ == kHelloPrefixBytes + BodySize();
}

std::size_t HelloReader::wanted() const {
  if (!ok_) return 0;
  if (size_ < kHelloPrefixBytes) return kHelloPrefixBytes - size_;
  return kHelloPrefixBytes + BodySize() - size_;
}

std::size_t HelloReader::Take(ConstBytes in) {
  std::size_t taken = 0;
  while (ok_ && !complete() && taken < in.size()) {
    const std::size_t count = std::min(wanted(), in.size() - taken);
    std::copy_n(in.data() + taken, count, buffer_.data() + size_);
    size_ += count;
    taken += count;
    if (size_ != kHelloPrefixBytes) continue;
    ByteReader prefix(message());
    const auto magic = prefix.Integer<std::uint32_t>();
    const auto number = prefix.Integer<std::uint8_t>();
    prefix.Zeros(1);
    const bool known = number >= static_cast<std::uint8_t>(HelloKind::kClientHello) &&
                       number <= static_cast<std::uint8_t>(HelloKind::kServerProof);
    ok_ = prefix.ok() && magic == kHelloMagic && known && BodySize() <= kHelloBodyBytesMax;
  }
  return taken;
}

HelloClient::HelloClient(const Identity& identity, const Nonce& nonce, std::vector<std::byte>& out,
                         std::uint64_t features)
    : secret_(identity.secret) {
  hello_.cluster = identity.cluster;
  hello_.role = identity.role;
  hello_.scheme = identity.scheme;
  hello_.tenant = identity.tenant;
  hello_.peer = identity.peer;
  hello_.host = identity.host;
  hello_.features = features;
  if (identity.host.IsZero()) hello_.features &= ~kFeatureSharedMemory;
  hello_.nonce = nonce;
  hello_.Encode(sent_);
  out.insert(out.end(), sent_.begin(), sent_.end());
}

void HelloClient::Refuse(Code code, std::string reason) {
  state_ = HelloState::kRefused;
  status_ = Status(code, std::move(reason));
}

std::size_t HelloClient::Feed(ConstBytes in, std::vector<std::byte>& out) {
  std::size_t taken = 0;
  while (state_ == HelloState::kTalking && taken < in.size()) {
    taken += reader_.Take(in.subspan(taken));
    if (!reader_.ok()) {
      Refuse(Code::kDataLoss, "what answered does not speak this protocol");
    } else if (reader_.complete()) {
      const HelloKind due = received_.empty() ? HelloKind::kServerHello : HelloKind::kServerProof;
      if (reader_.kind() != due) {
        Refuse(Code::kDataLoss, "the peer answered out of turn");
      } else if (due == HelloKind::kServerHello) {
        OnServerHello(out);
      } else {
        OnServerProof();
      }
      reader_.Reset();
    }
  }
  return taken;
}

void HelloClient::OnServerHello(std::vector<std::byte>& out) {
  const std::optional<ServerHello> answer = ServerHello::Decode(reader_.body());
  if (!answer) return Refuse(Code::kDataLoss, "the peer's Hello is malformed");
  if (answer->code != Code::kOk) return Refuse(answer->code, answer->reason);
  // A zero id asks for whichever cluster answers; the proof still says that it has our secret.
  if (!hello_.cluster.IsZero() && answer->cluster != hello_.cluster) {
    return Refuse(Code::kFailedPrecondition, "the peer belongs to another cluster");
  }
  if (answer->version < hello_.version_min || answer->version > hello_.version_max) {
    return Refuse(Code::kFailedPrecondition, "the peer chose a version that was not offered");
  }
  if ((answer->features & ~hello_.features) != 0) {
    return Refuse(Code::kDataLoss, "the peer chose a feature that was not offered");
  }
  answer_ = *answer;
  received_.assign(reader_.message().begin(), reader_.message().end());
  ClientProof proof;
  if (hello_.scheme == HelloScheme::kHmac) {
    const Digest digest = ProofOf(secret_, true, sent_, received_);
    proof.proof.assign(digest.begin(), digest.end());
  }
  proof.Encode(out);
}

void HelloClient::OnServerProof() {
  const std::optional<ServerProof> answer = ServerProof::Decode(reader_.body());
  if (!answer) return Refuse(Code::kDataLoss, "the peer's proof is malformed");
  if (answer->code != Code::kOk) return Refuse(answer->code, answer->reason);
  if (answer->share.has_value() != ((answer_.features & kFeatureSharedMemory) != 0)) {
    return Refuse(Code::kDataLoss, "the peer's proof is not of what it agreed to");
  }
  if (hello_.scheme == HelloScheme::kHmac) {
    const Digest expected = ProofOf(secret_, false, sent_, received_, answer->share);
    if (!EqualInConstantTime(expected, answer->proof)) {
      return Refuse(Code::kUnauthenticated, "the peer does not know the secret");
    }
  }
  share_ = answer->share;
  state_ = HelloState::kAccepted;
}

std::size_t HelloServer::Feed(ConstBytes in, std::vector<std::byte>& out) {
  std::size_t taken = 0;
  while (state_ == HelloState::kTalking && taken < in.size()) {
    taken += reader_.Take(in.subspan(taken));
    const HelloKind due = sent_.empty() ? HelloKind::kClientHello : HelloKind::kClientProof;
    if (!reader_.ok() || (reader_.complete() && reader_.kind() != due)) {
      // Whatever this is, it would not understand an answer.
      state_ = HelloState::kRefused;
      status_ = Status(Code::kDataLoss, "not a Hello");
    } else if (reader_.complete()) {
      due == HelloKind::kClientHello ? OnClientHello(out) : OnClientProof(out);
      reader_.Reset();
    }
  }
  return taken;
}

Status HelloServer::Judge(const ClientHello& hello) const {
  if (!hello.cluster.IsZero() && hello.cluster != policy_.cluster) {
    return Status(Code::kFailedPrecondition, "this peer belongs to another cluster");
  }
  if (hello.version_min > kProtocolVersionMax || hello.version_max < kProtocolVersionMin) {
    return Status(Code::kFailedPrecondition, "this peer speaks protocol versions " +
                                                 std::to_string(kProtocolVersionMin) + " to " +
                                                 std::to_string(kProtocolVersionMax));
  }
  switch (hello.scheme) {
    case HelloScheme::kHmac:
      return Status();
    case HelloScheme::kNone:
      if (over_loopback_ && policy_.authenticator->AllowsNone(hello.role, hello.tenant)) {
        return Status();
      }
      return Status(Code::kUnauthenticated, "scheme none is not allowed here");
    case HelloScheme::kTls:
      break;
  }
  return Status(Code::kUnimplemented, "this peer does not speak that scheme");
}

std::uint64_t HelloServer::FeaturesWith(const ClientHello& hello) const {
  std::uint64_t features = policy_.features & hello.features;
  if (!share_ || hello.host.IsZero() || hello.host != policy_.host) {
    features &= ~kFeatureSharedMemory;
  }
  return features;
}

void HelloServer::OnClientHello(std::vector<std::byte>& out) {
  const std::optional<ClientHello> hello = ClientHello::Decode(reader_.body());
  const Status verdict =
      hello ? Judge(*hello) : Status(Code::kInvalidArgument, "the Hello is malformed");
  ServerHello answer;
  answer.code = verdict.code();
  answer.reason = verdict.message();
  if (verdict.ok()) {
    hello_ = *hello;
    received_.assign(reader_.message().begin(), reader_.message().end());
    answer.version = std::min(hello->version_max, kProtocolVersionMax);
    answer.cluster = policy_.cluster;
    answer.peer = policy_.self;
    answer.features = FeaturesWith(*hello);
    if ((answer.features & kFeatureSharedMemory) == 0) share_.reset();
    answer.epoch = policy_.authenticator->epoch();
    answer.map_version = policy_.authenticator->map_version();
    answer.nonce = nonce_;
    peer_ = Peer{hello->role, hello->tenant, hello->peer, hello->host, answer.version};
  } else {
    state_ = HelloState::kRefused;
    status_ = verdict;
  }
  answer.Encode(sent_);
  out.insert(out.end(), sent_.begin(), sent_.end());
}

void HelloServer::OnClientProof(std::vector<std::byte>& out) {
  const std::optional<ClientProof> message = ClientProof::Decode(reader_.body());
  ServerProof answer;
  answer.share = share_;
  bool accepted = message && (hello_.scheme == HelloScheme::kHmac || message->proof.empty());
  if (accepted && hello_.scheme == HelloScheme::kHmac) {
    const std::vector<std::byte> secret =
        policy_.authenticator->SecretOf(hello_.role, hello_.tenant);
    // An unknown tenant fails here like a wrong secret, so that nobody can ask who exists. An empty
    // secret would be one that everyone knows.
    const Digest expected = ProofOf(secret, true, received_, sent_);
    accepted = EqualInConstantTime(expected, message->proof) && !secret.empty();
    if (accepted) {
      const Digest own = ProofOf(secret, false, received_, sent_, share_);
      answer.proof.assign(own.begin(), own.end());
    }
  }
  if (!accepted) {
    answer.code = Code::kUnauthenticated;
    answer.reason = "the proof is wrong";
    answer.share.reset();
    status_ = Status(answer.code, answer.reason);
  }
  state_ = accepted ? HelloState::kAccepted : HelloState::kRefused;
  answer.Encode(out);
}

}  // namespace kdn::transport
