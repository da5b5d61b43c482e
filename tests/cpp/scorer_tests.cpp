// What a kernel set's scorers compute, against plain scalar arithmetic.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "support.hpp"

namespace tripletmine {
namespace {

// Where element k of a row lies in the packed rows of one side, in bytes.
std::size_t place(Format format, bool row_side, int row, int k, std::ptrdiff_t panel_bytes) {
    const int lane = row % panel_rows;
    const std::ptrdiff_t panel = row / panel_rows * panel_bytes;
    if (format == Format::float32) {
        return static_cast<std::size_t>(panel + (k * panel_rows + lane) * 4);
    }
    const int size = format == Format::int8 ? 1 : 2, byte = k * size % 64;
    const int block = k * size / 64 * (format == Format::bfloat16_pair ? 2 : 1) * packing_block;
    const int within = row_side ? lane * 64 + byte : (byte / 4 * panel_rows + lane) * 4 + byte % 4;
    return static_cast<std::size_t>(panel + block + within);
}

// One side of a tile: values by row and element (high and low parts), and as they are packed.
struct PackedSide {
    std::vector<std::vector<double>> high, low;
    std::vector<std::byte> bytes;

    PackedSide(Random& random, const Scorer& scorer, bool row_side, int rows, int depth,
               std::ptrdiff_t panel_bytes)
        : bytes(static_cast<std::size_t>(panel_bytes * ((rows + panel_rows - 1) / panel_rows))) {
        for (int r = 0; r < rows; ++r) {
            high.emplace_back();
            low.emplace_back();
            for (int k = 0; k < depth; ++k) {
                std::byte* at = bytes.data() + place(scorer.format, row_side, r, k, panel_bytes);
                put(random, scorer, row_side, at);
            }
        }
    }

private:
    std::int64_t half_norm2[2] = {0, 0};  // of the codes of this block up to now

    void put(Random& random, const Scorer& scorer, bool row_side, std::byte* at) {
        const auto number = static_cast<float>(
            std::ldexp(random.uniform(), static_cast<int>(random.below(12)) - 6));
        const auto bfloat16 = [](float value, std::byte* to) {
            const std::uint32_t bits = std::bit_cast<std::uint32_t>(value) & 0xffff0000u;
            const auto half = static_cast<std::uint16_t>(bits >> 16);
            std::memcpy(to, &half, sizeof half);
            return static_cast<double>(std::bit_cast<float>(bits));
        };
        switch (scorer.format) {
            case Format::float32:
                std::memcpy(at, &number, sizeof number);
                high.back().push_back(static_cast<double>(number));
                low.back().push_back(0.0);
                break;
            case Format::bfloat16:
                high.back().push_back(bfloat16(number, at));
                low.back().push_back(0.0);
                break;
            case Format::bfloat16_pair:
                high.back().push_back(bfloat16(number, at));
                low.back().push_back(bfloat16(number * 0x1p-9f, at + packing_block));
                break;
            case Format::int8: {
                // Often the largest codes, which fill every intermediate sum; in every fourth row
                // all of one sign, as large as short sums allow.
                const std::size_t row = high.size() - 1, k = high.back().size();
                std::int64_t most = scorer.levels;
                if (scorer.short_sums) {
                    if (k % 64 == 0) half_norm2[0] = half_norm2[1] = 0;
                    while (half_norm2[k / 2 % 2] + most * most > short_norm * short_norm) --most;
                }
                const std::int64_t code = row % 4 == 0           ? most
                                          : random.below(3) == 0 ? random.below(2 * most + 1) - most
                                          : random.below(2) == 0 ? most
                                                                 : -most;
                half_norm2[k / 2 % 2] += code * code;
                *at = static_cast<std::byte>(code + (row_side ? 0 : scorer.offset));
                high.back().push_back(static_cast<double>(code));
                low.back().push_back(0.0);
                break;
            }
            case Format::int16: {
                // In every fourth row the largest that a segment takes.
                const std::size_t row = high.size() - 1, k = high.back().size();
                const int most = k % segment == 0 || k % segment == 65 ? 32766 : 0;
                const auto code = static_cast<std::int16_t>(
                    row % 4 == 0 ? most : random.below(2 * 4095 + 1) - 4095);
                std::memcpy(at, &code, sizeof code);
                high.back().push_back(static_cast<double>(code));
                low.back().push_back(0.0);
                break;
            }
        }
    }
};

// A float32 score, fused or not: chains in order of k, each added to what is there.
float chained(const std::vector<double>& x, const std::vector<double>& y,
              std::optional<float> there, bool fused) {
    for (std::size_t begin = 0; begin < x.size(); begin += float_chain) {
        float sum = 0.0f;
        for (std::size_t k = begin; k < std::min(x.size(), begin + float_chain); ++k) {
            const auto a = static_cast<float>(x[k]), b = static_cast<float>(y[k]);
            sum = fused ? std::fma(a, b, sum) : sum + a * b;
        }
        there = there ? *there + sum : sum;
    }
    return *there;
}

// Scores within the error bound of the scorer; float32 ones to the bit, fused or not, but one for
// all; sums of codes exact.
void check_score(Tally& tally, const Scorer& scorer) {
    Random random(3);
    const int tile_rows = scorer.tile_rows, tile_cols = scorer.tile_cols;
    const bool whole_panels = tile_rows % panel_rows == 0;
    tally.check(
        tile_rows <= max_tile_rows && tile_cols <= max_tile_cols &&
            (whole_panels || panel_rows % tile_rows == 0) && tile_cols % panel_rows == 0 &&
            tile_granule % tile_cols == 0 && tile_granule % tile_rows == 0 &&
            scorer.longest_depth % scorer.depth_step == 0 &&
            (scorer.format != Format::int16 || scorer.longest_depth % segment == 0),
        "the tile's shape is " + std::to_string(tile_rows) + " x " + std::to_string(tile_cols));
    const std::ptrdiff_t row_bytes =
        scorer.format == Format::float32 ? sizeof(float) : packing_block / panel_rows;
    std::vector<int> depths{scorer.depth_step, 3 * scorer.depth_step, scorer.longest_depth};
    if (scorer.depth_step == 1) depths.insert(depths.end(), {2, 7, 64, 65, 127});
    for (const int depth : {160, 288}) {  // segments and a part of one
        if (scorer.format == Format::int16) depths.push_back(depth);
    }
    bool always_fused = true, never_fused = true;
    if (scorer.acquire) scorer.acquire();
    for (const int depth : depths) {
        for (const bool accumulate : {false, true}) {
            for (int lane = 0; lane < panel_rows; lane += tile_rows) {
                // Panels of a longer row than this part of it: they lie further apart.
                const std::ptrdiff_t panel_bytes =
                    place(scorer.format, true, panel_rows, depth + 3 * scorer.depth_step, 0) /
                        packing_block * packing_block +
                    4 * panel_rows * (depth + 3 * scorer.depth_step);
                const PackedSide rows(random, scorer, true, std::max(tile_rows, panel_rows), depth,
                                      panel_bytes);
                const PackedSide cols(random, scorer, false, tile_cols, depth, panel_bytes);
                std::vector<std::int32_t> start(static_cast<std::size_t>(tile_rows));
                const bool short_sums = scorer.short_sums;
                start.resize(static_cast<std::size_t>(panel_rows * (short_sums ? depth / 64 : 1)));
                for (int r = 0; r < tile_rows; ++r) {
                    for (std::size_t k = 0; k < rows.high[lane + r].size(); ++k) {
                        const std::int32_t taken =
                            scorer.offset * static_cast<std::int32_t>(rows.high[lane + r][k]);
                        if (!short_sums) start[r] -= taken;
                        if (!short_sums) continue;
                        std::int32_t& word = start[k / 64 * panel_rows + r];
                        std::int16_t halves[2];
                        std::memcpy(halves, &word, sizeof word);
                        halves[k / 2 % 2] = static_cast<std::int16_t>(halves[k / 2 % 2] - taken);
                        std::memcpy(&word, halves, sizeof word);
                    }
                }
                std::vector<std::uint32_t> tile(static_cast<std::size_t>(tile_rows * tile_cols));
                for (std::uint32_t& bits : tile) {
                    bits = of_codes(scorer.format)
                               ? static_cast<std::uint32_t>(random.below(2000) - 1000)
                               : std::bit_cast<std::uint32_t>(static_cast<float>(random.uniform()));
                    if (!accumulate) bits = 0x7fffffffu;  // NaN
                }
                const std::vector<std::uint32_t> before = tile;
                scorer.score(rows.bytes.data() + lane * row_bytes, cols.bytes.data(), panel_bytes,
                             depth, start.data(), accumulate, cols.bytes.data(), tile.data(),
                             tile_cols);

                // Of a product, and of what was there: one rounding more than without it.
                const auto gamma = [&](std::size_t k) {
                    const double m = scorer.roundings(depth, static_cast<std::int64_t>(k)) +
                                     (accumulate ? 1 : 0);
                    return m * 0x1p-24 / (1.0 - m * 0x1p-24);
                };
                std::string wrong;
                for (int r = 0; r < tile_rows; ++r) {
                    for (int c = 0; c < tile_cols; ++c) {
                        const auto &x = rows.high[lane + r], &x_low = rows.low[lane + r];
                        const auto &y = cols.high[c], &y_low = cols.low[c];
                        const std::size_t at = static_cast<std::size_t>(r * tile_cols + c);
                        const bool codes = of_codes(scorer.format);
                        const auto value = [&](std::uint32_t bits) {
                            return codes ? static_cast<double>(static_cast<std::int32_t>(bits))
                                         : static_cast<double>(std::bit_cast<float>(bits));
                        };
                        const double found = value(tile[at]);
                        const double first = accumulate ? value(before[at]) : 0.0;
                        // Accumulated sums of codes began with `start` when their row did.
                        double sum = first - (codes && accumulate && !short_sums ? start[r] : 0.0);
                        double allowed = codes ? 0.0 : gamma(0) * std::abs(first);
                        double of_segment = 0.0;
                        for (std::size_t k = 0; k < x.size(); ++k) {
                            const double product = x[k] * y[k];
                            const double rest = x[k] * y_low[k] + x_low[k] * y[k];
                            allowed += gamma(k) * (std::abs(product) + std::abs(rest));
                            if (scorer.format != Format::int16) {
                                sum += product + rest;
                                continue;
                            }
                            of_segment += product;
                            if ((k + 1) % segment != 0 && k + 1 < x.size()) continue;
                            sum += std::floor(std::ldexp(of_segment, -segment_shift));
                            of_segment = 0.0;
                        }
                        if (scorer.format == Format::float32) {
                            std::optional<float> there;
                            if (accumulate) there = static_cast<float>(first);
                            always_fused &= same_bits(found, chained(x, y, there, true));
                            never_fused &= same_bits(found, chained(x, y, there, false));
                        }
                        if (!(std::abs(found - sum) <= allowed) && wrong.empty()) {
                            wrong = "row " + std::to_string(r) + ", column " + std::to_string(c) +
                                    ": found " + text(found) + ", expected " + text(sum) +
                                    " within " + text(allowed);
                        }
                    }
                }
                tally.check(wrong.empty(), "score, format " +
                                               std::to_string(static_cast<int>(scorer.format)) +
                                               ", depth " + std::to_string(depth) + ", lane " +
                                               std::to_string(lane) + ", " + wrong);
            }
        }
    }
    if (scorer.release) scorer.release();
    tally.check(always_fused || never_fused,
                "score is not chains in order of k, always or never fused");
}

// One side of a tile. Half of its numbers come from a coarse grid, so that bounds meet the floors
// and ceilings exactly, and some are infinite.
struct Side {
    std::vector<float> scale, bias, width, floor, ceiling;

    Side(Random& random, int size) {
        for (int i = 0; i < size; ++i) {
            const bool padding = random.below(16) == 0;
            scale.push_back(0.25f * static_cast<float>(1 + random.below(4)));
            bias.push_back(padding ? infinity32 : number(random));
            width.push_back(padding ? 0.0f : std::abs(number(random)));
            floor.push_back(limit(random));
            ceiling.push_back(limit(random));
        }
    }
    TileSide view() const {
        return {scale.data(), bias.data(), width.data(), floor.data(), ceiling.data()};
    }

    static float number(Random& random) {
        return random.below(2) == 0 ? static_cast<float>(random.below(9) - 4) * 0.25f
                                    : static_cast<float>(random.uniform());
    }
    static float limit(Random& random) {
        const std::int64_t kind = random.below(8);
        return kind == 0 ? infinity32 : kind == 1 ? -infinity32 : number(random);
    }
};

void check_compare(Tally& tally, const Scorer& scorer) {
    Random random(4);
    const int tile_rows = scorer.tile_rows, tile_cols = scorer.tile_cols;
    const bool codes = of_codes(scorer.format);
    for (int repeat = 0; repeat < 400; ++repeat) {
        std::vector<float> tile(static_cast<std::size_t>(tile_rows * tile_cols));
        std::vector<std::int32_t> sums;
        for (float& score : tile) {
            sums.push_back(static_cast<std::int32_t>(random.below(17) - 8));
            score = codes ? static_cast<float>(sums.back()) : Side::number(random);
        }
        Side rows(random, tile_rows), cols(random, tile_cols);
        const Sign sign = repeat % 2 == 0 ? Sign::nearest : Sign::farthest;
        const bool banded = repeat / 2 % 2 == 0;
        const auto upper = [&](int r, int c) {
            const float score = codes ? tile[r * tile_cols + c] * rows.scale[r] * cols.scale[c]
                                      : tile[r * tile_cols + c];
            return ((sign == Sign::nearest ? score : -score) - rows.bias[r]) - cols.bias[c];
        };
        const auto lower = [&](int r, int c) {
            return (upper(r, c) - rows.width[r]) - cols.width[c];
        };
        // Floors and ceilings that are the bound of one pair, to the bit, or its neighbour.
        const auto aim = [&](float bound) {
            const std::int64_t kind = random.below(3);
            return kind == 0 ? bound : std::nextafter(bound, kind == 1 ? infinity32 : -infinity32);
        };
        if (repeat % 5 != 0) {
            for (int r = 0; r < tile_rows; ++r) {
                const int c = static_cast<int>(random.below(tile_cols));
                if (random.below(2) == 0) rows.floor[r] = aim(upper(r, c));
                if (random.below(2) == 0) rows.ceiling[r] = aim(lower(r, c));
            }
            for (int c = 0; c < tile_cols; ++c) {
                const int r = static_cast<int>(random.below(tile_rows));
                if (random.below(2) == 0) cols.floor[c] = aim(upper(r, c));
                if (random.below(2) == 0) cols.ceiling[c] = aim(lower(r, c));
            }
        }
        if (repeat % 7 == 0) {  // nothing survives
            std::fill(rows.floor.begin(), rows.floor.end(), infinity32);
            std::fill(cols.floor.begin(), cols.floor.end(), infinity32);
        }
        TileSide row_side = rows.view(), col_side = cols.view();
        if (!banded) {  // not read
            row_side.width = row_side.ceiling = col_side.width = col_side.ceiling = nullptr;
        }
        std::vector<std::uint64_t> masks(static_cast<std::size_t>(tile_rows), ~std::uint64_t{0});
        const void* scores = codes ? static_cast<const void*>(sums.data()) : tile.data();
        const bool any = scorer.compare(scores, row_side, col_side, sign, banded, masks.data());
        bool any_expected = false;
        for (int r = 0; r < tile_rows; ++r) {
            std::uint64_t expected = 0;
            for (int c = 0; c < tile_cols; ++c) {
                bool for_row = upper(r, c) >= rows.floor[r];
                bool for_col = upper(r, c) >= cols.floor[c];
                if (banded) {
                    for_row = for_row && lower(r, c) <= rows.ceiling[r];
                    for_col = for_col && lower(r, c) <= cols.ceiling[c];
                }
                expected |= static_cast<std::uint64_t>(for_row || for_col) << c;
            }
            any_expected = any_expected || expected != 0;
            char message[160];
            std::snprintf(
                message, sizeof message, "compare, %s, %s, row %d: found %016llx, expected %016llx",
                sign == Sign::nearest ? "nearest" : "farthest", banded ? "banded" : "not banded", r,
                static_cast<unsigned long long>(masks[r]),
                static_cast<unsigned long long>(expected));
            tally.check(masks[r] == expected, message);
        }
        tally.check(any == any_expected, "compare returns the wrong answer");

        TileReach reach{rows.scale.data(), infinity32, infinity32};
        for (int r = 0; r < tile_rows; ++r) {
            reach.bias = std::min(reach.bias, rows.bias[r]);
            reach.floor = std::min(reach.floor, rows.floor[r]);
        }
        bool reached_expected = false;
        for (int c = 0; c < tile_cols; ++c) {
            float best = -infinity32;
            for (int r = 0; r < tile_rows; ++r) {
                const float score = tile[r * tile_cols + c] * (codes ? rows.scale[r] : 1.0f);
                best = std::max(best, sign == Sign::nearest ? score : -score);
            }
            if (codes) best *= cols.scale[c];
            const float bound = (best - reach.bias) - cols.bias[c];
            reached_expected |= bound >= std::min(reach.floor, cols.floor[c]);
        }
        const bool reached = scorer.reaches(scores, reach, col_side, sign);
        tally.check(reached == reached_expected, "reaches returns the wrong answer");
        tally.check(reached || !any, "reaches leaves out what compare finds");
    }
}

// Rows as compare's, all of whose columns are of one row: the scores of the others tell nothing.
void check_contend(Tally& tally, const Scorer& scorer) {
    Random random(5);
    const bool codes = of_codes(scorer.format);
    constexpr float none = -std::numeric_limits<float>::infinity();
    for (int repeat = 0; repeat < 600; ++repeat) {
        const int count = repeat % 150 + 1, room = count + max_register;
        std::vector<float> scores;
        std::vector<std::int32_t> sums;
        for (int i = 0; i < room; ++i) {  // beyond the end the best ones, or no numbers
            sums.push_back(i < count ? static_cast<std::int32_t>(random.below(17) - 8) : 99);
            const float beyond = i % 3 == 0 ? std::numeric_limits<float>::quiet_NaN() : 99.0f;
            scores.push_back(i < count ? Side::number(random) : beyond);
        }
        Side row(random, 1), cols(random, room);
        const Sign sign = repeat % 2 == 0 ? Sign::nearest : Sign::farthest;
        // What lies above the ceiling is refused, what lies above the floor may be.
        const bool banded = repeat % 5 < 2;
        if (!std::isfinite(row.ceiling[0])) row.ceiling[0] = Side::number(random);
        row.floor[0] = row.ceiling[0] - static_cast<float>(random.below(3)) * 0.25f;
        const int k = repeat % 4 == 0 ? 1 + repeat / 4 % 60 : 1;
        std::vector<float> bounds, hands(static_cast<std::size_t>(hands_for(k)), none);
        for (float& hand : hands) hand = random.below(4) == 0 ? Side::number(random) : none;
        const auto kth = [k](std::vector<float> ordered) {
            std::sort(ordered.begin(), ordered.end(), std::greater<>());
            return k > 1 ? ordered[static_cast<std::size_t>(k - 1)] : none;
        };
        // A floor is none yet, or no less than the hands have.
        const float before = repeat % 3 == 0 ? none : std::max(0.25f, kth(hands));
        std::vector<float> dealt = hands;
        float floor = before, best = before;
        for (int i = 0; i < count; ++i) {
            const auto c = static_cast<std::size_t>(i);
            const float score =
                codes ? static_cast<float>(sums[c]) * row.scale[0] * cols.scale[c] : scores[c];
            float upper =
                (sign == Sign::nearest ? score : 0.0f - score) - row.bias[0] - cols.bias[c];
            float lower = upper - row.width[0] - cols.width[c];
            const bool refused = banded && lower > row.ceiling[0];
            const bool unsure = banded && upper > row.floor[0];
            if (refused) upper = none;
            if (refused || unsure) lower = none;
            bounds.push_back(upper);
            if (k > 1 && upper < before) continue;
            float& hand = k == 1 ? best : dealt[c % dealt.size()];
            hand = std::max(hand, lower);
        }
        best = std::max(best, kth(dealt));
        std::vector<std::int32_t> expected, places(static_cast<std::size_t>(count));
        std::vector<float> uppers(static_cast<std::size_t>(count + max_tile_cols));
        const void* from = codes ? static_cast<const void*>(sums.data()) : scores.data();
        TileSide own = row.view();
        if (!banded) own.floor = own.ceiling = nullptr;  // not read
        const int found = scorer.contend(from, own, cols.view(), sign, count, k, hands.data(),
                                         uppers.data(), floor, places.data());
        places.resize(static_cast<std::size_t>(found));
        uppers.resize(bounds.size());
        const bool close =
            k == 1 ? floor == best
                   : before <= floor && floor <= best &&
                         (floor >= best - std::abs(best) / 2000.0f - 1e-37f || best == none);
        for (int i = 0; i < count; ++i) {
            if (bounds[static_cast<std::size_t>(i)] >= floor) expected.push_back(i);
        }
        tally.check(close && places == expected && uppers == bounds && hands == dealt,
                    "contend of " + std::to_string(count) + " scores: found " +
                        std::to_string(found) + " and floor " + text(floor) + ", expected " +
                        std::to_string(expected.size()) + " and " + text(best));
    }
}

void check_sift(Tally& tally, const Scorer& scorer) {
    Random random(8);
    const bool codes = of_codes(scorer.format);
    constexpr float infinite = std::numeric_limits<float>::infinity();
    for (int repeat = 0; repeat < 600; ++repeat) {
        const int count = repeat % 101 == 0 ? longest_part : repeat % 150 + 1;
        const std::int32_t buckets = repeat % 5 == 0 ? 1 : 1 + repeat % 40;
        std::vector<float> scores, least, most;
        std::vector<std::int32_t> sums;
        for (int i = 0; i < count + max_register; ++i) {
            sums.push_back(static_cast<std::int32_t>(random.below(17) - 8));
            scores.push_back(Side::number(random));
        }
        for (std::int32_t b = 0; b < buckets; ++b) {
            least.push_back(repeat % 7 == 0 ? -infinite : Side::number(random));
            most.push_back(repeat % 3 == 0 ? infinite : least.back() + Side::number(random) + 1.0f);
        }
        const Side row(random, 1), cols(random, count + max_register);
        const Buckets parts{Side::number(random), 8.0f, buckets};
        const float reach = repeat % 4 == 0 ? -infinite : Side::number(random);
        std::vector<std::int32_t> expected;
        for (int i = 0; i < count; ++i) {
            const auto at = static_cast<std::size_t>(i);
            const float score =
                codes ? static_cast<float>(sums[at]) * row.scale[0] * cols.scale[at] : scores[at];
            const float value = score - row.bias[0] - cols.bias[at];
            const float place = std::clamp((value - parts.origin) * parts.per_score, 0.0f,
                                           static_cast<float>(buckets - 1));
            const auto bucket = static_cast<std::size_t>(place);
            if (value >= std::max(reach, least[bucket]) && value <= most[bucket]) {
                expected.push_back(i);
            }
        }
        std::vector<std::int32_t> places(static_cast<std::size_t>(count + max_register));
        const void* from = codes ? static_cast<const void*>(sums.data()) : scores.data();
        const int found = scorer.sift(from, row.view(), cols.view(), count, parts,
                                      {least.data(), most.data(), reach}, places.data());
        places.resize(static_cast<std::size_t>(found));
        tally.check(places == expected, "sift of " + std::to_string(count) + " scores into " +
                                            std::to_string(buckets) + " buckets: found " +
                                            std::to_string(found) + ", expected " +
                                            std::to_string(expected.size()));
    }
}

}  // namespace

void check_scorers(Tally& tally, const KernelSet& kernels) {
    for (const Scorer* scorer : {&kernels.fine, &kernels.medium, &kernels.coarse}) {
        if (scorer->score == nullptr) continue;
        check_score(tally, *scorer);
        check_compare(tally, *scorer);
        check_contend(tally, *scorer);
        check_sift(tally, *scorer);
    }
}

}  // namespace tripletmine
