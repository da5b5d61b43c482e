// AVX-512 with VNNI: four int8 products a lane are added up in one instruction, or two of int16.
#include "kernels/avx512_registers.hpp"

namespace tripletmine {
namespace {

constexpr int tile_rows = 8, tile_cols = 48, float_rows = 8, code_rows = 8;
constexpr int exact_rows = 8, exact_panels = 2;

// Unsigned columns times signed rows.
constexpr int code_levels = 127, code_offset = 128;
constexpr bool short_sums = false;
using CodeSums = I32;
inline I32 add_products(I32 sums, Codes col, Codes row) {
    return {_mm512_dpbusd_epi32(sums.v, col.v, row.v)};
}
inline I32 add_long_products(I32 sums, Codes col, Codes row) {
    return {_mm512_dpwssd_epi32(sums.v, col.v, row.v)};
}

}  // namespace

#include "kernels/algorithms.inl"

extern const KernelSet kernel_set_avx512_vnni;
constinit const KernelSet kernel_set_avx512_vnni =
    make_kernel_set("avx512_vnni", fine_scorer, coarse_scorer, 32, 96, 0.011, 0.0035,
                    long_scorer<add_long_products, true>, 0.007);

}  // namespace tripletmine
