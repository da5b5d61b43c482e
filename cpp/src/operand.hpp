// Operand: the rows of a Dataset packed for one Scorer, each with its error bound. Packed rows are
// kept, or made anew whenever they are asked for.
//
// The packed row q differs from the true (scaled) row u, less the origin, by e = u − c − q (codes
// of a projected row by what lies outside of its few directions, too); the scorer adds its own
// rounding. The bound of a pair's score separates into a term for each row,
//     |score − true score| ≤ E_x + E_y,
// so it can be folded into a bias for each row and cost nothing in the sweep: see bound_row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "buffer.hpp"
#include "dataset.hpp"
#include "kernels/kernel_set.hpp"
#include "metric.hpp"
#include "parallel.hpp"
#include "projection.hpp"
#include "space.hpp"

namespace tripletmine {

// Of an element of a packed row.
constexpr std::int64_t bytes_of(Format format) {
    return format == Format::int8                                  ? 1
           : format == Format::bfloat16 || format == Format::int16 ? 2
                                                                   : 4;
}

// Rows ready for the row side of tiles, with what sums of codes begin at: a word for each row, or,
// where sums are short, for each row of each block of each panel.
struct RowSide {
    const std::byte* panels = nullptr;
    Buffer<std::int32_t> start;
    Buffer<std::byte> memory;  // of the panels, unless the operand's own serves both sides
};

class Operand {
public:
    // With keep == false only the bounds are kept. A projection (null: none) is for codes of int8;
    // it and the origin are the same for all operands that meet.
    Operand(Team& team, const Dataset& dataset, const KernelSet& kernels, const Scorer& scorer,
            const ScoreSpace& space, const Origin& origin,
            std::shared_ptr<const Projection> projection, bool keep);

    const Scorer& scorer() const { return scorer_; }

    // The panels of `count` rows (always as many with one scratch) from position `first` on, a
    // multiple of panel_rows, in memory that lasts until the next call with that scratch.
    const std::byte* col_side(std::int64_t first, std::int64_t count,
                              Buffer<std::byte>& scratch) const;
    void row_side(std::int64_t first, std::int64_t count, RowSide& side) const;
    // Where the sums of a row of such a side begin, from element k on (see Scorer::score).
    const std::int32_t* start(const RowSide& side, std::int64_t row, std::int64_t k) const {
        if (!scorer_.short_sums) return side.start.data() + row;
        const std::int64_t block = row / panel_rows * blocks() + k / row_bytes();
        return side.start.data() + block * panel_rows + row % panel_rows;
    }
    // Where the share of a strip of columns begins that a call of score fetches ahead (see
    // Scorer::score): of the strip from position `first` on, from element k on. Null where nothing
    // lies ready.
    const std::byte* share_of_strip(std::int64_t first, std::int64_t share, std::int64_t k) const {
        if (!keep_ || first >= padded_size_ || share >= strip_shares) return nullptr;
        return panels_.data() + first / panel_rows * panel_bytes() +
               (share * depth_ + k) * scorer_.tile_cols * element_bytes() / strip_shares;
    }

    // Codes row by row as encode made them, depth() for each.
    Buffer<std::uint8_t> code_rows(Team& team) const;

    // Where rows are not kept: asks the caches for those of the strip from position `first` on,
    // for a share from `begin` to `end` parts of `parts`.
    void fetch_ahead(std::int64_t first, std::int64_t begin, std::int64_t end,
                     std::int64_t parts) const;

    // Of the packed rows: elements a row, and bytes a panel, an element and a row of a panel.
    std::int64_t depth() const { return depth_; }
    std::int64_t panel_bytes() const { return panel_rows * depth_ * element_bytes(); }
    std::int64_t element_bytes() const { return bytes_of(scorer_.format); }
    std::int64_t row_bytes() const {
        return scorer_.format == Format::float32 ? static_cast<std::int64_t>(sizeof(float))
                                                 : packing_block / panel_rows;
    }

    // By position, padded beyond the last row with values that never survive.
    TileSide side(Sign sign, std::int64_t position, const float* floor,
                  const float* ceiling) const {
        return {scale_.data() + position, bias(sign) + position, width_.data() + position, floor,
                ceiling};
    }
    const float* bias(Sign sign) const {
        return (sign == Sign::nearest ? near_bias_ : far_bias_).data();
    }
    const float* width() const { return width_.data(); }
    // What is taken off a score for its best estimate, halfway between its bounds.
    const float* middle() const { return middle_.data(); }
    const float* scale() const { return scale_.data(); }
    std::int64_t padded_size() const { return padded_size_; }
    bool kept() const { return keep_; }

    // The bytes of a packed dataset.
    static std::int64_t bytes(std::int64_t size, std::int64_t dim, const Scorer& scorer);

private:
    struct Scratch;
    struct Sources;
    Sources sources(std::int64_t first, bool with_bounds) const;
    void read_row(std::int64_t position, double* row, double* along) const;
    // Each packs a panel.
    void pack_floats(std::int64_t first, std::byte* panel) const;
    void pack_codes(std::int64_t first, Scratch& scratch, std::byte* panel) const;
    void project(Sources& rows, Scratch& scratch) const;
    template <typename OnRow>
    void pack_bfloats(std::int64_t first, Scratch& scratch, std::byte* panel, OnRow on_row) const;
    void measure_floats(std::int64_t position, const std::byte* panel, Scratch& scratch) const;
    void measure_codes(std::int64_t position, Scratch& scratch) const;
    void measure_projected(std::int64_t position, Scratch& scratch) const;
    void measure_error(Scratch& scratch) const;
    void round_row(std::int64_t position, std::int64_t lane, Scratch& scratch) const;
    void pack(std::int64_t first, std::int64_t count, std::byte* panels) const;
    std::int64_t blocks() const { return panel_bytes() / packing_block; }
    void take_offset(std::byte* block, std::int32_t* start) const;
    double norm_of(std::int64_t position) const;
    double canonical_error() const;
    double length2_of(std::int64_t position, const Scratch& scratch) const;
    double packing_error(const Scratch& scratch, double r, double v2) const;
    void bound_row(std::int64_t position, Scratch& scratch);

    const Dataset& dataset_;
    const KernelSet& kernels_;
    const Scorer& scorer_;
    ScoreSpace space_;
    Origin origin_;
    std::shared_ptr<const Projection> projection_;
    bool keep_;
    std::int64_t packed_dim_, depth_, padded_size_;
    Buffer<std::byte> panels_;
    Buffer<float> near_bias_, far_bias_, middle_, width_, scale_;
    Buffer<double> gamma_;  // by element: what its product's roundings can do to it
};

}  // namespace tripletmine
