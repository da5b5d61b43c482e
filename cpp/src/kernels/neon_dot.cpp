// NEON with the dot product instructions: four int8 products a lane are added up in one
// instruction.
#include "kernels/neon_registers.hpp"

namespace tripletmine {
namespace {

inline I32 add_products(I32 sums, Codes col, Codes row) {
    return {vdotq_s32(sums.v, col.v, row.v)};
}

}  // namespace

#include "kernels/algorithms.inl"

extern const KernelSet kernel_set_neon_dot;
constinit const KernelSet kernel_set_neon_dot =
    make_kernel_set("neon_dot", fine_scorer, coarse_scorer, 32, 64, 0.007, 0.003);

}  // namespace tripletmine
