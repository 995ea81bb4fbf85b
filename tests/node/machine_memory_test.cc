#include "node/machine_memory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/limits.h"
#include "tests/support/temp_dir.h"

namespace kdn::node {
namespace {

constexpr std::uint64_t kGiB = 1024 * limits::kMiB;

// A machine of 16 GiB of which 8 are free, in files of a folder.
class MachineMemoryTest : public testing::Test {
 protected:
  MachineMemoryTest() {
    Write("proc/meminfo", "MemTotal: 16777216 kB\nMemFree: 1 kB\nMemAvailable: 8388608 kB\n");
  }
  void Write(const std::string& name, const std::string& text) {
    const std::filesystem::path path = folder_.path() / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  MachineMemory Read() { return ReadMachineMemory(folder_.path().string()).value(); }

  test::TempDir folder_;
};

TEST_F(MachineMemoryTest, WithoutControlGroupsIsTheMachines) {
  EXPECT_EQ(Read().total_bytes, 16 * kGiB);
  EXPECT_EQ(Read().available_bytes, 8 * kGiB);
}

TEST_F(MachineMemoryTest, IsLimitedByAnyGroupAroundTheProcess) {
  Write("proc/self/cgroup", "0::/outer/inner\n");
  Write("sys/fs/cgroup/outer/inner/memory.max", "max\n");
  Write("sys/fs/cgroup/outer/memory.max", "4294967296\n");
  EXPECT_EQ(Read().total_bytes, 4 * kGiB);
  EXPECT_EQ(Read().available_bytes, 4 * kGiB);
}

TEST_F(MachineMemoryTest, IsLimitedByGroupsOfVersionOneToo) {
  Write("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/a\n0::/\n");
  Write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "12884901888\n");
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(Read().total_bytes, 12 * kGiB);
  EXPECT_EQ(Read().available_bytes, 8 * kGiB);
}

TEST_F(MachineMemoryTest, IsUnknownWhereTheKernelDoesNotSay) {
  EXPECT_FALSE(ReadMachineMemory((folder_.path() / "none").string()).has_value());
}

TEST(DramSize, ThatIsNotThereIsRefusedWithWhatIs) {
  NodeConfig config;
  config.dram_mib = 2048;
  EXPECT_TRUE(CheckDramSize(config, 2 * kGiB, "free").ok());
  const Status refused = CheckDramSize(config, 2 * kGiB - 1, "free");
  EXPECT_EQ(refused.code(), Code::kInvalidArgument);
  EXPECT_EQ(refused.message(), "node.dram_mib = \"2048\": expected at most 2047, free");
}

}  // namespace
}  // namespace kdn::node
