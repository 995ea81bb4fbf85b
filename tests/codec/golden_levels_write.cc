// Adds what is missing to the files of tests/golden/levels: golden_levels_write FOLDER. Files that
// are there stay as they are, since objects in stores do not change with the code. Run it when the
// format gains something, or when encoders choose other bins: what was written with the old ones
// is then marked as only read, and new objects join it.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "codec/kernels/kernels.h"
#include "tests/codec/golden_levels.h"
#include "tests/codec/profile_ids.h"

namespace {

using namespace kdn::codec;

// The file as it stands, or, where there is none, written with what `make` says.
template <class Make>
std::vector<std::byte> Keep(const std::string& path, const Make& make) {
  std::ifstream in(path, std::ios::binary);
  if (in) {
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    const kdn::ConstBytes bytes = kdn::AsBytes(text);
    return {bytes.begin(), bytes.end()};
  }
  const std::vector<std::byte> bytes = make();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) {
    std::fprintf(stderr, "codec_golden_levels_write: cannot write %s\n", path.c_str());
    std::exit(1);
  }
  return bytes;
}

template <class Damage>
std::vector<std::byte> Broken(std::vector<std::byte> good, const Damage& damage) {
  damage.apply(good);
  return good;
}

void WriteObject(const std::string& folder, const GoldenObject& golden, const Profile& learned,
                 std::ofstream& digests) {
  const Profile* profile = golden.profile ? &learned : nullptr;
  ChunkWorld world = WorldOf(golden);
  const auto object = Keep(folder + std::string(golden.name) + ".object",
                           [&] { return world.Encode(profile, "scalar").value(); });
  const OpenedObject opened = OpenObject(object).value();
  for (const GoldenDecode& decode : kGoldenDecodes) {
    const auto memory =
        world.Decode(opened, decode.levels, profile, decode.moved, "scalar").value();
    digests << golden.name << ' ' << decode.levels << ' ' << decode.moved << ' ' << DigestOf(memory)
            << '\n';
  }
  if (golden.name != kDamagedObject) return;
  for (const GoldenLevelDamage& damage : GoldenLevelDamages()) {
    Keep(folder + damage.name + ".object", [&] { return Broken(object, damage); });
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: codec_golden_levels_write FOLDER\n");
    return 2;
  }
  const std::string folder = std::string(argv[1]) + "/";
  const auto bytes =
      Keep(folder + std::string(kGoldenProfile), [] { return LearnGoldenProfile().bytes(); });
  for (const GoldenProfileDamage& damage : GoldenProfileDamages()) {
    Keep(folder + damage.name, [&] { return Broken(bytes, damage); });
  }
  Profile profile = Profile::Decode(SpecOf(GoldenObjects()[0]), bytes).value();
  bool good = profile.FinishForEncoding().ok();
  profile.Name(NumberedProfileId(0));
  std::ofstream digests(folder + "digests.txt");
  for (const GoldenObject& golden : GoldenObjects()) WriteObject(folder, golden, profile, digests);
  good = static_cast<bool>(digests.flush()) && good;
  if (!good) std::fprintf(stderr, "codec_golden_levels_write: cannot write to %s\n", argv[1]);
  return good ? 0 : 1;
}
