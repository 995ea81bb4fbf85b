// Goal: the tokenizer takes the longest match at every byte, undoes itself on any bytes, and
// refuses a vocabulary that leaves some text without an encoding.
#include "client/llama/tokenizer.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "tests/client/llama/fixture.h"

namespace kdn::llama {
namespace {

using std::string_literals::operator""s;

std::string AllBytes() {
  std::string lines;
  for (int byte = 0; byte < 256; ++byte) {
    char line[4];
    std::snprintf(line, sizeof(line), "%02x\n", static_cast<unsigned>(byte));
    lines += line;
  }
  return lines;
}

class TinyVocabulary : public testing::Test {
 protected:
  Tokenizer tokenizer_ = Tokenizer::FromFile(kModelFolder + "/vocab.txt").value();
};

TEST_F(TinyVocabulary, GivesTheIdsThatTheModelWasTrainedWith) {
  const SafetensorsFile reference =
      SafetensorsFile::Open(kModelFolder + "/reference.safetensors").value();
  const std::string text =
      "\0[document 1] Mia lives in Rome. Leo lives where Mia lives.\n"
      "Q: Where does Leo live? A:"s;
  std::vector<std::int32_t> got;
  for (const TokenId id : tokenizer_.Encode(text)) got.push_back(static_cast<std::int32_t>(id));
  EXPECT_EQ(got, ReadTensor<std::int32_t>(reference, "17.ids"));
}

TEST_F(TinyVocabulary, EncodesHeldOutTextAsTheRecordedKvCacheHasIt) {
  const SafetensorsFile recorded =
      SafetensorsFile::Open(kModelFolder + "/kv_heldout.safetensors").value();
  std::vector<std::int32_t> got;
  for (const TokenId id : Prompt(512)) got.push_back(static_cast<std::int32_t>(id));
  EXPECT_EQ(got, ReadTensor<std::int32_t>(recorded, "ids"));
}

TEST_F(TinyVocabulary, RoundTripsHeldOutText) {
  const std::string text = HeldOutText();
  EXPECT_EQ(tokenizer_.Decode(tokenizer_.Encode(text)).value(), text);
}

TEST_F(TinyVocabulary, RoundTripsAnyBytes) {
  std::mt19937 random(3);
  for (std::size_t length = 0; length < 300; ++length) {
    std::string bytes(length, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    EXPECT_EQ(tokenizer_.Decode(tokenizer_.Encode(bytes)).value(), bytes);
  }
}

TEST_F(TinyVocabulary, RefusesToDecodeAnIdThatIsNone) {
  const std::vector<TokenId> ids = {5, 2048};
  EXPECT_EQ(tokenizer_.Decode(ids).error().code(), Code::kOutOfRange);
}

TEST(Tokenizer, TakesTheLongestMatchNotTheBestOne) {
  // "abc" and "cdef" are tokens: "abcdef" is abc d e f, though ab cdef would be shorter.
  const Tokenizer tokenizer = Tokenizer::FromText(AllBytes() + "616263\n63646566\n6162\n").value();
  EXPECT_EQ(tokenizer.Encode("abcdef"), (std::vector<TokenId>{256, 'd', 'e', 'f'}));
  EXPECT_EQ(tokenizer.Encode("abab"), (std::vector<TokenId>{258, 258}));
}

TEST(Tokenizer, TriesShorterTokensThanTheLongestOfAByte) {
  const Tokenizer tokenizer = Tokenizer::FromText(AllBytes() + "6161616161\n6161\n").value();
  EXPECT_EQ(tokenizer.Encode("aaaa"), (std::vector<TokenId>{257, 257}));
  EXPECT_EQ(tokenizer.Encode("aaaaaaa"), (std::vector<TokenId>{256, 257}));
}

TEST(Tokenizer, LastLineMayLackItsEnd) {
  EXPECT_EQ(Tokenizer::FromText(AllBytes() + "6161").value().size(), 257U);
}

TEST(Tokenizer, RefusesBadVocabulariesAndNamesTheLine) {
  EXPECT_NE(Tokenizer::FromText(AllBytes() + "6g\n").error().message().find("line 257"),
            std::string::npos);
  EXPECT_NE(Tokenizer::FromText(AllBytes() + "616\n").error().message().find("line 257"),
            std::string::npos);
  EXPECT_NE(Tokenizer::FromText(AllBytes() + "\n6161\n").error().message().find("line 257"),
            std::string::npos);
  EXPECT_NE(Tokenizer::FromText(AllBytes() + "6161\n6161\n").error().message().find("line 258"),
            std::string::npos);
}

TEST(Tokenizer, RefusesAVocabularyThatLacksAByte) {
  const std::string without_ff = AllBytes().substr(0, 255 * 3);
  EXPECT_NE(Tokenizer::FromText(without_ff).error().message().find("255"), std::string::npos);
  EXPECT_EQ(Tokenizer::FromText("").error().code(), Code::kInvalidArgument);
}

TEST(Tokenizer, SaysWhenThereIsNoFile) {
  EXPECT_EQ(Tokenizer::FromFile("/nowhere/vocab.txt").error().code(), Code::kNotFound);
}

}  // namespace
}  // namespace kdn::llama
