#include "client/core/blob.h"

#include <cstring>
#include <numeric>
#include <utility>

#include "base/crypto.h"

namespace kdn::client {
namespace {

constexpr std::size_t kBlockBytes = kBlobBlockTokens * kBlobTokenBytes;
constexpr std::size_t kBlobBytesMax = std::size_t{256} << 20;  // of what is fetched
constexpr std::size_t kSizeBytes = sizeof(std::uint64_t);

std::size_t TokensFor(std::uint64_t content_bytes) {
  return (kSizeBytes + content_bytes + kBlobTokenBytes - 1) / kBlobTokenBytes;
}

}  // namespace

ModelSpec BlobSpec(std::string name) {
  ModelSpec spec;
  spec.name = std::move(name);
  spec.revision.assign(1, '1');  // GCC 12 warns of the literal
  spec.dtype = DType::kFp8E4M3;  // any bits: one byte a value
  KvGroup group;
  group.attention = AttentionKind::kState;
  group.layers = {0};
  group.kv_heads = 1;
  group.k_head_size = kBlobTokenBytes;
  spec.groups.push_back(std::move(group));
  return spec;
}

BlobMemory::BlobMemory(std::size_t token_count) {
  const std::size_t blocks = (token_count + kBlobBlockTokens - 1) / kBlobBlockTokens;
  bytes_.resize(blocks * kBlockBytes);
  table_.resize(blocks);
  std::iota(table_.begin(), table_.end(), 0U);
}

BlobMemory BlobMemory::Of(std::string_view content) {
  BlobMemory memory(TokensFor(content.size()));
  const std::uint64_t size_bytes = content.size();
  for (std::size_t i = 0; i < kSizeBytes; ++i) {
    memory.bytes_[i] = static_cast<std::byte>(size_bytes >> (8 * i));
  }
  if (!content.empty()) {
    std::memcpy(memory.bytes_.data() + kSizeBytes, content.data(), content.size());
  }
  return memory;
}

std::vector<TokenId> BlobMemory::Tokens() const {
  ByteReader reader(bytes_);
  std::vector<TokenId> tokens(TokensFor(reader.Integer<std::uint64_t>()));
  std::iota(tokens.begin(), tokens.end(), TokenId{0});
  return tokens;
}

std::vector<std::byte> BlobMemory::Identity() const {
  const Digest digest = Sha256(bytes_);
  return {digest.begin(), digest.end()};
}

Result<std::string> BlobMemory::Content() const {
  ByteReader reader(bytes_);
  const auto size = reader.Integer<std::uint64_t>();
  if (!reader.ok() || size > reader.rest().size()) {
    return Error(Code::kDataLoss, "the context holds nothing that was stored as a file");
  }
  return std::string(AsText(reader.rest().first(size)));
}

codec::PagedKv BlobMemory::kv() {
  base_[0] = bytes_.data();
  codec::PlaneMap& map = pool_[0].planes[0];
  map.base = base_;
  map.dim_stride = 1;
  map.head_stride = kBlobTokenBytes;
  map.slot_stride = kBlobTokenBytes;
  map.block_stride = kBlockBytes;
  pool_[0].block_tokens = kBlobBlockTokens;
  pool_[0].block_count = static_cast<std::uint32_t>(table_.size());
  pool_[0].head_count = 1;
  return {pool_};
}

codec::BlockTables BlobMemory::blocks() {
  tables_[0] = table_;
  return {tables_};
}

Status StoreBlob(Client& client, const Model& model, std::string_view content,
                 std::vector<std::byte> extras, std::span<const std::string> contexts,
                 Interrupt& interrupt) {
  BlobMemory memory = BlobMemory::Of(content);
  StorePlanOptions options;
  options.provenance = kExactProvenance;
  options.with_partial = true;
  options.extras = std::move(extras);
  for (const std::string& context : contexts) {
    if (interrupt.raised()) return Status(Code::kCancelled);
    options.context = context;
    // After the first context all chunks are there already, and this only gives them a name.
    auto plan = client.PlanStore(model, memory.Tokens(), options);
    if (!plan) return plan.error();
    auto store = client.Store(model, *plan, {}, memory.kv(), memory.blocks());
    if (!store) return store.error();
    const StoreReport report =
        interrupt.During([&] { (*store)->Cancel(); }, [&] { return (*store)->Wait(); });
    if (report.code != Code::kOk) return Status(report.code);
  }
  return Status();
}

LookupResult FindBlob(Client& client, const Model& model, std::string_view context,
                      Interrupt& interrupt) {
  const auto lookup = client.LookupContext(model, context, {});
  return interrupt.During([&] { lookup->Cancel(); }, [&] { return lookup->Take(); });
}

Result<std::string> LoadBlob(Client& client, const Model& model, const LookupResult& found,
                             Interrupt& interrupt) {
  if (found.tokens_matched() * kBlobTokenBytes > kBlobBytesMax) {
    return Error(Code::kDataLoss, "a blob is larger than the limit");
  }
  BlobMemory memory(found.tokens_matched());
  KDN_ASSIGN_OR_RETURN(auto load, client.Load(model, found, memory.kv(), memory.blocks(), {}));
  const LoadReport report = interrupt.During([&] { load->Cancel(); }, [&] { return load->Wait(); });
  if (report.tokens_loaded < found.tokens_matched()) return Error(Code::kUnavailable);
  Result<std::string> content = memory.Content();
  // Chunks at its end may be lost, and then look as if they had never been there.
  if (!content) return Error(Code::kUnavailable, content.error().message());
  return content;
}

}  // namespace kdn::client
