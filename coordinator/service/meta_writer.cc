#include "coordinator/service/meta_writer.h"

#include <iterator>
#include <utility>

namespace kdn::coordinator {
namespace {

constexpr std::size_t kQueuedMax = 4096;

}  // namespace

MetaWriter::MetaWriter(Metastore& metastore, Written written)
    : metastore_(metastore), written_(std::move(written)), thread_([this] { Run(); }) {}

MetaWriter::~MetaWriter() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

bool MetaWriter::Write(MetaWrite write) {
  {
    const std::lock_guard lock(mutex_);
    if (queue_.size() >= kQueuedMax) return false;
    queue_.push_back(std::move(write));
  }
  changed_.notify_one();
  return true;
}

void MetaWriter::Run() {
  std::vector<MetaWrite> writes;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      writes.swap(queue_);
    }
    MetaBatch together;
    for (MetaWrite& write : writes) {
      std::ranges::move(write.batch.operations, std::back_inserter(together.operations));
    }
    const Status status = metastore_.Write(together);
    for (const MetaWrite& write : writes) written_(write.id, status);
    writes.clear();
  }
}

}  // namespace kdn::coordinator
