// Rows in score space: what they are multiplied by, some of them as a sample, and the point near
// their middle from which codes are measured.
#pragma once

#include <cstdint>
#include <vector>

#include "dataset.hpp"
#include "kernels/kernel_set.hpp"
#include "metric.hpp"

namespace tripletmine {

// The score space of a call: one scale for all its rows.
ScoreSpace score_space(Metric metric, double largest_norm2);

// Smaller squared norms are sums of subnormal squares, whose relative error nothing bounds.
inline constexpr double smallest_trusted_norm2 = 0x1p-960;

// What a row is multiplied by.
double factor_of(const Dataset& dataset, const ScoreSpace& space, std::int64_t position);

// Some rows as they are scored, evenly spaced; each is padded with zeros.
struct Sample {
    std::int64_t count, width;
    std::vector<double> values;
    double mean_norm2 = 0.0;

    Sample(const Dataset& dataset, const ScoreSpace& space, std::int64_t size);
    double* row(std::int64_t i) { return values.data() + i * width; }
    const double* row(std::int64_t i) const { return values.data() + i * width; }
    double norm2(std::int64_t i) const;
    void subtract(const std::vector<double>& point);
    // Leaves out rows far longer than most: a few of them would move the mean away from all others.
    void drop_longest();
};

// Where packed rows are measured from: a point c of score space near the middle of the rows, if
// they share much (the embeddings of many encoders do), else zero. What a score lacks then is a
// number for each row, u_x·u_y = (u_x − c)·(u_y − c) − b_x − b_y with b = ½‖c‖² − c·u, and what
// shorter rows are packed as is closer to them.
struct Origin {
    std::vector<double> point;  // empty stands for zero
    double norm = 0.0;
    // ε: how far packed rows are off, usually, in parts of what they stand for.
    double coarseness = 1.0;
};
Origin origin_of(const Dataset& dataset, const ScoreSpace& space, const Scorer& scorer);

// v = u − c of a row, padded.
void read_row(const Dataset& dataset, const ScoreSpace& space, const Origin& origin,
              std::int64_t position, double* row);

}  // namespace tripletmine
