// Reads a .safetensors file: an 8-byte length, a JSON header of that length, then the tensors'
// bytes, little-endian and row-major. The file is not trusted: a header that lies about sizes,
// shapes or places is an error, never a read out of bounds.
//
// Thread-safety: safe; immutable after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace kdn::llama {

enum class TensorType : std::uint8_t { kBf16, kF16, kF32, kI32, kOther };

struct TensorInfo {
  TensorType type = TensorType::kOther;
  std::vector<std::size_t> shape;
  std::size_t value_count = 0;   // product of the shape
  std::size_t offset_bytes = 0;  // from the file's start
  std::size_t size_bytes = 0;
};

class SafetensorsFile {
 public:
  // kNotFound if the file cannot be opened, kDataLoss (saying why) if its header does not hold.
  static Result<SafetensorsFile> Open(const std::string& path);

  // nullptr if there is no tensor of this name.
  [[nodiscard]] const TensorInfo* Find(std::string_view name) const;

  // Reads a bf16, fp16 or fp32 tensor, widened to fp32. kNotFound if there is none of this name,
  // kInvalidArgument if its shape is not `shape` or its type no float, kDataLoss if the file has
  // shrunk since. Requires: `out` holds exactly the shape's values.
  Status ReadFloats(std::string_view name, std::span<const std::size_t> shape,
                    std::span<float> out) const;

  // The tensor's bytes as they lie in the file. Errors as ReadFloats().
  [[nodiscard]] Result<std::vector<std::byte>> ReadBytes(std::string_view name) const;

  [[nodiscard]] const std::map<std::string, TensorInfo, std::less<>>& tensors() const {
    return tensors_;
  }

 private:
  // Owns a descriptor.
  class File {
   public:
    explicit File(int descriptor) : descriptor_(descriptor) {}
    File(File&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
    File& operator=(File&& other) noexcept {
      std::swap(descriptor_, other.descriptor_);
      return *this;
    }
    ~File();
    [[nodiscard]] int descriptor() const { return descriptor_; }

   private:
    int descriptor_;
  };
  SafetensorsFile(std::string path, File file) : path_(std::move(path)), file_(std::move(file)) {}
  Status ParseHeader(std::string_view text, std::size_t data_first, std::size_t file_bytes);
  Status ReadAt(std::size_t offset_bytes, MutableBytes out) const;

  std::string path_;
  File file_;
  std::map<std::string, TensorInfo, std::less<>> tensors_;
};

}  // namespace kdn::llama
