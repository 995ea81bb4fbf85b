// The kernels of encoding for AVX2: the plain loops, which the compiler turns into AVX2 here.
// Compiled with -mavx2, as avx2.cc is, and under the same rule: it calls no inline function that
// another file shares.
#include "codec/kernels/encode_one_by_one.h"

namespace kdn::codec {

constinit const EncodeKernels kAvx2Encode{
    .read = {ReadOneByOne<Bf16Number>, ReadOneByOne<Fp16Number>, ReadOneByOne<Fp32Number>,
             ReadOneByOne<Fp8E4M3Number>, ReadOneByOne<Fp8E5M2Number>},
    .measure = MeasureOneByOne,
    .count_bins = CountBinsOneByOne,
    .quantise = QuantiseOneByOne,
    .pack_plane = PackPlaneOneByOne,
    .count_symbols = CountSymbolsOneByOne,
    .spreads = {SpreadsOneByOne<Bf16Words>, SpreadsOneByOne<Fp16Words>, SpreadsOneByOne<Fp32Words>,
                SpreadsOneByOne<Fp8E4M3Words>, SpreadsOneByOne<Fp8E5M2Words>},
    .lean_encode_two = LeanEncodeOneByOne,
    .residual = {ResidualOneByOne<Bf16Words>, ResidualOneByOne<Fp16Words>,
                 ResidualOneByOne<Fp32Words>, ResidualOneByOne<Fp8E4M3Words>,
                 ResidualOneByOne<Fp8E5M2Words>},
};

}  // namespace kdn::codec
