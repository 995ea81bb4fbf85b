// Writes the tiles of tests/golden/codec into a folder: golden_write FOLDER. Run it when the format
// gains a scheme, never to make a failing test pass: tiles in stores do not change with the code.
#include <cstdio>
#include <fstream>
#include <string>

#include "tests/codec/golden_tiles.h"
#include "tests/codec/tile.h"

namespace {

bool Write(const std::string& path, const std::vector<std::byte>& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  return static_cast<bool>(file.flush());
}

}  // namespace

int main(int argc, char** argv) {
  using namespace kdn::codec;
  if (argc != 2) {
    std::fprintf(stderr, "usage: codec_golden_write FOLDER\n");
    return 2;
  }
  const std::string folder = std::string(argv[1]) + "/";
  bool good = true;
  for (int number = 0; number < 5; ++number) {
    const auto dtype = static_cast<kdn::DType>(number);
    const auto tile =
        EncodeValues(kScalarKernels, GoldenShape(dtype), GoldenValues(dtype), 1 << 20);
    good = Write(folder + GoldenName(dtype), tile) && good;
    if (dtype != kdn::DType::kBf16) continue;
    for (const GoldenDamage& damage : GoldenDamages()) {
      auto broken = tile;
      damage.apply(broken);
      good = Write(folder + damage.name, broken) && good;
    }
  }
  if (!good) std::fprintf(stderr, "codec_golden_write: cannot write to %s\n", argv[1]);
  return good ? 0 : 1;
}
