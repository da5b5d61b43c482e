// Every primitive of the contract in kernels/kernel_set.hpp against plain scalar arithmetic.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "support.hpp"

namespace tripletmine {
namespace {

using Widen = void (*)(const void*, std::int64_t, double*) noexcept;

// The elements at an odd address: rows lie wherever the caller has them. The buffers end where the
// row ends, so that a sanitizer sees any access beyond.
template <typename Element, typename Reference>
void check_widen(Tally& tally, const char* name, Widen widen, const std::vector<Element>& elements,
                 Reference reference) {
    const auto dim = static_cast<std::int64_t>(elements.size());
    for (const std::size_t shift : {std::size_t{0}, std::size_t{1}}) {
        std::vector<char> bytes(elements.size() * sizeof(Element) + shift);
        std::memcpy(bytes.data() + shift, elements.data(), elements.size() * sizeof(Element));
        std::vector<double> out(static_cast<std::size_t>(padded(dim)), -1.0);
        widen(bytes.data() + shift, dim, out.data());
        std::string wrong;
        for (std::size_t k = 0; k < out.size() && wrong.empty(); ++k) {
            const double expected = k < elements.size() ? reference(elements[k]) : 0.0;
            if (same_value(out[k], expected)) continue;
            wrong = " at element " + std::to_string(k) + " of " + std::to_string(dim) + ": found " +
                    text(out[k]) + ", expected " + text(expected);
        }
        tally.check(wrong.empty(), std::string("widen_") + name + wrong);
    }
}

void check_widening(Tally& tally, const KernelSet& kernels) {
    const auto float16 = [](std::uint16_t bits) { return decode(bits, 5, 10); };
    const auto bfloat16 = [](std::uint16_t bits) { return decode(bits, 8, 7); };
    const auto float32 = [](std::uint32_t bits) { return decode(bits, 8, 23); };
    const auto float64 = [](double value) { return value; };

    std::vector<std::uint16_t> all(65536);
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint16_t>(i);
    check_widen(tally, "float16", kernels.widen_float16, all, float16);
    check_widen(tally, "bfloat16", kernels.widen_bfloat16, all, bfloat16);

    Random random(1);
    for (std::size_t dim = 1; dim <= 40; ++dim) {
        std::vector<std::uint16_t> halves(dim);
        std::vector<std::uint32_t> singles(dim);
        std::vector<double> doubles(dim);
        for (int repeat = 0; repeat < 8; ++repeat) {
            for (auto& bits : halves) bits = static_cast<std::uint16_t>(random.bits());
            for (auto& bits : singles) bits = static_cast<std::uint32_t>(random.bits());
            for (auto& value : doubles) value = std::bit_cast<double>(random.bits());
            const std::uint32_t special[] = {0x00000001u, 0x807fffffu, 0x80000000u, 0x7f800000u,
                                             0xff800000u, 0x7f7fffffu, 0x7fc00000u, 0x00800000u};
            singles[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(dim)))] =
                special[repeat];
            check_widen(tally, "float16", kernels.widen_float16, halves, float16);
            check_widen(tally, "bfloat16", kernels.widen_bfloat16, halves, bfloat16);
            check_widen(tally, "float32", kernels.widen_float32, singles, float32);
            check_widen(tally, "float64", kernels.widen_float64, doubles, float64);
        }
    }
}

void check_exact_sums(Tally& tally, const KernelSet& kernels) {
    Random random(2);
    const auto wild = [&] {
        return std::ldexp(random.uniform(), static_cast<int>(random.below(900)) - 450);
    };
    const auto tame = [&] { return random.uniform(); };
    for (const std::int64_t dim : {1, 2, 3, 7, 8, 9, 15, 17, 31, 63, 127, 129, 513}) {
        for (int count = 0; count <= 9; ++count) {
            for (const bool huge_range : {false, true}) {
                const std::int64_t length = padded(dim), stride = length + (count % 3) * lanes;
                std::vector<double> x(static_cast<std::size_t>(length));
                std::vector<double> y(static_cast<std::size_t>(stride * count));
                for (std::int64_t k = 0; k < dim; ++k) {
                    x[k] = huge_range ? wild() : tame();
                    for (int i = 0; i < count; ++i) {
                        y[i * stride + k] = huge_range ? wild() : tame();
                    }
                }
                // A guard behind the last output, too.
                std::vector<double> dots(static_cast<std::size_t>(count) + 1, -7.0), squares = dots;
                kernels.exact_dot(x.data(), y.data(), stride, count, length, dots.data());
                kernels.exact_squares(x.data(), y.data(), stride, count, length, squares.data());
                for (int i = 0; i < count; ++i) {
                    const double* row = y.data() + i * stride;
                    const double dot = sum8(dim, [&](std::int64_t k) { return x[k] * row[k]; });
                    const double square = sum8(
                        dim, [&](std::int64_t k) { return (x[k] - row[k]) * (x[k] - row[k]); });
                    const std::string where = ", row " + std::to_string(i) + " of " +
                                              std::to_string(count) + ", dim " +
                                              std::to_string(dim);
                    tally.check(same_bits(dots[i], dot), "exact_dot" + where + ": found " +
                                                             text(dots[i]) + ", expected " +
                                                             text(dot));
                    tally.check(same_bits(squares[i], square), "exact_squares" + where +
                                                                   ": found " + text(squares[i]) +
                                                                   ", expected " + text(square));
                }
                tally.check(dots[count] == -7.0 && squares[count] == -7.0,
                            "exact sums write beyond their " + std::to_string(count) + " outputs");
            }
        }
    }
}

// Within the error bound of a float32 chain, and equal to one: fused or not, but one for all.
void check_score_tile(Tally& tally, const KernelSet& kernels) {
    Random random(3);
    const int tile_rows = kernels.tile_rows, tile_cols = kernels.tile_cols;
    tally.check(
        tile_rows <= max_tile_rows && tile_cols <= max_tile_cols && panel_rows % tile_rows == 0 &&
            tile_cols % panel_rows == 0,
        "the tile's shape is " + std::to_string(tile_rows) + " x " + std::to_string(tile_cols));
    bool always_fused = true, never_fused = true;
    for (const int depth : {1, 2, 7, 127, 128}) {
        for (const bool accumulate : {false, true}) {
            for (int lane = 0; lane < panel_rows; lane += tile_rows) {
                // Panels of a longer row than the chain: they lie further apart than it is deep.
                const std::ptrdiff_t stride = panel_rows * (depth + lane / tile_rows * 3);
                std::vector<float> rows(static_cast<std::size_t>(panel_rows * depth));
                std::vector<float> cols(static_cast<std::size_t>(
                    stride * (tile_cols / panel_rows - 1) + panel_rows * depth));
                const auto fill = [&](std::vector<float>& values) {
                    for (float& value : values) {
                        value = static_cast<float>(
                            std::ldexp(random.uniform(), static_cast<int>(random.below(12)) - 6));
                    }
                };
                fill(rows);
                fill(cols);
                std::vector<float> tile(static_cast<std::size_t>(tile_rows * tile_cols));
                if (accumulate) {
                    fill(tile);
                } else {
                    std::fill(tile.begin(), tile.end(), std::numeric_limits<float>::quiet_NaN());
                }
                const std::vector<float> before = tile;
                kernels.score_tile(rows.data() + lane, cols.data(), stride, depth, accumulate,
                                   tile.data());

                // γ_m, m roundings: a product and an addition for each term, and the accumulation.
                const double m = depth + 2.0, gamma = m * 0x1p-24 / (1.0 - m * 0x1p-24);
                std::string beyond;
                for (int r = 0; r < tile_rows; ++r) {
                    for (int c = 0; c < tile_cols; ++c) {
                        const std::size_t at = static_cast<std::size_t>(r * tile_cols + c);
                        double sum = accumulate ? static_cast<double>(before[at]) : 0.0;
                        double magnitude = std::abs(sum);
                        float fused = 0.0f, unfused = 0.0f;
                        for (int k = 0; k < depth; ++k) {
                            const float x = rows[k * panel_rows + lane + r];
                            const float y =
                                cols[c / panel_rows * stride + k * panel_rows + c % panel_rows];
                            const double product = static_cast<double>(x) * static_cast<double>(y);
                            sum += product;
                            magnitude += std::abs(product);
                            fused = std::fma(x, y, fused);
                            unfused = unfused + x * y;
                        }
                        if (accumulate) {
                            fused = before[at] + fused;
                            unfused = before[at] + unfused;
                        }
                        always_fused = always_fused && same_bits(tile[at], fused);
                        never_fused = never_fused && same_bits(tile[at], unfused);
                        const double error = std::abs(static_cast<double>(tile[at]) - sum);
                        if (!(error <= gamma * magnitude) && beyond.empty()) {
                            beyond = "row " + std::to_string(r) + ", column " + std::to_string(c) +
                                     ": found " + text(tile[at]) + ", expected " + text(sum) +
                                     " within " + text(gamma * magnitude);
                        }
                    }
                }
                tally.check(beyond.empty(), "score_tile, depth " + std::to_string(depth) +
                                                ", lane " + std::to_string(lane) + ", " + beyond);
            }
        }
    }
    tally.check(always_fused || never_fused,
                "score_tile is not one chain in order of k, always or never fused");
}

// One side of a tile. Half of its numbers come from a coarse grid, so that bounds meet the floors
// and ceilings exactly, and some are infinite.
struct Side {
    std::vector<float> bias, width, floor, ceiling;

    Side(Random& random, int size) {
        for (int i = 0; i < size; ++i) {
            const bool padding = random.below(16) == 0;
            bias.push_back(padding ? infinity32 : number(random));
            width.push_back(padding ? 0.0f : std::abs(number(random)));
            floor.push_back(limit(random));
            ceiling.push_back(limit(random));
        }
    }
    TileSide view() const { return {bias.data(), width.data(), floor.data(), ceiling.data()}; }

    static float number(Random& random) {
        return random.below(2) == 0 ? static_cast<float>(random.below(9) - 4) * 0.25f
                                    : static_cast<float>(random.uniform());
    }
    static float limit(Random& random) {
        const std::int64_t kind = random.below(8);
        return kind == 0 ? infinity32 : kind == 1 ? -infinity32 : number(random);
    }
};

void check_compare_tile(Tally& tally, const KernelSet& kernels) {
    Random random(4);
    const int tile_rows = kernels.tile_rows, tile_cols = kernels.tile_cols;
    for (int repeat = 0; repeat < 400; ++repeat) {
        std::vector<float> tile(static_cast<std::size_t>(tile_rows * tile_cols));
        for (float& score : tile) score = Side::number(random);
        Side rows(random, tile_rows), cols(random, tile_cols);
        const Sign sign = repeat % 2 == 0 ? Sign::nearest : Sign::farthest;
        const bool banded = repeat / 2 % 2 == 0;
        const auto upper = [&](int r, int c) {
            const float score = tile[r * tile_cols + c];
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
        const bool any =
            kernels.compare_tile(tile.data(), row_side, col_side, sign, banded, masks.data());
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
            std::snprintf(message, sizeof message,
                          "compare_tile, %s, %s, row %d: found %016llx, expected %016llx",
                          sign == Sign::nearest ? "nearest" : "farthest",
                          banded ? "banded" : "not banded", r,
                          static_cast<unsigned long long>(masks[r]),
                          static_cast<unsigned long long>(expected));
            tally.check(masks[r] == expected, message);
        }
        tally.check(any == any_expected, "compare_tile returns the wrong answer");
    }
}

}  // namespace

void check_primitives(Tally& tally, const KernelSet& kernels) {
    check_widening(tally, kernels);
    check_exact_sums(tally, kernels);
    check_score_tile(tally, kernels);
    check_compare_tile(tally, kernels);
}

}  // namespace tripletmine
