// What the disk shim makes nodes' writes meet.
//
// Thread-safety: values.
#pragma once

namespace kdn::fault {

enum class DiskFault : char {
  kNone = '0',
  kFull = 'f',       // writes fail with ENOSPC
  kBroken = 'e',     // writes and syncs fail with EIO
  kSyncFails = 'y',  // syncs alone fail, with EIO
  kSlow = 's',       // each write takes a second
};

}  // namespace kdn::fault
