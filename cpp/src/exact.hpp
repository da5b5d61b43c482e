// The canonical distance: widened rows, exact sums, the metric's formula.
#pragma once

#include <cstdint>
#include <vector>

#include "dataset.hpp"
#include "kernels/kernel_set.hpp"
#include "metric.hpp"

namespace tripletmine {

// Of one pair at a time. One for each worker: it owns the scratch rows and remembers the row it
// widened last.
class ExactDistance {
public:
    ExactDistance(const Dataset& rows, const Dataset& cols, const KernelSet& kernels, Metric metric)
        : rows_(rows),
          cols_(cols),
          kernels_(kernels),
          metric_(metric),
          row_(static_cast<std::size_t>(padded(rows.dim()))),
          col_(row_.size()) {}

    double operator()(std::int64_t row, std::int64_t col) {
        if (widened_row_ != row) rows_.widen(row, row_.data());
        widened_row_ = row;
        cols_.widen(col, col_.data());
        const auto exact = from_differences(metric_) ? kernels_.exact_squares : kernels_.exact_dot;
        double sum = 0.0;
        exact(row_.data(), col_.data(), 0, 1, static_cast<std::int64_t>(row_.size()), &sum);
        ++decided_;
        return canonical_distance(metric_, sum, rows_.norm2(row), cols_.norm2(col));
    }

    std::int64_t decided() const { return decided_; }

private:
    const Dataset& rows_;
    const Dataset& cols_;
    const KernelSet& kernels_;
    Metric metric_;
    std::vector<double> row_, col_;
    std::int64_t widened_row_ = -1;
    std::int64_t decided_ = 0;
};

// Of all rows of a block with all columns of a block: each is widened once. One for each worker.
class ExactBlock {
public:
    // Rows of a block, at most: widened, they stay in the second-level cache.
    static std::int64_t most_rows(std::int64_t dim) {
        constexpr std::int64_t bytes = 256 * 1024;
        const std::int64_t fitting =
            bytes / (static_cast<std::int64_t>(sizeof(double)) * padded(dim));
        return fitting < 4 ? 4 : fitting > 64 ? 64 : fitting;
    }

    ExactBlock(const Dataset& rows, const Dataset& cols, const KernelSet& kernels, Metric metric)
        : rows_(rows), cols_(cols), kernels_(kernels), metric_(metric) {}

    // distances[i * stride + j] of rows.begin + i and cols.begin + j.
    void compute(const Interval& rows, const Interval& cols, double* distances,
                 std::int64_t stride) {
        const std::int64_t length = padded(rows_.dim());
        const auto exact = from_differences(metric_) ? kernels_.exact_squares : kernels_.exact_dot;
        widen(rows_, rows, at_rows_, row_values_);
        widen(cols_, cols, at_cols_, col_values_);
        for (std::int64_t i = 0; i < rows.size(); ++i) {
            double* to = distances + i * stride;
            exact(row_values_.data() + i * length, col_values_.data(), length,
                  static_cast<int>(cols.size()), length, to);
            for (std::int64_t j = 0; j < cols.size(); ++j) {
                to[j] = canonical_distance(metric_, to[j], rows_.norm2(rows.begin + i),
                                           cols_.norm2(cols.begin + j));
            }
        }
        decided_ += rows.size() * cols.size();
    }

    std::int64_t decided() const { return decided_; }

private:
    static void widen(const Dataset& dataset, const Interval& wanted, Interval& at,
                      std::vector<double>& values) {
        if (wanted.begin == at.begin && wanted.end == at.end) return;
        const std::int64_t length = padded(dataset.dim());
        values.resize(static_cast<std::size_t>(wanted.size() * length));
        for (std::int64_t i = 0; i < wanted.size(); ++i) {
            dataset.widen(wanted.begin + i, values.data() + i * length);
        }
        at = wanted;
    }

    const Dataset& rows_;
    const Dataset& cols_;
    const KernelSet& kernels_;
    Metric metric_;
    std::vector<double> row_values_, col_values_;
    Interval at_rows_, at_cols_;
    std::int64_t decided_ = 0;
};

}  // namespace tripletmine
