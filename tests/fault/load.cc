#include "tests/fault/load.h"

#include <algorithm>

namespace kdn::fault {

void ExtraLatency::NoteCalm(const GetTime& get) {
  std::vector<Milliseconds>& calm = calm_[KindOf(get)];
  calm.insert(std::upper_bound(calm.begin(), calm.end(), get.took), get.took);
}

Milliseconds ExtraLatency::Of(const GetTime& get) const {
  const std::vector<Milliseconds>& calm = calm_[KindOf(get)];
  return calm.empty() ? Milliseconds(0) : get.took - calm[calm.size() / 2];
}

Milliseconds ExtraLatency::WorstOf(const std::vector<GetTime>& gets, std::size_t fault_begins) {
  for (std::size_t i = 0; i < std::min(fault_begins, gets.size()); ++i) NoteCalm(gets[i]);
  Milliseconds worst{};
  for (std::size_t i = fault_begins; i < gets.size(); ++i) worst = std::max(worst, Of(gets[i]));
  return worst;
}

void Load::Stop() {
  stop_.store(true);
  if (thread_.joinable()) thread_.join();
}

void Load::WaitGets(std::uint64_t count) {
  const std::uint64_t until = gets_.load() + count;
  for (std::uint64_t now = gets_.load(); now < until; now = gets_.load()) gets_.wait(now);
}

void Load::Run() {
  for (std::uint64_t d = 0; d < options_.documents; ++d) readable_.push_back(d);
  for (std::uint64_t turn = 0; !stop_.load(); ++turn) {
    if (turn % options_.put_every == 0) PutOne(options_.first_new + turn);
    GetOne(turn);
    gets_.fetch_add(1);
    gets_.notify_all();
  }
}

void Load::PutOne(std::uint64_t document) {
  const PutOutcome put = rig_.Put(document);
  ++puts_;
  latest_.Note(put.latest);
  if (!put.ok()) return;
  acknowledged_.push_back(document);
  if (put.report.chunks_under_replicated > 0) {
    ++under_replicated_;
    return;
  }
  stored_.push_back(document);
  // On two nodes: from now on a get of it may not fail.
  if (options_.known.empty()) readable_.push_back(document);
}

void Load::GetOne(std::uint64_t turn) {
  const std::uint64_t document = readable_[turn % readable_.size()];
  const auto order =
      turn % 2 == 0 ? client::LoadOrder::kChunkByChunk : client::LoadOrder::kLayerByLayer;
  const GetOutcome got = options_.known.empty()
                             ? rig_.Get(document, order)
                             : rig_.Load(document, options_.known[document], order);
  if (!got.whole && failed_++ == 0) {
    first_failure_ = "document " + std::to_string(document) + " gave " +
                     std::to_string(got.tokens) + " tokens, " +
                     std::string(CodeName(got.report.code));
  }
  wrong_ = wrong_ || got.wrong;
  slowest_ = std::max(slowest_, got.took);
  times_.push_back({document < Rig::kFirstShort, order, got.took});
  latest_.Note(got.latest);
}

}  // namespace kdn::fault
