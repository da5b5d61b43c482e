#include "space.hpp"

#include <algorithm>
#include <cmath>

namespace tripletmine {

ScoreSpace score_space(Metric metric, double largest_norm2) {
    if (metric == Metric::cosine || largest_norm2 < 0x1p-900) return {metric, 1.0};
    int exponent = 0;
    std::frexp(largest_norm2, &exponent);
    return {metric, std::ldexp(1.0, -(exponent + 1) / 2)};
}

double factor_of(const Dataset& dataset, const ScoreSpace& space, std::int64_t position) {
    if (space.metric != Metric::cosine) return space.scale;
    const double norm2 = dataset.norm2(position);
    return norm2 >= smallest_trusted_norm2 ? 1.0 / std::sqrt(norm2) : 0.0;
}

namespace {

// Some rows of a dataset as they are scored, evenly spaced; each is padded with zeros.
struct Sample {
    std::size_t width;
    std::vector<double> rows;
    double mean_norm2 = 0.0;

    Sample(const Dataset& dataset, const ScoreSpace& space, std::int64_t count)
        : width(static_cast<std::size_t>(padded(dataset.dim()))),
          rows(width * static_cast<std::size_t>(count)) {
        for (std::int64_t i = 0; i < count; ++i) {
            const std::int64_t position = i * dataset.size() / count;
            const double factor = factor_of(dataset, space, position);
            double* row = rows.data() + static_cast<std::size_t>(i) * width;
            dataset.widen(position, row);
            for (std::size_t k = 0; k < width; ++k) row[k] *= factor;
            mean_norm2 += dataset.norm2(position) * factor * factor / static_cast<double>(count);
        }
    }

    double count() const { return static_cast<double>(rows.size() / width); }

    std::vector<double> mean() const {
        std::vector<double> mean(width);
        for (std::size_t at = 0; at < rows.size(); at += width) {
            for (std::size_t k = 0; k < width; ++k) mean[k] += rows[at + k];
        }
        for (double& element : mean) element /= count();
        return mean;
    }

    // How far codes of so many levels are off from the rows less a point.
    double coarseness(const std::vector<double>& point, int levels) const {
        double sum = 0.0, measured = 0.0;
        for (std::size_t at = 0; at < rows.size(); at += width) {
            double largest = 0.0, length2 = 0.0, rest2 = 0.0;
            for (std::size_t k = 0; k < width; ++k) {
                const double element = rows[at + k] - point[k];
                largest = std::max(largest, std::abs(element));
                length2 += element * element;
            }
            if (!(length2 > 0.0)) continue;
            constexpr double rounder = 0x1.8p52;  // leaves no room for a fraction
            const double steps = levels / largest;
            for (std::size_t k = 0; k < width; ++k) {
                const double code = (rows[at + k] - point[k]) * steps;
                const double rest = code - ((code + rounder) - rounder);
                rest2 += rest * rest;
            }
            sum += std::sqrt(rest2 / length2) / steps;
            ++measured;
        }
        return measured > 0.0 ? sum / measured : 0.0;
    }
};

}  // namespace

// So few rows tell it well enough.
Origin origin_of(const Dataset& dataset, const ScoreSpace& space, const Scorer& scorer) {
    constexpr std::int64_t least = 4, most = 64, one_in = 32;
    // Of the rows' mean squared norm: where less of it is common to all, codes gain too little.
    constexpr double worth = 0.3;
    if (dataset.size() == 0) return {};
    const Sample sample(dataset, space,
                        std::clamp(dataset.size() / one_in, std::min(least, dataset.size()), most));
    std::vector<double> point = sample.mean();
    double norm2 = 0.0;
    for (const double element : point) norm2 += element * element;
    // The mean product of two rows; what they would have in common by chance is none.
    const double others = sample.count() - 1.0;
    const bool shared = others > 0.0 && sample.count() * norm2 - sample.mean_norm2 >
                                            others * worth * sample.mean_norm2;
    if (!shared) {
        std::fill(point.begin(), point.end(), 0.0);
        norm2 = 0.0;
    }
    const double coarseness = sample.coarseness(point, scorer.levels);
    if (!shared) point.clear();
    return {std::move(point), std::sqrt(norm2), std::max(coarseness, Origin::least_coarseness)};
}

}  // namespace tripletmine
