// Every kernel set this machine runs, against plain scalar arithmetic and against each other.
//
// The first half checks each primitive of the contract in kernels/kernel_set.hpp; the second half
// checks the promise made of all of them together: the same answers from every set, for any number
// of threads and any memory budget. A program of its own, because it also runs where Python does
// not: in a cross build, under an emulator.
//
//     kernel_tests [name ...]    the sets that must have been exercised, else it fails
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/dispatch.hpp"
#include "kernels/kernel_set.hpp"
#include "tripletmine/tripletmine.hpp"

namespace tripletmine {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr float infinity32 = std::numeric_limits<float>::infinity();

// ---- Counting ----

class Tally {
public:
    void begin(const KernelSet& kernels) { set_ = kernels.name; }
    void check(bool passed, const std::string& what) {
        ++(passed ? passed_ : failed_);
        if (!passed && failed_ <= most_messages) {
            std::fprintf(stderr, "FAILED  %s: %s\n", set_.c_str(), what.c_str());
        }
    }
    std::int64_t passed() const { return passed_; }
    std::int64_t failed() const { return failed_; }
    std::int64_t run() const { return passed_ + failed_; }

private:
    static constexpr std::int64_t most_messages = 30;
    std::string set_;
    std::int64_t passed_ = 0, failed_ = 0;
};

std::string text(double value) {
    char buffer[64];
    std::snprintf(buffer, sizeof buffer, "%.17g (%a)", value, value);
    return buffer;
}

bool same_bits(double a, double b) {
    return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}
bool same_value(double a, double b) { return (std::isnan(a) && std::isnan(b)) || same_bits(a, b); }

class Random {
public:
    explicit Random(std::uint64_t seed) : engine_(seed) {}
    std::uint64_t bits() { return engine_(); }
    std::int64_t below(std::int64_t bound) {
        return static_cast<std::int64_t>(engine_() % static_cast<std::uint64_t>(bound));
    }
    // In [-1, 1), made from bits: the standard distributions differ from library to library.
    double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-52 - 1.0; }

private:
    std::mt19937_64 engine_;
};

// ---- Scalar references ----

// The value of a binary floating-point number of that layout.
double decode(std::uint32_t bits, int exponent_bits, int mantissa_bits) {
    const int mantissa = static_cast<int>(bits & ((1u << mantissa_bits) - 1));
    const int exponent = static_cast<int>(bits >> mantissa_bits & ((1u << exponent_bits) - 1));
    const bool negative = (bits >> (mantissa_bits + exponent_bits) & 1u) != 0;
    const int largest = (1 << exponent_bits) - 1, bias = largest / 2;
    double value = 0.0;
    if (exponent == largest) {
        value = mantissa != 0 ? std::numeric_limits<double>::quiet_NaN() : infinity;
    } else if (exponent == 0) {
        value = std::ldexp(mantissa, 1 - bias - mantissa_bits);
    } else {
        value = std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
    }
    return negative ? -value : value;
}

// The canonical sum of term(0) ... term(dim - 1).
template <typename Term>
double sum8(std::int64_t dim, Term term) {
    double p[8] = {};
    for (std::int64_t k = 0; k < dim; ++k) p[k % 8] += term(k);
    return ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]));
}

// ---- Primitives ----

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

// ---- Whole calls ----

// Rows of some dtype with labels and groups; owns what its population views.
struct Data {
    std::string name;
    DType dtype = DType::float32;
    std::int64_t rows = 0, dim = 0;
    std::vector<char> bytes;
    std::vector<double> values;  // exact
    std::vector<std::int64_t> labels, groups;

    Population unlabelled() const {
        const std::ptrdiff_t item = static_cast<std::ptrdiff_t>(bytes.size()) / (rows * dim);
        return {"data", {bytes.data(), dtype, rows, dim, dim * item, item}};
    }
    Population labelled(bool grouped) const {
        Population population = unlabelled();
        population.labels = labels;
        if (grouped) population.groups = groups;
        return population;
    }
};

enum class Kind : std::uint8_t { random, tied, duplicated };

// A value of the kind as the dtype's bits; the value is always exactly representable.
Data make_data(const char* name, Kind kind, DType dtype, std::int64_t rows, std::int64_t dim,
               std::int64_t classes, std::uint64_t seed) {
    Random random(seed);
    Data data{name, dtype, rows, dim, {}, {}, {}, {}};
    const auto put = [&](auto bits) {
        char raw[sizeof bits];
        std::memcpy(raw, &bits, sizeof bits);
        data.bytes.insert(data.bytes.end(), raw, raw + sizeof bits);
    };
    for (std::int64_t i = 0; i < rows; ++i) {
        const std::int64_t original = random.below(i + 1);
        const bool copied = kind == Kind::duplicated && original < i && random.below(3) == 0;
        for (std::int64_t k = 0; k < dim; ++k) {
            double value = kind == Kind::tied ? static_cast<double>(random.below(3) - 1)
                                              : random.uniform() + random.uniform();
            if (copied) value = data.values[original * dim + k];
            const auto single = std::bit_cast<std::uint32_t>(static_cast<float>(value));
            switch (dtype) {
                case DType::float64:
                    put(value);
                    break;
                case DType::float32:
                    put(single);
                    value = decode(single, 8, 23);
                    break;
                case DType::bfloat16:
                    put(static_cast<std::uint16_t>(single >> 16));
                    value = decode(single >> 16, 8, 7);
                    break;
                case DType::float16: {  // sign, a normal exponent and some mantissa, or zero
                    const std::uint32_t magnitude = single & 0x7fffffffu;
                    const bool zero = magnitude < 0x38800000u;
                    const std::uint32_t half =
                        (single >> 16 & 0x8000u) | (zero ? 0 : (magnitude - 0x38000000u) >> 13);
                    put(static_cast<std::uint16_t>(half));
                    value = decode(half, 5, 10);
                    break;
                }
            }
            data.values.push_back(value);
        }
        data.labels.push_back(random.below(classes) - 1);
        data.groups.push_back(random.below(rows / 3 + 1));
    }
    return data;
}

struct Way {
    std::string_view set;
    int threads;
    std::int64_t packing_budget;
    Execution execution() const { return {threads, set, nullptr, packing_budget}; }
    std::string name() const {
        return std::to_string(threads) + " threads, packing " +
               (packing_budget == 0 ? "each block anew" : "kept");
    }
};

std::vector<Way> ways(std::string_view set) {
    constexpr std::int64_t unlimited = std::numeric_limits<std::int64_t>::max();
    return {{set, 1, unlimited}, {set, 1, 0}, {set, 3, unlimited}, {set, 3, 0}};
}

template <typename Value>
bool same_bytes(const std::vector<Value>& a, const std::vector<Value>& b) {
    return a.size() == b.size() &&
           (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(Value)) == 0);
}

bool same(const Mined& a, const Mined& b) {
    const Report &x = a.report, &y = b.report;
    return a.count == b.count && same_bytes(a.anchors, b.anchors) &&
           same_bytes(a.positives, b.positives) && same_bytes(a.negatives, b.negatives) &&
           same_bytes(a.d_ap, b.d_ap) && same_bytes(a.d_an, b.d_an) &&
           same_bytes(a.fell_back, b.fell_back) && x.anchors == y.anchors &&
           x.anchors_without_positive == y.anchors_without_positive &&
           x.anchors_without_negative == y.anchors_without_negative && x.fell_back == y.fell_back &&
           x.zero_rows == y.zero_rows && x.pairs_considered == y.pairs_considered;
}

// The definition of the distance, on the exact values.
double distance(Metric metric, const Data& a, std::int64_t i, const Data& b, std::int64_t j) {
    const double *x = a.values.data() + i * a.dim, *y = b.values.data() + j * b.dim;
    const auto dot = [&](const double* u, const double* v) {
        return sum8(a.dim, [&](std::int64_t k) { return u[k] * v[k]; });
    };
    if (metric == Metric::dot) return -dot(x, y);
    if (metric == Metric::cosine) {
        const double norms = dot(x, x) * dot(y, y);  // of moderate size in this test, or zero
        return norms == 0.0 ? 1.0 : std::max(0.0, 1.0 - dot(x, y) / std::sqrt(norms));
    }
    const double sq = sum8(a.dim, [&](std::int64_t k) { return (x[k] - y[k]) * (x[k] - y[k]); });
    return metric == Metric::euclidean ? std::sqrt(sq) : sq;
}

constexpr Metric all_metrics[] = {Metric::cosine, Metric::dot, Metric::euclidean,
                                  Metric::sqeuclidean};

// nearest and pairwise_distances, against their definitions.
void check_distances(Tally& tally, std::string_view set, const Data& rows, const Data* references) {
    const Data& cols = references ? *references : rows;
    const auto other = references ? std::optional(references->unlabelled()) : std::nullopt;
    const std::int64_t k = std::min<std::int64_t>(7, cols.rows - 1);
    for (const Metric metric : all_metrics) {
        std::vector<float> all;
        std::vector<std::int64_t> indices;
        std::vector<double> distances;
        for (std::int64_t i = 0; i < rows.rows; ++i) {
            std::vector<std::pair<double, std::int64_t>> order;
            for (std::int64_t j = 0; j < cols.rows; ++j) {
                const double d = distance(metric, rows, i, cols, j);
                all.push_back(static_cast<float>(d));
                if (references || i != j) order.emplace_back(d, j);
            }
            std::partial_sort(order.begin(), order.begin() + k, order.end());
            for (std::int64_t rank = 0; rank < k; ++rank) {
                distances.push_back(order[rank].first);
                indices.push_back(order[rank].second);
            }
        }
        for (const Way& way : ways(set)) {
            const std::string where = " on " + rows.name + (references ? " with references" : "") +
                                      ", metric " + std::to_string(static_cast<int>(metric)) +
                                      ", " + way.name();
            const Neighbours found = nearest(rows.unlabelled(), other, k, metric, way.execution());
            tally.check(
                same_bytes(found.indices, indices) && same_bytes(found.distances, distances),
                "nearest" + where + " differs from its definition");
            tally.check(found.report.instruction_set == set,
                        "nearest ran " + std::string(found.report.instruction_set));
            std::vector<float> out(all.size());
            const auto item = static_cast<std::ptrdiff_t>(sizeof(float));
            pairwise_distances(rows.unlabelled(), other, metric, out.data(), cols.rows * item, item,
                               way.execution());
            tally.check(same_bytes(out, all),
                        "pairwise_distances" + where + " differs from its definition");
        }
    }
}

struct MineCase {
    const char* name;
    MineOptions options;
    bool grouped = false;
};

std::vector<MineCase> mine_cases() {
    using S = Strategy;
    std::vector<MineCase> cases;
    const auto with = [&](const char* name, S positive, S negative, auto change) {
        MineCase one{name, {}, false};
        one.options.positive = positive;
        one.options.negative = negative;
        change(one);
        cases.push_back(one);
    };
    const auto as_is = [](MineCase&) {};
    with("easy/hard", S::easy, S::hard, as_is);
    with("hard/easy, 5 negatives", S::hard, S::easy,
         [](MineCase& c) { c.options.num_negatives = 5; });
    with("easy/semihard, hard fallback", S::easy, S::semihard,
         [](MineCase& c) { c.options.fallback = Fallback::hard; });
    with("hard/semihard, easy fallback, ranks 1 to 3", S::hard, S::semihard, [](MineCase& c) {
        c.options.fallback = Fallback::easy;
        c.options.num_negatives = 3;
        c.options.range_min = 1;
    });
    with("semihard/hard, groups", S::semihard, S::hard, [](MineCase& c) { c.grouped = true; });
    with("semihard/easy", S::semihard, S::easy, as_is);
    with("random/random", S::random, S::random, [](MineCase& c) {
        c.options.num_negatives = 4;
        c.options.seed = 99;
    });
    with("random/semihard, margin, groups", S::random, S::semihard, [](MineCase& c) {
        c.options.margin = 0.5;
        c.options.type = TripletType::semihard;
        c.grouped = true;
    });
    with("easy/hard, ranges", S::easy, S::hard, [](MineCase& c) {
        c.options.positive_range = {0.25, 4.0};
        c.options.negative_range = {0.5, 3.0};
        c.options.num_negatives = 2;
    });
    return cases;
}

Mined mine_one(const MineCase& one, Metric metric, const Data& rows, const Data* references,
               const std::vector<std::int64_t>* anchors, const Execution& execution) {
    MineOptions options = one.options;
    options.metric = metric;
    const auto other = references ? std::optional(references->labelled(one.grouped)) : std::nullopt;
    const auto some =
        anchors ? std::optional(std::span<const std::int64_t>(*anchors)) : std::nullopt;
    return mine(rows.labelled(one.grouped), other, some, options, execution);
}

// mine, the same in every way: the portable set on one thread is what the others are held to.
void check_mining(Tally& tally, std::string_view set, const Data& rows, const Data* references,
                  const std::vector<std::int64_t>* anchors) {
    std::int64_t triplets = 0;
    for (const MineCase& one : mine_cases()) {
        for (const Metric metric : all_metrics) {
            const Mined expected =
                mine_one(one, metric, rows, references, anchors, {1, "portable"});
            triplets += expected.count;
            for (const Way& way : ways(set)) {
                const Mined found =
                    mine_one(one, metric, rows, references, anchors, way.execution());
                tally.check(same(found, expected),
                            std::string("mine ") + one.name + " on " + rows.name +
                                (references ? " with references" : "") +
                                (anchors ? " for some anchors" : "") + ", metric " +
                                std::to_string(static_cast<int>(metric)) + ", " + way.name() +
                                ": " + std::to_string(found.count) +
                                " triplets are not portable's " + std::to_string(expected.count));
            }
        }
    }
    tally.check(triplets > 0, "mine finds nothing at all on " + rows.name);
}

void check_calls(Tally& tally, std::string_view set) {
    // Sizes around the tiles', dims around the partial sums and the chains of 128.
    const Data random = make_data("random rows", Kind::random, DType::float32, 131, 130, 7, 11);
    const Data long_rows = make_data("long rows", Kind::random, DType::float64, 49, 257, 4, 12);
    const Data tied = make_data("tied rows", Kind::tied, DType::float16, 97, 3, 5, 13);
    const Data duplicated =
        make_data("duplicated rows", Kind::duplicated, DType::bfloat16, 113, 9, 6, 14);
    const Data halves = make_data("half rows", Kind::random, DType::float16, 65, 17, 9, 15);
    for (const Data* data : {&random, &long_rows, &tied, &duplicated, &halves}) {
        check_distances(tally, set, *data, nullptr);
        check_mining(tally, set, *data, nullptr, nullptr);
        const Data references = make_data("references", data == &tied ? Kind::tied : Kind::random,
                                          DType::float32, 53, data->dim, 8, 16);
        check_distances(tally, set, *data, &references);
        check_mining(tally, set, *data, &references, nullptr);
    }
    std::vector<std::int64_t> anchors;
    for (std::int64_t i = 1; i < random.rows; i += 3) anchors.push_back(i);
    check_mining(tally, set, random, nullptr, &anchors);
    const Data single =
        make_data("a single row and one reference", Kind::random, DType::float32, 2, 1, 1, 17);
    check_distances(tally, set, single, nullptr);
}

int run(const std::vector<std::string_view>& required) {
    std::int64_t passed = 0, failed = 0;
    std::vector<std::string_view> exercised;
    for (const RegisteredSet& set : registered_sets()) {
        const std::string name(set.info.name);
        if (!set.info.supported) {
            std::printf("%s: compiled, not supported by this machine\n", name.c_str());
            continue;
        }
        Tally tally;
        tally.begin(*set.kernels);
        try {
            tally.check(name == set.kernels->name, "registered as " + name);
            tally.check(&choose_kernels(name) == set.kernels, "not chosen by its name");
            check_widening(tally, *set.kernels);
            check_exact_sums(tally, *set.kernels);
            check_score_tile(tally, *set.kernels);
            check_compare_tile(tally, *set.kernels);
            check_calls(tally, set.info.name);
        } catch (const std::exception& error) {
            tally.check(false, std::string("exception: ") + error.what());
        }
        exercised.push_back(set.info.name);
        passed += tally.passed();
        failed += tally.failed();
        std::printf("%s: %lld checks\n", name.c_str(), static_cast<long long>(tally.run()));
        std::fflush(stdout);
    }
    for (const std::string_view name : required) {
        if (std::find(exercised.begin(), exercised.end(), name) != exercised.end()) continue;
        std::fprintf(stderr, "FAILED  %s: required, but not exercised\n",
                     std::string(name).c_str());
        ++failed;
    }
    std::printf("%lld passed, %lld failed\n", static_cast<long long>(passed),
                static_cast<long long>(failed));
    return failed == 0 && !exercised.empty() ? 0 : 1;
}

}  // namespace
}  // namespace tripletmine

int main(int argc, char** argv) { return tripletmine::run({argv + 1, argv + argc}); }
