// Dataset: the rows of one side in class order, their labels, groups and canonical norms.
//
// A *position* is a place in class order (rows sorted by label, then by index); a *row* is an index
// into the caller's matrix. Sorting by class turns "same label?" from a test for each pair into
// intervals of positions: the rows that share a label are neighbours.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/kernel_set.hpp"
#include "parallel.hpp"
#include "tripletmine/tripletmine.hpp"

namespace tripletmine {

struct Interval {
    std::int64_t begin = 0;
    std::int64_t end = 0;
    std::int64_t size() const { return end - begin; }
};

// For questions without labels: positions are rows, and groups play no part.
inline Population unlabelled(const Population& population) {
    return {population.name, population.matrix};
}

// A number in a few digits, for a message.
std::string text(double value);

class Dataset {
public:
    // All rows of the population, or the given ones. The population's memory must outlive this.
    Dataset(const Population& population,
            const std::optional<std::span<const std::int64_t>>& subset, const KernelSet& kernels);

    std::int64_t size() const { return static_cast<std::int64_t>(rows_.size()); }
    // Whether these are all rows of the population.
    bool whole() const { return size() == population_.matrix.rows; }
    std::int64_t dim() const { return population_.matrix.cols; }
    std::int64_t row(std::int64_t position) const { return rows_[position]; }
    bool labelled() const { return !population_.labels.empty(); }
    std::int64_t label(std::int64_t position) const { return population_.labels[row(position)]; }
    bool same_group(std::int64_t position, const Dataset& other,
                    std::int64_t other_position) const {
        return !population_.groups.empty() &&
               population_.groups[row(position)] ==
                   other.population_.groups[other.row(other_position)];
    }

    // The positions that hold this label: where it is, or an empty interval where it would be.
    Interval class_of(std::int64_t label) const;
    // The same for the label of each of these rows.
    std::vector<Interval> classes_of(const Dataset& rows) const;

    // The position of a row among some whose rows ascend (of one class, or without labels), or
    // where it would be.
    std::int64_t position_of(std::int64_t row, const Interval& positions) const;

    // Computes the norms; a NaN, an infinity or a norm beyond float64 is an error that names the
    // first bad row.
    void measure(Team& team);
    double norm2(std::int64_t position) const { return norm2_[position]; }
    const double* norms2(std::int64_t position) const { return norm2_.data() + position; }
    double largest_norm2() const;
    double mean_norm2() const;
    std::int64_t zero_rows() const;

    // Whether rows are float32 without gaps; and the row's own memory then, else null.
    bool float32() const { return floats_ != nullptr; }
    const void* float32_row(std::int64_t position) const {
        return float32() ? floats_ + row(position) * population_.matrix.row_stride : nullptr;
    }

    // Whether rows have groups, and which; and how large a part of all a row's own group is, on
    // average.
    bool grouped() const { return !population_.groups.empty(); }
    std::int64_t group(std::int64_t position) const { return population_.groups[row(position)]; }
    double share_of_group() const;

    // The row's exact values, padded to padded(dim()).
    void widen(std::int64_t position, double* to) const;

private:
    void reject(std::int64_t row) const;

    Population population_;
    const KernelSet& kernels_;
    const char* floats_ = nullptr;  // row 0, if rows are float32 without gaps
    std::vector<std::int64_t> rows_;
    std::vector<double> norm2_;
};

}  // namespace tripletmine
