// A transport within one process, for tests and in-process clusters: the same contract and the same
// Hello, no sockets. On one thread everything happens in the order of the polls; several threads
// may each poll their own end.
//
// Domains meet in a Network: those that share one reach each other's servers. Other than over TCP,
// Connect() needs nobody who polls the server.
//
// Thread-safety: a Network is safe; the rest as transport/channel.h says, but for a short lock on
// each pair of channel and server.
#pragma once

#include <memory>

#include "transport/channel.h"

namespace kdn::transport::loopback {

// What may go wrong on the way: for tests. Called on any server's thread.
class Faults {
 public:
  virtual ~Faults() = default;
  // A piece lies in its receiver's memory and is about to be reported. May change its bytes; false
  // loses it without a trace.
  virtual bool OnPiece(MutableBytes arrived) = 0;
};

class Network;

// `faults`, which may be null, outlives the network.
[[nodiscard]] std::shared_ptr<Network> NewNetwork(Faults* faults = nullptr);

// A domain in `network`, shared because the last of its domains ends it.
[[nodiscard]] Result<std::unique_ptr<Domain>> OpenLoopbackDomain(std::shared_ptr<Network> network,
                                                                 const Options& options,
                                                                 const Clock& clock,
                                                                 Random& random);
// A domain in a network of its own.
[[nodiscard]] Result<std::unique_ptr<Domain>> OpenLoopbackDomain(const Options& options,
                                                                 const Clock& clock, Random& random,
                                                                 Log& log);

}  // namespace kdn::transport::loopback
