// The shape of a sweep, from its sizes.
#include "sweep.hpp"

namespace tripletmine {
namespace {

constexpr std::int64_t block_bytes = 512 * 1024;  // a block of rows stays in the second-level cache
constexpr std::int64_t most_rows_per_block = 256;
constexpr double multiply_adds_per_task = 2e8;  // some ten milliseconds

}  // namespace

SweepPlan plan_sweep(const Pairing& pairing, const KernelSet& kernels, int threads) {
    const std::int64_t dim = pairing.rows->dim();
    std::int64_t rows = block_bytes / (static_cast<std::int64_t>(sizeof(float)) * dim);
    // Small inputs: enough blocks for every thread to find work.
    rows = std::min(rows, pairing.rows->size() / (4 * threads));
    rows =
        std::clamp(rows, std::int64_t{panel_rows}, most_rows_per_block) / panel_rows * panel_rows;
    const double strip = static_cast<double>(rows * dim * kernels.tile_cols);
    const auto strips = static_cast<std::int64_t>(multiply_adds_per_task / strip);
    return {rows, std::max<std::int64_t>(1, strips)};
}

}  // namespace tripletmine
