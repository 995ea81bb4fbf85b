#include "coordinator/core/contexts.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "coordinator/core/hard_state.h"
#include "proto/wire/context.h"

namespace kdn::coordinator {
namespace {

struct Changed {
  Context context;
  std::size_t first_changed = 0;  // of its keys; as many as there are: none
};

std::size_t FirstDifference(const std::vector<ChunkKey>& a, const std::vector<ChunkKey>& b) {
  return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

Result<Changed> Applied(const ContextName& id, const Context& before, const ContextSuffix& suffix) {
  if (before.revision != 0 && before.model != suffix.model && !before.model.IsZero()) {
    return Error(Code::kFailedPrecondition, "context '" + id.name + "' is of another model");
  }
  if (suffix.first_chunk > before.keys.size()) {
    return Error(Code::kOutOfRange, "context '" + id.name + "' has " +
                                        std::to_string(before.keys.size()) + " chunks, not " +
                                        std::to_string(suffix.first_chunk));
  }
  if (suffix.first_chunk + suffix.keys.size() > limits::kChunksPerContextMax) {
    return Error(Code::kOutOfRange, "context '" + id.name + "' would have more than " +
                                        std::to_string(limits::kChunksPerContextMax) + " chunks");
  }
  Changed changed{before, 0};
  Context& context = changed.context;
  context.id = id;
  context.model = suffix.model;
  context.token_count = suffix.token_count;
  context.keys.resize(suffix.first_chunk);
  context.keys.insert(context.keys.end(), suffix.keys.begin(), suffix.keys.end());
  changed.first_changed = FirstDifference(context.keys, before.keys);
  if (id.name.starts_with(wire::kOwnContextPrefix)) {
    if (before.revision != 0 && context.keys != before.keys) {
      return Error(Code::kAlreadyExists, "context '" + id.name + "' is there, with other chunks");
    }
    context.policy.pinned = true;
  }
  return changed;
}

Result<Changed> Applied(const ContextName& id, const Context& before, const ContextFields& fields) {
  if (fields.revision_expected != 0 && fields.revision_expected != before.revision) {
    return Error(Code::kAborted,
                 "context '" + id.name + "' has revision " + std::to_string(before.revision));
  }
  if (fields.values.keys.size() > limits::kChunksPerContextMax) {
    return Error(Code::kOutOfRange, "a context has at most " +
                                        std::to_string(limits::kChunksPerContextMax) + " chunks");
  }
  Changed changed{before, before.keys.size()};
  Context& context = changed.context;
  context.id = id;
  if (fields.keys) {
    context.model = fields.values.model;
    context.token_count = fields.values.token_count;
    context.keys = fields.values.keys;
    changed.first_changed = FirstDifference(context.keys, before.keys);
  }
  const ContextPolicy& wanted = fields.values.policy;
  if (fields.level) context.policy.level = wanted.level;
  if (fields.pinned) context.policy.pinned = wanted.pinned;
  if (fields.ttl) context.policy.ttl_ms = wanted.ttl_ms;
  if (fields.priority) context.policy.priority = wanted.priority;
  if (fields.replicas) context.policy.replicas = wanted.replicas;
  return changed;
}

Result<Changed> Applied(const ContextName& id, const Context& before, const ContextRemoval&) {
  if (before.revision == 0) return Error(Code::kNotFound, "no context named '" + id.name + "'");
  return Changed{before, 0};
}

}  // namespace

Status CheckContextName(std::string_view name) {
  const bool plain = std::ranges::all_of(
      name, [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7F; });
  if (!name.empty() && name.size() <= limits::kContextNameBytesMax && plain) return Status();
  return Status(Code::kInvalidArgument,
                "a context's name has 1 to 256 bytes, none of them a control character");
}

Contexts::Contexts(const std::vector<Context>& stored, WriteIds& write_ids)
    : write_ids_(write_ids) {
  for (const Context& context : stored) contexts_[context.id].now = context;
}

const Context* Contexts::Find(const ContextName& id) const {
  const auto at = contexts_.find(id);
  return at == contexts_.end() || at->second.now.revision == 0 ? nullptr : &at->second.now;
}

std::vector<const Context*> Contexts::List(TenantId tenant, std::string_view prefix,
                                           const ContextName& after, std::size_t count) const {
  std::vector<const Context*> found;
  const ContextName first{tenant, std::string(prefix)};
  // Of one tenant, names with the prefix lie side by side; over all tenants everything is looked
  // at.
  auto at = after < first ? contexts_.lower_bound(first) : contexts_.upper_bound(after);
  for (; at != contexts_.end() && found.size() < count; ++at) {
    const auto& [id, entry] = *at;
    const bool matches = id.name.starts_with(prefix);
    if (tenant != TenantId{} && (id.tenant != tenant || !matches)) break;
    if (matches && entry.now.revision != 0) found.push_back(&entry.now);
  }
  return found;
}

void Contexts::Change(const ContextName& id, ContextChange change, ReplyId reply,
                      Actions& actions) {
  const auto known = contexts_.find(id);
  if (known == contexts_.end() && contexts_.size() >= kContextsMax) {
    actions.answers.push_back({reply, Error(Code::kResourceExhausted, "too many contexts")});
    return;
  }
  Entry& entry = known == contexts_.end() ? contexts_[id] : known->second;
  if (!entry.writing) {
    Begin(id, entry, change, reply, actions);
    GoOn(id, actions);
  } else if (entry.waiting.size() < kWaitingPerContextMax) {
    entry.waiting.push_back({std::move(change), reply});
  } else {
    actions.answers.push_back(
        {reply, Error(Code::kResourceExhausted, "too many changes of one context wait")});
  }
}

void Contexts::Begin(const ContextName& id, Entry& entry, const ContextChange& change,
                     ReplyId reply, Actions& actions) {
  Result<Changed> changed =
      std::visit([&](const auto& wanted) { return Applied(id, entry.now, wanted); }, change);
  if (!changed) {
    actions.answers.push_back({reply, std::unexpected(changed.error())});
    return;
  }
  const bool removing = std::holds_alternative<ContextRemoval>(change);
  if (!removing && entry.now.revision != 0 && changed->context == entry.now) {
    actions.answers.push_back({reply, entry.now});
    return;
  }
  entry.next = std::move(changed->context);
  ++entry.next.revision;
  entry.writing = true;
  entry.removing = removing;
  entry.reply = reply;
  MetaWrite write{write_ids_.Next(), {}};
  if (removing) {
    DeleteContext(entry.now, write.batch);
  } else {
    const std::size_t first_changed = entry.doubtful ? 0 : changed->first_changed;
    const std::size_t chunks_before =
        entry.doubtful ? limits::kChunksPerContextMax : entry.now.keys.size();
    PutContext(entry.next, first_changed, chunks_before, write.batch);
  }
  writes_.emplace(write.id, id);
  actions.writes.push_back(std::move(write));
}

// Starts what waits, as far as it needs no write; forgets a context that has not come to be.
void Contexts::GoOn(const ContextName& id, Actions& actions) {
  const auto at = contexts_.find(id);
  Entry& entry = at->second;
  while (!entry.writing && !entry.waiting.empty()) {
    const Waiting next = std::move(entry.waiting.front());
    entry.waiting.pop_front();
    Begin(id, entry, next.change, next.reply, actions);
  }
  if (!entry.writing && entry.now.revision == 0) contexts_.erase(at);
}

bool Contexts::OnWritten(WriteId write, const Status& status, Actions& actions) {
  const auto ours = writes_.find(write);
  if (ours == writes_.end()) return false;
  const ContextName id = ours->second;
  writes_.erase(ours);
  Entry& entry = contexts_.at(id);
  entry.writing = false;
  entry.doubtful = !status.ok();
  if (!status.ok()) {
    actions.answers.push_back({entry.reply, std::unexpected(status)});
  } else {
    actions.answers.push_back({entry.reply, entry.next});
    entry.now = entry.removing ? Context{} : std::move(entry.next);
  }
  entry.next = Context{};
  GoOn(id, actions);
  return true;
}

}  // namespace kdn::coordinator
