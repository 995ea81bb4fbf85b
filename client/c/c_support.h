// What the files of the C ABI share: the objects behind its opaque pointers, the last error, and
// the fence that no exception passes.
//
// Thread-safety: the last error is per thread; the rest as kdn.h says.
#pragma once

#include <chrono>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "client/c/callback_log.h"
#include "kdn/client.h"
#include "kdn/kdn.h"

struct kdn_client {
  ~kdn_client() {
    client.reset();
    if (log) log->Close();
  }
  std::shared_ptr<kdn::client::c::CallbackLog> log;  // null: the caller wants no lines
  std::unique_ptr<kdn::client::Client> client;
};

// A model is not closed: its client owns it. The C ABI hands out the C++ object's address.
struct kdn_model;

struct kdn_kv {
  std::vector<std::vector<std::byte*>> bases;
  std::vector<kdn::codec::KvPool> pools;
};

struct kdn_lookup {
  std::unique_ptr<kdn::client::LookupHandle> handle;  // null once taken
  kdn::client::LookupResult result;
};

struct kdn_load {
  std::unique_ptr<kdn::client::LoadHandle> handle;
};

struct kdn_plan {
  kdn::client::StorePlan plan;
};

struct kdn_store {
  std::unique_ptr<kdn::client::StoreHandle> handle;
};

namespace kdn::client::c {

// Remembers the message for kdn_last_error() and returns the code.
kdn_code Fail(Code code, std::string_view message);
inline kdn_code Fail(const Status& status) {
  return Fail(status.code(), status.message());
}
const char* LastError();

inline const Model* ModelOf(const kdn_model* model) {
  return reinterpret_cast<const Model*>(model);
}

// A struct of an older caller is shorter: its missing fields are read as zero.
template <class T>
T ReadStruct(const T* given) {
  T full;
  std::memset(&full, 0, sizeof(full));
  if (given != nullptr) {
    const std::size_t size = given->struct_size < sizeof(T) ? given->struct_size : sizeof(T);
    std::memcpy(&full, given, size);
  }
  return full;
}

// Writes no more than the caller's struct has room for.
template <class T>
void WriteStruct(T& from, T* to) {
  const std::size_t size = to->struct_size < sizeof(T) ? to->struct_size : sizeof(T);
  from.struct_size = to->struct_size;
  std::memcpy(to, &from, size);
}

// 0 is no deadline.
inline TimePoint DeadlineAfter(uint32_t timeout_ms) {
  if (timeout_ms == 0) return {};
  return std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
}

// NULL is no trace: the client makes one.
inline TraceId TraceOf(const uint8_t* bytes) {
  TraceId trace;
  if (bytes != nullptr) std::memcpy(trace.bytes.data(), bytes, TraceId::kSize);
  return trace;
}

inline std::vector<std::byte> BytesOf(const uint8_t* bytes, std::size_t size) {
  const auto* first = reinterpret_cast<const std::byte*>(bytes);
  return bytes == nullptr ? std::vector<std::byte>{} : std::vector<std::byte>(first, first + size);
}

// Runs `body`; what it throws becomes a code. The only exceptions that can come are the standard
// library's, for memory above all.
template <class Body>
kdn_code Guarded(Body body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return Fail(Code::kResourceExhausted, "out of memory");
  } catch (const std::exception& error) {
    return Fail(Code::kInternal, error.what());
  }
}

// The caller's block tables as spans; borrows them.
class BlockViews {
 public:
  explicit BlockViews(const kdn_block_tables& given) {
    const kdn_block_tables full = ReadStruct(&given);
    for (std::size_t t = 0; t < full.table_count; ++t) {
      views_.emplace_back(full.tables[t], full.block_counts[t]);
    }
  }
  [[nodiscard]] codec::BlockTables tables() const { return {views_}; }

 private:
  std::vector<std::span<const std::uint32_t>> views_;
};

// Copies into the caller's buffer; kResourceExhausted, and the size needed, if it is too small.
kdn_code CopyOut(ConstBytes bytes, void* out, std::size_t capacity, std::size_t* size);

}  // namespace kdn::client::c
