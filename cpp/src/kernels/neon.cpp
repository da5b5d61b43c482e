// NEON (AArch64) without the dot product instructions: int8 products are added up by way of int16.
#include "kernels/neon_registers.hpp"

namespace tripletmine {
namespace {

// Of eight products, each two neighbours: then each two of those.
inline int16x8_t pair_products(int8x16_t a, int8x16_t b) {
    const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
    const int16x8_t high = vmull_high_s8(a, b);
    return vpaddq_s16(low, high);  // at most 2 * 127 * 127 = 32258
}
inline I32 add_products(I32 sums, Codes col, Codes row) {
    return {vpadalq_s16(sums.v, pair_products(col.v, row.v))};
}

}  // namespace

#include "kernels/algorithms.inl"

extern const KernelSet kernel_set_neon;
constinit const KernelSet kernel_set_neon =
    make_kernel_set("neon", fine_scorer, coarse_scorer, 64, 0, 0.004, 0.006);

}  // namespace tripletmine
