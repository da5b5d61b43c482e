// AVX-512 (F, BW, VL, DQ), without instructions for int8 sums: those of int16 serve.
#include "kernels/avx512_registers.hpp"

namespace tripletmine {
namespace {

// Of eight code rows gcc would keep sums on the stack: it puts all products before the additions.
constexpr int tile_rows = 8, tile_cols = 48, float_rows = 8, code_rows = 4;
constexpr int exact_rows = 8, exact_panels = 2;

// As with AVX2: two products together are at most 2 * 180 * 90 = 32400, and nothing saturates.
constexpr int code_levels = 90, code_offset = 90;
constexpr bool short_sums = true;
struct CodeSums {
    __m512i v;
    static CodeSums fill(std::int32_t word) { return {_mm512_set1_epi32(word)}; }
};
inline CodeSums add_products(CodeSums sums, Codes col, Codes row) {
    return {_mm512_add_epi16(sums.v, _mm512_maddubs_epi16(col.v, row.v))};
}
inline I32 whole(CodeSums sums) { return {_mm512_madd_epi16(sums.v, _mm512_set1_epi16(1))}; }

}  // namespace

#include "kernels/algorithms.inl"

extern const KernelSet kernel_set_avx512;
constinit const KernelSet kernel_set_avx512 =
    make_kernel_set("avx512", fine_scorer, coarse_scorer, 48, 48, 0.004, 0.006);

}  // namespace tripletmine
