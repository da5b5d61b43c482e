// The one text of every kernel, included by each instruction-set file after it has defined, in an
// anonymous namespace:
//
//   F32     a register of F32::width floats: load, store, broadcast, zero, from_int32,
//           gather (table, I32), fma (a*b+c), add, sub, mul, min, max (the second where the
//           first is no number), sqrt, largest (of its lanes), interleave (the lanes of two by
//           turns, in two), and the comparisons at_least / at_most, which give one bit a lane
//   F64x8   eight doubles (in one or more registers): load, store, broadcast, zero, add, sub, mul,
//           reduce (the canonical sum of its lanes)
//   I32     a register of I32::width int32: load, store, store_bytes and store_halves (the lowest
//           of each), fill, sequence (from a number on), truncate and nearest (of an F32), gather,
//           add, sub, max, shift_right (by some bits, rounding down), total (of its lanes),
//           below_zero (one bit a lane), keep (the lanes of some bits, 0 in the others),
//           increment_below (by 1 where a < b)
//   Codes   as many words of four int8 or two int16: load, broadcast (of one word), sub (of int8)
//   CodeSums, short_sums                               I32, or short sums (see Scorer); fill
//   add_products(sums, col, row)                       a word of every column times one of a row
//   whole(sums)                                        short sums to I32
//   add_long_products, if there is a long_scorer       the same of int16 codes to I32, given to it
//   code_levels, code_offset                           see Scorer
//   widen8_float16 / _bfloat16 / _float32              eight elements to F64x8
//   tile_rows, tile_cols                               of fine and coarse tiles
//   float_rows, code_rows                              of a tile, whose sums fill the registers
//   exact_rows, exact_panels                           the same of exact sums: rows, and panels of
//                                                      columns
//
// No inline function of the standard library may appear here: its weak symbol would carry this
// file's instruction set into the whole program.

namespace {

constexpr int vectors_per_row = tile_cols / F32::width;
constexpr int vectors_per_panel = panel_rows / F32::width;
static_assert(tile_cols % panel_rows == 0 && panel_rows % tile_rows == 0);
static_assert(tile_rows % code_rows == 0 && lanes % exact_rows == 0);
static_assert(tile_granule % tile_cols == 0 && I32::width == F32::width);

// Asks for memory that is wanted after what is at hand, line by line; and into the second-level
// cache, which keeps track of more lines at a time than the first.
inline void fetch_line(const void* at) { __builtin_prefetch(at, 0, 2); }

// The sums of a tile stay in registers only if all loops over them are unrolled before the compiler
// splits the array up. gcc leaves the outermost loops of a function for later, unless asked:
// without the pragmas below it stores every sum in every step.

template <int count>
inline void score_float_rows(const float* rows, const float* cols, std::ptrdiff_t panel_stride,
                             int depth, bool accumulate, float* tile, std::ptrdiff_t stride) {
    F32 sums[count][vectors_per_row];
#pragma GCC unroll 16
    for (int r = 0; r < count; ++r) {
        for (int v = 0; v < vectors_per_row; ++v) sums[r][v] = F32::zero();
    }
    for (int k = 0; k < depth; ++k) {
        F32 col[vectors_per_row];
        for (int v = 0; v < vectors_per_row; ++v) {
            col[v] = F32::load(cols + (v / vectors_per_panel) * panel_stride + k * panel_rows +
                               (v % vectors_per_panel) * F32::width);
        }
#pragma GCC unroll 16
        for (int r = 0; r < count; ++r) {
            const F32 row = F32::broadcast(rows + k * panel_rows + r);
            for (int v = 0; v < vectors_per_row; ++v) sums[r][v] = fma(row, col[v], sums[r][v]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < count; ++r) {
        for (int v = 0; v < vectors_per_row; ++v) {
            float* at = tile + r * stride + v * F32::width;
            (accumulate ? add(F32::load(at), sums[r][v]) : sums[r][v]).store(at);
        }
    }
}

// The rows of a tile from `first` on, float_rows at a time.
template <int first>
inline void score_floats_from(const float* rows, const float* cols, std::ptrdiff_t panel_stride,
                              int depth, bool accumulate, float* tile, std::ptrdiff_t stride) {
    if constexpr (first < tile_rows) {
        constexpr int count = float_rows < tile_rows - first ? float_rows : tile_rows - first;
        score_float_rows<count>(rows + first, cols, panel_stride, depth, accumulate,
                                tile + first * stride, stride);
        score_floats_from<first + count>(rows, cols, panel_stride, depth, accumulate, tile, stride);
    }
}

[[maybe_unused]] void score_floats(const void* row_panel, const void* col_panels,
                                   std::ptrdiff_t panel_bytes, int depth, const std::int32_t*,
                                   bool accumulate, const void*, void* to,
                                   std::ptrdiff_t stride) noexcept {
    const float* rows = static_cast<const float*>(row_panel);
    const float* cols = static_cast<const float*>(col_panels);
    for (int k = 0; k < depth; k += float_chain) {
        const int length = depth - k < float_chain ? depth - k : float_chain;
        score_floats_from<0>(rows + k * panel_rows, cols + k * panel_rows,
                             panel_bytes / static_cast<int>(sizeof(float)), length,
                             accumulate || k > 0, static_cast<float*>(to), stride);
    }
}

[[maybe_unused]] int float_roundings(std::int64_t dim, std::int64_t k) noexcept {
    const std::int64_t chains = (dim + float_chain - 1) / float_chain, chain = k / float_chain;
    const std::int64_t rest = dim - chain * float_chain;
    const std::int64_t length = rest < float_chain ? rest : float_chain;
    // Its own multiplication, the additions of its chain and of the chains from this one on.
    return static_cast<int>(1 + length - k % float_chain + chains - (chain > 0 ? chain : 1));
}

inline I32 whole(I32 sums) { return sums; }

// Elements of a row in a block of codes.
template <typename Code>
constexpr int code_block = packing_block / panel_rows / static_cast<int>(sizeof(Code));

// How products of codes are added up, and of how many blocks together before they are put to the
// score: of so many, or (0) of all. Whether a block is unrolled: gcc keeps the sums of some kernels
// in their registers only then, of others only if not.
struct CoarseCodes {
    using Code = std::uint8_t;
    using Sums = CodeSums;
    static constexpr int blocks = short_sums ? 1 : 0;
    static constexpr bool unrolled = false;
    static Sums begin(const std::int32_t* start, bool accumulate) {
        return Sums::fill(accumulate && blocks == 0 ? 0 : *start);
    }
    static Sums add(Sums sums, Codes col, Codes row) { return add_products(sums, col, row); }
    static I32 whole(Sums sums) { return tripletmine::whole(sums); }
};
template <I32 (*add_long_products)(I32, Codes, Codes), bool unroll>
struct LongCodes {
    using Code = std::int16_t;
    using Sums = I32;
    static constexpr int blocks = segment / code_block<Code>;
    static_assert(blocks > 1 && segment % code_block<Code> == 0);
    static constexpr bool unrolled = unroll;
    static Sums begin(const std::int32_t*, bool) { return Sums::fill(0); }
    static Sums add(Sums sums, Codes col, Codes row) { return add_long_products(sums, col, row); }
    static I32 whole(Sums sums) { return shift_right(sums, segment_shift); }
};

// Of code_rows rows, over blocks whose sums begin together.
template <typename Products>
inline void score_code_rows(const char* rows, const char* cols, std::ptrdiff_t panel_bytes,
                            int blocks, const std::int32_t* start, bool accumulate,
                            std::int32_t* tile, std::ptrdiff_t stride) {
    constexpr int row_bytes = packing_block / panel_rows, word = 4, words = row_bytes / word;
    constexpr int col_bytes = panel_rows * word;  // a word of every row of a panel
    using Sums = typename Products::Sums;
    Sums sums[code_rows][vectors_per_row];
#pragma GCC unroll 16
    for (int r = 0; r < code_rows; ++r) {
        for (int v = 0; v < vectors_per_row; ++v) {
            sums[r][v] = Products::begin(start + r, accumulate);
        }
    }
    for (int block = 0; block < blocks; ++block, rows += packing_block, cols += packing_block) {
        const auto add_word = [&](int j) __attribute__((always_inline)) {
            Codes col[vectors_per_row];
            for (int v = 0; v < vectors_per_row; ++v) {
                col[v] = Codes::load(cols + (v / vectors_per_panel) * panel_bytes + j * col_bytes +
                                     (v % vectors_per_panel) * I32::width * word);
            }
#pragma GCC unroll 16
            for (int r = 0; r < code_rows; ++r) {
                const Codes row = Codes::broadcast(rows + r * row_bytes + j * word);
                for (int v = 0; v < vectors_per_row; ++v) {
                    sums[r][v] = Products::add(sums[r][v], col[v], row);
                }
            }
        };
        if constexpr (Products::unrolled) {
#pragma GCC unroll 16
            for (int j = 0; j < words; ++j) add_word(j);
        } else {
#pragma GCC unroll 4
            for (int j = 0; j < words; ++j) add_word(j);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < code_rows; ++r) {
        for (int v = 0; v < vectors_per_row; ++v) {
            std::int32_t* at = tile + r * stride + v * I32::width;
            const I32 sum = Products::whole(sums[r][v]);
            (accumulate ? add(I32::load(at), sum) : sum).store(at);
        }
    }
}

template <typename Products>
[[maybe_unused]] void score_codes(const void* row_side, const void* col_side,
                                  std::ptrdiff_t panel_bytes, int depth, const std::int32_t* start,
                                  bool accumulate, const void* soon, void* to,
                                  std::ptrdiff_t stride) noexcept {
    constexpr int row_bytes = packing_block / panel_rows, line = 64;
    const int bytes = depth * static_cast<int>(sizeof(typename Products::Code));
    for (int at = 0; soon != nullptr && at < bytes * tile_cols / strip_shares; at += line) {
        fetch_line(static_cast<const char*>(soon) + at);
    }
    const char* rows = static_cast<const char*>(row_side);
    const char* cols = static_cast<const char*>(col_side);
    std::int32_t* tile = static_cast<std::int32_t*>(to);
    const int blocks = bytes / row_bytes, most = Products::blocks > 0 ? Products::blocks : blocks;
    for (int block = 0; block < blocks; block += most) {
        const int together = most < blocks - block ? most : blocks - block;
        for (int r = 0; r < tile_rows; r += code_rows) {
            score_code_rows<Products>(rows + r * row_bytes, cols, panel_bytes, together, start + r,
                                      accumulate || block > 0, tile + r * stride, stride);
        }
        rows += together * packing_block;
        cols += together * packing_block;
        if (Products::blocks == 1) start += panel_rows;
    }
}

[[maybe_unused]] int code_roundings(std::int64_t, std::int64_t) noexcept { return 0; }

// Scores of one row, from place i on; of codes, without the scales of their columns.
template <bool codes>
inline F32 score_of_row(const void* scores, int i, F32 row_scale) {
    if constexpr (!codes) return F32::load(static_cast<const float*>(scores) + i);
    return mul(F32::from_int32(static_cast<const std::int32_t*>(scores) + i), row_scale);
}

template <bool farthest>
inline F32 signed_score(F32 score) {
    return farthest ? sub(F32::zero(), score) : score;
}

template <int rows_of_tile, int cols_of_tile, bool codes, bool farthest>
bool reaches_as(const void* scores, const TileReach& rows, const TileSide& cols) noexcept {
    constexpr int vectors = cols_of_tile / F32::width;
    F32 best[vectors];
#pragma GCC unroll 32
    for (int r = 0; r < rows_of_tile; ++r) {
        const F32 row_scale = codes ? F32::broadcast(rows.scale + r) : F32::zero();
#pragma GCC unroll 16
        for (int v = 0; v < vectors; ++v) {
            const int at = r * cols_of_tile + v * F32::width;
            const F32 score = signed_score<farthest>(score_of_row<codes>(scores, at, row_scale));
            best[v] = r == 0 ? score : max(best[v], score);
        }
    }
    std::uint64_t any = 0;
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) {
        const int c = v * F32::width;
        if constexpr (codes) best[v] = mul(best[v], F32::load(cols.scale + c));
        const F32 upper = sub(sub(best[v], F32::broadcast(&rows.bias)), F32::load(cols.bias + c));
        any |= at_least(upper, min(F32::broadcast(&rows.floor), F32::load(cols.floor + c)));
    }
    return any != 0;
}

template <int rows_of_tile, int cols_of_tile, bool codes>
bool reaches(const void* tile, const TileReach& rows, const TileSide& cols, Sign sign) noexcept {
    constexpr auto near = reaches_as<rows_of_tile, cols_of_tile, codes, false>;
    constexpr auto far = reaches_as<rows_of_tile, cols_of_tile, codes, true>;
    return (sign == Sign::nearest ? near : far)(tile, rows, cols);
}

template <int rows_of_tile, int cols_of_tile, bool codes, bool farthest, bool banded>
bool compare_as(const void* scores, const TileSide& rows, const TileSide& cols,
                std::uint64_t* masks) noexcept {
    // What is known of the columns stays in registers for all rows.
    constexpr int vectors = cols_of_tile / F32::width;
    F32 col_scale[vectors], col_bias[vectors], col_floor[vectors];
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) {
        col_scale[v] = codes ? F32::load(cols.scale + v * F32::width) : F32::zero();
        col_bias[v] = F32::load(cols.bias + v * F32::width);
        col_floor[v] = F32::load(cols.floor + v * F32::width);
    }
    std::uint64_t any = 0;
    for (int r = 0; r < rows_of_tile; ++r) {
        const F32 row_scale = codes ? F32::broadcast(rows.scale + r) : F32::zero();
        const F32 row_bias = F32::broadcast(rows.bias + r);
        const F32 row_floor = F32::broadcast(rows.floor + r);
        std::uint64_t mask = 0;
#pragma GCC unroll 16
        for (int v = 0; v < vectors; ++v) {
            const int c = v * F32::width, at = r * cols_of_tile + c;
            F32 score = score_of_row<codes>(scores, at, row_scale);
            if constexpr (codes) score = mul(score, col_scale[v]);
            const F32 upper = sub(sub(signed_score<farthest>(score), row_bias), col_bias[v]);
            std::uint64_t bits = 0;
            if constexpr (banded) {
                const F32 lower =
                    sub(sub(upper, F32::broadcast(rows.width + r)), F32::load(cols.width + c));
                bits =
                    (at_least(upper, row_floor) &
                     at_most(lower, F32::broadcast(rows.ceiling + r))) |
                    (at_least(upper, col_floor[v]) & at_most(lower, F32::load(cols.ceiling + c)));
            } else {
                bits = at_least(upper, min(row_floor, col_floor[v]));
            }
            mask |= bits << c;
        }
        masks[r] = mask;
        any |= mask;
    }
    return any != 0;
}

template <int rows_of_tile, int cols_of_tile, bool codes>
bool compare(const void* tile, const TileSide& rows, const TileSide& cols, Sign sign, bool banded,
             std::uint64_t* masks) noexcept {
    constexpr auto near = compare_as<rows_of_tile, cols_of_tile, codes, false, false>;
    constexpr auto near_banded = compare_as<rows_of_tile, cols_of_tile, codes, false, true>;
    constexpr auto far = compare_as<rows_of_tile, cols_of_tile, codes, true, false>;
    constexpr auto far_banded = compare_as<rows_of_tile, cols_of_tile, codes, true, true>;
    if (sign == Sign::nearest) return (banded ? near_banded : near)(tile, rows, cols, masks);
    return (banded ? far_banded : far)(tile, rows, cols, masks);
}

constexpr int word_bits = 64;

// Taken off a register from place `beyond` on: nothing of its first lanes, everything of the last
// `beyond` ones.
constexpr float infinite = __builtin_inff();
constexpr float none_beyond[2 * max_register] = {
    0,        0,        0,        0,        0,        0,        0,        0,
    0,        0,        0,        0,        0,        0,        0,        0,
    infinite, infinite, infinite, infinite, infinite, infinite, infinite, infinite,
    infinite, infinite, infinite, infinite, infinite, infinite, infinite, infinite};

// The float whose bits, as a number, are in the order of floats: those of negative ones inverted.
inline float from_ordered(std::uint32_t ordered) {
    const std::uint32_t sign = std::uint32_t{1} << 31;
    const std::uint32_t bits = (ordered & sign) != 0 ? ordered ^ sign : ~ordered;
    float value = 0.0f;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

inline std::uint32_t to_ordered(float value) {
    const std::uint32_t sign = std::uint32_t{1} << 31;
    std::uint32_t bits = 0;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return (bits & sign) != 0 ? ~bits : bits | sign;
}

// How many of some values, a whole number of registers, reach this one.
inline int count_reaching(const float* values, int count, float least) {
    int reaching = 0;
    for (int i = 0; i < count; i += F32::width) {
        reaching += __builtin_popcountll(at_least(F32::load(values + i), F32::broadcast(&least)));
    }
    return reaching;
}

// What k of some values, none of them NaN, reach: at least `floor`, which k of them do or is less
// than all; at most the k-th largest, and short of it by less than a 2000-th part of it.
inline float kth_largest(const float* values, int count, int k, float floor) {
    F32 top = F32::broadcast(&floor);
    for (int i = 0; i < count; i += F32::width) top = max(F32::load(values + i), top);
    std::uint32_t reached = to_ordered(floor), beyond = to_ordered(largest(top)) + 1;
    constexpr std::uint32_t close = 1 << 12;  // of 2^23 from one power of two to the next
    while (beyond - reached > close) {
        const std::uint32_t middle = reached + (beyond - reached) / 2;
        (count_reaching(values, count, from_ordered(middle)) >= k ? reached : beyond) = middle;
    }
    return from_ordered(reached);
}

// The scale of a row of codes.
template <bool codes>
inline F32 scale_of(const TileSide& row) {
    return codes ? F32::broadcast(row.scale) : F32::zero();
}

// Scores of one row, from place i on.
template <bool codes>
inline F32 score_at(const void* scores, F32 row_scale, const TileSide& cols, int i) {
    const F32 score = score_of_row<codes>(scores, i, row_scale);
    return codes ? mul(score, F32::load(cols.scale + i)) : score;
}

// The bounds of a row's scores; writes the upper ones. `banded`: as if they were -inf, the upper
// one where the lower one is above the row's ceiling, and the lower one where the upper one is
// above the row's floor. (A difference times infinity is -inf, or no number and so no limit, or
// inf.)
template <bool codes, bool farthest, bool banded>
struct RowBounds {
    RowBounds(const void* of, const TileSide& row, const TileSide& others, float* to)
        : scores(of),
          cols(others),
          uppers(to),
          row_bias(F32::broadcast(row.bias)),
          row_width(F32::broadcast(row.width)),
          row_scale(scale_of<codes>(row)),
          row_floor(banded ? F32::broadcast(row.floor) : F32::zero()),
          row_ceiling(banded ? F32::broadcast(row.ceiling) : F32::zero()) {}

    F32 upper(int i) const {
        const F32 score = signed_score<farthest>(score_at<codes>(scores, row_scale, cols, i));
        F32 bound = sub(sub(score, row_bias), F32::load(cols.bias + i));
        if constexpr (banded) bound = min(limit(row_ceiling, below(bound, i)), bound);
        bound.store(uppers + i);
        return bound;
    }
    F32 lower(int i) const {
        const F32 bound = upper(i), lowest = below(bound, i);
        return banded ? min(limit(row_floor, bound), lowest) : lowest;
    }
    F32 below(F32 bound, int i) const {
        return sub(sub(bound, row_width), F32::load(cols.width + i));
    }
    static F32 limit(F32 most, F32 value) {
        return mul(sub(most, value), F32::broadcast(&infinite));
    }
    // The same of a register that may reach beyond the end, where anything may lie.
    F32 last_lower(int i, int count) const {
        const int beyond = i + F32::width > count ? i + F32::width - count : 0;
        return sub(lower(i), F32::load(none_beyond + max_register - F32::width + beyond));
    }

    const void* scores;
    TileSide cols;
    float* uppers;
    F32 row_bias, row_width, row_scale, row_floor, row_ceiling;
};

// The places of those of `count` upper bounds that reach the floor; upper(i) are those from i on.
template <typename Upper>
inline int places_reaching(float floor, int count, Upper upper, std::int32_t* places) {
    int found = 0;
    const F32 least = F32::broadcast(&floor);
    for (int i = 0; i < count; i += word_bits) {
        std::uint64_t bits = 0;
        for (int j = 0; j < word_bits && i + j < count; j += F32::width) {
            bits |= at_least(upper(i + j), least) << j;
        }
        if (count - i < word_bits) bits &= (std::uint64_t{1} << (count - i)) - 1;
        for (; bits != 0; bits &= bits - 1) places[found++] = i + __builtin_ctzll(bits);
    }
    return found;
}

// What none of the others can change: with a floor, only those that reach it are dealt out.
template <bool codes, bool farthest, bool banded>
int contend_above(const RowBounds<codes, farthest, banded>& bounds, const TileSide& row, int count,
                  int k, float* best, float& floor, std::int32_t* places) {
    const int hands = hands_for(k);
    const int reaching =
        places_reaching(floor, count, [&](int i) { return bounds.upper(i); }, places);
    bool raised = false;
    for (int i = 0, dealt = 0; i < reaching; ++i) {
        while (places[i] - dealt >= hands) dealt += hands;
        if (banded && bounds.uppers[places[i]] > row.floor[0]) continue;
        const float lower = bounds.uppers[places[i]] - row.width[0] - bounds.cols.width[places[i]];
        float& hand = best[places[i] - dealt];
        raised = raised || lower > floor;
        hand = lower > hand ? lower : hand;
    }
    if (!raised) return reaching;
    floor = kth_largest(best, hands, k, floor);
    int found = 0;
    for (int i = 0; i < reaching; ++i) {
        places[found] = places[i];
        found += bounds.uppers[places[i]] >= floor ? 1 : 0;
    }
    return found;
}

template <bool codes, bool farthest, bool banded>
int contend_as(const void* scores, const TileSide& row, const TileSide& cols, int count, int k,
               float* best, float* uppers, float& floor, std::int32_t* places) noexcept {
    const RowBounds<codes, farthest, banded> bounds(scores, row, cols, uppers);
    int i = 0;
    if (k == 1) {
        F32 one = F32::broadcast(&floor), other = one;
        for (; i + 2 * F32::width <= count; i += 2 * F32::width) {
            one = max(one, bounds.lower(i));
            other = max(other, bounds.lower(i + F32::width));
        }
        for (; i < count; i += F32::width) one = max(bounds.last_lower(i, count), one);
        floor = largest(max(one, other));
    } else if (floor > -infinite) {
        return contend_above(bounds, row, count, k, best, floor, places);
    } else {
        const int hands = hands_for(k);
        for (; i + hands <= count; i += hands) {
            for (int j = 0; j < hands; j += F32::width) {
                max(F32::load(best + j), bounds.lower(i + j)).store(best + j);
            }
        }
        for (int j = 0; i < count; i += F32::width, j += F32::width) {
            max(bounds.last_lower(i, count), F32::load(best + j)).store(best + j);
        }
        floor = kth_largest(best, hands, k, floor);
    }
    return places_reaching(floor, count, [&](int at) { return F32::load(uppers + at); }, places);
}

template <bool codes>
int contend(const void* scores, const TileSide& row, const TileSide& cols, Sign sign, int count,
            int k, float* best, float* uppers, float& floor, std::int32_t* places) noexcept {
    const bool near = sign == Sign::nearest;
    const auto as = row.ceiling == nullptr
                        ? (near ? contend_as<codes, false, false> : contend_as<codes, true, false>)
                        : (near ? contend_as<codes, false, true> : contend_as<codes, true, true>);
    return as(scores, row, cols, count, k, best, uppers, floor, places);
}

// The bucket of g.
inline I32 bucket_of(F32 value, const Buckets& buckets) {
    const float last = static_cast<float>(buckets.count - 1);
    const F32 place =
        mul(sub(value, F32::broadcast(&buckets.origin)), F32::broadcast(&buckets.per_score));
    return I32::truncate(min(max(place, F32::zero()), F32::broadcast(&last)));
}

// The first `count` lanes of a register, as bits.
inline std::uint64_t first_lanes(int count) {
    return (std::uint64_t{1} << (count < F32::width ? count : F32::width)) - 1;
}

// The lanes of some bits side by side; anything may follow them, up to a register's width.
template <typename Register, typename Element>
inline void compress(const Register& from, std::uint64_t bits, Element* to) {
    Element of_lanes[Register::width];
    from.store(of_lanes);
    for (; bits != 0; bits &= bits - 1) *to++ = of_lanes[__builtin_ctzll(bits)];
}

template <bool codes>
int sift(const void* scores, const TileSide& row, const TileSide& cols, int count,
         const Buckets& buckets, const Limits& limits, std::int32_t* places) noexcept {
    constexpr int room = longest_part + F32::width;
    const F32 row_bias = F32::broadcast(row.bias), row_scale = scale_of<codes>(row);
    float near[room];  // what is within reach; only for that do limits have to be looked up
    std::int32_t near_places[room];
    int within_reach = 0;
    for (int i = 0; i < count; i += F32::width) {
        const F32 score = score_at<codes>(scores, row_scale, cols, i);
        const F32 value = sub(sub(score, row_bias), F32::load(cols.bias + i));
        const std::uint64_t bits =
            at_least(value, F32::broadcast(&limits.reach)) & first_lanes(count - i);
        compress(value, bits, near + within_reach);
        compress(I32::sequence(i), bits, near_places + within_reach);
        within_reach += __builtin_popcountll(bits);
    }
    F32::zero().store(near + within_reach);
    int found = 0;
    for (int i = 0; i < within_reach; i += F32::width) {
        const F32 value = F32::load(near + i);
        const I32 bucket = bucket_of(value, buckets);
        std::uint64_t bits = at_least(value, F32::gather(limits.least, bucket));
        bits &= at_most(value, F32::gather(limits.most, bucket));
        bits &= first_lanes(within_reach - i);
        compress(I32::load(near_places + i), bits, places + found);
        found += __builtin_popcountll(bits);
    }
    return found;
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

// One of the eight partial sums of every pair of some rows and the columns of some panels: the
// lanes of a register are columns, so that nothing has to be added across one.
template <bool squares, int panels>
inline void exact_chain(const double* rows, const double* cols, std::ptrdiff_t panel_stride,
                        std::int64_t padded_dim, double* to) {
    F64x8 sums[exact_rows][panels];
#pragma GCC unroll 16
    for (int r = 0; r < exact_rows; ++r) {
        for (int p = 0; p < panels; ++p) sums[r][p] = F64x8::zero();
    }
    // An element that a multiplication itself broadcasts is for nothing; to broadcast it into a
    // register, which the compiler does where it is wanted twice, takes as long as an addition (on
    // Zen 4). So each panel has an address of the rows of its own.
    const double* rows_for[panels];
    for (int p = 0; p < panels; ++p) {
        rows_for[p] = rows;
        asm("" : "+r"(rows_for[p]));
    }
    for (std::int64_t k = 0; k < padded_dim; k += lanes) {
        F64x8 col[panels];
        for (int p = 0; p < panels; ++p) col[p] = F64x8::load(cols + p * panel_stride + k);
#pragma GCC unroll 16
        for (int r = 0; r < exact_rows; ++r) {
            for (int p = 0; p < panels; ++p) {
                const F64x8 row = F64x8::broadcast(rows_for[p] + k + r);
                sums[r][p] = accumulate_term<squares>(sums[r][p], col[p], row);
            }
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < exact_rows; ++r) {
        for (int p = 0; p < panels; ++p) sums[r][p].store(to + (r * panels + p) * lanes);
    }
}

template <bool squares, int panels>
inline void exact_tile(const double* rows, const double* cols, std::int64_t padded_dim, double* out,
                       std::ptrdiff_t out_stride) {
    constexpr int together = exact_rows * panels * static_cast<int>(lanes);
    alignas(64) double chains[lanes][together];
    for (int j = 0; j < lanes; ++j) {
        exact_chain<squares, panels>(rows + j * padded_dim, cols + j * padded_dim,
                                     lanes * padded_dim, padded_dim, chains[j]);
    }
    for (int r = 0; r < exact_rows; ++r) {
        for (int p = 0; p < panels; ++p) {
            const auto of = [&](int j) {
                return F64x8::load(chains[j] + (r * panels + p) * lanes);
            };
            const auto two = [&](int j) { return add(of(j), of(j + 4)); };
            add(add(two(0), two(2)), add(two(1), two(3))).store(out + r * out_stride + p * lanes);
        }
    }
}

template <bool squares>
void exact_sums_of_panels(const double* row_panel, const double* col_panels, int panels,
                          std::int64_t padded_dim, double* out, std::ptrdiff_t stride) noexcept {
    for (int r = 0; r < lanes; r += exact_rows) {
        int p = 0;
        const auto tiles = [&](auto tile, int together) {
            for (; p + together <= panels; p += together) {
                tile(row_panel + r, col_panels + p * lanes * padded_dim, padded_dim,
                     out + r * stride + p * lanes, stride);
            }
        };
        tiles(exact_tile<squares, exact_panels>, exact_panels);
        tiles(exact_tile<squares, 1>, 1);
    }
}

// `together` rows of float32 as they lie; they share a load of x, and none waits for the sum of
// another. Rows lie anywhere: what is wanted next is asked for line by line, since a processor
// keeps track of a few lines only, and into the second-level cache, which keeps track of more.
template <bool squares, int together>
void sums_of_float32(const void* x, const void* const* rows, std::int64_t dim,
                     const void* const* soon, int soon_count, double* out) noexcept {
    constexpr int bytes = 4, line = 64 / bytes;
    const auto at = [](const void* row, std::int64_t k) {
        return static_cast<const char*>(row) + k * bytes;
    };
    F64x8 sums[together];
    for (int j = 0; j < together; ++j) sums[j] = F64x8::zero();
    const auto add_lanes = [&](std::int64_t k) {
        const F64x8 xk = widen8_float32(at(x, k));
        for (int j = 0; j < together; ++j) {
            sums[j] = accumulate_term<squares>(sums[j], xk, widen8_float32(at(rows[j], k)));
        }
    };
    std::int64_t k = 0;
    for (; k + line <= dim; k += line) {
        for (int j = 0; j < soon_count; ++j) fetch_line(at(soon[j], k));
        for (int i = 0; i < line; i += lanes) add_lanes(k + i);
    }
    for (; k + lanes <= dim; k += lanes) add_lanes(k);
    const auto rest = [&](const void* row) {
        char padded[lanes * bytes] = {};
        for (std::int64_t b = 0; b < (dim - k) * bytes; ++b) padded[b] = at(row, k)[b];
        return widen8_float32(padded);
    };
    for (int j = 0; j < together; ++j) {
        if (k < dim) sums[j] = accumulate_term<squares>(sums[j], rest(x), rest(rows[j]));
        out[j] = reduce(sums[j]);
    }
}

template <bool squares>
void exact_sums_float32(const void* x, const void* const* rows, int count, std::int64_t dim,
                        const void* const* soon, int soon_count, double* out) noexcept {
    for (; count >= 4; count -= 4, rows += 4, out += 4) {
        sums_of_float32<squares, 4>(x, rows, dim, soon, soon_count, out);
    }
    const auto sums = count == 3   ? sums_of_float32<squares, 3>
                      : count == 2 ? sums_of_float32<squares, 2>
                                   : sums_of_float32<squares, 1>;
    if (count > 0) sums(x, rows, dim, soon, soon_count, out);
}

// A row times its factor, followed by zeros up to `depth`; returns the largest magnitude.
inline float scale_row(const void* row, float factor, std::int64_t dim, std::int64_t depth,
                       float* scaled) {
    const float* from = static_cast<const float*>(row);
    const std::int64_t whole = dim / F32::width * F32::width;
    F32 most = F32::zero();
    const auto take = [&](std::int64_t k, F32 x) {
        x.store(scaled + k);
        most = max(most, max(x, sub(F32::zero(), x)));
    };
    for (std::int64_t k = 0; k < whole; k += F32::width) {
        take(k, mul(F32::load(from + k), F32::broadcast(&factor)));
    }
    if (whole < dim) {
        float rest[F32::width] = {};
        __builtin_memcpy(rest, from + whole, static_cast<std::size_t>(dim - whole) * sizeof *rest);
        take(whole, mul(F32::load(rest), F32::broadcast(&factor)));
    }
    for (std::int64_t k = whole + (whole < dim ? F32::width : 0); k < depth; k += F32::width) {
        F32::zero().store(scaled + k);
    }
    return largest(most);
}

// The largest squared norm of what short_norm (half a block) or segment_norm speaks of, in squares
// of the peak.
template <typename Code>
inline float largest_norm2(const float* row, std::int64_t depth, float peak) {
    constexpr int part = sizeof(Code) == 1 ? code_block<Code> : segment;
    const float inverse = 1.0f / peak;
    float most = 0.0f, in_all = 0.0f;
    for (std::int64_t begin = 0; begin < depth; begin += part) {
        F32 squares = F32::zero();
        for (std::int64_t k = begin; k < depth && k < begin + part; k += F32::width) {
            const F32 x = mul(F32::load(row + k), F32::broadcast(&inverse));
            squares = fma(x, x, squares);
        }
        float sums[F32::width], halves[2] = {};
        squares.store(sums);
        for (int i = 0; i < F32::width; ++i) halves[i / 2 % 2] += sums[i];
        if constexpr (sizeof(Code) == 1) {
            for (const float half : halves) most = most > half ? most : half;
        } else {
            const float whole = halves[0] + halves[1];
            most = most > whole ? most : whole;
            in_all += whole;
        }
    }
    in_all /= static_cast<float>(1 << segment_shift);  // of so many segments as long as one may be
    return most > in_all ? most : in_all;
}

inline void store_lowest(I32 values, std::uint8_t* to) { values.store_bytes(to); }
inline void store_lowest(I32 values, std::int16_t* to) { values.store_halves(to); }

// Codes of a row over their scale; returns the squared norm of what they leave out, of which each
// lane of two registers has a part (the bound counts on eight).
template <typename Code>
inline float write_codes(const float* scaled, std::int64_t depth, float scale, int code_zero,
                         Code* codes) {
    const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    const float shift = 0x1.8p23f;  // to add and to take it off rounds to the nearest integer
    const I32 offset = I32::fill(code_zero);
    F32 sums[2] = {F32::zero(), F32::zero()};
    for (std::int64_t k = 0; k < depth; k += 2 * F32::width) {
        for (int i = 0; i < 2; ++i) {
            const std::int64_t at = k + i * F32::width;
            const F32 x = mul(F32::load(scaled + at), F32::broadcast(&inverse));
            const F32 code = sub(add(x, F32::broadcast(&shift)), F32::broadcast(&shift));
            store_lowest(add(I32::truncate(code), offset), codes + at);
            const F32 rest = sub(x, code);
            sums[i] = fma(rest, rest, sums[i]);
        }
    }
    float of_lanes[F32::width], rest2 = 0.0f;
    add(sums[0], sums[1]).store(of_lanes);
    for (const float sum : of_lanes) rest2 += sum;
    return rest2;
}

// Step by step for a few rows, so that none waits for the divisions and roots of another.
template <typename Code>
void encode(const void* const* rows, const float* factors, std::int64_t dim, const Scorer& scorer,
            float smallest, float* scaled, void* to, float* scales, float* rests2) noexcept {
    constexpr int together = coded_together, block = code_block<Code>;
    // Rounding to codes adds half the root of the elements that a limit is about (32; or 128, and
    // of a long row an eighth of that of 65,536 at most), single precision next to nothing.
    const bool limited = scorer.short_sums || sizeof(Code) > 1;
    const float longest = sizeof(Code) == 1 ? short_norm - 2.83f - 0.01f : segment_norm - 32.0f;
    const std::int64_t depth = (dim + block - 1) / block * block;
    const float levels = static_cast<float>(scorer.levels);
    Code* codes = static_cast<Code*>(to);
    for (int row = 0; row < panel_rows; row += together) {
        float peaks[together], norms2[together] = {};
        for (int i = 0; i < together; ++i) {
            peaks[i] = scale_row(rows[row + i], factors[row + i], dim, depth, scaled + i * depth);
        }
        for (int i = 0; limited && i < together; ++i) {
            if (peaks[i] < smallest) continue;
            norms2[i] = largest_norm2<Code>(scaled + i * depth, depth, peaks[i]);
        }
        for (int i = 0; i < together; ++i) {
            const float allowed = longest / largest(sqrt(F32::broadcast(norms2 + i)));
            const float level = allowed < levels ? allowed : levels;
            scales[row + i] = peaks[i] < smallest ? 0.0f : peaks[i] / level;
        }
        for (int i = 0; i < together; ++i) {
            rests2[row + i] = write_codes(scaled + i * depth, depth, scales[row + i], scorer.offset,
                                          codes + (row + i) * depth);
        }
    }
}

[[maybe_unused]] constexpr Scorer fine_scorer{Format::float32,
                                              tile_rows,
                                              tile_cols,
                                              1,
                                              2 * float_chain,
                                              0,
                                              0,
                                              false,
                                              score_floats,
                                              reaches<tile_rows, tile_cols, false>,
                                              compare<tile_rows, tile_cols, false>,
                                              contend<false>,
                                              sift<false>,
                                              float_roundings,
                                              nullptr,
                                              nullptr,
                                              nullptr};

[[maybe_unused]] constexpr Scorer coarse_scorer{Format::int8,
                                                tile_rows,
                                                tile_cols,
                                                64,
                                                1024,
                                                code_levels,
                                                code_offset,
                                                short_sums,
                                                score_codes<CoarseCodes>,
                                                reaches<tile_rows, tile_cols, true>,
                                                compare<tile_rows, tile_cols, true>,
                                                contend<true>,
                                                sift<true>,
                                                code_roundings,
                                                encode<std::uint8_t>,
                                                nullptr,
                                                nullptr};

template <I32 (*add_long_products)(I32, Codes, Codes), bool unroll>
constexpr Scorer long_scorer{Format::int16,
                             tile_rows,
                             tile_cols,
                             32,
                             4 * segment,
                             32767,
                             0,
                             false,
                             score_codes<LongCodes<add_long_products, unroll>>,
                             reaches<tile_rows, tile_cols, true>,
                             compare<tile_rows, tile_cols, true>,
                             contend<true>,
                             sift<true>,
                             code_roundings,
                             encode<std::int16_t>,
                             nullptr,
                             nullptr};

// Adds the products of a register, whichever sums these make.
template <typename Sums = CodeSums>
inline I32 add_whole(I32 sums, Codes col, Codes row) {
    if constexpr (short_sums) {
        return add(sums, whole(add_products(Sums::fill(0), col, row)));
    } else {
        return whole(add_products(Sums{sums}, col, row));
    }
}

// Codes come with the scorer's offset; rows are to have none and columns code_offset. What that
// adds to the products of a register is taken off at once.
void code_products(const std::uint8_t* rows, const std::uint8_t* cols, std::int64_t depth,
                   int offset, const PairOfRows* pairs, int count, std::int32_t* sums) noexcept {
    const std::uint32_t every_byte = 0x01010101u;
    const auto codes = [&](int value) {
        const std::uint32_t word = (static_cast<std::uint32_t>(value) & 0xffu) * every_byte;
        return Codes::broadcast(&word);
    };
    const Codes of_row = codes(offset), of_col = codes(offset - code_offset);
    const Codes added = codes(code_offset);
    for (int i = 0; i < count; ++i) {
        const std::uint8_t* a = rows + pairs[i].row * depth;
        const std::uint8_t* b = cols + pairs[i].col * depth;
        // What is added to columns is taken off again.
        I32 sum = I32::fill(0), excess = sum;
        for (std::int64_t k = 0; k < depth; k += I32::width * static_cast<int>(sizeof every_byte)) {
            const Codes row = sub(Codes::load(a + k), of_row);
            const Codes col = sub(Codes::load(b + k), of_col);
            sum = add_whole(sum, col, row);
            if constexpr (code_offset != 0) excess = add_whole(excess, added, row);
        }
        sums[i] = total(sub(sum, excess));
    }
}

// Rows become columns. To interleave the two halves of a square rotates the bits of its elements'
// places by one: after log2(width) times, row and column have changed places.
inline void exchange(F32 (&square)[F32::width]) {
    constexpr int half = F32::width / 2;
    F32 other[F32::width];
#pragma GCC unroll 4
    for (int places = 1; places < F32::width; places *= 2) {
#pragma GCC unroll 16
        for (int i = 0; i < half; ++i) {
            interleave(square[i], square[half + i], other[2 * i], other[2 * i + 1]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < F32::width; ++i) square[i] = other[i];
    }
}

void transpose(const void* from, std::ptrdiff_t from_stride, void* to,
               std::ptrdiff_t to_stride) noexcept {
    const float* in = static_cast<const float*>(from);
    float* out = static_cast<float*>(to);
    for (int row = 0; row < panel_rows; row += F32::width) {
        for (int col = 0; col < panel_rows; col += F32::width) {
            F32 square[F32::width];
            for (int i = 0; i < F32::width; ++i) {
                square[i] = F32::load(in + (row + i) * from_stride + col);
            }
            exchange(square);
            for (int i = 0; i < F32::width; ++i) {
                square[i].store(out + (col + i) * to_stride + row);
            }
        }
    }
}

void pack_floats(const void* const* rows, const float* factors, const float* rests,
                 std::int64_t dim, float* panel) noexcept {
    const std::int64_t whole = dim / F32::width * F32::width;
    for (std::int64_t k = 0; k < whole; k += F32::width) {
        for (int row = 0; row < panel_rows; row += F32::width) {
            F32 square[F32::width];
            for (int i = 0; i < F32::width; ++i) {
                const F32 x = F32::load(static_cast<const float*>(rows[row + i]) + k);
                square[i] = fma(x, F32::broadcast(factors + row + i),
                                mul(x, F32::broadcast(rests + row + i)));
            }
            exchange(square);
            for (int i = 0; i < F32::width; ++i) {
                square[i].store(panel + (k + i) * panel_rows + row);
            }
        }
    }
    for (std::int64_t k = whole; k < dim; ++k) {
        for (int row = 0; row < panel_rows; ++row) {
            float value;
            __builtin_memcpy(&value, static_cast<const float*>(rows[row]) + k, sizeof value);
            panel[k * panel_rows + row] = value * factors[row] + value * rests[row];
        }
    }
}

inline I32 fixed_point(F32 score, bool roots, F32 units) {
    constexpr float minus_two = -2.0f, most = static_cast<float>(7.9 / tally_unit), least = -most;
    const F32 value =
        roots ? sqrt(max(mul(score, F32::broadcast(&minus_two)), F32::zero())) : score;
    return I32::nearest(min(max(mul(value, units), F32::broadcast(&least)), F32::broadcast(&most)));
}

inline F32 measured_score(const float* score, const float* bias, const SlotTable& table) {
    return sub(sub(F32::load(score), F32::broadcast(&table.row_bias)), F32::load(bias));
}
// Which of these scores are beyond every threshold.
inline std::uint64_t beyond_all(F32 score, const SlotTable& table) {
    const F32 upper = add(score, F32::broadcast(&table.half_width));
    return ~at_least(upper, F32::broadcast(&table.floor)) & first_lanes(F32::width);
}

// Whether these are many, so that it pays to set them aside: the first scores tell.
bool many_are_beyond_all(const float* scores, const float* bias, int count,
                         const SlotTable& table) {
    constexpr int asked = 4 * F32::width;
    int beyond = 0;
    for (int i = 0; i < asked && asked <= count; i += F32::width) {
        const F32 score = measured_score(scores + i, bias + i, table);
        beyond += __builtin_popcountll(beyond_all(score, table));
    }
    return 4 * beyond > asked;
}

// Writes all other scores, measured, and their places. Returns how many there are.
int set_aside(const float* scores, const float* bias, int count, const SlotTable& table,
              float* measured, std::int32_t* places) {
    int left = 0;
    for (int i = 0; i < count; i += F32::width) {
        const F32 score = measured_score(scores + i, bias + i, table);
        const std::uint64_t bits = ~beyond_all(score, table) & first_lanes(count - i);
        compress(score, bits, measured + left);
        compress(I32::sequence(i), bits, places + left);
        left += __builtin_popcountll(bits);
    }
    return left;
}

// In three passes, so that no load of a pass waits for additions to entries that may be the ones it
// reads: what the buckets say; what they leave in doubt; the additions.
int tally(const float* scores, const float* bias, int count, const SlotTable& table,
          std::uint64_t* entries, std::int32_t* places, std::int32_t* slots) noexcept {
    constexpr int room = longest_part + F32::width;
    constexpr std::uint64_t one = std::uint64_t{1} << tally_shift;
    const float nearest = 1e30f, farthest = -1e30f;
    const I32 minus_one = I32::fill(-1);
    float measured[room];
    std::int32_t measured_places[room];
    const bool some = many_are_beyond_all(scores, bias, count, table);
    const int left =
        some ? set_aside(scores, bias, count, table, measured, measured_places) : count;
    entries[table.copies_apart - 1] += one * static_cast<std::uint64_t>(count - left);

    std::int32_t entry[room], value[room];
    std::int32_t before[I32::width];  // -(place of slot 0), of each lane's copy
    for (int j = 0; j < I32::width; ++j) before[j] = -1 - j % tally_copies * table.copies_apart;
    const I32 before_slot = I32::load(before);
    const F32 units = F32::broadcast(&table.units);
    float doubtful[room];
    std::int32_t firsts[room], doubtful_places[room];
    int doubts = 0;
    for (int i = 0; i < left; i += F32::width) {
        const F32 score =
            some ? F32::load(measured + i) : measured_score(scores + i, bias + i, table);
        const I32 slot = I32::gather(table.slots, bucket_of(score, table.buckets));
        sub(max(slot, minus_one), before_slot).store(entry + i);
        fixed_point(score, table.roots, units).store(value + i);
        const std::uint64_t bits = below_zero(slot) & first_lanes(left - i);
        compress(score, bits, doubtful + doubts);
        compress(sub(minus_one, slot), bits, firsts + doubts);
        compress(I32::sequence(i), bits, doubtful_places + doubts);
        doubts += __builtin_popcountll(bits);
    }
    F32::broadcast(&nearest).store(doubtful + doubts);  // of slot 0 at once
    I32::fill(0).store(firsts + doubts);
    int open = 0;
    for (int i = 0; i < doubts; i += F32::width) {
        // A row that is changed during the call may have scores that are no number, nor beyond any.
        const F32 score = max(F32::load(doubtful + i), F32::broadcast(&farthest));
        const F32 half_width = F32::broadcast(&table.half_width);
        const F32 upper = add(score, half_width), lower = sub(score, half_width);
        I32 slot = I32::load(firsts + i);
        F32 beyond = F32::gather(table.beyond, slot);
        while (at_least(upper, beyond) != first_lanes(F32::width)) {
            slot = increment_below(slot, upper, beyond);
            beyond = F32::gather(table.beyond, slot);
        }
        const std::uint64_t bits = at_most(lower, F32::gather(table.within, slot));
        std::int32_t known[I32::width];
        keep(sub(slot, minus_one), ~bits).store(known);
        for (int j = 0; j < I32::width && i + j < doubts; ++j) {
            const std::int32_t place = doubtful_places[i + j];
            entry[place] = known[j] + place % tally_copies * table.copies_apart;
        }
        const std::uint64_t still_open = bits & first_lanes(doubts - i);
        compress(I32::load(doubtful_places + i), still_open, places + open);
        compress(slot, still_open, slots + open);
        open += __builtin_popcountll(still_open);
    }
    for (int i = 0; i < left; ++i) {
        entries[static_cast<std::uint32_t>(entry[i])] +=
            one + static_cast<std::uint64_t>(static_cast<std::int64_t>(value[i]));
    }
    for (int i = 0; some && i < open; ++i) places[i] = measured_places[places[i]];
    return open;
}

constexpr KernelSet make_kernel_set(const char* name, const Scorer& fine, const Scorer& coarse,
                                    int coarse_pays_from, int copy_pays_from, double coarse_saves,
                                    double coarse_takes, const Scorer& medium = {},
                                    double medium_saves = 0.0) {
    return {name,
            fine,
            coarse,
            medium,
            coarse_pays_from,
            copy_pays_from,
            coarse_saves,
            medium_saves,
            coarse_takes,
            widen<2, widen8_float16>,
            widen<2, widen8_bfloat16>,
            widen<4, widen8_float32>,
            widen<8, widen8_float64>,
            exact_sums<false>,
            exact_sums<true>,
            exact_sums_float32<false>,
            exact_sums_float32<true>,
            exact_sums_of_panels<false>,
            exact_sums_of_panels<true>,
            code_products,
            transpose,
            pack_floats,
            tally};
}

}  // namespace
