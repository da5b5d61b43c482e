// Every primitive of the contract in kernels/kernel_set.hpp, but for its scorers
// (scorer_tests.cpp), against plain scalar arithmetic.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "buffer.hpp"
#include "counting.hpp"
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

// The same of panels of eight rows with panels of eight columns.
void check_exact_sums_of_panels(Tally& tally, const KernelSet& kernels) {
    Random random(11);
    for (const std::int64_t dim : {1, 7, 8, 9, 64, 129, 513}) {
        for (const int panels : {1, 2, 3}) {
            const std::int64_t length = padded(dim), cols = panels * lanes;
            const std::int64_t stride = cols + (panels % 3) * lanes;
            const auto place = [&](std::int64_t row, std::int64_t k) {
                const std::int64_t chain = k % lanes * length / lanes;
                return row / lanes * lanes * length + (chain + k / lanes) * lanes + row % lanes;
            };
            std::vector<double> x(static_cast<std::size_t>(lanes * length));
            std::vector<double> y(static_cast<std::size_t>(cols * length));
            for (std::int64_t k = 0; k < dim; ++k) {
                const auto value = [&] {
                    const int exponent = dim % 2 == 0 ? 0 : static_cast<int>(random.below(900));
                    return std::ldexp(random.uniform(), exponent - 450);
                };
                for (std::int64_t r = 0; r < lanes; ++r) x[place(r, k)] = value();
                for (std::int64_t c = 0; c < cols; ++c) y[place(c, k)] = value();
            }
            std::vector<double> dots(static_cast<std::size_t>(lanes * stride), -7.0);
            std::vector<double> squares = dots;
            kernels.exact_dots_of_panels(x.data(), y.data(), panels, length, dots.data(), stride);
            kernels.exact_squares_of_panels(x.data(), y.data(), panels, length, squares.data(),
                                            stride);
            for (std::int64_t i = 0; i < lanes * stride; ++i) {
                const std::int64_t r = i / stride, c = i % stride;
                const auto difference = [&](std::int64_t k) {
                    return x[place(r, k)] - y[place(c, k)];
                };
                const double dot =
                    c < cols ? sum8(
                                   dim, [&](auto k) { return x[place(r, k)] * y[place(c, k)]; })
                             : -7.0;
                const double square =
                    c < cols ? sum8(
                                   dim, [&](auto k) { return difference(k) * difference(k); })
                             : -7.0;
                const std::string where = "_of_panels, row " + std::to_string(r) + ", column " +
                                          std::to_string(c) + " of " + std::to_string(cols) +
                                          ", dim " + std::to_string(dim);
                tally.check(same_bits(dots[i], dot), "exact_dots" + where + ": found " +
                                                         text(dots[i]) + ", expected " + text(dot));
                tally.check(same_bits(squares[i], square), "exact_squares" + where + ": found " +
                                                               text(squares[i]) + ", expected " +
                                                               text(square));
            }
        }
    }
}

// The same of float32 rows that lie anywhere, and touch nothing behind their last element.
void check_exact_sums_of_float32(Tally& tally, const KernelSet& kernels) {
    Random random(5);
    for (const std::int64_t dim : {1, 2, 7, 8, 9, 15, 16, 17, 31, 40, 63, 127, 129, 513}) {
        for (int count = 0; count <= 9; ++count) {
            // The first is x. Each is a vector of its own; and the middle of `soon` is none.
            std::vector<std::vector<float>> rows(static_cast<std::size_t>(count) + 1);
            std::vector<const void*> memory;
            for (std::vector<float>& row : rows) {
                for (std::int64_t k = 0; k < dim; ++k) {
                    const int exponent = dim % 2 == 0 ? 0 : static_cast<int>(random.below(200));
                    row.push_back(static_cast<float>(std::ldexp(random.uniform(), exponent - 100)));
                }
                memory.push_back(row.data());
            }
            const void* const soon[] = {rows[0].data(), nullptr, rows.back().data()};
            std::vector<double> dots(static_cast<std::size_t>(count) + 1, -7.0), squares = dots;
            const void* const* others = memory.data() + 1;
            kernels.exact_dot_float32(memory[0], others, count, dim, soon, count % 4, dots.data());
            kernels.exact_squares_float32(memory[0], others, count, dim, soon, count % 4,
                                          squares.data());
            for (int i = 0; i < count; ++i) {
                const auto x = [&](std::int64_t k) { return static_cast<double>(rows[0][k]); };
                const auto y = [&](std::int64_t k) { return static_cast<double>(rows[i + 1][k]); };
                const double dot = sum8(dim, [&](std::int64_t k) { return x(k) * y(k); });
                const double square =
                    sum8(dim, [&](std::int64_t k) { return (x(k) - y(k)) * (x(k) - y(k)); });
                const std::string where = "_float32, row " + std::to_string(i) + " of " +
                                          std::to_string(count) + ", dim " + std::to_string(dim);
                tally.check(same_bits(dots[i], dot), "exact_dot" + where + ": found " +
                                                         text(dots[i]) + ", expected " + text(dot));
                tally.check(same_bits(squares[i], square), "exact_squares" + where + ": found " +
                                                               text(squares[i]) + ", expected " +
                                                               text(square));
            }
            tally.check(
                dots[count] == -7.0 && squares[count] == -7.0,
                "exact sums of float32 write beyond their " + std::to_string(count) + " outputs");
        }
    }
}

// Candidates counted by their scores: each in the slot that its bounds prove, or named as open.
void check_tally(Tally& tally, const KernelSet& kernels) {
    Random random(31);
    for (const Metric metric : {Metric::cosine, Metric::euclidean}) {
        for (const int size : {0, 1, 7, 300, 3000}) {
            for (const int count : {1, 3, 15, 16, 17, 64, 700, longest_part}) {
                const ScoreSpace space{metric, 1.0};
                std::vector<double> distances;
                for (int s = 0; s < size; ++s) {
                    const bool twice = s > 0 && random.below(4) == 0;
                    distances.push_back(twice ? distances.back() : 1.0 + 0.5 * random.uniform());
                }
                std::sort(distances.begin(), distances.end());
                const float widest = random.below(2) == 0 ? 1e-5f : 2e-3f, row_middle = 0.25f;
                Counts counts(space, distances, widest);
                std::vector<float> scores, bias;
                for (int i = 0; i < count + max_register; ++i) {
                    const bool inside = i < count;
                    bias.push_back(inside ? static_cast<float>(random.uniform()) : infinity32);
                    const double target =
                        size > 0 && random.below(3) == 0
                            ? space.score(distances[static_cast<std::size_t>(random.below(size))])
                            : -1.0 + random.uniform();
                    scores.push_back(static_cast<float>(target) + row_middle +
                                     (inside ? bias.back() : 0.0f));
                }
                Counting counting;
                counting.begin(counts, row_middle);
                std::vector<std::int32_t> places(static_cast<std::size_t>(count + max_register));
                std::vector<std::int32_t> slots(places.size());
                const int open =
                    kernels.tally(scores.data(), bias.data(), count, counting.table(),
                                  counting.room_for(count), places.data(), slots.data());
                counting.end();

                const Thresholds& thresholds = counts.thresholds();
                std::vector<std::int64_t> expected(static_cast<std::size_t>(size + 1));
                std::vector<double> sums(expected.size());
                int next = 0;
                std::int64_t wrong = 0;
                for (int i = 0; i < count; ++i) {
                    const float score = (scores[i] - row_middle) - bias[i];
                    const float half = counts.half_width();
                    if (next < open && places[next] == i) {
                        wrong += thresholds.slot(score - half, score + half) != -1 - slots[next];
                        ++next;
                        continue;
                    }
                    const double middle = static_cast<double>(score);
                    const double width = 0.5 * static_cast<double>(widest);
                    std::size_t slot = 0;
                    while (middle + width < static_cast<double>(thresholds.beyond()[slot])) ++slot;
                    wrong += !(middle - width > static_cast<double>(thresholds.within()[slot]));
                    ++expected[slot];
                    sums[slot] += metric == Metric::cosine
                                      ? -middle
                                      : std::sqrt(std::max(0.0, -2.0 * middle));
                }
                wrong += next != open;
                counts.accumulate();
                std::int64_t before = 0;
                double sum_before = 0.0;
                for (std::size_t s = 0; s < expected.size(); ++s) {
                    before += expected[s];
                    sum_before += sums[s];
                    const auto& total = counts.within_slot(static_cast<std::int64_t>(s));
                    wrong += total.count != before;
                    // Nothing is asked of the distances beyond the last threshold.
                    if (s + 1 == expected.size()) continue;
                    wrong += !(std::abs(total.sum - sum_before) <= 1e-6 * (1.0 + sum_before));
                }
                tally.check(wrong == 0, "tally of " + std::to_string(count) + " among " +
                                            std::to_string(size) +
                                            " thresholds: " + std::to_string(wrong) + " errors");
            }
        }
    }
}

void check_transpose(Tally& tally, const KernelSet& kernels) {
    constexpr int size = panel_rows;
    for (const int from_stride : {size, size + 5}) {
        for (const int to_stride : {size, size + 3}) {
            constexpr std::int32_t untouched = -1;
            std::vector<std::int32_t> words(static_cast<std::size_t>(size * from_stride));
            std::iota(words.begin(), words.end(), 0);
            std::vector<std::int32_t> out(static_cast<std::size_t>(size * to_stride), untouched);
            kernels.transpose(words.data(), from_stride, out.data(), to_stride);
            bool right = true;
            for (int r = 0; r < size; ++r) {
                for (int c = 0; c < to_stride; ++c) {
                    const std::int32_t expected = c < size ? words[c * from_stride + r] : untouched;
                    right = right && out[r * to_stride + c] == expected;
                }
            }
            tally.check(right, "transpose");
        }
    }
}

// Rows at odd addresses, whose memory ends where they end.
void check_pack_floats(Tally& tally, const KernelSet& kernels) {
    Random random(5);
    for (const std::int64_t dim : {1, 3, 4, 8, 15, 16, 17, 40, 129}) {
        const auto length = static_cast<std::size_t>(dim);
        std::vector<std::vector<char>> memory;
        std::vector<std::vector<float>> values;
        std::vector<const void*> rows;
        std::vector<float> factors, rests, panel(length * panel_rows, -1.0f);
        for (int row = 0; row < panel_rows; ++row) {
            values.emplace_back();
            for (std::size_t k = 0; k < length; ++k) {
                values.back().push_back(static_cast<float>(random.uniform() - 0.5));
            }
            const std::size_t shift = static_cast<std::size_t>(row % 3);
            memory.emplace_back(length * sizeof(float) + shift);
            std::memcpy(memory.back().data() + shift, values.back().data(), length * sizeof(float));
            rows.push_back(memory.back().data() + shift);
            factors.push_back(std::ldexp(static_cast<float>(1.0 + random.uniform()), row - 8));
            rests.push_back(factors.back() * static_cast<float>(random.uniform() - 0.5) * 0x1p-23f);
        }
        kernels.pack_floats(rows.data(), factors.data(), rests.data(), dim, panel.data());
        bool right = true;
        for (std::size_t k = 0; k < length; ++k) {
            for (std::size_t row = 0; row < panel_rows; ++row) {
                const double factor = static_cast<double>(factors[row]) + rests[row];
                const double expected = values[row][k] * factor;
                right = right && std::abs(panel[k * panel_rows + row] - expected) <=
                                     0x1.1p-23 * std::abs(expected);
            }
        }
        tally.check(right, "pack_floats of " + std::to_string(dim) + " elements");
    }
}

// A panel of rows at odd addresses, whose memory ends where they end, and what encode makes of it.
struct Encoded {
    Encoded(const Scorer& scorer, const std::vector<std::vector<float>>& rows,
            const std::vector<float>& factors)
        : dim(std::ssize(rows[0])),
          wide(scorer.format == Format::int16),
          depth(round_up(dim, wide ? 32 : 64)),
          codes(static_cast<std::size_t>(panel_rows * depth * (wide ? 2 : 1))) {
        std::vector<std::vector<char>> memory;
        std::vector<const void*> places;
        for (const std::vector<float>& row : rows) {
            memory.emplace_back(1 + row.size() * sizeof(float));
            std::memcpy(memory.back().data() + 1, row.data(), row.size() * sizeof(float));
            places.push_back(memory.back().data() + 1);
        }
        std::vector<float> scaled(static_cast<std::size_t>(coded_together * depth));
        scorer.encode(places.data(), factors.data(), dim, scorer, smallest, scaled.data(),
                      codes.data(), scales, rests2);
    }
    int code(int row, std::int64_t k, const Scorer& scorer) const {
        if (wide) {
            std::int16_t code = 0;
            std::memcpy(&code, codes.data() + (row * depth + k) * 2, sizeof code);
            return code;
        }
        const std::uint8_t byte = codes[static_cast<std::size_t>(row * depth + k)];
        return scorer.offset == 0 ? static_cast<std::int8_t>(byte) : byte - scorer.offset;
    }

    static constexpr float smallest = 0x1p-100f;
    std::int64_t dim;
    bool wide;  // codes of two bytes
    std::int64_t depth;
    std::vector<std::uint8_t> codes;
    float scales[panel_rows], rests2[panel_rows];
};

// Every code is the nearest one, and what codes leave out lies within the bounds of
// Operand::measure_codes.
void check_encode(Tally& tally, const KernelSet& kernels) {
    Random random(6);
    const float factors_of_turn[] = {1.0f, 0.3f, 0.0f, 0x1p-60f, 0x1p60f, 0x1p-99f, 0x1p-103f};
    for (const std::int64_t dim : {1, 7, 8, 9, 63, 64, 65, 127, 300}) {
        for (const int offset : {0, 128}) {
            Scorer scorer{};
            scorer.format = Format::int8;
            scorer.encode = kernels.coarse.encode;
            scorer.levels = 63;
            scorer.offset = offset;
            std::vector<std::vector<float>> rows;
            std::vector<float> factors;
            for (int row = 0; row < panel_rows; ++row) {
                factors.push_back(factors_of_turn[row % std::ssize(factors_of_turn)]);
                rows.emplace_back();
                for (std::int64_t k = 0; k < dim; ++k) {
                    rows.back().push_back(static_cast<float>(random.uniform() - 0.5));
                }
            }
            const Encoded encoded(scorer, rows, factors);
            bool right = true;
            for (int row = 0; row < panel_rows; ++row) {
                double peak = 0.0, error2 = 0.0;
                const double scale = encoded.scales[row], rest = std::sqrt(encoded.rests2[row]);
                for (std::int64_t k = 0; k < encoded.depth; ++k) {
                    const double exact =
                        k < dim ? static_cast<double>(rows[row][k]) * factors[row] : 0;
                    const int code = encoded.code(row, k, scorer);
                    peak = std::max(peak, std::abs(exact));
                    error2 += (exact - code * scale) * (exact - code * scale);
                    right = right && std::abs(code) <= scorer.levels && (k < dim || code == 0) &&
                            std::abs(exact - code * scale) <=
                                std::max(0.5 * scale * (1 + 1e-4), peak * (scale == 0.0));
                }
                if (peak < Encoded::smallest) {
                    right = right && scale == 0.0;
                    continue;
                }
                const double slack = 0x1p-21 * scorer.levels * std::sqrt(static_cast<double>(dim));
                const double left_out = std::sqrt(error2) / scale;
                right = right && std::abs(scale * scorer.levels / peak - 1.0) <= 0x1p-22 &&
                        left_out <= rest * (1.0 + 0x1p-11) + slack &&
                        rest <= left_out * (1.0 + 0x1p-11) + slack;
            }
            tally.check(right, "encode of " + std::to_string(dim) + " elements, offset " +
                                   std::to_string(offset));
        }
    }
}

// Codes for short sums: no half block is longer than short_norm, and codes are as large as that or
// their levels allow.
void check_encode_for_short_sums(Tally& tally, const KernelSet& kernels) {
    Random random(7);
    Scorer scorer{};
    scorer.format = Format::int8;
    scorer.encode = kernels.coarse.encode;
    scorer.levels = scorer.offset = 90;
    scorer.short_sums = true;
    for (const std::int64_t dim : {1, 2, 8, 31, 64, 65, 200}) {
        std::vector<std::vector<float>> rows;
        std::vector<float> factors;
        for (const float spread : {0.0f, 0.01f, 1.0f, 30.0f}) {  // constant rows to spiky ones
            for (const float factor : {1.0f, 0x1p-99f, 0x1p-30f, 0x1p90f}) {
                factors.push_back(factor);
                rows.emplace_back();
                for (std::int64_t k = 0; k < dim; ++k) {
                    const auto x = static_cast<float>(random.uniform() - 0.5);
                    rows.back().push_back(1.0f + spread * x * x * x);
                }
            }
        }
        const Encoded encoded(scorer, rows, factors);
        for (int row = 0; row < panel_rows; ++row) {
            std::int64_t longest2 = 0, largest = 0, norms2[2] = {0, 0};
            for (std::int64_t k = 0; k < encoded.depth; ++k) {
                const std::int64_t code = encoded.code(row, k, scorer);
                if (k % 64 == 0) norms2[0] = norms2[1] = 0;
                norms2[k / 2 % 2] += code * code;
                longest2 = std::max({longest2, norms2[0], norms2[1]});
                largest = std::max(largest, std::abs(code));
            }
            tally.check(longest2 <= short_norm * short_norm && largest <= scorer.levels &&
                            (largest == scorer.levels || longest2 >= 172 * 172),
                        "short codes of " + std::to_string(dim) + " elements: " +
                            std::to_string(longest2) + ", " + std::to_string(largest));
        }
    }
}

// Codes of 16 bits: no segment is longer than segment_norm, no row longer than as many segments as
// their shift allows for, no code beyond the levels; and codes are as large as these let them be.
void check_encode_segments(Tally& tally, const Scorer& scorer) {
    Random random(29);
    for (const std::int64_t dim : {1, 31, 33, 128, 129, 400, 3 * 64 * segment}) {
        std::vector<std::vector<float>> rows;
        std::vector<float> factors;
        for (int row = 0; row < panel_rows; ++row) {  // constant rows to spiky ones
            factors.push_back(row % 3 == 0 ? 0x1p-90f : row % 3 == 1 ? 1.0f : 0x1p90f);
            rows.emplace_back();
            const double spread = std::ldexp(1.0, row - 6);
            for (std::int64_t k = 0; k < dim; ++k) {
                const double x = random.uniform() - 0.5;
                rows.back().push_back(static_cast<float>(1.0 + spread * x * x * x));
            }
        }
        const Encoded encoded(scorer, rows, factors);
        for (int row = 0; row < panel_rows; ++row) {
            std::int64_t longest2 = 0, of_segment2 = 0, in_all2 = 0, largest = 0;
            bool near = true;
            for (std::int64_t k = 0; k < encoded.depth; ++k) {
                const std::int64_t code = encoded.code(row, k, scorer);
                if (k % segment == 0) of_segment2 = 0;
                of_segment2 += code * code;
                in_all2 += code * code;
                longest2 = std::max(longest2, of_segment2);
                largest = std::max(largest, std::abs(code));
                const double exact = k < dim ? static_cast<double>(rows[row][k]) * factors[row] : 0;
                near = near && std::abs(exact / encoded.scales[row] - code) <= 0.51;
            }
            const std::int64_t most2 = std::int64_t{segment_norm} * segment_norm;
            const std::int64_t row_most2 = most2 << segment_shift;
            const bool full = largest == scorer.levels || longest2 >= most2 / 100 * 99 ||
                              in_all2 >= row_most2 / 100 * 99;
            tally.check(near && full && longest2 <= most2 && in_all2 <= row_most2 &&
                            largest <= scorer.levels,
                        "16-bit codes of " + std::to_string(dim) + " elements: " +
                            std::to_string(longest2) + ", " + std::to_string(largest));
        }
    }
}

// Of random codes, and of none but the largest ones, whose sums are the longest.
void check_code_products(Tally& tally, const KernelSet& kernels) {
    constexpr std::uint32_t count = 7;
    const int levels = kernels.coarse.levels, offset = kernels.coarse.offset;
    Random random(13);
    for (const std::int64_t depth : {64, 128, 192, 1 << 16}) {
        for (const bool largest : {false, true}) {
            std::vector<int> codes[2];
            std::vector<std::uint8_t> stored[2];
            for (int side = 0; side < 2; ++side) {
                for (std::int64_t i = 0; i < count * depth; ++i) {
                    const int any = static_cast<int>(random.below(2 * levels + 1)) - levels;
                    const int code = !largest ? any : i / depth % 2 == side ? levels : -levels;
                    codes[side].push_back(code);
                    stored[side].push_back(static_cast<std::uint8_t>(code + offset));
                }
            }
            std::vector<PairOfRows> pairs;
            std::vector<std::int64_t> expected;
            for (std::uint32_t row = 0; row < count; ++row) {
                for (const std::uint32_t col : {row, count - 1 - row, 0u}) {
                    pairs.push_back({row, col});
                    std::int64_t sum = 0;
                    for (std::int64_t k = 0; k < depth; ++k) {
                        sum += codes[0][static_cast<std::size_t>(row * depth + k)] *
                               codes[1][static_cast<std::size_t>(col * depth + k)];
                    }
                    expected.push_back(sum);
                }
            }
            std::vector<std::int32_t> sums(pairs.size());
            kernels.code_products(stored[0].data(), stored[1].data(), depth, offset, pairs.data(),
                                  static_cast<int>(pairs.size()), sums.data());
            const bool right = std::equal(sums.begin(), sums.end(), expected.begin());
            tally.check(right, "code products of " + std::to_string(depth) + " elements");
        }
    }
}

}  // namespace

void check_primitives(Tally& tally, const KernelSet& kernels) {
    check_widening(tally, kernels);
    check_exact_sums(tally, kernels);
    check_exact_sums_of_panels(tally, kernels);
    check_exact_sums_of_float32(tally, kernels);
    check_tally(tally, kernels);
    check_transpose(tally, kernels);
    check_pack_floats(tally, kernels);
    check_encode(tally, kernels);
    check_encode_for_short_sums(tally, kernels);
    if (kernels.medium.format == Format::int16) check_encode_segments(tally, kernels.medium);
    check_code_products(tally, kernels);
}

}  // namespace tripletmine
