// The one text of every kernel, included by each instruction-set file after it has defined, in an
// anonymous namespace:
//
//   F32     a register of F32::width floats: load, store, broadcast, zero, fma (a*b+c), sub, and
//           the comparisons at_least / at_most, which give one bit a lane
//   F64x8   eight doubles (in one or more registers): load, zero, add, sub, mul, reduce
//   widen8_float16 / _bfloat16 / _float32   eight elements to F64x8
//   tile_rows, tile_cols
//
// No inline function of the standard library may appear here: its weak symbol would carry this
// file's instruction set into the whole program.

namespace {

constexpr int vectors_per_row = tile_cols / F32::width;
constexpr int vectors_per_panel = panel_rows / F32::width;
static_assert(tile_cols % panel_rows == 0 && panel_rows % tile_rows == 0);

void score_tile(const float* rows, const float* cols, std::ptrdiff_t panel_stride, int depth,
                bool accumulate, float* tile) noexcept {
    F32 sums[tile_rows][vectors_per_row];
    for (int r = 0; r < tile_rows; ++r) {
        for (int v = 0; v < vectors_per_row; ++v) sums[r][v] = F32::zero();
    }
    for (int k = 0; k < depth; ++k) {
        F32 col[vectors_per_row];
        for (int v = 0; v < vectors_per_row; ++v) {
            col[v] = F32::load(cols + (v / vectors_per_panel) * panel_stride + k * panel_rows +
                               (v % vectors_per_panel) * F32::width);
        }
        for (int r = 0; r < tile_rows; ++r) {
            const F32 row = F32::broadcast(rows + k * panel_rows + r);
            for (int v = 0; v < vectors_per_row; ++v) sums[r][v] = fma(row, col[v], sums[r][v]);
        }
    }
    for (int r = 0; r < tile_rows; ++r) {
        for (int v = 0; v < vectors_per_row; ++v) {
            float* to = tile + r * tile_cols + v * F32::width;
            (accumulate ? add(F32::load(to), sums[r][v]) : sums[r][v]).store(to);
        }
    }
}

template <bool farthest, bool banded>
bool compare_tile_as(const float* tile, const TileSide& rows, const TileSide& cols,
                     std::uint64_t* masks) noexcept {
    for (int r = 0; r < tile_rows; ++r) masks[r] = 0;
    std::uint64_t any = 0;
    for (int v = 0; v < vectors_per_row; ++v) {
        const int c = v * F32::width;
        const F32 col_bias = F32::load(cols.bias + c);
        const F32 col_floor = F32::load(cols.floor + c);
        for (int r = 0; r < tile_rows; ++r) {
            const F32 score = F32::load(tile + r * tile_cols + c);
            const F32 row_bias = F32::broadcast(rows.bias + r);
            const F32 upper = sub(
                farthest ? sub(sub(F32::zero(), score), row_bias) : sub(score, row_bias), col_bias);
            std::uint64_t for_row = at_least(upper, F32::broadcast(rows.floor + r));
            std::uint64_t for_col = at_least(upper, col_floor);
            if constexpr (banded) {
                const F32 lower =
                    sub(sub(upper, F32::broadcast(rows.width + r)), F32::load(cols.width + c));
                for_row &= at_most(lower, F32::broadcast(rows.ceiling + r));
                for_col &= at_most(lower, F32::load(cols.ceiling + c));
            }
            masks[r] |= (for_row | for_col) << c;
            any |= for_row | for_col;
        }
    }
    return any != 0;
}

bool compare_tile(const float* tile, const TileSide& rows, const TileSide& cols, Sign sign,
                  bool banded, std::uint64_t* masks) noexcept {
    if (sign == Sign::nearest) {
        return banded ? compare_tile_as<false, true>(tile, rows, cols, masks)
                      : compare_tile_as<false, false>(tile, rows, cols, masks);
    }
    return banded ? compare_tile_as<true, true>(tile, rows, cols, masks)
                  : compare_tile_as<true, false>(tile, rows, cols, masks);
}

// Whole groups of eight straight from memory; the rest by way of a zeroed copy, which fills the
// padding at the same time.
template <int bytes, F64x8 widen8(const void*) noexcept>
void widen(const void* from, std::int64_t dim, double* to) noexcept {
    const char* source = static_cast<const char*>(from);
    const std::int64_t whole = dim / lanes * lanes;
    for (std::int64_t k = 0; k < whole; k += lanes) widen8(source + k * bytes).store(to + k);
    if (whole == dim) return;
    char rest[lanes * bytes] = {};
    for (std::int64_t b = 0; b < (dim - whole) * bytes; ++b) rest[b] = source[whole * bytes + b];
    widen8(rest).store(to + whole);
}

F64x8 widen8_float64(const void* from) noexcept {
    return F64x8::load(static_cast<const double*>(from));
}

template <bool squares>
F64x8 accumulate_term(F64x8 sum, F64x8 x, F64x8 y) noexcept {
    if constexpr (squares) {
        const F64x8 difference = sub(x, y);
        return add(sum, mul(difference, difference));
    } else {
        return add(sum, mul(x, y));
    }
}

// Four rows at a time: a single row would wait for each addition to finish.
template <bool squares>
void exact_sums(const double* x, const double* y, std::ptrdiff_t stride, int count,
                std::int64_t padded_dim, double* out) noexcept {
    int i = 0;
    for (; i + 4 <= count; i += 4, y += 4 * stride) {
        F64x8 a = F64x8::zero(), b = a, c = a, d = a;
        for (std::int64_t k = 0; k < padded_dim; k += lanes) {
            const F64x8 xk = F64x8::load(x + k);
            a = accumulate_term<squares>(a, xk, F64x8::load(y + k));
            b = accumulate_term<squares>(b, xk, F64x8::load(y + stride + k));
            c = accumulate_term<squares>(c, xk, F64x8::load(y + 2 * stride + k));
            d = accumulate_term<squares>(d, xk, F64x8::load(y + 3 * stride + k));
        }
        out[i] = reduce(a);
        out[i + 1] = reduce(b);
        out[i + 2] = reduce(c);
        out[i + 3] = reduce(d);
    }
    for (; i < count; ++i, y += stride) {
        F64x8 sum = F64x8::zero();
        for (std::int64_t k = 0; k < padded_dim; k += lanes) {
            sum = accumulate_term<squares>(sum, F64x8::load(x + k), F64x8::load(y + k));
        }
        out[i] = reduce(sum);
    }
}

constexpr KernelSet make_kernel_set(const char* name) {
    return {name,
            tile_rows,
            tile_cols,
            score_tile,
            compare_tile,
            widen<2, widen8_float16>,
            widen<2, widen8_bfloat16>,
            widen<4, widen8_float32>,
            widen<8, widen8_float64>,
            exact_sums<false>,
            exact_sums<true>};
}

}  // namespace
