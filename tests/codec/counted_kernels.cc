#include "tests/codec/counted_kernels.h"

#include <utility>

namespace kdn::codec {
namespace {

thread_local KernelWork work;

template <bool kLean>
bool CountedDecode(const RansBlock* blocks, std::size_t block_count) {
  for (std::size_t b = 0; b < block_count; ++b) work.symbols += blocks[b].count;
  work.blocks += block_count;
  const auto decode = kLean ? kScalarKernels.lean_decode : kScalarKernels.rans_decode;
  return decode(blocks, block_count);
}

void CountedCodes(const ClassCodes& codes, std::size_t tokens, std::int8_t* out,
                  std::size_t stride) {
  work.codes += tokens * codes.width;
  kScalarKernels.class_codes(codes, tokens, out, stride);
}

template <std::size_t kDType>
void CountedSynthesise(const Synthesis& s, const CodeRows& codes, std::byte* values,
                       const std::ptrdiff_t* rows) {
  work.values += codes.tokens * s.channels;
  work.products += codes.tokens * s.channels * s.block;
  kScalarKernels.synthesise[kDType](s, codes, values, rows);
}

Kernels Counted() {
  Kernels kernels = kScalarKernels;
  kernels.name = "counted";
  kernels.rans_decode = CountedDecode<false>;
  kernels.lean_decode = CountedDecode<true>;
  kernels.class_codes = CountedCodes;
  kernels.synthesise[0] = CountedSynthesise<0>;
  kernels.synthesise[1] = CountedSynthesise<1>;
  kernels.synthesise[2] = CountedSynthesise<2>;
  kernels.synthesise[3] = CountedSynthesise<3>;
  kernels.synthesise[4] = CountedSynthesise<4>;
  return kernels;
}

}  // namespace

const Kernels kCountedKernels = Counted();

KernelWork TakeWork() {
  return std::exchange(work, KernelWork{});
}

}  // namespace kdn::codec
