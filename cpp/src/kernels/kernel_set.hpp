// The contract between the sweep and the instruction sets: a small table of primitives.
//
// Every instruction set provides the same table, made from the one algorithm text in
// algorithms.inl. The registry (registry.inc) lists the sets, best first; dispatch.cpp picks one
// when a call begins. Primitives allocate nothing, throw nothing and know no threads.
//
// Layout. Rows are packed in *panels* of `panel_rows` rows, dimension by dimension: element k of
// row r of a panel lies at panel[k * panel_rows + r]. One packing serves as rows and as columns of
// a tile, whatever the tile's shape: a tile takes `tile_rows` neighbouring rows out of one panel
// and `tile_cols` columns out of `tile_cols / panel_rows` neighbouring panels.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tripletmine {

inline constexpr int panel_rows = 16;
inline constexpr int max_tile_rows = 16;
inline constexpr int max_tile_cols = 64;  // a row of a tile is one 64-bit mask

// float64 scratch rows are padded with zeros to a multiple of the eight partial sums.
inline constexpr std::int64_t lanes = 8;
inline constexpr std::int64_t padded(std::int64_t dim) { return (dim + lanes - 1) / lanes * lanes; }

// Nearest questions keep high scores, farthest questions keep low ones.
enum class Sign : std::uint8_t { nearest, farthest };

// What compare_tile needs to know of one side (rows or columns) of a tile.
//
// With the signed score s = g (nearest) or -g (farthest), the pair (r, c) has
//     upper = (s - rows.bias[r]) - cols.bias[c]        a proven upper bound of its true score
//     lower = (upper - rows.width[r]) - cols.width[c]  a proven lower bound
// and is interesting to a side if upper >= floor and lower <= ceiling.
struct TileSide {
    const float* bias;
    const float* width;
    const float* floor;
    const float* ceiling;
};

struct KernelSet {
    const char* name;
    int tile_rows;
    int tile_cols;

    // tile[r * tile_cols + c] (+)= sum over k < depth of rows[k, r] * cols[k, c], in float32, one
    // chain of `depth` additions in order of k (fused where the set fuses; one more rounding where
    // it does not). `rows` points at the first of tile_rows neighbours in a panel; `cols` at the
    // first of the panels, which lie `panel_stride` floats apart.
    void (*score_tile)(const float* rows, const float* cols, std::ptrdiff_t panel_stride, int depth,
                       bool accumulate, float* tile) noexcept;

    // Bit c of masks[r] says that (r, c) is interesting to its row or to its column. Returns
    // whether any is. Without `banded` the widths and ceilings are not read.
    bool (*compare_tile)(const float* tile, const TileSide& rows, const TileSide& cols, Sign sign,
                         bool banded, std::uint64_t* masks) noexcept;

    // The exact values of `dim` elements as float64, followed by zeros up to padded(dim).
    void (*widen_float16)(const void* from, std::int64_t dim, double* to) noexcept;
    void (*widen_bfloat16)(const void* from, std::int64_t dim, double* to) noexcept;
    void (*widen_float32)(const void* from, std::int64_t dim, double* to) noexcept;
    void (*widen_float64)(const void* from, std::int64_t dim, double* to) noexcept;

    // Canonical sums (eight partial sums, fixed order, no fused multiply-add) of x against `count`
    // rows y, y + stride, ...; all rows padded. out[i] = sum8(x*y_i) or sum8((x - y_i)^2).
    void (*exact_dot)(const double* x, const double* y, std::ptrdiff_t stride, int count,
                      std::int64_t padded_dim, double* out) noexcept;
    void (*exact_squares)(const double* x, const double* y, std::ptrdiff_t stride, int count,
                          std::int64_t padded_dim, double* out) noexcept;
};

}  // namespace tripletmine
