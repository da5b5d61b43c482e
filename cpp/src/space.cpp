#include "space.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

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

Sample::Sample(const Dataset& dataset, const ScoreSpace& space, std::int64_t size)
    : count(size), width(padded(dataset.dim())), values(static_cast<std::size_t>(size * width)) {
    for (std::int64_t i = 0; i < count; ++i) {
        read_row(dataset, space, {}, i * dataset.size() / count, row(i));
        mean_norm2 += norm2(i) / static_cast<double>(count);
    }
}

double Sample::norm2(std::int64_t i) const {
    return std::transform_reduce(row(i), row(i) + width, row(i), 0.0);
}

void Sample::drop_longest() {
    constexpr double far = 16.0;
    std::vector<double> norms2;
    for (std::int64_t i = 0; i < count; ++i) norms2.push_back(norm2(i));
    std::nth_element(norms2.begin(), norms2.begin() + count / 2, norms2.end());
    const double most = far * norms2[static_cast<std::size_t>(count / 2)];
    std::int64_t kept = 0;
    double sum = 0.0;
    for (std::int64_t i = 0; i < count; ++i) {
        const double own = norm2(i);
        if (own > most && most > 0.0) continue;
        std::copy_n(row(i), width, row(kept++));
        sum += own;
    }
    count = kept;
    mean_norm2 = sum / static_cast<double>(count);
}

void Sample::subtract(const std::vector<double>& point) {
    for (std::int64_t i = 0; i < count; ++i) {
        for (std::int64_t k = 0; k < width; ++k) row(i)[k] -= point[static_cast<std::size_t>(k)];
    }
}

namespace {

std::vector<double> mean_of(const Sample& sample) {
    std::vector<double> mean(static_cast<std::size_t>(sample.width));
    for (std::int64_t i = 0; i < sample.count; ++i) {
        for (std::size_t k = 0; k < mean.size(); ++k) mean[k] += sample.row(i)[k];
    }
    for (double& element : mean) element /= static_cast<double>(sample.count);
    return mean;
}

// How far packed rows are off from these, in parts of them; roughly.
double coarseness_of(Format format) {
    switch (format) {
        case Format::float32:
            return 0x1p-25;
        case Format::bfloat16:
            return 0x1p-9;
        case Format::bfloat16_pair:
            return 0x1p-17;
        case Format::int8:
        case Format::int16:
            break;
    }
    return 0.0;  // that depends on the rows
}

double coarseness_of(const Sample& sample, const Scorer& scorer) {
    if (!of_codes(scorer.format)) return coarseness_of(scorer.format);
    constexpr double least = 0x1p-20;  // too small a number costs only what there is to gain
    constexpr std::int64_t one_in = 4;
    double sum = 0.0, measured = 0.0;
    for (std::int64_t i = 0; i < sample.count; i += one_in) {
        const double* row = sample.row(i);
        double largest = 0.0, length2 = 0.0, rest2 = 0.0, of_segment2 = 0.0, longest2 = 0.0;
        for (std::int64_t k = 0; k < sample.width; ++k) {
            if (k % segment == 0) of_segment2 = 0.0;
            largest = std::max(largest, std::abs(row[k]));
            length2 += row[k] * row[k];
            of_segment2 += row[k] * row[k];
            longest2 = std::max(longest2, of_segment2);
        }
        if (!(length2 > 0.0)) continue;
        constexpr double rounder = 0x1.8p52;  // leaves no room for a fraction
        double steps = scorer.levels / largest;
        if (scorer.format == Format::int16) {
            const double of_row2 = std::ldexp(length2, -segment_shift);
            steps = std::min(steps, segment_norm / std::sqrt(std::max(longest2, of_row2)));
        }
        for (std::int64_t k = 0; k < sample.width; ++k) {
            const double code = row[k] * steps;
            const double rest = code - ((code + rounder) - rounder);
            rest2 += rest * rest;
        }
        sum += std::sqrt(rest2 / length2) / steps;
        ++measured;
    }
    return std::max(measured > 0.0 ? sum / measured : 0.0, least);
}

}  // namespace

// So few rows tell it well enough.
Origin origin_of(const Dataset& dataset, const ScoreSpace& space, const Scorer& scorer) {
    constexpr std::int64_t least = 4, most = 64, one_in = 32;
    // Of the rows' mean squared norm: where less of it is common to all, codes gain too little.
    constexpr double worth = 0.3;
    if (dataset.size() == 0) return {};
    Sample sample(dataset, space,
                  std::clamp(dataset.size() / one_in, std::min(least, dataset.size()), most));
    sample.drop_longest();
    Origin origin{mean_of(sample)};
    double norm2 = 0.0;
    for (const double element : origin.point) norm2 += element * element;
    // The mean product of two rows; what they would have in common by chance is none.
    const double count = static_cast<double>(sample.count), others = count - 1.0;
    const bool shared =
        others > 0.0 && count * norm2 - sample.mean_norm2 > others * worth * sample.mean_norm2;
    if (shared) {
        origin.norm = std::sqrt(norm2);
        sample.subtract(origin.point);
    } else {
        origin.point.clear();
    }
    origin.coarseness = coarseness_of(sample, scorer);
    return origin;
}

void read_row(const Dataset& dataset, const ScoreSpace& space, const Origin& origin,
              std::int64_t position, double* row) {
    const double factor = factor_of(dataset, space, position);
    const std::int64_t width = padded(dataset.dim());
    dataset.widen(position, row);
    if (origin.point.empty()) {
        for (std::int64_t k = 0; k < width; ++k) row[k] *= factor;
    } else {
        const double* point = origin.point.data();
        for (std::int64_t k = 0; k < width; ++k) row[k] = row[k] * factor - point[k];
    }
}

}  // namespace tripletmine
