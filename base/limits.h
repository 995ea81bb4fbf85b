// A bound on everything that comes from outside. Every length that is read from a socket, a disk or
// a config file is checked against one of these before it is used; nothing in KDN is unbounded.
//
// Raising a limit is a compatible change; lowering one is not. docs/protocol.md lists those that a
// peer can run into.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kdn::limits {

inline constexpr std::size_t kKiB = 1024;
inline constexpr std::size_t kMiB = 1024 * kKiB;

// Transport. Before a Hello is accepted a connection costs at most kPreHelloBytesMax.
inline constexpr std::size_t kHelloBytesMax = 4 * kKiB;
inline constexpr std::size_t kPreHelloBytesMax = 64 * kKiB;
inline constexpr std::size_t kRequestBytesMax = 512 * kKiB;
inline constexpr std::size_t kResponseBytesMax = 1 * kMiB;
inline constexpr std::size_t kBulkBytesMax = 256 * kMiB;  // of one call, each direction
inline constexpr std::size_t kPieceBytesMax = 4 * kMiB;
inline constexpr std::uint32_t kPiecesPerCallMax = 4096;
inline constexpr std::uint32_t kCallsPerConnectionMax = 1024;

// Model specs and chunks.
inline constexpr std::uint32_t kLayersMax = 1024;
inline constexpr std::uint32_t kKvHeadsMax = 1024;
inline constexpr std::uint32_t kHeadSizeMax = 1024;  // of an MLA latent; heads stay below 512
inline constexpr std::uint32_t kKvGroupsMax = 16;
inline constexpr std::uint32_t kTokensPerChunkMax = 4096;
inline constexpr std::uint32_t kPartsPerChunkMax = 64;
inline constexpr std::size_t kModelNameBytesMax = 256;
inline constexpr std::size_t kModelSpecBytesMax = 8 * kKiB;
inline constexpr std::size_t kExtrasBytesMax = 4 * kKiB;

// Objects.
inline constexpr std::uint32_t kTilesPerSegmentMax = 16 * 1024;
inline constexpr std::size_t kTileBytesMax = 64 * kMiB;
inline constexpr std::size_t kSegmentBytesMax = 256 * kMiB;
inline constexpr std::size_t kObjectBytesMax = 512 * kMiB;

// Directory and contexts.
inline constexpr std::uint32_t kKeysPerCallMax = 4096;
inline constexpr std::uint32_t kReplicasMax = 3;
inline constexpr std::uint32_t kNodesMax = 1024;
inline constexpr std::uint32_t kShardsPerNodeMax = 64;
inline constexpr std::size_t kContextNameBytesMax = 256;
inline constexpr std::uint32_t kChunksPerContextMax = 16 * 1024;
inline constexpr std::size_t kEndpointBytesMax = 256;
inline constexpr std::size_t kTicketBytesMax = 2 * kKiB;

}  // namespace kdn::limits
