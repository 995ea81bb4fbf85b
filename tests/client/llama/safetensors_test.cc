// Goal: a safetensors file that lies is an error, never a read or an allocation beyond what it
// holds.
#include "client/llama/safetensors.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "tests/client/llama/synthetic_model.h"
#include "tests/support/temp_dir.h"

namespace kdn::llama {
namespace {

class Safetensors : public testing::Test {
 protected:
  Result<SafetensorsFile> OpenImage(std::string_view image) {
    WriteFile(path_, image);
    return SafetensorsFile::Open(path_);
  }
  Result<SafetensorsFile> OpenParts(std::string_view header, std::string_view data) {
    return OpenImage(SafetensorsImage(header, data));
  }
  // One tensor "t" as described, and eight bytes of data.
  Result<SafetensorsFile> OpenEntry(const std::string& entry) {
    return OpenParts(R"({"t":)" + entry + "}", "12345678");
  }

  test::TempDir folder_;
  std::string path_ = folder_.File("model.safetensors");
};

TEST_F(Safetensors, WidensEveryFloatType) {
  const std::uint16_t values[] = {0x3FC0, 0xC000,                   // bf16 1.5, −2
                                  0x3E00, 0x0001, 0x7C00, 0xFBFF};  // fp16 1.5, 2⁻²⁴, ∞, −65504
  const float single = 0.1F;
  std::string data(reinterpret_cast<const char*>(values), sizeof(values));
  data.append(reinterpret_cast<const char*>(&single), 4);
  const auto file = OpenParts(R"({"b":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},
                                  "h":{"dtype":"F16","shape":[2,2],"data_offsets":[4,12]},
                                  "f":{"dtype":"F32","shape":[],"data_offsets":[12,16]}})",
                              data);
  ASSERT_TRUE(file.has_value()) << file.error().ToString();
  std::array<float, 2> b{};
  std::array<float, 4> h{};
  std::array<float, 1> f{};
  EXPECT_TRUE(file->ReadFloats("b", std::array<std::size_t, 1>{2}, b).ok());
  EXPECT_TRUE(file->ReadFloats("h", std::array<std::size_t, 2>{2, 2}, h).ok());
  EXPECT_TRUE(file->ReadFloats("f", {}, f).ok());
  EXPECT_EQ(b, (std::array{1.5F, -2.0F}));
  EXPECT_EQ(h, (std::array{1.5F, 0x1p-24F, HUGE_VALF, -65504.0F}));
  EXPECT_EQ(f[0], 0.1F);
}

TEST_F(Safetensors, ReadsTensorsLargerThanItsBuffer) {
  std::string data(std::size_t{5} << 20, '\0');
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 7 % 64);
  const auto file =
      OpenParts(R"({"t":{"dtype":"F32","shape":[1310720],"data_offsets":[0,5242880]}})", data);
  ASSERT_TRUE(file.has_value());
  std::vector<float> values(1310720);
  ASSERT_TRUE(file->ReadFloats("t", std::array<std::size_t, 1>{1310720}, values).ok());
  EXPECT_EQ(std::memcmp(values.data(), data.data(), data.size()), 0);
}

TEST_F(Safetensors, RefusesAShapeOrTypeOtherThanWanted) {
  const auto file = OpenEntry(R"({"dtype":"I32","shape":[2],"data_offsets":[0,8]})");
  std::array<float, 2> out{};
  EXPECT_EQ(file->ReadFloats("t", std::array<std::size_t, 1>{2}, out).code(),
            Code::kInvalidArgument);
  const auto floats = OpenEntry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})");
  EXPECT_EQ(floats->ReadFloats("t", std::array<std::size_t, 2>{1, 2}, out).code(),
            Code::kInvalidArgument);
  EXPECT_EQ(floats->ReadFloats("u", std::array<std::size_t, 1>{2}, out).code(), Code::kNotFound);
}

TEST_F(Safetensors, RefusesLengthsBeyondTheFile) {
  EXPECT_EQ(OpenImage("").error().code(), Code::kDataLoss);
  EXPECT_EQ(OpenImage("1234567").error().code(), Code::kDataLoss);
  for (const std::uint64_t length : {std::uint64_t{3}, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
    std::string image(reinterpret_cast<const char*>(&length), sizeof(length));
    EXPECT_EQ(OpenImage(image + "{}").error().code(), Code::kDataLoss) << length;
  }
}

TEST_F(Safetensors, RefusesHeadersThatAreNoJsonObject) {
  for (const char* header : {"", "[]", "3", "{", "{\"a\":}", "nul", "\xFF\xFE"}) {
    EXPECT_EQ(OpenParts(header, "").error().code(), Code::kDataLoss) << header;
  }
  EXPECT_EQ(OpenParts(std::string(1 << 16, '['), "").error().code(), Code::kDataLoss);
}

TEST_F(Safetensors, RefusesEntriesThatDoNotHold) {
  const char* const entries[] = {
      "3",
      "{}",
      R"({"dtype":"F32","shape":[2]})",
      R"({"dtype":"Q7","shape":[2],"data_offsets":[0,8]})",
      R"({"dtype":7,"shape":[2],"data_offsets":[0,8]})",
      R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})",
      R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})",
      R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})",
      R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})",
      R"({"dtype":"F32","shape":[1],"data_offsets":[0,8]})",
      R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})",
      R"({"dtype":"F32","shape":[2],"data_offsets":[4,12]})",
      R"({"dtype":"F32","shape":[2],"data_offsets":[0,8,8]})",
      R"({"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]})",
      R"({"dtype":"F32","shape":[4611686018427387906,4],"data_offsets":[0,8]})",
      R"({"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8]})",
      R"({"dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,8]})",
      R"({"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]})",
  };
  for (const char* entry : entries) {
    const auto file = OpenEntry(entry);
    ASSERT_FALSE(file.has_value()) << entry;
    EXPECT_EQ(file.error().code(), Code::kDataLoss) << entry;
  }
}

TEST_F(Safetensors, RefusesTensorsThatOverlap) {
  EXPECT_EQ(OpenParts(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
                          "b":{"dtype":"U8","shape":[5],"data_offsets":[3,8]}})",
                      "12345678")
                .error()
                .code(),
            Code::kDataLoss);
}

TEST_F(Safetensors, SurvivesEveryFlippedByteOfAHeader) {
  const std::string image =
      SafetensorsImage(R"({"a":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}})", "12345678");
  std::mt19937 random(9);
  for (std::size_t at = 0; at < image.size() - 8; ++at) {
    for (int trial = 0; trial < 4; ++trial) {
      std::string broken = image;
      broken[at] = static_cast<char>(random());
      const auto file = OpenImage(broken);
      if (!file) continue;
      for (const auto& [name, info] : file->tensors()) {
        EXPECT_LE(info.offset_bytes + info.size_bytes, image.size());
        EXPECT_TRUE(file->ReadBytes(name).has_value());
      }
    }
  }
}

TEST_F(Safetensors, ReportsAFileThatShrankSince) {
  const auto file = OpenEntry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})");
  ASSERT_TRUE(file.has_value());
  std::filesystem::resize_file(path_, 40);
  std::array<float, 2> out{};
  EXPECT_EQ(file->ReadFloats("t", std::array<std::size_t, 1>{2}, out).code(), Code::kDataLoss);
}

TEST_F(Safetensors, SaysWhenThereIsNoFile) {
  EXPECT_EQ(SafetensorsFile::Open("/nowhere").error().code(), Code::kNotFound);
  EXPECT_EQ(SafetensorsFile::Open(folder_.path().string()).error().code(), Code::kNotFound);
}

}  // namespace
}  // namespace kdn::llama
