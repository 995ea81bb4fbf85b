// Which bytes of a receive window are there: pieces may come in any order.
//
// Thread-safety: not safe; caller synchronises.
#pragma once

#include <cstddef>
#include <iterator>
#include <map>

namespace kdn::client {

class Arrival {
 public:
  void Add(std::size_t offset, std::size_t size_bytes) {
    std::size_t begin = offset;
    std::size_t end = offset + size_bytes;
    auto it = runs_.upper_bound(begin);
    if (it != runs_.begin() && std::prev(it)->second >= begin) --it;
    while (it != runs_.end() && it->first <= end) {
      begin = begin < it->first ? begin : it->first;
      end = end > it->second ? end : it->second;
      it = runs_.erase(it);
    }
    runs_.emplace(begin, end);
  }
  [[nodiscard]] bool Has(std::size_t offset, std::size_t size_bytes) const {
    auto it = runs_.upper_bound(offset);
    if (it == runs_.begin()) return false;
    return std::prev(it)->second >= offset + size_bytes;
  }

 private:
  std::map<std::size_t, std::size_t> runs_;  // begin -> end; neither overlap nor touch
};

}  // namespace kdn::client
