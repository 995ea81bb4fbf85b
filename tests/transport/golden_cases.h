// One message of each kind with every field set: what tests/golden/transport holds the bytes of.
#pragma once

#include <string>
#include <vector>

#include "transport/frame.h"
#include "transport/hello.h"
#include "transport/shm/offer.h"

namespace kdn::transport::test {

[[nodiscard]] ClientHello GoldenClientHello();
[[nodiscard]] ServerHello GoldenServerHello();
[[nodiscard]] ClientProof GoldenClientProof();
[[nodiscard]] ServerProof GoldenServerProof();
[[nodiscard]] ServerProof GoldenShareProof();  // of a server that shares memory
[[nodiscard]] shm::MemoryOffer GoldenOffer();

// A header of each type, and the body that the messages among them have.
[[nodiscard]] std::vector<FrameHeader> GoldenFrames();
[[nodiscard]] std::vector<std::byte> GoldenBody(const FrameHeader& header);

struct GoldenCase {
  std::string name;  // of the file, without ".bin"
  std::vector<std::byte> bytes;
};
[[nodiscard]] std::vector<GoldenCase> GoldenHellos();
// What is said about sharing memory: the proof that invites, the offer that answers it.
[[nodiscard]] std::vector<GoldenCase> GoldenShares();
// Each header as it is sealed; its body is not in it.
[[nodiscard]] std::vector<GoldenCase> GoldenFrameHeaders();

}  // namespace kdn::transport::test
