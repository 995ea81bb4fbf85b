#include "client/core/read_attempt.h"

#include <algorithm>
#include <string>

namespace kdn::client {
namespace {

Status Wrong(const char* what) {
  return Status(Code::kDataLoss, std::string("a read brought ") + what);
}

}  // namespace

Status ReadAttempt::ReadHead() {
  auto header = DecodeHeader(window_.first(kObjectHeaderBytes));
  if (!header) return header.error();
  // The checksum says that the header is intact; these say that it is the one asked for.
  if (header->kind != wanted_.kind || header->key != wanted_.item.key ||
      header->put_id != wanted_.item.put_id) {
    return Wrong("another object's header");
  }
  if (header->model != wanted_.model || header->part != wanted_.shape ||
      header->token_count != wanted_.token_count || header->dtype != spec_.dtype) {
    return Wrong("an object of another shape");
  }
  if (header->first_position != wanted_.first_position) {
    return Wrong("an object from another position");
  }
  if ((header->flags & kFlagSealed) != 0) return Wrong("a sealed object");
  if (header->layers_per_group == 0 || header->heads_per_group == 0) {
    return Wrong("a header without tile groups");
  }
  header_ = *header;
  have_header_ = true;
  entry_count_ = ExpectedEntryCount(spec_, header_, wanted_.item.levels, wanted_.item.layers,
                                    wanted_.item.kv_heads);
  return {};
}

Status ReadAttempt::ReadEntries() {
  ByteReader reader(window_.subspan(kObjectHeaderBytes, entry_count_ * kTileEntryBytes));
  std::size_t offset = kObjectHeaderBytes + entry_count_ * kTileEntryBytes;
  entries_.reserve(entry_count_);
  offsets_.reserve(entry_count_);
  for (std::size_t i = 0; i < entry_count_; ++i) {
    entries_.push_back(DecodeTileEntry(reader));
    offsets_.push_back(offset);
    offset += entries_.back().size_bytes;
  }
  if (!reader.AtEnd()) return Wrong("a damaged tile entry");
  if (offset > window_.size()) return Wrong("tiles larger than their object");
  auto jobs = PlanTiles(spec_, header_, wanted_.item.levels, wanted_.item.layers,
                        wanted_.item.kv_heads, entries_);
  if (!jobs) return jobs.error();
  jobs_ = *std::move(jobs);
  job_ready_.resize(jobs_.size());
  planned_ = true;
  return {};
}

Status ReadAttempt::OnPiece(std::size_t offset, std::size_t size_bytes,
                            std::vector<std::uint32_t>& ready) {
  arrival_.Add(offset, size_bytes);
  if (!have_header_ && arrival_.Has(0, kObjectHeaderBytes)) KDN_RETURN_IF_ERROR(ReadHead());
  if (have_header_ && !planned_) {
    const std::size_t end = kObjectHeaderBytes + entry_count_ * kTileEntryBytes;
    if (end > window_.size()) return Wrong("more entries than there is room for");
    if (arrival_.Has(0, end)) KDN_RETURN_IF_ERROR(ReadEntries());
  }
  if (!planned_) return {};
  for (std::uint32_t j = 0; j < jobs_.size(); ++j) {
    if (job_ready_[j]) continue;
    const auto& parts = jobs_[j].entries;
    const bool whole = std::all_of(parts.begin(), parts.end(), [this](std::uint32_t i) {
      return arrival_.Has(offsets_[i], entries_[i].size_bytes);
    });
    if (!whole) continue;
    job_ready_[j] = true;
    ++jobs_ready_;
    ready.push_back(j);
  }
  return {};
}

}  // namespace kdn::client
