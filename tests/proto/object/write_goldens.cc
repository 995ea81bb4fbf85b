// Writes the golden objects into a folder. Run when a case is added; when the bytes of an old one
// change, the format changes.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/proto/object/golden_cases.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: write_object_goldens FOLDER\n");
    return 2;
  }
  for (const kdn::test::GoldenCase& golden : kdn::test::GoldenCases()) {
    const std::filesystem::path folder = std::filesystem::path(argv[1]) / golden.parser;
    std::filesystem::create_directories(folder);
    std::ofstream file(folder / (std::string(golden.name) + ".bin"), std::ios::binary);
    file << kdn::AsText(golden.bytes);
  }
  return 0;
}
