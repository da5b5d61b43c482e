// The canonical distance of one pair: widened rows, exact sums, the metric's formula.
#pragma once

#include <cstdint>
#include <vector>

#include "dataset.hpp"
#include "kernels/kernel_set.hpp"
#include "metric.hpp"

namespace tripletmine {

// One for each worker: it owns the scratch rows and remembers the row it widened last.
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

}  // namespace tripletmine
