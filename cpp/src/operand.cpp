#include "operand.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace tripletmine {
namespace {

constexpr std::int64_t panels_per_task = 8;

// Smaller squared norms are sums of subnormal squares, whose relative error nothing bounds.
constexpr double smallest_trusted_norm2 = 0x1p-960;

// An error bound under which every pair survives, yet finite: no infinity meets another one.
constexpr double unbounded = 1e30;

std::int64_t round_up(std::int64_t value, std::int64_t step) {
    return (value + step - 1) / step * step;
}

// Rows fill whole panels and whole tiles.
std::int64_t padded_rows(std::int64_t size, const KernelSet& kernels) {
    return round_up(size, std::lcm(panel_rows, kernels.tile_cols));
}

}  // namespace

struct Operand::Scratch {
    explicit Scratch(std::int64_t dim)
        : exact(static_cast<std::size_t>(padded(dim))),
          rounded(static_cast<std::size_t>(padded(dim))),
          rows(static_cast<std::size_t>(panel_rows * dim)) {}
    std::vector<double> exact, rounded;
    std::vector<float> rows;
};

ScoreSpace score_space(Metric metric, double largest_norm2) {
    if (metric == Metric::cosine || largest_norm2 < 0x1p-900) return {metric, 1.0};
    int exponent = 0;
    std::frexp(largest_norm2, &exponent);
    return {metric, std::ldexp(1.0, -(exponent + 1) / 2)};
}

std::int64_t Operand::bytes(std::int64_t size, std::int64_t dim, const KernelSet& kernels) {
    return padded_rows(size, kernels) * dim * static_cast<std::int64_t>(sizeof(float));
}

Operand::Operand(Team& team, const Dataset& dataset, const KernelSet& kernels,
                 const ScoreSpace& space, bool keep)
    : dataset_(dataset),
      kernels_(kernels),
      space_(space),
      keep_(keep),
      padded_size_(padded_rows(dataset.size(), kernels)),
      panels_(keep ? padded_size_ * dataset.dim() : 0),
      near_bias_(padded_size_),
      far_bias_(padded_size_),
      width_(padded_size_) {
    const std::int64_t panels = padded_size_ / panel_rows;
    const std::int64_t tasks = (panels + panels_per_task - 1) / panels_per_task;
    const std::int64_t panel_floats = panel_rows * dataset.dim();
    for (std::int64_t position = dataset.size(); position < padded_size_; ++position) {
        near_bias_.data()[position] = far_bias_.data()[position] = INFINITY;
        width_.data()[position] = 0.0f;
    }
    team.for_each(tasks, [&](std::int64_t task, int) {
        Scratch scratch(dataset.dim());
        FloatBuffer passing(keep ? 0 : panel_floats);
        const std::int64_t end = std::min(panels, (task + 1) * panels_per_task);
        for (std::int64_t panel = task * panels_per_task; panel < end; ++panel) {
            float* to = keep ? panels_.data() + panel * panel_floats : passing.data();
            pack_panel(panel * panel_rows, scratch, to,
                       [&](std::int64_t position, const double* exact, const float* packed) {
                           bound_row(position, exact, packed, scratch);
                       });
        }
    });
}

// Packs sixteen rows; on_row(position, u, q) sees each on its way.
template <typename OnRow>
void Operand::pack_panel(std::int64_t first, Scratch& scratch, float* panel, OnRow on_row) const {
    const std::int64_t dim = dataset_.dim();
    const std::int64_t rows = std::clamp<std::int64_t>(dataset_.size() - first, 0, panel_rows);
    std::fill(scratch.rows.begin(), scratch.rows.end(), 0.0f);
    for (std::int64_t lane = 0; lane < rows; ++lane) {
        const double norm2 = dataset_.norm2(first + lane);
        double factor = space_.scale;
        if (space_.metric == Metric::cosine) {
            factor = norm2 >= smallest_trusted_norm2 ? 1.0 / std::sqrt(norm2) : 0.0;
        }
        double* exact = scratch.exact.data();
        float* row = scratch.rows.data() + lane * dim;
        dataset_.widen(first + lane, exact);
        for (std::int64_t k = 0; k < dim; ++k) exact[k] *= factor;
        for (std::int64_t k = 0; k < dim; ++k) row[k] = static_cast<float>(exact[k]);
        on_row(first + lane, exact, row);
    }
    for (std::int64_t k = 0; k < dim; ++k) {
        for (std::int64_t lane = 0; lane < panel_rows; ++lane) {
            panel[k * panel_rows + lane] = scratch.rows[static_cast<std::size_t>(lane * dim + k)];
        }
    }
}

// The row's share E of the bound |score − true score| ≤ E_x + E_y, and what the sweep makes of it.
//
// With u the true scaled row, q the packed one, r = ‖u − q‖, M = ‖q‖ + r ≥ ‖u‖, and M ≤ 1 + tiny:
//   packing     |u_x·u_y − q_x·q_y| ≤ r_x‖u_y‖ + ‖q_x‖r_y             ≤ (r_x + r_y)(1 + 2⁻¹⁰)
//   summation   m float32 roundings a term: ≤ γ_m‖q_x‖‖q_y‖            ≤ ½γ_m(M_x² + M_y²)
//   canonical   the float64 distance itself, of d terms               ≤ (2d + 32)·2⁻⁵²·M² a row
//   sweep       bias and width rounded to float32, four subtractions  ≤ 2⁻²¹·(b + M² + E) a row
//   underflow   of any float32 operation, flushed to zero or not       ≤ d·2⁻¹²⁰
void Operand::bound_row(std::int64_t position, const double* exact, const float* packed,
                        Scratch& scratch) {
    double error2 = 0.0, norm2 = 0.0;
    double* rounded = scratch.rounded.data();
    const std::int64_t length = padded(dataset_.dim());
    kernels_.widen_float32(packed, dataset_.dim(), rounded);
    kernels_.exact_squares(exact, rounded, 0, 1, length, &error2);
    kernels_.exact_dot(rounded, rounded, 0, 1, length, &norm2);

    const double dim = static_cast<double>(dataset_.dim());
    const double exact_norm2 = dataset_.norm2(position);
    const double r = std::sqrt(error2) * (1.0 + 0x1p-20);
    const double m2 = (std::sqrt(norm2) + r) * (std::sqrt(norm2) + r) * (1.0 + 0x1p-20);
    const double b =
        from_differences(space_.metric) ? 0.5 * (exact_norm2 * space_.scale) * space_.scale : 0.0;

    const double roundings =
        std::min<double>(dim, chain_length) + std::ceil(dim / chain_length) + 2;
    const double gamma = roundings * 0x1p-24 / (1.0 - roundings * 0x1p-24);
    double error =
        r * (1.0 + 0x1p-10) + 0.5 * gamma * m2 + (2.0 * dim + 32.0) * 0x1p-52 * m2 + dim * 0x1p-120;
    error += 0x1p-21 * (b + m2 + error);
    const bool trusted = space_.metric != Metric::cosine || exact_norm2 == 0.0 ||
                         exact_norm2 >= smallest_trusted_norm2;
    if (!trusted || !(error < unbounded)) error = unbounded;

    near_bias_.data()[position] = ScoreSpace::round_down(b - error);
    far_bias_.data()[position] = ScoreSpace::round_down(-b - error);
    width_.data()[position] = -ScoreSpace::round_down(-2.0 * error);
}

const float* Operand::panels(std::int64_t first, std::int64_t count, FloatBuffer& scratch) const {
    const std::int64_t dim = dataset_.dim();
    if (keep_) return panels_.data() + first * dim;
    Scratch packing(dim);
    for (std::int64_t row = 0; row < count; row += panel_rows) {
        pack_panel(first + row, packing, scratch.data() + row * dim,
                   [](std::int64_t, const double*, const float*) {});
    }
    return scratch.data();
}

}  // namespace tripletmine
