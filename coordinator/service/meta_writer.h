// Writes hard state on a thread of its own, since a sync takes milliseconds and lookups must not
// wait for it. Writes that queue up while one is on its way go to the disk together.
//
// Thread-safety: safe.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "coordinator/core/actions.h"
#include "coordinator/metastore/metastore.h"

namespace kdn::coordinator {

class MetaWriter {
 public:
  // Called on the writer's thread, once per write, in order.
  using Written = std::function<void(WriteId, const Status&)>;

  // `metastore` outlives this object, which alone uses it from now on.
  MetaWriter(Metastore& metastore, Written written);
  // Finishes what is queued.
  ~MetaWriter();

  // False if too many writes are queued.
  [[nodiscard]] bool Write(MetaWrite write);

 private:
  void Run();

  Metastore& metastore_;
  Written written_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<MetaWrite> queue_;  // guarded by mutex_
  bool stopping_ = false;         // guarded by mutex_
  std::thread thread_;            // last: it uses all of the above
};

}  // namespace kdn::coordinator
