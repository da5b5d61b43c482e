// The canonical distance: rows as float64, exact sums, the metric's formula.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
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
    // Rows and columns of a block, at most: widened, columns stay in the second-level cache.
    static std::int64_t most_rows(std::int64_t dim) {
        constexpr std::int64_t bytes = 256 * 1024;
        const std::int64_t fitting =
            bytes / (static_cast<std::int64_t>(sizeof(double)) * padded(dim));
        constexpr std::int64_t least = 4, most = 64;
        return dim > longest_panel
                   ? std::clamp(fitting, least, most)
                   : std::clamp(fitting / worth_panels * worth_panels, worth_panels, most);
    }

    ExactBlock(const Dataset& rows, const Dataset& cols, const KernelSet& kernels, Metric metric)
        : rows_{rows}, cols_{cols}, kernels_(kernels), metric_(metric) {}

    // Has rows ready for several blocks with columns, as many as these in all; each is of some of
    // the rows, from a multiple of `lanes` on.
    void hold(const Interval& rows, const Interval& cols) {
        if (is_worth_panels(rows, cols)) rows_.pack(rows, true);
    }

    // distances[i * stride + j] of rows.begin + i and cols.begin + j.
    void compute(const Interval& rows, const Interval& cols, double* distances,
                 std::int64_t stride) {
        const bool by_panels = rows_.are_packed(rows, true) || is_worth_panels(rows, cols);
        rows_.pack(rows, by_panels);
        cols_.pack(cols, by_panels);
        if (by_panels) {
            sum_panels(rows, cols, distances, stride);
        } else {
            sum_rows(rows, cols, distances, stride);
        }
        for (std::int64_t i = 0; i < rows.size(); ++i) {
            canonical_distances(metric_, rows_.dataset.norm2(rows.begin + i),
                                cols_.dataset.norms2(cols.begin), cols.size(),
                                distances + i * stride);
        }
        decided_ += rows.size() * cols.size();
    }

    std::int64_t decided() const { return decided_; }

private:
    // Panels are packed in a time that so many rows and columns make up for; and where they are
    // longer than the nearest caches, they do not.
    static constexpr std::int64_t worth_panels = 16, longest_panel = 4096;
    bool is_worth_panels(const Interval& rows, const Interval& cols) const {
        return std::min(rows.size(), cols.size()) >= worth_panels &&
               rows_.dataset.dim() <= longest_panel;
    }

    // Rows of one side, widened: one after the other, or in panels (see KernelSet).
    struct Side {
        bool are_packed(const Interval& wanted, bool in_panels) const {
            return in_panels == panels && wanted.begin >= at.begin && wanted.end <= at.end &&
                   (!in_panels || (wanted.begin - at.begin) % lanes == 0);
        }
        void pack(const Interval& wanted, bool in_panels) {
            if (are_packed(wanted, in_panels)) return;
            const std::int64_t length = padded(dataset.dim());
            const std::int64_t rows = in_panels ? padded(wanted.size()) + 1 : wanted.size();
            values.resize(static_cast<std::size_t>(rows * length + lanes));
            for (std::int64_t i = 0; i < wanted.size(); ++i) {
                double* to = memory() + i * length;
                if (!in_panels) {
                    dataset.widen(wanted.begin + i, to);
                    continue;
                }
                double* row = memory() + padded(wanted.size()) * length;  // behind all of them
                dataset.widen(wanted.begin + i, row);
                double* lane = memory() + i / lanes * lanes * length + i % lanes;
                for (std::int64_t j = 0; j < lanes; ++j) {
                    for (std::int64_t k = j; k < length; k += lanes, lane += lanes) *lane = row[k];
                }
            }
            at = wanted;
            panels = in_panels;
        }
        // On a cache line's boundary.
        double* memory() {
            void* place = values.data();
            std::size_t room = values.size() * sizeof(double);
            return static_cast<double*>(std::align(64, 1, place, room));
        }
        // Of a row that is packed; of eight, if in panels.
        const double* from(std::int64_t row) {
            return memory() + (row - at.begin) * padded(dataset.dim());
        }

        const Dataset& dataset;
        Interval at{};
        bool panels = false;
        std::vector<double> values{};
    };

    void sum_rows(const Interval& rows, const Interval& cols, double* sums, std::int64_t stride) {
        const auto exact = from_differences(metric_) ? kernels_.exact_squares : kernels_.exact_dot;
        const std::int64_t length = padded(rows_.dataset.dim());
        for (std::int64_t i = 0; i < rows.size(); ++i) {
            exact(rows_.from(rows.begin + i), cols_.from(cols.begin), length,
                  static_cast<int>(cols.size()), length, sums + i * stride);
        }
    }

    void sum_panels(const Interval& rows, const Interval& cols, double* sums, std::int64_t stride) {
        const auto exact = from_differences(metric_) ? kernels_.exact_squares_of_panels
                                                     : kernels_.exact_dots_of_panels;
        const std::int64_t width = padded(cols.size());
        sums_.resize(static_cast<std::size_t>(lanes * width));
        for (std::int64_t i = 0; i < rows.size(); i += lanes) {
            exact(rows_.from(rows.begin + i), cols_.from(cols.begin),
                  static_cast<int>(width / lanes), padded(rows_.dataset.dim()), sums_.data(),
                  width);
            for (std::int64_t r = 0; r < std::min(lanes, rows.size() - i); ++r) {
                std::copy_n(sums_.data() + r * width, cols.size(), sums + (i + r) * stride);
            }
        }
    }

    Side rows_, cols_;
    const KernelSet& kernels_;
    Metric metric_;
    std::vector<double> sums_;  // of a panel of rows
    std::int64_t decided_ = 0;
};

}  // namespace tripletmine
