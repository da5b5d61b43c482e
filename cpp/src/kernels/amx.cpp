// AMX (tiles of int8 and bfloat16) beside AVX-512. A tile register holds a block of the packing: 64
// bytes of 16 rows, or the same number of words of 16 columns.
#include "kernels/avx512_registers.hpp"

namespace tripletmine {
namespace {

// Of AVX-512, for what needs no tiles.
constexpr int tile_rows = 8, tile_cols = 48;
constexpr int code_levels = 127, code_offset = 128;
inline I32 add_products(I32 sums, Codes col, Codes row, Codes next_col, Codes next_row) {
    return {_mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sums.v, col.v, row.v), next_col.v, next_row.v)};
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

// Registers 0 to 3 are the scores of 32 rows and 32 columns; 4 and 5 hold rows, 6 and 7 columns.
void begin_scores(const char* scores, std::ptrdiff_t stride, bool accumulate) noexcept {
    if (accumulate) {
        _tile_loadd(0, scores, stride);
        _tile_loadd(1, scores + 64, stride);
        _tile_loadd(2, scores + 16 * stride, stride);
        _tile_loadd(3, scores + 16 * stride + 64, stride);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
}
void end_scores(char* scores, std::ptrdiff_t stride) noexcept {
    _tile_stored(0, scores, stride);
    _tile_stored(1, scores + 64, stride);
    _tile_stored(2, scores + 16 * stride, stride);
    _tile_stored(3, scores + 16 * stride + 64, stride);
}

void score_code_tiles(const void* row_side, const void* col_side, std::ptrdiff_t panel_bytes,
                      int depth, const std::int32_t*, bool accumulate, void* tile,
                      std::ptrdiff_t tile_stride) noexcept {
    const char* rows = static_cast<const char*>(row_side);
    char* scores = static_cast<char*>(tile);
    const std::ptrdiff_t stride = tile_stride * 4;  // of float or int32
    for (int half = 0; half < 2; ++half, scores += 128) {
        const char* cols = static_cast<const char*>(col_side) + 2 * half * panel_bytes;
        begin_scores(scores, stride, accumulate);
        const int bytes = depth / 64 * packing_block;
        for (int at = 0; at < bytes; at += packing_block) {
            _tile_loadd(4, rows + at, row_bytes);
            _tile_loadd(6, cols + at, row_bytes);
            _tile_dpbssd(0, 4, 6);
            _tile_loadd(7, cols + panel_bytes + at, row_bytes);
            _tile_dpbssd(1, 4, 7);
            _tile_loadd(5, rows + panel_bytes + at, row_bytes);
            _tile_dpbssd(2, 5, 6);
            _tile_dpbssd(3, 5, 7);
        }
        end_scores(scores, stride);
    }
}

// (high + low) · (high + low) without low · low.
void score_pair_tiles(const void* row_side, const void* col_side, std::ptrdiff_t panel_bytes,
                      int depth, const std::int32_t*, bool accumulate, void* tile,
                      std::ptrdiff_t tile_stride) noexcept {
    constexpr int low = packing_block;
    const char* rows = static_cast<const char*>(row_side);
    char* scores = static_cast<char*>(tile);
    const std::ptrdiff_t stride = tile_stride * 4;  // of float or int32
    for (int half = 0; half < 2; ++half, scores += 128) {
        const char* cols = static_cast<const char*>(col_side) + 2 * half * panel_bytes;
        begin_scores(scores, stride, accumulate);
        const int bytes = depth / 32 * 2 * packing_block;
        for (int at = 0; at < bytes; at += 2 * packing_block) {
            const char *row0 = rows + at, *row1 = rows + panel_bytes + at;
            const char *col0 = cols + at, *col1 = cols + panel_bytes + at;
            _tile_loadd(4, row0, row_bytes);
            _tile_loadd(6, col0 + low, row_bytes);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(7, col1 + low, row_bytes);
            _tile_dpbf16ps(1, 4, 7);
            _tile_loadd(5, row1, row_bytes);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
            _tile_loadd(6, col0, row_bytes);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(2, 5, 6);
            _tile_loadd(7, col1, row_bytes);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(3, 5, 7);
            _tile_loadd(4, row0 + low, row_bytes);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_loadd(5, row1 + low, row_bytes);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
        end_scores(scores, stride);
    }
}

// Within one instruction two chains of 16 products, their sum, and its addition to the score; three
// instructions a block (Intel's manual: multiplied and added with rounding to nearest, subnormal
// numbers taken as zero).
int pair_roundings(std::int64_t dim, std::int64_t k) noexcept {
    constexpr std::int64_t block = 32;
    const std::int64_t blocks = (dim + block - 1) / block - k / block;  // from this one on
    return static_cast<int>(16 - k % block / 2 + 1 + 3 * blocks);
}

constexpr Scorer fine_tiles{Format::bfloat16_pair,
                            amx_rows,
                            amx_cols,
                            32,
                            96,
                            0,
                            0,
                            score_pair_tiles,
                            compare<amx_rows, amx_cols, false>,
                            pair_roundings,
                            acquire_tiles,
                            release_tiles};
constexpr Scorer coarse_tiles{Format::int8,
                              amx_rows,
                              amx_cols,
                              64,
                              2048,
                              127,
                              0,
                              score_code_tiles,
                              compare<amx_rows, amx_cols, true>,
                              code_roundings,
                              acquire_tiles,
                              release_tiles};

}  // namespace

extern const KernelSet kernel_set_amx;
constinit const KernelSet kernel_set_amx = make_kernel_set("amx", fine_tiles, coarse_tiles, 32);

}  // namespace tripletmine
