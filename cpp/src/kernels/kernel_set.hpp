// The contract between the sweep and the instruction sets: a small table of primitives.
//
// Every instruction set provides the same table, made from the one algorithm text in
// algorithms.inl. The registry (registry.inc) lists the sets, best first; dispatch.cpp picks one
// when a call begins. Primitives allocate nothing, throw nothing and know no threads.
//
// A set scores pairs in two ways: *fine* (float32 or nearly so) and *coarse* (int8, several times
// as fast, with wider bounds); some have a *medium* way between them. Each is a Scorer, on rows
// packed in its own format.
//
// Layout. Rows are packed in *panels* of `panel_rows` rows. The column side of a tile takes
// neighbouring panels; the row side takes rows of one panel, or whole panels.
//   float32   element k of row r at panel[k * panel_rows + r]; one memory serves both sides.
//   others    blocks of 1 KiB, one after the other along the row: 64 bytes of each of the 16 rows,
//             as 16 words of four bytes. Word j of row r lies at block[j * 16 + r] on the column
//             side and at block[r * 16 + j] on the row side. A word holds four int8 elements or two
//             of int16 or bfloat16. Of bfloat16 pairs, a block of high parts comes before that of
//             the low.
#pragma once

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "found -ffast-math or a part of it, expected IEEE arithmetic: answers would be wrong"
#endif

#include <cstddef>
#include <cstdint>

namespace tripletmine {

inline constexpr int panel_rows = 16;
inline constexpr int packing_block = 1024;
inline constexpr int max_tile_rows = 32;
inline constexpr int max_tile_cols = 64;  // a row of a tile is one 64-bit mask
inline constexpr int max_register = 16;
inline constexpr int strip_shares = 8;    // see Scorer::score
inline constexpr int tile_granule = 192;  // a multiple of every tile's sides

// float64 scratch rows are padded with zeros to a multiple of the eight partial sums.
inline constexpr std::int64_t lanes = 8;
inline constexpr std::int64_t padded(std::int64_t dim) { return (dim + lanes - 1) / lanes * lanes; }

// Nearest questions keep high scores, farthest questions keep low ones.
enum class Sign : std::uint8_t { nearest, farthest };

// How an element of a packed row is stored.
enum class Format : std::uint8_t {
    float32,
    bfloat16,
    bfloat16_pair,  // a high and a low part; the product of two low parts is left out of a score
    int8,           // a code from -levels to levels, times the row's scale
    int16           // the same; their sums are put together from those of segments
};
static constexpr bool of_codes(Format format) {
    return format == Format::int8 || format == Format::int16;
}

// What compare needs to know of one side (rows or columns) of a tile.
//
// With the score g of the pair (r, c), which for codes is the sum in the tile times
// rows.scale[r] times cols.scale[c], and the signed score s = g (nearest) or -g (farthest), the
// pair has
//     upper = (s - rows.bias[r]) - cols.bias[c]        a proven upper bound of its true score
//     lower = (upper - rows.width[r]) - cols.width[c]  a proven lower bound
// and is interesting to a side if upper >= floor and lower <= ceiling.
struct TileSide {
    const float* scale;  // of codes only
    const float* bias;
    const float* width;
    const float* floor;
    const float* ceiling;
};

// Of all rows of a tile: their scales (of codes only), the least bias and the least floor.
struct TileReach {
    const float* scale;
    float bias, floor;
};

// Short sums: of the 64 codes that a packing block holds of a row, one int16 adds up the products
// of the first two codes of every word, another those of the last two. They may wrap around on the
// way and are right modulo 2^16; and no half block is longer than short_norm, so that by
// Cauchy-Schwarz they end at most short_norm^2 < 2^15 from zero.
inline constexpr int short_norm = 181;
// Sums of int16 codes: an int32 adds up the products of a segment, and no segment is longer than
// segment_norm, so that it ends less than 2^31 from zero. A 2^segment_shift-th of it, rounded down,
// is added to the score; and no row is longer than 2^(segment_shift / 2) times that.
inline constexpr int segment = 128, segment_shift = 6, segment_norm = 46340;
static_assert(segment_shift % 2 == 0);  // each of two rows' scales has half of it

// Shorter chains would be more exact, and have to be put away more often.
inline constexpr int float_chain = 64;

// A row's scores are sifted and tallied in parts that stay in the nearest cache.
inline constexpr int longest_part = 1024;

// Among how many hands the scores of a row are dealt out of which the k best are wanted: so many
// that few of these meet in one. See Scorer::contend. (Static: kernels define no weak symbols.)
inline constexpr std::int64_t most_contended = 1024, least_hands = 32;
static constexpr int hands_for(std::int64_t k) {
    return k == 1 ? 0 : static_cast<int>((3 * k + least_hands - 1) / least_hands * least_hands);
}

// A row sorts its scores into buckets, one score after the other: a score less the biases of its
// row and its column is g, and g lies in the bucket (g - origin) * per_score, rounded down, or in
// the first or the last one if it is beyond them.
struct Buckets {
    float origin, per_score;
    std::int32_t count;
};

// Which scores of each bucket matter: those from least to most. None below `reach` does, whatever
// its bucket.
struct Limits {
    const float *least, *most;
    float reach;
};

struct Scorer {
    Format format;
    int tile_rows, tile_cols;
    int depth_step;     // rows are padded with zeros to a multiple of so many elements ...
    int longest_depth;  // ... and one call of score takes at most so many
    int levels;         // of codes
    int offset;         // of codes: added to each on the column side
    bool short_sums;    // int8: sums are made in int16, one block of the packing after the other

    // tile[r * stride + c] (+)= sum over k < depth of rows[k, r] * cols[k, c], as float (as int32
    // of int8, exactly; of int16 by segments). `rows` points at the first of tile_rows neighbours
    // of the row side, `cols` at the first panel of the column side; panels lie `panel_bytes`
    // apart. float32: chains of at most float_chain additions in order of k (fused where the set
    // fuses; one more rounding where it does not), each added to those before it, and to what is
    // there. Sums of int8 begin at start[r], which takes the offset back, unless they accumulate.
    // Short sums begin anew in every block, block b at start[b * panel_rows + r], a word of two
    // int16: see short_norm. At `soon`, if it is not null, begins a share of what the walk reads
    // next: a strip_shares-th of as much as these columns. A set that computes faster than columns
    // come from the outer caches fetches it meanwhile.
    void (*score)(const void* rows, const void* cols, std::ptrdiff_t panel_bytes, int depth,
                  const std::int32_t* start, bool accumulate, const void* soon, void* tile,
                  std::ptrdiff_t stride) noexcept;

    // Whether in any column of such a tile as compare's the upper bound of the best score, if its
    // row had the least bias, reaches the lower of the column's floor and the least of the rows.
    // Where none does, compare finds nothing; and this is half of its work.
    bool (*reaches)(const void* tile, const TileReach& rows, const TileSide& cols,
                    Sign sign) noexcept;

    // Of a tile whose rows lie tile_cols apart: bit c of masks[r] says that (r, c) is interesting
    // to its row or to its column. Returns whether any is. Without `banded` the widths and ceilings
    // are not read.
    bool (*compare)(const void* tile, const TileSide& rows, const TileSide& cols, Sign sign,
                    bool banded, std::uint64_t* masks) noexcept;

    // Of `count` scores of one row: writes their upper bounds, raises `floor` to what k of them
    // surely reach, and writes the places, ascending, of those whose upper bound reaches it;
    // returns how many. One reaches the best lower bound. For 1 < k <= most_contended the scores
    // (with a finite floor only those whose upper bound reaches it) are dealt out to hands_for(k);
    // `best` holds the best lower bound of each hand, which is raised, and the floor is the k-th
    // best of these or less by a 2000-th part. Reads up to max_register elements beyond the end,
    // whatever they are, and writes and reads up to as many uppers.
    // A row with a ceiling refuses what is too good: the upper bound of a score is -inf where its
    // lower bound is above the ceiling, and its lower bound where the upper one is above the row's
    // floor, for only what is not is sure to be taken. (Without a ceiling no floor is read.)
    int (*contend)(const void* scores, const TileSide& row, const TileSide& cols, Sign sign,
                   int count, int k, float* best, float* uppers, float& floor,
                   std::int32_t* places) noexcept;

    // Of `count` <= longest_part scores of one row, nearest: writes the places, ascending, of those
    // whose g (an upper bound) is within reach and the limits of its bucket; returns how many.
    // Reads scores and columns, and writes the list, in whole registers: up to max_register
    // elements beyond the end.
    int (*sift)(const void* scores, const TileSide& row, const TileSide& cols, int count,
                const Buckets& buckets, const Limits& limits, std::int32_t* places) noexcept;

    // How many roundings the product of element k passes through on its way into the score of rows
    // of `dim` elements, at most (of codes: none before the score).
    int (*roundings)(std::int64_t dim, std::int64_t k) noexcept;

    // Of codes: those of a panel of sixteen rows of float32 as they lie, each times its factor: row
    // by row, with zeros up to the end of a block of the packing. A code is the nearest integer to
    // an element over the row's scale, plus the scorer's offset, modulo 256 (or 2^16). The scale
    // brings the largest magnitude to the scorer's levels, or to fewer if short_norm or
    // segment_norm asks for it; it is 0, and so are all codes, without a magnitude of at least
    // `smallest`. rests2 are the squared norms of what codes leave out of elements over the scale,
    // but for roundings: see Operand::measure_codes. `scaled` has room for coded_together such
    // rows.
    void (*encode)(const void* const* rows, const float* factors, std::int64_t dim,
                   const Scorer& scorer, float smallest, float* scaled, void* codes, float* scales,
                   float* rests2) noexcept;

    // Null, or to be called by a thread before it scores and when it is done.
    void (*acquire)() noexcept;
    void (*release)() noexcept;
};

// Where the candidates of a row lie among its slots, by their scores. The bucket of g names the
// slot, unless its entry is negative: then it is the first slot s >= -1 - entry that g + half_width
// does not lie below beyond[s] of, if g - half_width lies above within[s]; else the slot is open.
// beyond and within of the last slot are -inf.
struct SlotTable {
    float row_bias;
    Buckets buckets;
    const std::int32_t* slots;  // by bucket
    const float *beyond, *within;
    float half_width;
    float floor;  // g + half_width lies below it: of the last slot, whose values are not summed
    std::int32_t copies_apart;  // the number of slots, and 1
    bool roots;   // whether values are square roots of -2 * g (0 if g > 0), or g itself
    float units;  // of a value of 1
};

// The candidates of a slot as one integer: how many, times 2^tally_shift, and the sum of their
// values in units of the table, each rounded. A slot has several entries, so that
// additions need not wait for each other: one in each of tally_copies lists, copies_apart from each
// other; there it is number s + 1, and of number 0 nothing is said.
inline constexpr int tally_shift = 48, tally_copies = 4;
inline constexpr double tally_unit = 0x1p-28;  // of values that lie well within (-8, 8)
inline constexpr int most_tallied = 1 << 15;   // by one entry

struct PairOfRows {
    std::uint32_t row, col;
};

// See Scorer::encode.
inline constexpr int coded_together = 4;

struct KernelSet {
    const char* name;
    Scorer fine, coarse;
    Scorer medium;  // without a function to score with where the set has none
    // From this many elements a row on, coarse scores are worth their packing; and from so many on
    // it takes longer to score a pair twice than to copy its score (some 0.2 ns).
    int coarse_pays_from, copy_pays_from;
    // How many nanoseconds an element the others save of fine scores, about, on one core, in the
    // kernel benchmark. Finer scores are better where the survivors of coarser ones cost more.
    double coarse_saves, medium_saves;
    double coarse_takes;  // and how many these take

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
    // The same of rows of `dim` float32 elements, which lie anywhere: x and `count` others.
    // Meanwhile the memory of `soon_count` rows is asked for, those that are wanted next.
    void (*exact_dot_float32)(const void* x, const void* const* rows, int count, std::int64_t dim,
                              const void* const* soon, int soon_count, double* out) noexcept;
    void (*exact_squares_float32)(const void* x, const void* const* rows, int count,
                                  std::int64_t dim, const void* const* soon, int soon_count,
                                  double* out) noexcept;

    // The same of all pairs of the eight rows of a panel and the eight columns of each of some
    // panels: out[r * stride + c]. A panel holds eight rows of float64, element k of row r at
    //     ((k % 8) * padded_dim / 8 + k / 8) * 8 + r
    // so that what makes up one of the partial sums lies together.
    void (*exact_dots_of_panels)(const double* row_panel, const double* col_panels, int panels,
                                 std::int64_t padded_dim, double* out,
                                 std::ptrdiff_t stride) noexcept;
    void (*exact_squares_of_panels)(const double* row_panel, const double* col_panels, int panels,
                                    std::int64_t padded_dim, double* out,
                                    std::ptrdiff_t stride) noexcept;

    // Of pairs of rows of coarse codes, `depth` of each: the sums of the products of their codes,
    // each less the offset.
    void (*code_products)(const std::uint8_t* rows, const std::uint8_t* cols, std::int64_t depth,
                          int offset, const PairOfRows* pairs, int count,
                          std::int32_t* sums) noexcept;
    // Rows to columns: 16 by 16 words of four bytes, whose rows lie `stride` words apart. So a
    // block of the packing goes from row side to column side, and back.
    void (*transpose)(const void* from, std::ptrdiff_t from_stride, void* to,
                      std::ptrdiff_t to_stride) noexcept;
    // A panel of sixteen rows of float32 as they lie, each times its factor and a small rest of it:
    // its rounding would be one error of all scores of a row.
    void (*pack_floats)(const void* const* rows, const float* factors, const float* rests,
                        std::int64_t dim, float* panel) noexcept;

    // Adds the candidates to the entries of their slots. Writes the places, ascending, of those
    // whose slot is open, and the first slots that they may be in; returns how many they are.
    // `scores` are floats. Reads and writes in whole registers, as Scorer::sift does.
    int (*tally)(const float* scores, const float* bias, int count, const SlotTable& table,
                 std::uint64_t* entries, std::int32_t* places, std::int32_t* slots) noexcept;
};

}  // namespace tripletmine
