// Goal: a config file is read as it stands or refused with file, line, key, value and expectation.
#include "base/config.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace kdn {
namespace {

class ConfigTest : public testing::Test {
 protected:
  ConfigTest() : node_("node"), disk_("node.disk"), path_(dir_.File("kdn.toml")) {
    node_.Text("name", &name_, "what the node is called");
    node_.Choice("write_mode", &mode_, {"through", "back"}, "when a put is acknowledged");
    node_.TextList("peers", &peers_, "endpoints");
    node_.Boolean("insecure", &insecure_, "plaintext off loopback");
    node_.Integer("dram_mib", &dram_mib_, 16, 4096, "size of the DRAM tier in MiB");
    disk_.Integer("gib", &disk_gib_, 0, 100, "size of the disk tier in GiB");
  }
  Status Read(const std::string& text) {
    std::ofstream(path_) << text;
    return ReadConfig(path_, {&node_, &disk_});
  }
  void ExpectRefused(const std::string& text, const std::string& message) {
    const Status status = Read(text);
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
    EXPECT_EQ(status.message(), path_ + message);
  }

  test::TempDir dir_;
  std::string name_ = "default";
  std::string mode_ = "through";
  std::vector<std::string> peers_ = {"a", "b"};
  bool insecure_ = false;
  std::int64_t dram_mib_ = 64;
  std::int64_t disk_gib_ = 7;
  ConfigTable node_;
  ConfigTable disk_;
  std::string path_;
};

TEST_F(ConfigTest, EveryKindOfValueIsRead) {
  const Status status = Read(R"(
    [node]
    name = "n1"
    write_mode = "back"
    peers = ["x:1", "y:2", "z:3"]
    insecure = true
    dram_mib = 4_096
    [node.disk]
    gib = 0
  )");
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(name_, "n1");
  EXPECT_EQ(mode_, "back");
  EXPECT_EQ(peers_, (std::vector<std::string>{"x:1", "y:2", "z:3"}));
  EXPECT_TRUE(insecure_);
  EXPECT_EQ(dram_mib_, 4096);
  EXPECT_EQ(disk_gib_, 0);
}

TEST_F(ConfigTest, MissingKeysKeepTheirDefaults) {
  ASSERT_TRUE(Read("[node]\nname = \"n1\"\n").ok());
  EXPECT_EQ(dram_mib_, 64);
  EXPECT_EQ(disk_gib_, 7);
  EXPECT_EQ(peers_.size(), 2U);
}

TEST_F(ConfigTest, ValueOutOfBoundsIsRefused) {
  ExpectRefused("[node]\ndram_mib = 15\n",
                ":2: node.dram_mib = 15: expected an integer from 16 to 4096");
  ExpectRefused("[node]\n\ndram_mib = 4097\n",
                ":3: node.dram_mib = 4097: expected an integer from 16 to 4096");
}

TEST_F(ConfigTest, ValueOfAnotherTypeIsRefused) {
  ExpectRefused("[node]\ndram_mib = \"16\"\n",
                ":2: node.dram_mib = '16': expected an integer from 16 to 4096");
  ExpectRefused("[node]\ndram_mib = 16.0\n",
                ":2: node.dram_mib = 16.0: expected an integer from 16 to 4096");
  ExpectRefused("[node]\ninsecure = 1\n", ":2: node.insecure = 1: expected true or false");
  ExpectRefused("[node]\nname = true\n", ":2: node.name = true: expected a string");
  ExpectRefused("[node]\npeers = [ 'a', 1 ]\n",
                ":2: node.peers = [ 'a', 1 ]: expected a list of strings");
}

TEST_F(ConfigTest, ChoiceNamesWhatItAllows) {
  ExpectRefused("[node]\nwrite_mode = \"Back\"\n",
                ":2: node.write_mode = 'Back': expected one of \"through\", \"back\"");
}

TEST_F(ConfigTest, UnknownKeyIsRefusedWithTheKnownOnes) {
  ExpectRefused("[node]\ndram_mb = 64\n",
                ":2: node.dram_mb: no such key; expected one of name, write_mode, peers, insecure, "
                "dram_mib");
}

TEST_F(ConfigTest, UnknownSectionIsRefusedEvenWhenEmpty) {
  ExpectRefused("[nodes]\n", ":1: [nodes]: no such section; expected one of [node], [node.disk]");
  ExpectRefused("[node.dram]\nx = 1\n",
                ":1: [node.dram]: no such section; expected one of [node], [node.disk]");
}

TEST_F(ConfigTest, KeyOutsideAnySectionIsRefused) {
  ExpectRefused("dram_mib = 64\n",
                ":1: dram_mib: no such key; expected one of [node], [node.disk]");
}

TEST_F(ConfigTest, WhatIsNotTomlIsRefusedWithItsLine) {
  const Status status = Read("[node]\nname = \n");
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_TRUE(status.message().starts_with(path_ + ":2: ")) << status.message();
  EXPECT_TRUE(status.message().ends_with("expected TOML")) << status.message();
}

TEST_F(ConfigTest, KeyNamedTwiceIsRefused) {
  EXPECT_EQ(Read("[node]\nname = \"a\"\nname = \"b\"\n").code(), Code::kInvalidArgument);
}

TEST_F(ConfigTest, MissingFileIsRefused) {
  const std::string missing = dir_.File("missing.toml");
  const Status status = ReadConfig(missing, {&node_});
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_EQ(status.message(), missing + ": cannot be read; expected a TOML file");
}

TEST_F(ConfigTest, CommandLineSetsEveryKind) {
  for (const char* assignment : {"node.name=a=b", "node.write_mode=back", "node.peers=x:1,y:2",
                                 "node.insecure=true", "node.dram_mib=128", "node.disk.gib=3"}) {
    const Status status = SetConfig(assignment, {&node_, &disk_});
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
  EXPECT_EQ(name_, "a=b");
  EXPECT_EQ(mode_, "back");
  EXPECT_EQ(peers_, (std::vector<std::string>{"x:1", "y:2"}));
  EXPECT_TRUE(insecure_);
  EXPECT_EQ(dram_mib_, 128);
  EXPECT_EQ(disk_gib_, 3);
}

TEST_F(ConfigTest, CommandLineMayEmptyAListOrAText) {
  ASSERT_TRUE(SetConfig("node.peers=", {&node_}).ok());
  ASSERT_TRUE(SetConfig("node.name=", {&node_}).ok());
  EXPECT_TRUE(peers_.empty());
  EXPECT_TRUE(name_.empty());
}

TEST_F(ConfigTest, CommandLineRefusesWhatAFileWouldAndChangesNothing) {
  for (const char* assignment :
       {"node.dram_mib=15", "node.dram_mib=64x", "node.dram_mib=", "node.dram_mib",
        "node.insecure=yes", "dram_mib=64", "nodes.x=1"}) {
    EXPECT_EQ(SetConfig(assignment, {&node_, &disk_}).code(), Code::kInvalidArgument) << assignment;
  }
  EXPECT_EQ(SetConfig("node.dram_mib=15", {&node_}).message(),
            "command line: node.dram_mib = 15: expected an integer from 16 to 4096");
  EXPECT_EQ(dram_mib_, 64);
  EXPECT_FALSE(insecure_);
}

TEST_F(ConfigTest, DescribesEveryKeyWithItsDefault) {
  EXPECT_EQ(node_.Describe(),
            "name = \"default\"  # what the node is called\n"
            "write_mode = \"through\"  # when a put is acknowledged\n"
            "peers = [\"a\", \"b\"]  # endpoints\n"
            "insecure = false  # plaintext off loopback\n"
            "dram_mib = 64  # size of the DRAM tier in MiB\n");
}

TEST_F(ConfigTest, DescriptionIsAConfigThatReads) {
  EXPECT_TRUE(Read("[node]\n" + node_.Describe() + "[node.disk]\n" + disk_.Describe()).ok());
}

}  // namespace
}  // namespace kdn
