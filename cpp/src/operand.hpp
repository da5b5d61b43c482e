// Operand: the rows of a Dataset packed for the float32 kernels, each with its error bound.
//
// The packed row q differs from the true (scaled) row u by e = u − q; chains of float32 additions
// add their own rounding. The bound of a pair's score separates into a term for each row,
//     |score − true score| ≤ E_x + E_y,
// so it can be folded into a bias for each row and cost nothing in the sweep: see bound_row.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <span>

#include "dataset.hpp"
#include "kernels/kernel_set.hpp"
#include "metric.hpp"
#include "parallel.hpp"

namespace tripletmine {

// Floats on a cache line's boundary, not initialised.
class FloatBuffer {
public:
    explicit FloatBuffer(std::int64_t size = 0)
        : data_(static_cast<float*>(
              ::operator new(static_cast<std::size_t>(size) * sizeof(float), alignment))) {}
    float* data() const { return data_.get(); }

private:
    static constexpr std::align_val_t alignment{64};
    struct Free {
        void operator()(float* p) const { ::operator delete(p, alignment); }
    };
    std::unique_ptr<float, Free> data_;
};

// float32 chains are this long; their sums are added up in a second chain. Part of the bound.
inline constexpr int chain_length = 128;

// The score space of a call: one scale for all its rows.
ScoreSpace score_space(Metric metric, double largest_norm2);

class Operand {
public:
    // Packs the dataset; with keep == false only the bounds are kept, and rows are packed anew
    // whenever a block of them is asked for.
    Operand(Team& team, const Dataset& dataset, const KernelSet& kernels, const ScoreSpace& space,
            bool keep);

    // The panels of `count` rows from position `first` (a multiple of panel_rows) on, in memory
    // that lasts until the next call with the same scratch, which must hold count * dim floats.
    const float* panels(std::int64_t first, std::int64_t count, FloatBuffer& scratch) const;

    // Biases and widths by position, padded beyond the last row with values that never survive.
    const float* bias(Sign sign) const {
        return (sign == Sign::nearest ? near_bias_ : far_bias_).data();
    }
    const float* width() const { return width_.data(); }
    std::int64_t padded_size() const { return padded_size_; }
    bool kept() const { return keep_; }

    static std::int64_t bytes(std::int64_t size, std::int64_t dim, const KernelSet& kernels);

private:
    struct Scratch;
    template <typename OnRow>
    void pack_panel(std::int64_t first, Scratch& scratch, float* panel, OnRow on_row) const;
    void bound_row(std::int64_t position, const double* exact, const float* packed,
                   Scratch& scratch);

    const Dataset& dataset_;
    const KernelSet& kernels_;
    ScoreSpace space_;
    bool keep_;
    std::int64_t padded_size_;
    FloatBuffer panels_, near_bias_, far_bias_, width_;
};

}  // namespace tripletmine
