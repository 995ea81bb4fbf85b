// The message with which a process of this host shows its memory: it is refused or read, and what
// reads is written alike. What it says of bulk is found inside the memory or not at all.
#include <fcntl.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "transport/shm/offer.h"
#include "transport/shm/server_share.h"

namespace {

using namespace kdn::transport;

constexpr std::size_t kMemoryBytes = 4 * shm::kPageBytes;

// One process's memory, mapped once.
class Offered {
 public:
  Offered()
      : gates_(*shm::SharedMemory::Make(shm::kGatesBytes)),
        memory_(*shm::SharedMemory::Make(kMemoryBytes)) {
    std::vector<Fd> fds;
    for (const int fd : {gates_.fd(), memory_.fd(), memory_.fd()}) {
      fds.emplace_back(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    }
    offered_ =
        *shm::OfferedMemory::Map({{Nonce{}}, {kMemoryBytes, shm::kPageBytes}}, fds, {}, table_);
  }
  void Find(const FrameHeader& request) const {
    const auto place = offered_->Find(request, 1);
    if (!place) return;
    const std::size_t size = place->size_bytes;
    if (size > kMemoryBytes || size != request.size_a + request.size_b) std::abort();
    // Both ends can be read, and the gate too.
    volatile std::byte read{};
    if (size > 0) read = place->begin[0];
    if (size > 0) read = place->begin[size - 1];
    static_cast<void>(read);
    if (shm::Gate(*place->gate).Enter(place->key)) std::abort();  // nobody has opened it
  }

 private:
  const SharedMemoryOptions options_;
  shm::MappingTable table_{options_};
  shm::SharedMemory gates_;
  shm::SharedMemory memory_;
  std::shared_ptr<const shm::OfferedMemory> offered_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const kdn::ConstBytes bytes = std::as_bytes(std::span(data, size));
  if (const auto offer = shm::MemoryOffer::Decode(bytes)) {
    std::vector<std::byte> again;
    offer->Encode(again);
    if (again.size() != size || std::memcmp(again.data(), data, size) != 0) std::abort();
    if (size > shm::kOfferBytesMax) std::abort();
  }
  static const Offered offered;
  kdn::ByteReader in(bytes);
  FrameHeader request{.type = FrameType::kRequest, .call = in.Integer<std::uint32_t>()};
  request.piece = in.Integer<std::uint32_t>();
  request.offset = in.Integer<std::uint64_t>();
  request.size_a = in.Integer<std::uint64_t>();
  request.size_b = in.Integer<std::uint64_t>();
  // Only what a header may say gets that far.
  FrameBytes sealed;
  Seal(request, {}, sealed);
  if (OpenFrame(sealed)) offered.Find(request);
  return 0;
}
