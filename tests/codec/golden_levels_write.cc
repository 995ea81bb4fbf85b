// Writes the files of tests/golden/levels into a folder: golden_levels_write FOLDER. Run it when
// the format gains something, never to make a failing test pass: objects in stores do not change
// with the code.
#include <cstdio>
#include <fstream>
#include <optional>
#include <string>

#include "codec/kernels/kernels.h"
#include "tests/codec/golden_levels.h"
#include "tests/codec/profile_ids.h"

namespace {

using namespace kdn::codec;

bool Write(const std::string& path, kdn::ConstBytes bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  return static_cast<bool>(file.flush());
}

bool WriteObject(const std::string& folder, const GoldenObject& golden, const Profile& learned,
                 std::ofstream& digests) {
  const Profile* profile = golden.profile ? &learned : nullptr;
  ChunkWorld world = WorldOf(golden);
  const auto object = world.Encode(profile, "scalar").value();
  const OpenedObject opened = OpenObject(object).value();
  for (const GoldenDecode& decode : kGoldenDecodes) {
    const auto memory =
        world.Decode(opened, decode.levels, profile, decode.moved, "scalar").value();
    digests << golden.name << ' ' << decode.levels << ' ' << decode.moved << ' ' << DigestOf(memory)
            << '\n';
  }
  bool good = Write(folder + std::string(golden.name) + ".object", object);
  if (golden.name != kDamagedObject) return good;
  for (const GoldenLevelDamage& damage : GoldenLevelDamages()) {
    auto broken = object;
    damage.apply(broken);
    good = Write(folder + damage.name + ".object", broken) && good;
  }
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: codec_golden_levels_write FOLDER\n");
    return 2;
  }
  const std::string folder = std::string(argv[1]) + "/";
  Profile profile = LearnGoldenProfile();
  bool good = profile.FinishForEncoding().ok();
  profile.Name(NumberedProfileId(0));
  good = Write(folder + std::string(kGoldenProfile), profile.bytes()) && good;
  for (const GoldenProfileDamage& damage : GoldenProfileDamages()) {
    auto broken = profile.bytes();
    damage.apply(broken);
    good = Write(folder + damage.name, broken) && good;
  }
  std::ofstream digests(folder + "digests.txt");
  for (const GoldenObject& golden : GoldenObjects()) {
    good = WriteObject(folder, golden, profile, digests) && good;
  }
  good = static_cast<bool>(digests.flush()) && good;
  if (!good) std::fprintf(stderr, "codec_golden_levels_write: cannot write to %s\n", argv[1]);
  return good ? 0 : 1;
}
