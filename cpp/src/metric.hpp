// The canonical distances, and the score space in which the float32 filter works.
//
// docs/algorithms.md derives the bounds; the formulas stand here, beside the arithmetic.
#pragma once

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/kernel_set.hpp"
#include "tripletmine/tripletmine.hpp"

namespace tripletmine {

// The bits of a double as an integer that grows with it, and back.
inline std::uint64_t ordered_bits(double value) {
    const auto bits = std::bit_cast<std::uint64_t>(value);
    return bits >> 63 ? ~bits : bits | std::uint64_t{1} << 63;
}
inline double ordered_double(std::uint64_t bits) {
    return std::bit_cast<double>(bits >> 63 ? bits & ~(std::uint64_t{1} << 63) : ~bits);
}

// The next double above a finite one; the next float below, but for -inf. Cheaper than the
// functions of the standard library, which look after everything.
inline double next_above(double value) {
    return std::isfinite(value) ? ordered_double(ordered_bits(value == 0.0 ? 0.0 : value) + 1)
                                : value;
}
inline float next_below(float value) {
    if (value == 0.0f) return -std::numeric_limits<float>::denorm_min();
    if (value == -std::numeric_limits<float>::infinity()) return value;
    const auto bits = std::bit_cast<std::uint32_t>(value);
    return std::bit_cast<float>(value > 0.0f ? bits - 1 : bits + 1);
}

inline bool from_differences(Metric metric) {
    return metric == Metric::euclidean || metric == Metric::sqeuclidean;
}

// d(x, y) from its canonical sum (dot or squared differences) and the rows' canonical norm². Never
// NaN, with which nothing is in order, not even where a row is changed after it was found finite.
inline double canonical_distance(Metric metric, double sum, double norm2_x, double norm2_y) {
    switch (metric) {
        case Metric::sqeuclidean:
            return std::max(0.0, sum);
        case Metric::euclidean:
            return std::sqrt(std::max(0.0, sum));
        case Metric::dot:
            return std::max(-std::numeric_limits<double>::infinity(), -sum);
        case Metric::cosine:
            break;
    }
    if (norm2_x == 0.0 || norm2_y == 0.0) return 1.0;
    const double product = norm2_x * norm2_y;
    const bool in_range = product >= DBL_MIN && product <= DBL_MAX;
    const double norms = in_range ? std::sqrt(product) : std::sqrt(norm2_x) * std::sqrt(norm2_y);
    return std::max(0.0, 1.0 - sum / norms);
}

// The same of a row and some others, in the place of their sums. Where no cosine is out of the
// ordinary the loops have no branches, and the compiler takes several distances at a time.
inline void canonical_distances(Metric metric, double norm2_x, const double* norms2,
                                std::int64_t count, double* sums) {
    const auto each = [&](auto distance) {
        for (std::int64_t j = 0; j < count; ++j) sums[j] = distance(sums[j], norms2[j]);
    };
    const auto canonical = [&](double sum, double norm2) {
        return canonical_distance(metric, sum, norm2_x, norm2);
    };
    switch (metric) {
        case Metric::sqeuclidean:
            return each([](double sum, double) { return std::max(0.0, sum); });
        case Metric::euclidean:
            return each([](double sum, double) { return std::sqrt(std::max(0.0, sum)); });
        case Metric::dot:
            return each(canonical);
        case Metric::cosine:
            break;
    }
    bool in_range = true;  // no norm is zero, either
    for (std::int64_t j = 0; j < count; ++j) {
        const double product = norm2_x * norms2[j];
        in_range = in_range & (product >= DBL_MIN) & (product <= DBL_MAX);
    }
    if (!in_range) return each(canonical);
    each([&](double sum, double norm2) {
        return std::max(0.0, 1.0 - sum / std::sqrt(norm2_x * norm2));
    });
}

// The largest distance d with fl(d − from) <= margin: how far negatives still matter to a triplet
// whose positive lies at `from`. margin >= 0.
inline double reach(double from, double margin) {
    double low = from + margin, high = low;
    constexpr int steps = 4;  // nearly always enough
    for (int i = 0; i < steps && !(low - from <= margin); ++i) low = std::nextafter(low, -INFINITY);
    for (int i = 0; i < steps && high - from <= margin; ++i) high = next_above(high);
    if (!(low - from <= margin)) low = from;
    if (high - from <= margin) high = INFINITY;
    while (next_above(low) < high) {
        // Halfway between the two in the order of floating-point numbers.
        const double middle = ordered_double((ordered_bits(low) >> 1) + (ordered_bits(high) >> 1) +
                                             (ordered_bits(low) & ordered_bits(high) & 1));
        (middle - from <= margin ? low : high) = middle;
    }
    return low;
}

// Scores: large is close. Rows are scaled to u = x/‖x‖ (cosine) or u = s·x, s a power of two that
// brings the largest norm into (⅓, 1]; the score of a pair is
//     cosine       u_x·u_y − b_x − b_y = −d,          b = ½
//     dot          u_x·u_y             = −s²·d
//     (sq)euclid   u_x·u_y − b_x − b_y = −½(s·√sq)²,  b = ½‖s·x‖²
// So scores of rows that lie close together are small, and their roundings with them (but for dot).
struct ScoreSpace {
    Metric metric = Metric::cosine;
    double scale = 1.0;
    // Of the longest row, seen from where rows are measured from: as far as it is known.
    double longest2 = 1.0;

    double score(double distance) const {
        switch (metric) {
            case Metric::cosine:
                return -distance;
            case Metric::dot:
                return -distance * scale * scale;
            case Metric::sqeuclidean:
                return -0.5 * (distance * scale) * scale;
            case Metric::euclidean:
                break;
        }
        const double length = std::max(distance, 0.0) * scale;  // -inf stands for "any"
        return -0.5 * length * length;
    }

    // b, of a row of this norm².
    double bias(double norm2) const {
        switch (metric) {
            case Metric::cosine:
                return 0.5;
            case Metric::dot:
                return 0.0;
            case Metric::euclidean:
            case Metric::sqeuclidean:
                break;
        }
        return 0.5 * (norm2 * scale) * scale;
    }

    // What distances are a linear function of: the score, or the root of -2 times it.
    bool linear_in_roots() const { return metric == Metric::euclidean; }
    // The lowest score of all, but for rounding.
    double lowest() const {
        constexpr double least = 0x1p-60;
        return -2.0 * (metric == Metric::dot ? 1.0 : std::clamp(longest2, least, 1.0));
    }
    // What that is summed in, at most 2⁻²⁸ of the largest there may be.
    double sum_unit() const {
        const double largest = linear_in_roots() ? std::sqrt(-2.0 * lowest()) : -lowest();
        return std::ldexp(tally_unit, std::ilogb(largest) - 1);
    }
    // The sum of some distances, from the sum of that; as well as float64 can tell.
    double distances(double sum) const {
        switch (metric) {
            case Metric::cosine:
                return -sum;
            case Metric::dot:
                return -sum / scale / scale;
            case Metric::sqeuclidean:
                return -2.0 * sum / scale / scale;
            case Metric::euclidean:
                break;
        }
        return sum / scale;
    }

    // The largest float that no pair at least as good as `distance` has for its upper bound ...
    float floor(Sign sign, double distance) const {
        const double signed_score = sign == Sign::nearest ? score(distance) : -score(distance);
        return round_down(signed_score - slack(signed_score));
    }
    // ... and the smallest that no pair at most as good has for its lower bound.
    float ceiling(Sign sign, double distance) const {
        const double signed_score = sign == Sign::nearest ? score(distance) : -score(distance);
        return -round_down(-(signed_score + slack(signed_score)));
    }

    static float round_down(double value) {
        const float rounded = static_cast<float>(value);
        return static_cast<double>(rounded) > value ? next_below(rounded) : rounded;
    }

private:
    // Covers the few float64 roundings of score() and of the distance it is given.
    static double slack(double score) {
        return std::isinf(score) ? 0.0 : std::abs(score) * 0x1p-40 + 0x1p-100;
    }
};

}  // namespace tripletmine
