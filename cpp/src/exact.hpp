// The canonical distance: widened rows, exact sums, the metric's formula.
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

// Of single pairs, or of one row with a few others. One for each worker: it owns the scratch rows
// and remembers the row it widened last.
class ExactDistance {
public:
    ExactDistance(const Dataset& rows, const Dataset& cols, const KernelSet& kernels, Metric metric)
        : rows_(rows),
          cols_(cols),
          kernels_(kernels),
          metric_(metric),
          row_(static_cast<std::size_t>(padded(rows.dim()))),
          others_(row_.size() * together) {}

    // How many columns are best taken at once.
    static constexpr std::int64_t together = 4;

    double operator()(std::int64_t row, std::int64_t col) {
        double distance = 0.0;
        few(row, std::span<const std::int64_t>(&col, 1), &distance);
        return distance;
    }

    // Of the row with any number of columns.
    void many(std::int64_t row, std::span<const std::int64_t> cols, double* distances) {
        for (std::size_t i = 0; i < cols.size(); i += together) {
            const auto part = cols.subspan(i, std::min<std::size_t>(together, cols.size() - i));
            for (std::size_t j = i + together; j < std::min(i + 2 * together, cols.size()); ++j) {
                prefetch(cols[j]);
            }
            few(row, part, distances + i);
        }
    }

    std::int64_t decided() const { return decided_; }

private:
    // Asks for the memory of a column in time: columns lie anywhere.
    void prefetch(std::int64_t col) const {
        constexpr std::int64_t line = 64;
        const char* from = static_cast<const char*>(cols_.float32_row(col));
        const std::int64_t bytes = cols_.dim() * static_cast<std::int64_t>(sizeof(float));
        if (from == nullptr) return;
        for (std::int64_t at = 0; at < bytes; at += line) __builtin_prefetch(from + at);
    }

    void few(std::int64_t row, std::span<const std::int64_t> cols, double* distances) {
        if (widened_row_ != row) rows_.widen(row, row_.data());
        widened_row_ = row;
        const auto count = static_cast<int>(cols.size());
        const auto length = static_cast<std::int64_t>(row_.size());
        const bool squares = from_differences(metric_);
        if (cols_.float32_row(cols[0]) != nullptr) {
            const void* memory[together] = {};
            for (int i = 0; i < count; ++i) memory[i] = cols_.float32_row(cols[i]);
            const auto exact =
                squares ? kernels_.exact_squares_float32 : kernels_.exact_dot_float32;
            exact(row_.data(), memory, count, cols_.dim(), distances);
        } else {
            for (int i = 0; i < count; ++i) cols_.widen(cols[i], others_.data() + i * length);
            const auto exact = squares ? kernels_.exact_squares : kernels_.exact_dot;
            exact(row_.data(), others_.data(), length, count, length, distances);
        }
        for (int i = 0; i < count; ++i) {
            distances[i] =
                canonical_distance(metric_, distances[i], rows_.norm2(row), cols_.norm2(cols[i]));
        }
        decided_ += count;
    }

    const Dataset& rows_;
    const Dataset& cols_;
    const KernelSet& kernels_;
    Metric metric_;
    std::vector<double> row_, others_;
    std::int64_t widened_row_ = -1;
    std::int64_t decided_ = 0;
};

// A column that may be among a row's first candidates, and its proven upper bound. The best are
// decided first: what these turn out to be, few of the others reach.
struct Contender {
    std::uint32_t col;  // position
    float upper;
};

// The best `count` to the front, in any order.
inline void bring_forward(std::span<Contender> contenders, std::size_t count) {
    if (count >= contenders.size()) return;
    if (count == 1) {
        std::size_t best = 0;
        for (std::size_t i = 1; i < contenders.size(); ++i) {
            best = contenders[i].upper > contenders[best].upper ? i : best;
        }
        std::swap(contenders[0], contenders[best]);
    } else {
        std::nth_element(contenders.begin(),
                         contenders.begin() + static_cast<std::ptrdiff_t>(count), contenders.end(),
                         [](const Contender& a, const Contender& b) { return a.upper > b.upper; });
    }
}

// Those that reach the floor to the front; returns how many they are.
inline std::size_t bring_forward_above(std::span<Contender> contenders, float floor) {
    std::size_t count = 0;
    for (const Contender& one : contenders) {
        contenders[count] = one;
        count += one.upper >= floor ? 1 : 0;
    }
    return count;
}

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
