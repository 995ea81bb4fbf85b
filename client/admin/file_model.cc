#include "client/admin/file_model.h"

#include <cstring>
#include <numeric>

#include "base/crypto.h"

namespace kdn::admin {
namespace {

constexpr std::size_t kChunkBytes = kFileChunkTokens * kFileTokenBytes;

}  // namespace

ModelSpec FileModelSpec() {
  ModelSpec spec;
  spec.name = "kdn/file";
  spec.revision = "1";
  spec.dtype = DType::kFp8E4M3;  // any bits: one byte a value
  KvGroup group;
  group.attention = AttentionKind::kState;
  group.layers = {0};
  group.kv_heads = 1;
  group.k_head_size = kFileTokenBytes;
  spec.groups.push_back(std::move(group));
  return spec;
}

FileMemory::FileMemory(std::size_t token_count) {
  const std::size_t blocks = (token_count + kFileChunkTokens - 1) / kFileChunkTokens;
  bytes_.resize(blocks * kChunkBytes);
  table_.resize(blocks);
  std::iota(table_.begin(), table_.end(), 0U);
}

FileMemory FileMemory::Of(std::string_view content) {
  const std::size_t size = sizeof(std::uint64_t) + content.size();
  FileMemory memory((size + kFileTokenBytes - 1) / kFileTokenBytes);
  const std::uint64_t size_bytes = content.size();
  for (std::size_t i = 0; i < sizeof(size_bytes); ++i) {
    memory.bytes_[i] = static_cast<std::byte>(size_bytes >> (8 * i));
  }
  if (!content.empty()) {
    std::memcpy(memory.bytes_.data() + sizeof(size_bytes), content.data(), content.size());
  }
  return memory;
}

std::vector<client::TokenId> FileMemory::Tokens() const {
  ByteReader reader(bytes_);
  const std::size_t size = sizeof(std::uint64_t) + reader.Integer<std::uint64_t>();
  std::vector<client::TokenId> tokens((size + kFileTokenBytes - 1) / kFileTokenBytes);
  std::iota(tokens.begin(), tokens.end(), client::TokenId{0});
  return tokens;
}

std::vector<std::byte> FileMemory::Identity() const {
  const Digest digest = Sha256(bytes_);
  return {digest.begin(), digest.end()};
}

Result<std::string> FileMemory::Content() const {
  ByteReader reader(bytes_);
  const auto size = reader.Integer<std::uint64_t>();
  if (!reader.ok() || size > reader.rest().size()) {
    return Error(Code::kDataLoss, "the context holds no file of kdnctl put");
  }
  return std::string(AsText(reader.rest().first(size)));
}

codec::PagedKv FileMemory::kv() {
  base_[0] = bytes_.data();
  codec::PlaneMap& map = pool_[0].planes[0];
  map.base = base_;
  map.dim_stride = 1;
  map.head_stride = kFileTokenBytes;
  map.slot_stride = kFileTokenBytes;
  map.block_stride = kChunkBytes;
  pool_[0].block_tokens = kFileChunkTokens;
  pool_[0].block_count = static_cast<std::uint32_t>(table_.size());
  pool_[0].head_count = 1;
  return {pool_};
}

codec::BlockTables FileMemory::blocks() {
  tables_[0] = table_;
  return {tables_};
}

}  // namespace kdn::admin
