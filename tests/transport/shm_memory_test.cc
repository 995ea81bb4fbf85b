// Goal: what one process shows another cannot harm either: pages do not go away, are not written
// after a call has ended, and come from whom they should.
// Method: the pieces of transport/shm by themselves, in one process that maps the memory twice.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include "tests/transport/golden_cases.h"
#include "transport/regions.h"
#include "transport/shm/gate.h"
#include "transport/shm/offer.h"
#include "transport/shm/server_share.h"
#include "transport/shm/shared_memory.h"

namespace kdn::transport::shm {
namespace {

constexpr std::size_t kSize = 16 * kPageBytes;

Fd Memfd(std::size_t size, int seals) {
  Fd fd(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(ftruncate(fd.get(), static_cast<off_t>(size)), 0);
  if (seals != 0) {
    EXPECT_EQ(fcntl(fd.get(), F_ADD_SEALS, seals), 0);
  }
  return fd;
}

SharedMemoryOptions Bounds(std::uint64_t all, std::uint64_t each) {
  SharedMemoryOptions options;
  options.bytes_max = all;
  options.process_bytes_max = each;
  return options;
}

TEST(SharedMemory, KeepsItsPagesWhateverItsOwnerDoes) {
  const SharedMemory memory = *SharedMemory::Make(kSize - 5);
  EXPECT_EQ(memory.bytes().size(), kSize);
  EXPECT_TRUE(CheckShareable(memory.fd(), kSize).ok());
  EXPECT_NE(ftruncate(memory.fd(), kPageBytes), 0);
  EXPECT_NE(ftruncate(memory.fd(), 2 * kSize), 0);
  // A seal cannot be taken off, and none be added that would stop the other side.
  EXPECT_NE(fcntl(memory.fd(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  EXPECT_FALSE(SharedMemory::Make(0));
}

TEST(SharedMemory, OnlySealedMemoryOfTheSystemIsTaken) {
  const Fd unsealed = Memfd(kSize, 0);
  EXPECT_EQ(CheckShareable(unsealed.get(), kSize).code(), Code::kInvalidArgument);
  const Fd growing = Memfd(kSize, F_SEAL_GROW);
  EXPECT_EQ(CheckShareable(growing.get(), kSize).code(), Code::kInvalidArgument);
  const Fd sealed = Memfd(kSize, F_SEAL_SHRINK);
  EXPECT_TRUE(CheckShareable(sealed.get(), kSize).ok());
  EXPECT_EQ(CheckShareable(sealed.get(), kSize + 1).code(), Code::kInvalidArgument);
  const Fd program(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(CheckShareable(program.get(), kPageBytes).code(), Code::kInvalidArgument);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const Fd in(ends[0]);
  const Fd out(ends[1]);
  EXPECT_EQ(CheckShareable(in.get(), kPageBytes).code(), Code::kInvalidArgument);
}

TEST(SharedMemory, PagesMadePrivateKeepTheirBytesAndHearNoMore) {
  const SharedMemory memory = *SharedMemory::Make(kSize);
  const Mapping other = *Mapping::Of(memory.fd(), kSize);
  for (std::size_t i = 0; i < kSize; ++i) memory.bytes()[i] = static_cast<std::byte>(i * 7);
  const std::vector<std::byte> before(memory.bytes().begin(), memory.bytes().end());
  const MutableBytes window = memory.bytes().subspan(2 * kPageBytes, kPageBytes + 100);
  ASSERT_TRUE(MakePagesPrivate(window));
  EXPECT_EQ(std::memcmp(memory.bytes().data(), before.data(), kSize), 0);
  std::memset(other.bytes().data(), 0xEE, kSize);
  // The rest is as shared as before.
  EXPECT_EQ(memory.bytes()[2 * kPageBytes - 1], std::byte{0xEE});
  EXPECT_EQ(memory.bytes()[4 * kPageBytes], std::byte{0xEE});
  EXPECT_EQ(std::memcmp(memory.bytes().data() + 2 * kPageBytes, before.data() + 2 * kPageBytes,
                        2 * kPageBytes),
            0);
}

TEST(SharedMemory, ARegionKnowsWhatItHasMadePrivate) {
  const SharedMemory memory = *SharedMemory::Make(kSize);
  Region region(memory.region());
  EXPECT_TRUE(region.IsShared(memory.bytes()));
  ASSERT_TRUE(region.MakePrivate(memory.bytes().subspan(3 * kPageBytes, 10)));
  EXPECT_TRUE(region.IsShared(memory.bytes().first(3 * kPageBytes)));
  EXPECT_FALSE(region.IsShared(memory.bytes().first(3 * kPageBytes + 1)));
  EXPECT_FALSE(region.IsShared(memory.bytes().subspan(4 * kPageBytes - 1, 1)));
  EXPECT_TRUE(region.IsShared(memory.bytes().subspan(4 * kPageBytes)));
  std::vector<std::byte> own(10);
  EXPECT_FALSE(Region({own.data(), own.size()}).IsShared(own));
}

TEST(Gate, LetsTheServerInWhileTheCallIsOpen) {
  GateWord word;
  Gate gate(word);
  const std::uint64_t key = GateKey(3, 0xFFFFFFFF);
  EXPECT_FALSE(gate.Enter(key));
  gate.Open(key);
  EXPECT_FALSE(gate.Enter(GateKey(2, 0xFFFFFFFF)));
  EXPECT_FALSE(gate.Enter(GateKey(3, 7)));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(gate.Enter(key));
    EXPECT_TRUE(gate.Leave(key));
  }
  EXPECT_TRUE(gate.Close());
  EXPECT_FALSE(gate.Enter(key));
}

TEST(Gate, ClosingWaitsForTheServerToLeave) {
  GateWord word;
  Gate gate(word);
  gate.Open(GateKey(0, 1));
  ASSERT_TRUE(gate.Enter(GateKey(0, 1)));
  EXPECT_FALSE(gate.Close());
  EXPECT_FALSE(gate.Close());
  EXPECT_FALSE(gate.Leave(GateKey(0, 1)));  // and so it knows that its bytes count for nothing
  EXPECT_TRUE(gate.Close());
}

TEST(Gate, AServerThatComesBackLateFindsANewCallsGateShut) {
  GateWord word;
  Gate gate(word);
  gate.Open(GateKey(0, 1));
  ASSERT_TRUE(gate.Enter(GateKey(0, 1)));
  EXPECT_FALSE(gate.Close());
  gate.Open(GateKey(0, 2));  // the client has cut the server off and used the gate again
  EXPECT_FALSE(gate.Leave(GateKey(0, 1)));
  EXPECT_FALSE(gate.Enter(GateKey(0, 1)));
  EXPECT_TRUE(gate.Enter(GateKey(0, 2)));
  EXPECT_TRUE(gate.Leave(GateKey(0, 2)));
  EXPECT_TRUE(gate.Close());
}

TEST(Gate, NothingIsWrittenOnceItIsClosed) {
  // The server writes as fast as it can; whatever the client writes after closing stays.
  GateWord word;
  std::vector<std::byte> window(4096);
  const std::vector<std::byte> ones(4096, std::byte{1});
  std::atomic<std::uint32_t> current{0};
  std::atomic<bool> stop{false};
  std::thread server([&] {
    const SharedPlace place{window.data(), window.size(), &word, 0};
    while (!stop) {
      SharedPlace now = place;
      now.key = GateKey(0, current.load());
      const ConstBytes from = ones;
      [[maybe_unused]] const bool wrote = now.Write(0, {&from, 1});
    }
  });
  Gate gate(word);
  for (std::uint32_t call = 1; call <= 2000; ++call) {
    gate.Open(GateKey(0, call));
    current.store(call);
    while (!gate.Close()) {
    }
    std::memset(window.data(), 2, window.size());
    EXPECT_EQ(window[call % window.size()], std::byte{2});
    const std::byte* wrong =
        static_cast<const std::byte*>(std::memchr(window.data(), 1, window.size()));
    ASSERT_EQ(wrong, nullptr);
  }
  stop = true;
  server.join();
}

TEST(MemoryOffer, BytesAreThoseOfTheGoldenFiles) {
  for (const test::GoldenCase& golden : test::GoldenShares()) {
    std::ifstream file(KDN_GOLDEN_FOLDER "/share/" + golden.name + ".bin", std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
    EXPECT_EQ(AsText(golden.bytes), text) << golden.name;
  }
}

TEST(MemoryOffer, ReadsAsWhatWasWrittenAndNothingElse) {
  const MemoryOffer offer = test::GoldenOffer();
  std::vector<std::byte> bytes;
  offer.Encode(bytes);
  EXPECT_EQ(MemoryOffer::Decode(bytes), offer);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(MemoryOffer::Decode(ConstBytes(bytes).first(size)));
  }
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(MemoryOffer::Decode(bytes));
  const auto refused = [](const MemoryOffer& wrong) {
    std::vector<std::byte> out;
    wrong.Encode(out);
    return !MemoryOffer::Decode(out);
  };
  EXPECT_TRUE(refused({{}, offer.sizes}));
  EXPECT_TRUE(refused({offer.tickets, {}}));
  EXPECT_TRUE(refused({offer.tickets, {0}}));
  EXPECT_TRUE(refused({offer.tickets, {kPageBytes + 1}}));
  EXPECT_TRUE(refused({{offer.tickets[0], offer.tickets[0]}, offer.sizes}));
  EXPECT_TRUE(refused({offer.tickets, std::vector<std::uint64_t>(kSharedRegionsMax + 1, 4096)}));
  EXPECT_TRUE(refused({std::vector<Nonce>(kOfferConnectionsMax + 1), offer.sizes}));
}

TEST(MappingTable, MapsAMemoryOnceAndForgetsItWithItsLastUser) {
  const SharedMemoryOptions options = Bounds(4 * kSize, 2 * kSize);
  MappingTable table(options);
  const SharedMemory memory = *SharedMemory::Make(kSize);
  const Owner owner{1000, 7};
  auto first = *table.Map(memory.fd(), kSize, owner);
  const Fd again(dup(memory.fd()));
  auto second = *table.Map(again.get(), kSize, owner);
  EXPECT_EQ(first, second);
  EXPECT_EQ(table.bytes(), kSize);
  first.reset();
  EXPECT_EQ(table.bytes(), kSize);
  second.reset();
  EXPECT_EQ(table.bytes(), 0U);
}

TEST(MappingTable, BoundsWhatEachProcessAndAllHaveMapped) {
  const SharedMemoryOptions options = Bounds(3 * kSize, 2 * kSize);
  MappingTable table(options);
  std::vector<SharedMemory> memories;
  for (int i = 0; i < 5; ++i) memories.push_back(*SharedMemory::Make(kSize));
  const Owner one{1000, 7};
  const Owner other{1000, 8};
  const auto first = table.Map(memories[0].fd(), kSize, one);
  auto second = table.Map(memories[1].fd(), kSize, one);
  EXPECT_EQ(table.Map(memories[2].fd(), kSize, one).error().code(), Code::kResourceExhausted);
  const auto third = table.Map(memories[3].fd(), kSize, other);
  EXPECT_TRUE(first && second && third);
  EXPECT_EQ(table.Map(memories[4].fd(), kSize, other).error().code(), Code::kResourceExhausted);
  second->reset();
  EXPECT_TRUE(table.Map(memories[4].fd(), kSize, other));
  EXPECT_EQ(table.Map(memories[4].fd(), ~std::uint64_t{0} << 12, other).error().code(),
            Code::kInvalidArgument);
}

TEST(OfferedMemory, FindsOnlyWhatLiesInside) {
  const SharedMemoryOptions options = Bounds(1 << 30, 1 << 30);
  MappingTable table(options);
  const SharedMemory gates = *SharedMemory::Make(kGatesBytes);
  const SharedMemory memory = *SharedMemory::Make(kSize);
  std::vector<Fd> fds;
  for (const int fd : {gates.fd(), memory.fd()}) fds.emplace_back(dup(fd));
  const MemoryOffer offer{{Nonce{}}, {kSize}};
  const auto offered = *OfferedMemory::Map(offer, fds, {}, table);
  const auto find = [&](std::uint32_t region, std::uint64_t offset, std::uint64_t size) {
    FrameHeader header{.type = FrameType::kRequest, .call = 5};
    header.piece = PackSharedBulk({region, 1});
    header.offset = offset;
    header.size_b = size;
    return offered->Find(header, 0);
  };
  EXPECT_TRUE(find(1, 0, kSize));
  EXPECT_TRUE(find(1, kSize - 1, 1));
  EXPECT_FALSE(find(1, kSize - 1, 2));
  EXPECT_FALSE(find(1, kSize + 1, 1));
  EXPECT_FALSE(find(1, ~std::uint64_t{0}, 2));
  EXPECT_FALSE(find(1, 1, ~std::uint64_t{0}));
  EXPECT_FALSE(find(2, 0, 1));
  EXPECT_FALSE(find(0, 0, 1));
  fds.pop_back();
  EXPECT_EQ(OfferedMemory::Map(offer, fds, {}, table).error().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace kdn::transport::shm
