// AMX (tiles of int8 and bfloat16) beside AVX-512. A tile register holds a block of the packing: 64
// bytes of 16 rows, or the same number of words of 16 columns.
#include "kernels/avx512_registers.hpp"

namespace tripletmine {
namespace {

// Of AVX-512, for what needs no tiles.
constexpr int tile_rows = 8, tile_cols = 48, float_rows = 8, code_rows = 8;
constexpr int exact_rows = 8, exact_panels = 2;
constexpr int code_levels = 127, code_offset = 128;
constexpr bool short_sums = false;
using CodeSums = I32;
inline I32 add_products(I32 sums, Codes col, Codes row) {
    return {_mm512_dpbusd_epi32(sums.v, col.v, row.v)};
}

}  // namespace

#include "kernels/algorithms.inl"

namespace {

constexpr int amx_rows = 32, amx_cols = 64;
constexpr int row_bytes = packing_block / panel_rows;

// All eight registers as 16 rows of 64 bytes. A constant in memory: gcc 12 does not know that
// loading it reads more than its first word (https://gcc.gnu.org/bugzilla/show_bug.cgi?id=114098).
struct alignas(64) TileConfiguration {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

constinit const TileConfiguration tile_configuration;

void acquire_tiles() noexcept { _tile_loadconfig(&tile_configuration); }
void release_tiles() noexcept { _tile_release(); }

// Registers 0 to 3 are the sums of 32 rows and 32 columns, two by two; 4 and 5 hold rows, 6 and 7
// columns. The intrinsics want the number of a register as a literal.
template <int sum>
void clear_sum() noexcept {
    if constexpr (sum == 0) _tile_zero(0);
    if constexpr (sum == 1) _tile_zero(1);
    if constexpr (sum == 2) _tile_zero(2);
    if constexpr (sum == 3) _tile_zero(3);
}
template <int sum>
void load_sum(const char* from, std::ptrdiff_t stride) noexcept {
    from += sum / 2 * 16 * stride + sum % 2 * 64;
    if constexpr (sum == 0) _tile_loadd(0, from, stride);
    if constexpr (sum == 1) _tile_loadd(1, from, stride);
    if constexpr (sum == 2) _tile_loadd(2, from, stride);
    if constexpr (sum == 3) _tile_loadd(3, from, stride);
}
template <int sum>
void store_sum(char* to, std::ptrdiff_t stride) noexcept {
    to += sum / 2 * 16 * stride + sum % 2 * 64;
    if constexpr (sum == 0) _tile_stored(0, to, stride);
    if constexpr (sum == 1) _tile_stored(1, to, stride);
    if constexpr (sum == 2) _tile_stored(2, to, stride);
    if constexpr (sum == 3) _tile_stored(3, to, stride);
}

// Which sums make room for which, when the products of another half of the columns begin. Each sum
// is stored just before its register is needed: when all four are stored at once, the processor
// comes to nothing else until the last product is there.
struct Turn {
    char* done;        // null: none
    const char* next;  // null: they begin at 0
    std::ptrdiff_t stride;

    template <int sum>
    void take() const noexcept {
        if (done != nullptr) store_sum<sum>(done, stride);
        if (next != nullptr) {
            load_sum<sum>(next, stride);
        } else {
            clear_sum<sum>();
        }
    }
};

// The blocks that a step multiplies: of two panels of rows and two of columns.
struct Blocks {
    const char *row0, *row1, *col0, *col1;
};

// Fetches a cache line for the walk's next columns while the tile unit multiplies.
template <int line>
void fetch(const char* soon) noexcept {
    _mm_prefetch(soon + line * 64, _MM_HINT_T1);
}

// Adds the product of the rows and the columns that belong to a sum.
template <bool codes, int sum>
void add_product() noexcept {
    if constexpr (codes) {
        if constexpr (sum == 0) _tile_dpbssd(0, 4, 6);
        if constexpr (sum == 1) _tile_dpbssd(1, 4, 7);
        if constexpr (sum == 2) _tile_dpbssd(2, 5, 6);
        if constexpr (sum == 3) _tile_dpbssd(3, 5, 7);
    } else {
        if constexpr (sum == 0) _tile_dpbf16ps(0, 4, 6);
        if constexpr (sum == 1) _tile_dpbf16ps(1, 4, 7);
        if constexpr (sum == 2) _tile_dpbf16ps(2, 5, 6);
        if constexpr (sum == 3) _tile_dpbf16ps(3, 5, 7);
    }
}

// Of every row 64 codes, or 32 bfloat16. `low`: how far on the columns lie.
template <bool codes, int low = 0>
struct Step {
    static constexpr int bytes = packing_block, elements = codes ? 64 : 32;

    template <bool first>
    static void multiply(const Blocks& at, const Turn& turn, const char* soon) noexcept {
        _tile_loadd(4, at.row0, row_bytes);
        _tile_loadd(6, at.col0 + low, row_bytes);
        if constexpr (first) turn.take<0>();
        add_product<codes, 0>();
        fetch<0>(soon);
        _tile_loadd(7, at.col1 + low, row_bytes);
        if constexpr (first) turn.take<1>();
        add_product<codes, 1>();
        fetch<1>(soon);
        _tile_loadd(5, at.row1, row_bytes);
        if constexpr (first) turn.take<2>();
        add_product<codes, 2>();
        fetch<2>(soon);
        if constexpr (first) turn.take<3>();
        add_product<codes, 3>();
        fetch<3>(soon);
    }
};

// Of every row 32 pairs: (high + low) · (high + low) without low · low.
struct PairStep {
    static constexpr int bytes = 2 * packing_block, elements = 32;

    template <bool first>
    static void multiply(const Blocks& at, const Turn& turn, const char* soon) noexcept {
        constexpr int low = packing_block;
        Step<false, low>::template multiply<first>(at, turn, soon);
        _tile_loadd(6, at.col0, row_bytes);
        add_product<false, 0>();
        fetch<4>(soon);
        add_product<false, 2>();
        fetch<5>(soon);
        _tile_loadd(7, at.col1, row_bytes);
        add_product<false, 1>();
        fetch<6>(soon);
        add_product<false, 3>();
        fetch<7>(soon);
        _tile_loadd(4, at.row0 + low, row_bytes);
        add_product<false, 0>();
        add_product<false, 1>();
        _tile_loadd(5, at.row1 + low, row_bytes);
        add_product<false, 2>();
        add_product<false, 3>();
    }
};

// So much of a panel is multiplied with both halves of the columns before the next part is: the
// second half finds the rows in the nearest cache. And the tile unit never computes long without
// storing: after some 2000 cycles its next store waits for another 1000 (seen on Sapphire Rapids).
constexpr int part_bytes = 6 * packing_block;

template <typename Step>
void score_tiles(const void* row_side, const void* col_side, std::ptrdiff_t panel_bytes, int depth,
                 const std::int32_t*, bool accumulate, const void* next_share, void* tile,
                 std::ptrdiff_t tile_stride) noexcept {
    // A share of the strip's four panels, spread over the steps of both halves.
    constexpr int step = Step::bytes, fetched = amx_cols / panel_rows * step / strip_shares / 2;
    const char* rows = static_cast<const char*>(row_side);
    const char* soon = static_cast<const char*>(next_share != nullptr ? next_share : col_side);
    char* scores = static_cast<char*>(tile);
    const int bytes = depth / Step::elements * step;
    Turn turn{nullptr, nullptr, tile_stride * 4};  // of float or int32
    for (int begin = 0; begin < bytes; begin += part_bytes) {
        const int end = bytes - begin < part_bytes ? bytes : begin + part_bytes;
        for (int half = 0; half < 2; ++half) {
            const char* cols = static_cast<const char*>(col_side) + 2 * half * panel_bytes;
            char* sums = scores + 128 * half;
            turn.next = accumulate || begin > 0 ? sums : nullptr;
            for (int at = begin; at < end; at += step, soon += fetched) {
                const Blocks blocks{rows + at, rows + panel_bytes + at, cols + at,
                                    cols + panel_bytes + at};
                if (at == begin) {
                    Step::template multiply<true>(blocks, turn, soon);
                } else {
                    Step::template multiply<false>(blocks, turn, soon);
                }
            }
            turn.done = sums;
        }
    }
    store_sum<0>(turn.done, turn.stride);
    store_sum<1>(turn.done, turn.stride);
    store_sum<2>(turn.done, turn.stride);
    store_sum<3>(turn.done, turn.stride);
}

// Within one instruction two chains of 16 products, their sum, and its addition to the score
// (Intel's manual: multiplied and added with rounding to nearest, subnormal numbers taken as zero).
template <int instructions>  // a block
int block_roundings(std::int64_t dim, std::int64_t k) noexcept {
    constexpr std::int64_t block = 32;
    const std::int64_t blocks = (dim + block - 1) / block - k / block;  // from this one on
    return static_cast<int>(16 - k % block / 2 + 1 + instructions * blocks);
}

constexpr Scorer fine_tiles{Format::bfloat16_pair,
                            amx_rows,
                            amx_cols,
                            32,
                            2048,
                            0,
                            0,
                            false,
                            score_tiles<PairStep>,
                            reaches<amx_rows, amx_cols, false>,
                            compare<amx_rows, amx_cols, false>,
                            contend<false>,
                            sift<false>,
                            block_roundings<3>,
                            nullptr,
                            acquire_tiles,
                            release_tiles};
constexpr Scorer medium_tiles{Format::bfloat16,
                              amx_rows,
                              amx_cols,
                              32,
                              2048,
                              0,
                              0,
                              false,
                              score_tiles<Step<false>>,
                              reaches<amx_rows, amx_cols, false>,
                              compare<amx_rows, amx_cols, false>,
                              contend<false>,
                              sift<false>,
                              block_roundings<1>,
                              nullptr,
                              acquire_tiles,
                              release_tiles};
constexpr Scorer coarse_tiles{Format::int8,
                              amx_rows,
                              amx_cols,
                              64,
                              2048,
                              127,
                              0,
                              false,
                              score_tiles<Step<true>>,
                              reaches<amx_rows, amx_cols, true>,
                              compare<amx_rows, amx_cols, true>,
                              contend<true>,
                              sift<true>,
                              code_roundings,
                              encode<std::uint8_t>,
                              acquire_tiles,
                              release_tiles};

}  // namespace

extern const KernelSet kernel_set_amx;
constinit const KernelSet kernel_set_amx =
    make_kernel_set("amx", fine_tiles, coarse_tiles, 32, 512, 0.0017, 0.0007, medium_tiles, 0.0013);

}  // namespace tripletmine
