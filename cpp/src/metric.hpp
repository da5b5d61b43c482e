// The canonical distances, and the score space in which the float32 filter works.
//
// docs/algorithms.md derives the bounds; the formulas stand here, beside the arithmetic.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cmath>

#include "kernels/kernel_set.hpp"
#include "tripletmine/tripletmine.hpp"

namespace tripletmine {

inline bool from_differences(Metric metric) {
    return metric == Metric::euclidean || metric == Metric::sqeuclidean;
}

// d(x, y) from its canonical sum (dot or squared differences) and the rows' canonical norm².
inline double canonical_distance(Metric metric, double sum, double norm2_x, double norm2_y) {
    switch (metric) {
        case Metric::sqeuclidean:
            return sum;
        case Metric::euclidean:
            return std::sqrt(sum);
        case Metric::dot:
            return -sum;
        case Metric::cosine:
            break;
    }
    if (norm2_x == 0.0 || norm2_y == 0.0) return 1.0;
    const double product = norm2_x * norm2_y;
    const bool in_range = product >= DBL_MIN && product <= DBL_MAX;
    const double norms = in_range ? std::sqrt(product) : std::sqrt(norm2_x) * std::sqrt(norm2_y);
    return std::max(0.0, 1.0 - sum / norms);
}

// Scores: large is close. Rows are packed as q = x/‖x‖ (cosine) or q = s·x, s a power of two that
// brings the largest norm into (½, 1]; the score of a pair is
//     cosine       q_x·q_y             = 1 − d
//     dot          q_x·q_y             = −s²·d
//     (sq)euclid   q_x·q_y − b_x − b_y = −½(s·√sq)²,  b = ½‖s·x‖²
struct ScoreSpace {
    Metric metric = Metric::cosine;
    double scale = 1.0;

    double score(double distance) const {
        switch (metric) {
            case Metric::cosine:
                return 1.0 - distance;
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
        return static_cast<double>(rounded) > value ? std::nextafterf(rounded, -INFINITY) : rounded;
    }

private:
    // Covers the few float64 roundings of score() and of the distance it is given.
    static double slack(double score) {
        return std::isinf(score) ? 0.0 : std::abs(score) * 0x1p-40 + 0x1p-100;
    }
};

}  // namespace tripletmine
