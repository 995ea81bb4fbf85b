// Goal: weights come back from a file as they were written, and nothing else is taken for weights.
#include "client/admin/channel_weights.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "tests/support/temp_dir.h"

namespace kdn::admin {
namespace {

ModelFingerprint Model(unsigned char first) {
  ModelFingerprint model;
  model.bytes[0] = std::byte{first};
  return model;
}

const ChannelWeights kWeights = {{0.5, 1e-9, 0.0}, {3.0, 12345.678, 1.0 / 3.0}};

TEST(ChannelWeights, ComeBackAsTheyWere) {
  const test::TempDir folder;
  const std::string path = folder.File("weights.json");
  std::ofstream(path) << ChannelWeightsText(kWeights, Model(7));
  const auto read = ReadChannelWeights(path, Model(7));
  ASSERT_TRUE(read.has_value()) << read.error().ToString();
  EXPECT_EQ(*read, kWeights);
}

TEST(ChannelWeights, OfAnotherModelAreRefused) {
  const std::string text = ChannelWeightsText(kWeights, Model(7));
  EXPECT_EQ(ParseChannelWeights(text, Model(8)).error().code(), Code::kInvalidArgument);
}

TEST(ChannelWeights, AMissingFileIsSaid) {
  const test::TempDir folder;
  EXPECT_EQ(ReadChannelWeights(folder.File("none"), Model(7)).error().code(), Code::kNotFound);
  EXPECT_EQ(ReadChannelWeights("/tmp", Model(7)).error().code(), Code::kNotFound);
}

TEST(ChannelWeights, NothingElseIsTakenForThem) {
  const std::string good = ChannelWeightsText({{1.0}, {2.0}}, Model(7));
  const std::string head = good.substr(0, good.find("[[1.0],[2.0]]"));
  ASSERT_LT(head.size(), good.size());
  ASSERT_TRUE(ParseChannelWeights(head + "[[1.0],[2.0]]}", Model(7)).has_value());
  for (const char* strips : {"[]", "[1.0]", "[[1.0],2.0]", "[[true]]", "[[\"1\"]]", "[[-1.0]]",
                             "[[1e999]]", "[[null]]", "{}", "null", "[[1.0"}) {
    const auto parsed = ParseChannelWeights(head + strips + "}", Model(7));
    ASSERT_FALSE(parsed.has_value()) << strips;
    EXPECT_EQ(parsed.error().code(), Code::kInvalidArgument) << strips;
  }
  std::string later = good;
  later.replace(later.find("weights-1"), 9, "weights-2");
  for (const std::string& text : {std::string(), std::string("noise"), std::string("[]"), later}) {
    EXPECT_FALSE(ParseChannelWeights(text, Model(7)).has_value()) << text;
  }
  for (std::size_t size = 0; size + 2 < good.size(); ++size) {
    EXPECT_FALSE(ParseChannelWeights(good.substr(0, size), Model(7)).has_value()) << size;
  }
}

}  // namespace
}  // namespace kdn::admin
