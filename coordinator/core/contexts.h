// Named contexts of all tenants: the list of chunks behind a name, and what an operator set on it.
// Hard state: a change is answered, and seen by readers, once the metastore has it on disk. Changes
// of one context happen one after the other; the later ones wait here.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "coordinator/core/actions.h"
#include "coordinator/core/context.h"

namespace kdn::coordinator {

inline constexpr std::size_t kContextsMax = 1U << 20;
inline constexpr std::size_t kWaitingPerContextMax = 64;

// Puts `keys` at [first_chunk, ...) of the list and cuts what followed. One of KDN's own contexts
// (wire::kOwnContextPrefix) becomes pinned by it, and cannot be changed by it.
struct ContextSuffix {
  ModelFingerprint model;
  std::uint32_t first_chunk = 0;
  std::uint64_t token_count = 0;
  std::vector<ChunkKey> keys;
};

// Sets the fields that are named, and those only.
struct ContextFields {
  Context values;
  bool keys = false;  // and with them model and token count
  bool level = false;
  bool pinned = false;
  bool ttl = false;
  bool priority = false;
  bool replicas = false;
  std::uint64_t revision_expected = 0;  // 0: whatever it is
};

struct ContextRemoval {};

using ContextChange = std::variant<ContextSuffix, ContextFields, ContextRemoval>;

// kInvalidArgument unless it may be the name of a context.
[[nodiscard]] Status CheckContextName(std::string_view name);

class Contexts {
 public:
  // `write_ids` outlives this object.
  Contexts(const std::vector<Context>& stored, WriteIds& write_ids);

  // nullptr if there is none, or its making is not on disk yet.
  [[nodiscard]] const Context* Find(const ContextName& id) const;

  // Up to `count` contexts after `after`, in order, of one tenant (0: of all), whose names begin
  // with `prefix`.
  [[nodiscard]] std::vector<const Context*> List(TenantId tenant, std::string_view prefix,
                                                 const ContextName& after, std::size_t count) const;

  // Answers `reply` with the context as it became, or with kOutOfRange (a suffix beyond the end, or
  // too long), kFailedPrecondition (another model), kAlreadyExists (KDN's own), kAborted (another
  // revision), kNotFound (nothing to remove), kResourceExhausted (too many wait). A change that
  // changes nothing writes nothing.
  void Change(const ContextName& id, ContextChange change, ReplyId reply, Actions& actions);
  // False if the write was none of this object's.
  bool OnWritten(WriteId write, const Status& status, Actions& actions);

  // A removed context still counts while its removal is written.
  [[nodiscard]] std::size_t count() const { return contexts_.size(); }

 private:
  struct Waiting {
    ContextChange change;
    ReplyId reply{};
  };
  struct Entry {
    Context now;   // on disk; revision 0: not yet
    Context next;  // being written
    bool writing = false;
    bool removing = false;
    bool doubtful = false;  // a write failed: what the disk has is either state
    ReplyId reply{};        // whom the write answers
    std::deque<Waiting> waiting;
  };

  void Begin(const ContextName& id, Entry& entry, const ContextChange& change, ReplyId reply,
             Actions& actions);
  void GoOn(const ContextName& id, Actions& actions);

  WriteIds& write_ids_;
  std::map<ContextName, Entry> contexts_;
  std::map<WriteId, ContextName> writes_;
};

}  // namespace kdn::coordinator
