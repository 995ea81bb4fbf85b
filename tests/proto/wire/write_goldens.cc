// Writes the golden bytes of every data-plane message into a folder. Run when a message is added;
// when the bytes of an old one change, the protocol changes.
#include <cstdio>
#include <fstream>
#include <string>

#include "tests/proto/wire/message_cases.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: write_wire_goldens FOLDER\n");
    return 2;
  }
  for (const kdn::test::MessageCase& message : kdn::test::MessageCases()) {
    std::ofstream file(std::string(argv[1]) + "/" + std::string(message.name) + ".bin",
                       std::ios::binary);
    file << kdn::AsText(message.sample());
  }
  return 0;
}
