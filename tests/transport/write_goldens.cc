// Writes the golden bytes of every Hello message, offer and frame into a folder. Run when one is
// added; bytes that exist already never change within a protocol version.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tests/transport/golden_cases.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: write_transport_goldens FOLDER\n");
    return 2;
  }
  const auto write = [&](const char* folder, const auto& cases) {
    const std::filesystem::path path = std::filesystem::path(argv[1]) / folder;
    std::filesystem::create_directories(path);
    for (const kdn::transport::test::GoldenCase& golden : cases) {
      std::ofstream file(path / (golden.name + ".bin"), std::ios::binary);
      file.write(reinterpret_cast<const char*>(golden.bytes.data()),
                 static_cast<std::streamsize>(golden.bytes.size()));
    }
  };
  write("hello", kdn::transport::test::GoldenHellos());
  write("share", kdn::transport::test::GoldenShares());
  write("frame", kdn::transport::test::GoldenFrameHeaders());
  return 0;
}
