#include "transport/shm/server_share.h"

#include <sys/stat.h>

#include <cstring>

namespace kdn::transport::shm {

ClientMemory::~ClientMemory() {
  table_.Forget(owner_, mapping_.bytes().size());
}

Result<std::shared_ptr<const ClientMemory>> MappingTable::Map(int fd, std::uint64_t size_bytes,
                                                              Owner owner) {
  if (Status status = CheckShareable(fd, size_bytes); !status.ok()) return std::unexpected(status);
  struct stat file{};
  if (fstat(fd, &file) != 0) return Error(Code::kInvalidArgument, "no descriptor");
  const auto key = std::pair(owner, std::pair(file.st_dev, file.st_ino));
  std::shared_ptr<const ClientMemory> known;  // let go without the lock, which its end takes
  const std::lock_guard lock(mutex_);
  if (const auto found = known_.find(key); found != known_.end()) {
    known = found->second.lock();
    if (known != nullptr && known->bytes().size() >= size_bytes) return known;
  }
  std::uint64_t& of_owner = bytes_of_[owner];
  if (size_bytes > options_.bytes_max - bytes_ ||
      size_bytes > options_.process_bytes_max - of_owner) {
    if (of_owner == 0) bytes_of_.erase(owner);
    return Error(Code::kResourceExhausted, "more shared memory than may be mapped");
  }
  auto mapping = Mapping::Of(fd, size_bytes);
  if (!mapping) {
    if (of_owner == 0) bytes_of_.erase(owner);
    return std::unexpected(mapping.error());
  }
  bytes_ += size_bytes;
  of_owner += size_bytes;
  auto memory = std::make_shared<const ClientMemory>(*this, owner, *std::move(mapping));
  known_[key] = memory;
  return memory;
}

void MappingTable::Forget(Owner owner, std::uint64_t size_bytes) {
  const std::lock_guard lock(mutex_);
  bytes_ -= size_bytes;
  const auto found = bytes_of_.find(owner);
  found->second -= size_bytes;
  if (found->second == 0) bytes_of_.erase(found);
  std::erase_if(known_, [](const auto& entry) { return entry.second.expired(); });
}

std::uint64_t MappingTable::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

bool SharedPlace::Write(std::size_t offset, std::span<const ConstBytes> from) const {
  Gate guard(*gate);
  if (!guard.Enter(key)) return false;
  std::byte* to = begin + offset;
  for (const ConstBytes bytes : from) {
    if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
    to += bytes.size();
  }
  return guard.Leave(key);
}

bool SharedPlace::Read(std::size_t offset, std::span<const MutableBytes> into) const {
  Gate guard(*gate);
  if (!guard.Enter(key)) return false;
  const std::byte* from = begin + offset;
  for (const MutableBytes bytes : into) {
    if (!bytes.empty()) std::memcpy(bytes.data(), from, bytes.size());
    from += bytes.size();
  }
  return guard.Leave(key);
}

Result<std::shared_ptr<const OfferedMemory>> OfferedMemory::Map(const MemoryOffer& offer,
                                                                std::span<const Fd> fds,
                                                                Owner owner, MappingTable& table) {
  if (fds.size() != offer.sizes.size() + 1) {
    return Error(Code::kInvalidArgument, "another number of descriptors than of regions");
  }
  auto offered = std::make_shared<OfferedMemory>();
  KDN_ASSIGN_OR_RETURN(offered->gates_, table.Map(fds[0].get(), kGatesBytes, owner));
  for (std::size_t i = 0; i < offer.sizes.size(); ++i) {
    KDN_ASSIGN_OR_RETURN(auto memory, table.Map(fds[i + 1].get(), offer.sizes[i], owner));
    offered->regions_.push_back(std::move(memory));
  }
  return offered;
}

std::optional<SharedPlace> OfferedMemory::Find(const FrameHeader& request,
                                               std::uint32_t connection) const {
  const SharedBulk bulk = UnpackSharedBulk(request.piece);
  if (bulk.region == 0 || bulk.region > regions_.size() || bulk.gate >= kSharedGatesMax) {
    return std::nullopt;
  }
  const MutableBytes memory = regions_[bulk.region - 1]->bytes();
  const std::uint64_t size = request.size_a + request.size_b;
  if (request.offset > memory.size() || size > memory.size() - request.offset) return std::nullopt;
  SharedPlace place;
  place.begin = memory.data() + request.offset;
  place.size_bytes = size;
  place.gate = reinterpret_cast<GateWord*>(gates_->bytes().data()) + bulk.gate;
  place.key = GateKey(connection, request.call);
  return place;
}

}  // namespace kdn::transport::shm
