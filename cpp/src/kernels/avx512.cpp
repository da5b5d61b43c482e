// AVX-512 (F, BW, VL, DQ), without instructions for int8 sums: those of int16 serve.
#include "kernels/avx512_registers.hpp"

namespace tripletmine {
namespace {

constexpr int tile_rows = 8, tile_cols = 48;

// Unsigned columns times signed rows, two products added up in int16: with 63 levels two such sums
// are at most 4 * 127 * 63 = 32004, and nothing saturates.
constexpr int code_levels = 63, code_offset = 64;
inline I32 add_products(I32 sums, Codes col, Codes row, Codes next_col, Codes next_row) {
    const __m512i pairs = _mm512_add_epi16(_mm512_maddubs_epi16(col.v, row.v),
                                           _mm512_maddubs_epi16(next_col.v, next_row.v));
    return {_mm512_add_epi32(sums.v, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))};
}

}  // namespace

#include "kernels/algorithms.inl"

extern const KernelSet kernel_set_avx512;
constinit const KernelSet kernel_set_avx512 =
    make_kernel_set("avx512", fine_scorer, coarse_scorer, 48, 0.004);

}  // namespace tripletmine
