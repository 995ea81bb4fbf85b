#include "client/llama/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

namespace kdn::llama {
namespace {

using nlohmann::json;

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kHeaderBytesMax = std::size_t{16} << 20;  // a 400B model's is 200 KB
constexpr std::size_t kDimensionsMax = 8;
constexpr std::size_t kReadBytes = std::size_t{1} << 20;

struct TypeRow {
  std::string_view name;
  TensorType type;
  std::size_t bytes;
};
// Every type of the format that has a size in whole bytes; those without a row are refused.
constexpr TypeRow kTypes[] = {
    {"BF16", TensorType::kBf16, 2},     {"F16", TensorType::kF16, 2},
    {"F32", TensorType::kF32, 4},       {"I32", TensorType::kI32, 4},
    {"F64", TensorType::kOther, 8},     {"I64", TensorType::kOther, 8},
    {"U64", TensorType::kOther, 8},     {"U32", TensorType::kOther, 4},
    {"I16", TensorType::kOther, 2},     {"U16", TensorType::kOther, 2},
    {"I8", TensorType::kOther, 1},      {"U8", TensorType::kOther, 1},
    {"BOOL", TensorType::kOther, 1},    {"F8_E4M3", TensorType::kOther, 1},
    {"F8_E5M2", TensorType::kOther, 1},
};

const TypeRow* TypeNamed(std::string_view name) {
  const auto* row = std::ranges::find(kTypes, name, &TypeRow::name);
  return row == std::end(kTypes) ? nullptr : row;
}

std::size_t BytesPerValue(TensorType type) {
  return type == TensorType::kF32 || type == TensorType::kI32 ? 4 : 2;
}

bool ReadWhole(const json& value, std::size_t& out) {
  if (!value.is_number_unsigned()) return false;
  out = value.get<std::size_t>();
  return true;
}

// The entry as a tensor whose bytes lie within `data_bytes`; false if it is none.
bool ReadEntry(const json& entry, std::size_t data_bytes, TensorInfo& info) {
  if (!entry.is_object()) return false;
  const auto dtype = entry.find("dtype");
  const auto shape = entry.find("shape");
  const auto offsets = entry.find("data_offsets");
  if (dtype == entry.end() || !dtype->is_string()) return false;
  if (shape == entry.end() || !shape->is_array() || shape->size() > kDimensionsMax) return false;
  if (offsets == entry.end() || !offsets->is_array() || offsets->size() != 2) return false;
  const TypeRow* row = TypeNamed(dtype->get_ref<const std::string&>());
  std::size_t end = 0;
  if (row == nullptr || !ReadWhole((*offsets)[0], info.offset_bytes) ||
      !ReadWhole((*offsets)[1], end) || info.offset_bytes > end || end > data_bytes) {
    return false;
  }
  info.type = row->type;
  info.size_bytes = end - info.offset_bytes;
  info.value_count = 1;
  for (const json& dimension : *shape) {
    std::size_t size = 0;
    if (!ReadWhole(dimension, size)) return false;
    // The count stays below the file's size, so the next product cannot overflow unseen.
    if (size != 0 && info.value_count > data_bytes / size) return false;
    info.value_count *= size;
    info.shape.push_back(size);
  }
  return info.value_count <= data_bytes && info.value_count * row->bytes == info.size_bytes;
}

float HalfToFloat(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const std::uint32_t rest = half & 0x7FFFU;
  if (rest >= 0x7C00U) return std::bit_cast<float>(sign | 0x7F800000U | ((rest & 0x3FFU) << 13));
  // Shifted into place the exponent is 112 too small; the product also makes subnormals normal.
  const float magnitude = std::bit_cast<float>(rest << 13) * 0x1p112F;
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
}

void Widen(TensorType type, ConstBytes in, float* out) {
  if (type == TensorType::kF32) {
    std::memcpy(out, in.data(), in.size());
    return;
  }
  for (std::size_t i = 0; i < in.size() / 2; ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, in.data() + 2 * i, 2);
    out[i] = type == TensorType::kF16
                 ? HalfToFloat(bits)
                 : std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
}

}  // namespace

SafetensorsFile::File::~File() {
  if (descriptor_ >= 0) close(descriptor_);
}

Result<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  SafetensorsFile file(path, File(open(path.c_str(), O_RDONLY | O_CLOEXEC)));
  const int descriptor = file.file_.descriptor();
  struct stat facts{};
  if (descriptor < 0 || fstat(descriptor, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    return Error(Code::kNotFound, "cannot open " + path);
  }
  const auto file_bytes = static_cast<std::size_t>(facts.st_size);
  std::uint64_t header_bytes = 0;
  if (file_bytes < kLengthBytes) return Error(Code::kDataLoss, path + ": shorter than its length");
  if (Status read = file.ReadAt(0, std::as_writable_bytes(std::span(&header_bytes, 1)));
      !read.ok()) {
    return std::unexpected(std::move(read));
  }
  if (header_bytes > kHeaderBytesMax || header_bytes > file_bytes - kLengthBytes) {
    return Error(Code::kDataLoss, path + ": header of " + std::to_string(header_bytes) +
                                      " bytes does not fit the file or is over 16 MiB");
  }
  std::string header(header_bytes, '\0');
  Status status = file.ReadAt(kLengthBytes, std::as_writable_bytes(std::span(header)));
  if (status.ok()) status = file.ParseHeader(header, kLengthBytes + header_bytes, file_bytes);
  if (!status.ok()) return std::unexpected(std::move(status));
  return file;
}

Status SafetensorsFile::ParseHeader(std::string_view text, std::size_t data_first,
                                    std::size_t file_bytes) {
  const json header = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!header.is_object()) return {Code::kDataLoss, path_ + ": header is no JSON object"};
  std::vector<std::pair<std::size_t, std::size_t>> ranges;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    TensorInfo info;
    if (!ReadEntry(entry, file_bytes - data_first, info)) {
      return {Code::kDataLoss,
              path_ + ": tensor '" + name.substr(0, 200) +
                  "': unknown type, or type, shape and place do not agree with the file"};
    }
    ranges.emplace_back(info.offset_bytes, info.offset_bytes + info.size_bytes);
    info.offset_bytes += data_first;
    tensors_.emplace(name, std::move(info));
  }
  std::ranges::sort(ranges);
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first < ranges[i - 1].second) {
      return {Code::kDataLoss, path_ + ": tensors overlap"};
    }
  }
  return {};
}

Status SafetensorsFile::ReadAt(std::size_t offset_bytes, MutableBytes out) const {
  while (!out.empty()) {
    const ssize_t got =
        pread(file_.descriptor(), out.data(), out.size(), static_cast<off_t>(offset_bytes));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return {Code::kDataLoss, path_ + ": cannot be read to its end"};
    offset_bytes += static_cast<std::size_t>(got);
    out = out.subspan(static_cast<std::size_t>(got));
  }
  return {};
}

const TensorInfo* SafetensorsFile::Find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

Status SafetensorsFile::ReadFloats(std::string_view name, std::span<const std::size_t> shape,
                                   std::span<float> out) const {
  const TensorInfo* info = Find(name);
  if (info == nullptr) return {Code::kNotFound, path_ + ": no tensor '" + std::string(name) + "'"};
  if (info->type == TensorType::kI32 || info->type == TensorType::kOther) {
    return {Code::kInvalidArgument,
            path_ + ": '" + std::string(name) + "' is not bf16, fp16 or fp32"};
  }
  if (!std::ranges::equal(info->shape, shape) || info->value_count != out.size()) {
    return {Code::kInvalidArgument,
            path_ + ": '" + std::string(name) + "' has not the shape that config.json implies"};
  }
  const std::size_t value_bytes = BytesPerValue(info->type);
  std::vector<std::byte> block(std::min(kReadBytes, info->size_bytes));
  for (std::size_t done = 0; done < info->size_bytes; done += block.size()) {
    block.resize(std::min(block.size(), info->size_bytes - done));
    KDN_RETURN_IF_ERROR(ReadAt(info->offset_bytes + done, block));
    Widen(info->type, block, out.data() + done / value_bytes);
  }
  return {};
}

Result<std::vector<std::byte>> SafetensorsFile::ReadBytes(std::string_view name) const {
  const TensorInfo* info = Find(name);
  if (info == nullptr) {
    return Error(Code::kNotFound, path_ + ": no tensor '" + std::string(name) + "'");
  }
  std::vector<std::byte> bytes(info->size_bytes);
  if (Status read = ReadAt(info->offset_bytes, bytes); !read.ok()) {
    return std::unexpected(std::move(read));
  }
  return bytes;
}

}  // namespace kdn::llama
