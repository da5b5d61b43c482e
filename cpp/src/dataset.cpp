#include "dataset.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <string>

#include "kernels/float16.hpp"

namespace tripletmine {
namespace {

// Fewer where rows are long: a task should not take longer than Ctrl-C may.
std::int64_t rows_per_task(std::int64_t dim) {
    constexpr std::int64_t most = 64, elements = 1 << 20;
    return std::clamp<std::int64_t>(elements / dim, 1, most);
}

// Four times a squared norm (the largest squared distance) must still be a float64.
constexpr double largest_norm2_accepted = 0x1p1020;

std::ptrdiff_t item_size(DType dtype) {
    switch (dtype) {
        case DType::float16:
        case DType::bfloat16:
            return 2;
        case DType::float32:
            return 4;
        case DType::float64:
            break;
    }
    return 8;
}

template <typename Element>
Element element_at(const char* from) {
    Element element;
    std::memcpy(&element, from, sizeof element);
    return element;
}

double value_at(DType dtype, const char* from) {
    switch (dtype) {
        case DType::float16:
            return float16_value(element_at<std::uint16_t>(from));
        case DType::bfloat16:
            return bfloat16_value(element_at<std::uint16_t>(from));
        case DType::float32:
            return static_cast<double>(element_at<float>(from));
        case DType::float64:
            break;
    }
    return element_at<double>(from);
}

// A stable sort, byte by byte of what a label lies above the least: a pass for fewer than 256
// classes in a row, two for fewer than 65536.
void sort_by_label(std::span<const std::int64_t> labels, std::vector<std::int64_t>& rows) {
    std::uint64_t least = UINT64_MAX, largest = 0;
    const auto key = [&](std::int64_t row) {  // in the order of the labels
        return static_cast<std::uint64_t>(labels[row]) ^ std::uint64_t{1} << 63;
    };
    for (const std::int64_t row : rows) {
        least = std::min(least, key(row));
        largest = std::max(largest, key(row));
    }
    std::vector<std::int64_t> sorted(rows.size());
    for (int shift = 0; shift < 64 && (largest - least) >> shift != 0; shift += 8) {
        const auto digit = [&](std::int64_t row) { return (key(row) - least) >> shift & 255; };
        std::size_t begins[257] = {};
        for (const std::int64_t row : rows) ++begins[digit(row) + 1];
        for (int i = 1; i < 256; ++i) begins[i] += begins[i - 1];
        for (const std::int64_t row : rows) sorted[begins[digit(row)]++] = row;
        rows.swap(sorted);
    }
}

// Whether the elements of a row are neighbours.
bool without_gaps(const MatrixView& matrix) {
    return matrix.col_stride == item_size(matrix.dtype) || matrix.cols == 1;
}

const char* row_start(const MatrixView& matrix, std::int64_t row) {
    return static_cast<const char*>(matrix.data) + row * matrix.row_stride;
}

}  // namespace

std::string text(double value) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.9g", value);
    return digits;
}

Dataset::Dataset(const Population& population,
                 const std::optional<std::span<const std::int64_t>>& subset,
                 const KernelSet& kernels)
    : population_(population), kernels_(kernels) {
    const MatrixView& matrix = population.matrix;
    if (matrix.dtype == DType::float32 && without_gaps(matrix)) {
        floats_ = static_cast<const char*>(matrix.data);
    }
    if (subset) {
        rows_.assign(subset->begin(), subset->end());
    } else {
        rows_.resize(static_cast<std::size_t>(population.matrix.rows));
        std::iota(rows_.begin(), rows_.end(), std::int64_t{0});
    }
    if (labelled()) {
        const auto by_class = [&](std::int64_t a, std::int64_t b) {
            return population_.labels[a] < population_.labels[b];
        };
        if (!std::is_sorted(rows_.begin(), rows_.end(), by_class)) {
            sort_by_label(population_.labels, rows_);
        }
    }
}

double Dataset::share_of_group() const {
    if (!grouped() || size() == 0) return 0.0;
    std::vector<std::int64_t> groups;
    for (const std::int64_t row : rows_) groups.push_back(population_.groups[row]);
    std::sort(groups.begin(), groups.end());
    double pairs = 0.0;
    for (auto begin = groups.begin(); begin != groups.end();) {
        const auto end = std::upper_bound(begin, groups.end(), *begin);
        pairs += static_cast<double>(end - begin) * static_cast<double>(end - begin);
        begin = end;
    }
    return pairs / static_cast<double>(size()) / static_cast<double>(size());
}

Interval Dataset::class_of(std::int64_t label) const {
    const auto& labels = population_.labels;
    const auto first = std::partition_point(rows_.begin(), rows_.end(),
                                            [&](std::int64_t row) { return labels[row] < label; });
    const auto last = std::partition_point(first, rows_.end(),
                                           [&](std::int64_t row) { return labels[row] == label; });
    return {first - rows_.begin(), last - rows_.begin()};
}

std::vector<Interval> Dataset::classes_of(const Dataset& rows) const {
    std::vector<Interval> classes;
    classes.reserve(static_cast<std::size_t>(rows.size()));
    for (std::int64_t p = 0; p < rows.size(); ++p) {
        const bool same = p > 0 && rows.label(p) == rows.label(p - 1);
        classes.push_back(same ? classes.back() : class_of(rows.label(p)));
    }
    return classes;
}

std::int64_t Dataset::position_of(std::int64_t row, const Interval& positions) const {
    const auto begin = rows_.begin() + positions.begin, end = rows_.begin() + positions.end;
    return std::lower_bound(begin, end, row) - rows_.begin();
}

void Dataset::widen(std::int64_t position, double* to) const {
    const MatrixView& matrix = population_.matrix;
    const char* from = row_start(matrix, row(position));
    const std::int64_t dim = matrix.cols;
    if (without_gaps(matrix)) {
        switch (matrix.dtype) {
            case DType::float16:
                return kernels_.widen_float16(from, dim, to);
            case DType::bfloat16:
                return kernels_.widen_bfloat16(from, dim, to);
            case DType::float32:
                return kernels_.widen_float32(from, dim, to);
            case DType::float64:
                return kernels_.widen_float64(from, dim, to);
        }
    }
    for (std::int64_t k = 0; k < dim; ++k) {
        to[k] = value_at(matrix.dtype, from + k * matrix.col_stride);
    }
    std::fill(to + dim, to + padded(dim), 0.0);
}

void Dataset::measure(Team& team) {
    norm2_.resize(rows_.size());
    const std::int64_t of_task = rows_per_task(dim());
    const std::int64_t tasks = (size() + of_task - 1) / of_task;
    const std::int64_t none = population_.matrix.rows;
    std::vector<std::int64_t> first_bad(static_cast<std::size_t>(tasks), none);
    team.for_each(tasks, [&](std::int64_t task, int) {
        std::vector<double> scratch(float32() ? 0 : static_cast<std::size_t>(padded(dim())));
        const std::int64_t end = std::min(size(), (task + 1) * of_task);
        for (std::int64_t p = task * of_task; p < end; ++p) {
            if (float32()) {
                const void *own = float32_row(p), *next = float32_row(std::min(p + 1, end - 1));
                kernels_.exact_dot_float32(own, &own, 1, dim(), &next, 1, &norm2_[p]);
            } else {
                widen(p, scratch.data());
                kernels_.exact_dot(scratch.data(), scratch.data(), 0, 1, padded(dim()), &norm2_[p]);
            }
            if (!(norm2_[p] <= largest_norm2_accepted)) {
                first_bad[task] = std::min(first_bad[task], row(p));
            }
        }
    });
    const auto bad = std::min_element(first_bad.begin(), first_bad.end());
    if (bad != first_bad.end() && *bad != none) reject(*bad);
}

void Dataset::reject(std::int64_t row) const {
    const MatrixView& matrix = population_.matrix;
    const std::string where = std::string(population_.name) + ": row " + std::to_string(row);
    for (std::int64_t k = 0; k < matrix.cols; ++k) {
        const double value = value_at(matrix.dtype, row_start(matrix, row) + k * matrix.col_stride);
        if (std::isfinite(value)) continue;
        throw std::invalid_argument(where + " holds " +
                                    (std::isnan(value) ? "NaN"
                                     : value > 0       ? "inf"
                                                       : "-inf") +
                                    " at column " + std::to_string(k) + ", expected finite values");
    }
    throw std::invalid_argument(
        where + " has a squared norm beyond 2**1020, whose distances would " +
        "overflow float64; expected smaller values (divide all rows by one " + "number)");
}

double Dataset::largest_norm2() const {
    return norm2_.empty() ? 0.0 : *std::max_element(norm2_.begin(), norm2_.end());
}

double Dataset::mean_norm2() const {
    double sum = 0.0;
    for (const double norm2 : norm2_) sum += norm2 / static_cast<double>(norm2_.size());
    return sum;
}

std::int64_t Dataset::zero_rows() const { return std::count(norm2_.begin(), norm2_.end(), 0.0); }

}  // namespace tripletmine
