#include "tests/codec/recorded_kv.h"
#include "codec/codec_scratch.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <numeric>
#include <sstream>
#include <string_view>

namespace kdn::codec {
namespace {

constexpr char kPath[] = KDN_TEST_MODELS_DIR "/tiny/kv_heldout.safetensors";

// The numbers of a list like "shape":[6,2,512,64] in a tensor's entry of the file's head.
std::vector<std::uint64_t> Numbers(std::string_view head, const std::string& tensor,
                                   const std::string& field) {
  std::vector<std::uint64_t> numbers;
  const std::size_t entry = head.find("\"" + tensor + "\":{");
  const std::size_t at = head.find("\"" + field + "\":[", entry);
  if (entry == std::string_view::npos || at == std::string_view::npos) return numbers;
  std::istringstream list(std::string(head.substr(at + field.size() + 4)));
  std::uint64_t number = 0;
  while (list >> number) {
    numbers.push_back(number);
    if (list.get() != ',') break;
  }
  return numbers;
}

}  // namespace

Result<RecordedKv> RecordedKv::Read() {
  std::ifstream file(kPath, std::ios::binary);
  if (!file) return Error(Code::kNotFound, std::string("no file ") + kPath);
  std::uint64_t head_size = 0;
  file.read(reinterpret_cast<char*>(&head_size), sizeof(head_size));
  if (!file || head_size > 65536) return Error(Code::kDataLoss, "not a safetensors file");
  std::string head(head_size, '\0');
  file.read(head.data(), static_cast<std::streamsize>(head_size));
  std::erase(head, ' ');

  RecordedKv kv;
  const auto read = [&](const char* tensor, std::vector<std::byte>& out) {
    const auto offsets = Numbers(head, tensor, "data_offsets");
    if (offsets.size() != 2 || offsets[1] < offsets[0] || offsets[1] > (1U << 30)) return false;
    out.resize(offsets[1] - offsets[0]);
    file.seekg(static_cast<std::streamoff>(8 + head_size + offsets[0]));
    file.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size()));
    return file.good();
  };
  const auto shape = Numbers(head, "k", "shape");
  if (shape.size() != 4 || !read("k", kv.k_) || !read("v", kv.v_)) {
    return Error(Code::kDataLoss, "the recorded KV has not the tensors k and v");
  }
  KvGroup group;
  group.layers.resize(shape[0]);
  std::iota(group.layers.begin(), group.layers.end(), std::uint16_t{0});
  group.kv_heads = static_cast<std::uint16_t>(shape[1]);
  group.k_head_size = group.v_head_size = static_cast<std::uint16_t>(shape[3]);
  kv.spec_.name = "tiny";
  kv.spec_.groups.push_back(group);
  kv.spec_.rotary = {.pairing = RotaryPairing::kNeox, .dims = group.k_head_size, .base = 100000.0};
  kv.tokens_ = static_cast<std::uint32_t>(shape[2]);
  if (kv.k_.size() != 2 * shape[0] * shape[1] * shape[2] * shape[3] ||
      kv.v_.size() != kv.k_.size()) {
    return Error(Code::kDataLoss, "the recorded KV is not bf16 of the shape it says");
  }
  return kv;
}

ObjectHeader RecordedKv::HeaderFor(std::uint32_t chunk_tokens, std::uint16_t layers_per_group,
                                   std::uint16_t heads_per_group) const {
  ObjectHeader header;
  header.key.bytes[0] = std::byte{1};
  header.levels_encoded = Level::kExact;
  header.token_count = chunk_tokens;
  header.part.layers = {0, static_cast<std::uint16_t>(spec_.groups[0].layers.size())};
  header.part.kv_heads = {0, spec_.groups[0].kv_heads};
  header.layers_per_group = layers_per_group;
  header.heads_per_group = heads_per_group;
  return header;
}

std::vector<std::byte> RecordedKv::EncodeChunk(const ObjectHeader& header,
                                               std::uint32_t first_token) const {
  const KvGroup& group = spec_.groups[0];
  const std::ptrdiff_t row = 2 * std::ptrdiff_t{group.k_head_size};
  const std::ptrdiff_t head = row * tokens_;
  KvPool pool{.planes = {},
              .block_tokens = tokens_,
              .block_count = 1,
              .first_head = 0,
              .head_count = group.kv_heads};
  // Reading through a map of writable memory; Encode() writes nothing there.
  const std::array<const std::byte*, 2> front = {k_.data(), v_.data()};
  std::array<std::vector<std::byte*>, 2> bases;
  for (std::size_t p = 0; p < 2; ++p) {
    for (std::size_t l = 0; l < group.layers.size(); ++l) {
      bases[p].push_back(const_cast<std::byte*>(front[p]) +
                         static_cast<std::ptrdiff_t>(l) * group.kv_heads * head);
    }
    pool.planes[p] = {.base = bases[p],
                      .block_stride = 0,
                      .slot_stride = row,
                      .head_stride = head,
                      .dim_stride = 2};
  }
  const std::uint32_t block = 0;
  const std::span<const std::uint32_t> table(&block, 1);
  const ObjectCodec codec = ObjectCodec::Make(spec_).value();
  std::vector<std::byte> object;
  CodecScratch scratch;
  const Status status = codec.Encode(
      header, PagedKv{{&pool, 1}}, BlockTables{{&table, 1}},
      {.first_token = first_token, .token_count = header.token_count}, nullptr, object, scratch);
  if (!status.ok()) object.clear();
  return object;
}

RecordedKv::Sizes RecordedKv::Encode(std::uint32_t chunk_tokens, std::uint16_t layers_per_group,
                                     std::uint16_t heads_per_group) const {
  Sizes sizes;
  const ObjectHeader header = HeaderFor(chunk_tokens, layers_per_group, heads_per_group);
  for (std::uint32_t at = 0; at + chunk_tokens <= tokens_; at += chunk_tokens) {
    sizes.raw_bytes += chunk_tokens * BytesPerToken(spec_);
    sizes.object_bytes += EncodeChunk(header, at).size();
  }
  return sizes;
}

}  // namespace kdn::codec
