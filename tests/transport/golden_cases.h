// One message of each kind with every field set: what tests/golden/transport holds the bytes of.
#pragma once

#include <string>
#include <vector>

#include "transport/frame.h"
#include "transport/hello.h"

namespace kdn::transport::test {

[[nodiscard]] ClientHello GoldenClientHello();
[[nodiscard]] ServerHello GoldenServerHello();
[[nodiscard]] ClientProof GoldenClientProof();
[[nodiscard]] ServerProof GoldenServerProof();

// A header of each type, and the body that the messages among them have.
[[nodiscard]] std::vector<FrameHeader> GoldenFrames();
[[nodiscard]] std::vector<std::byte> GoldenBody(const FrameHeader& header);

struct GoldenCase {
  std::string name;  // of the file, without ".bin"
  std::vector<std::byte> bytes;
};
[[nodiscard]] std::vector<GoldenCase> GoldenHellos();
// Each header as it is sealed; its body is not in it.
[[nodiscard]] std::vector<GoldenCase> GoldenFrameHeaders();

}  // namespace kdn::transport::test
