// The canonical distance: rows as float64, exact sums, the metric's formula.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "dataset.hpp"
#include "kernels/kernel_set.hpp"
#include "metric.hpp"

namespace tripletmine {

// Of single pairs, or of many. One for each worker: where rows are not float32 as they lie, it owns
// copies, and remembers the row it widened last.
class ExactDistance {
public:
    ExactDistance(const Dataset& rows, const Dataset& cols, const KernelSet& kernels, Metric metric)
        : rows_(rows),
          cols_(cols),
          kernels_(kernels),
          metric_(metric),
          floats_(rows.float32() && cols.float32()),
          row_(floats_ ? 0 : static_cast<std::size_t>(padded(rows.dim()))),
          others_(row_.size() * together) {}

    double operator()(std::int64_t row, std::int64_t col) {
        const PairOfRows pair{static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(col)};
        double distance = 0.0;
        few(std::span(&pair, 1), {}, &distance);
        return distance;
    }

    // Of any pairs. Those of one row are best neighbours: it is loaded once for some of them.
    void many(std::span<const PairOfRows> pairs, double* distances) {
        std::size_t next = end_of_few(pairs, 0);
        for (std::size_t i = 0, end; i < pairs.size(); i = end) {
            end = next;
            next = end_of_few(pairs, end);
            few(pairs.subspan(i, end - i), pairs.subspan(end, next - end), distances + i);
        }
    }

    std::int64_t decided() const { return decided_; }

private:
    // How many columns are best taken at once.
    static constexpr std::size_t together = 4;

    static std::size_t end_of_few(std::span<const PairOfRows> pairs, std::size_t begin) {
        std::size_t end = begin;
        while (end < pairs.size() && end - begin < together && pairs[end].row == pairs[begin].row) {
            ++end;
        }
        return end;
    }

    // Some pairs of one row; the others are wanted next.
    void few(std::span<const PairOfRows> pairs, std::span<const PairOfRows> soon,
             double* distances) {
        if (floats_) {
            sum_floats(pairs, soon, distances);
        } else {
            sum_widened(pairs, distances);
        }
        for (std::size_t i = 0; i < pairs.size(); ++i) {
            distances[i] = canonical_distance(metric_, distances[i], rows_.norm2(pairs[i].row),
                                              cols_.norm2(pairs[i].col));
        }
        decided_ += std::ssize(pairs);
    }

    void sum_floats(std::span<const PairOfRows> pairs, std::span<const PairOfRows> soon,
                    double* sums) const {
        const void* cols[together] = {};
        for (std::size_t i = 0; i < pairs.size(); ++i) cols[i] = cols_.float32_row(pairs[i].col);
        const void* asked[1 + together] = {};
        int count = 0;
        if (!soon.empty() && soon[0].row != pairs[0].row) {
            asked[count++] = rows_.float32_row(soon[0].row);
        }
        for (const PairOfRows& pair : soon) asked[count++] = cols_.float32_row(pair.col);
        const auto exact =
            from_differences(metric_) ? kernels_.exact_squares_float32 : kernels_.exact_dot_float32;
        exact(rows_.float32_row(pairs[0].row), cols, static_cast<int>(pairs.size()), cols_.dim(),
              asked, count, sums);
    }

    void sum_widened(std::span<const PairOfRows> pairs, double* sums) {
        const std::int64_t row = pairs[0].row;
        if (widened_row_ != row) rows_.widen(row, row_.data());
        widened_row_ = row;
        for (std::size_t i = 0; i < pairs.size(); ++i) {
            cols_.widen(pairs[i].col, others_.data() + i * row_.size());
        }
        const auto length = static_cast<std::int64_t>(row_.size());
        const auto exact = from_differences(metric_) ? kernels_.exact_squares : kernels_.exact_dot;
        exact(row_.data(), others_.data(), length, static_cast<int>(pairs.size()), length, sums);
    }

    const Dataset& rows_;
    const Dataset& cols_;
    const KernelSet& kernels_;
    Metric metric_;
    bool floats_;  // whether both sides' rows are summed as they lie
    std::vector<double> row_, others_;
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
