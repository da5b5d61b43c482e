#include "projection.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace tripletmine {
namespace {

// Directions are found so many at a time: what a block of the packing holds of a row.
constexpr std::int64_t step = packing_block / panel_rows;

using Panels = Projection::Panels;

// Rows side by side, each padded with zeros.
struct Matrix {
    std::int64_t rows, stride;
    std::vector<double> values;

    Matrix(std::int64_t row_count, std::int64_t col_count)
        : rows(row_count),
          stride(padded(col_count)),
          values(static_cast<std::size_t>(row_count * stride)) {}
    double* operator[](std::int64_t row) { return values.data() + row * stride; }
    const double* operator[](std::int64_t row) const { return values.data() + row * stride; }
};

// An orthonormal basis that grows: some rows of a sample teach it, others are watched for what
// still lies outside of it.
class Basis {
public:
    Basis(Team& team, const KernelSet& kernels, const Sample& sample, std::int64_t most)
        : team_(team),
          kernels_(kernels),
          dim_(sample.width),
          shared_(kernels.fine, dim_, dim_),
          directions_(most, dim_) {
        for (std::int64_t i = 0; i < sample.count; ++i) {
            (i % watched_one_in == watched_one_in - 1 ? watched_ : taught_)
                .push_back(sample.row(i));
        }
        share();
        for (const double* row : watched_) left_ += dot(row, row);
        watched_norm2_ = left_;
    }

    std::int64_t size() const { return size_; }
    const Matrix& directions() const { return directions_; }

    // With λ the eigenvalues of the mean of vvᵀ over all rows, (Σλ)²/Σλ²: as many equal ones there
    // would be. Σλ² is the mean square of the product of two rows, of different ones in the sample.
    double effective_rank() const {
        const auto count = static_cast<double>(taught_.size());
        return trace_ * trace_ / count * (count - 1.0) / squares_;
    }

    // Adds up to `step` directions. Σvvᵀ, applied twice to some rows, leaves of them what lies near
    // the span of its first eigenvectors.
    void grow() {
        const std::int64_t count = std::min(step, directions_.rows - begun_);
        Matrix next(count, dim_);
        for (std::int64_t j = 0; j < count; ++j) {
            std::copy_n(start(begun_ + j), dim_, next[j]);
            shorten(next[j]);
        }
        begun_ += count;
        apply_shared(next);
        apply_shared(next);
        team_.for_each(count, [&](std::int64_t j, int worker) {
            team_.poll(worker);
            remove_along(next[j], 0, size_);
        });
        const std::int64_t before = size_;
        for (std::int64_t j = 0; j < count; ++j) {
            constexpr double negligible = 1e-5;  // what is left may be roundings
            remove_along(next[j], before, size_);
            if (shorten(next[j]) > negligible) std::copy_n(next[j], dim_, directions_[size_++]);
        }
        std::vector<double> insides(watched_.size());
        team_.for_each(std::ssize(watched_), [&](std::int64_t i, int) {
            const auto at = static_cast<std::size_t>(i);
            for (const double one : along(watched_[at], before, size_)) insides[at] += one * one;
        });
        left_ -= std::reduce(insides.begin(), insides.end());
    }
    bool complete() const { return begun_ == directions_.rows || size_ < begun_; }

    // Which part of the squared norms of the watched rows lies outside.
    double left() const { return left_ / watched_norm2_; }

    // By Hadamard transforms: the first directions are no longer those of the largest elements, and
    // codes are the closer the less elements differ.
    void spread() {
        const std::int64_t apart = size_ / step;
        team_.for_each(apart, [&](std::int64_t first, int) {
            for (std::int64_t half = 1; half < step; half *= 2) {
                for (std::int64_t i = 0; i < step; ++i) {
                    if ((i & half) != 0) continue;
                    double* a = directions_[first + i * apart];
                    double* b = directions_[first + (i + half) * apart];
                    for (std::int64_t k = 0; k < dim_; ++k) {
                        const double sum = a[k] + b[k], difference = a[k] - b[k];
                        a[k] = sum * std::sqrt(0.5);
                        b[k] = difference * std::sqrt(0.5);
                    }
                }
            }
        });
    }

private:
    static constexpr std::int64_t watched_one_in = 8;

    // Σvvᵀ, in float32: a basis need not be the best.
    void share() {
        Panels elements(kernels_.fine, dim_, std::ssize(taught_));
        team_.for_each((dim_ + panel_rows - 1) / panel_rows, [&](std::int64_t number, int) {
            const std::int64_t first = number * panel_rows;
            const std::int64_t count = std::min<std::int64_t>(panel_rows, dim_ - first);
            float* to = elements.row(first);
            for (const double* row : taught_) {
                for (std::int64_t k = 0; k < count; ++k) to[k] = static_cast<float>(row[first + k]);
                to += panel_rows;
            }
        });
        std::vector<double> traces(static_cast<std::size_t>(elements.count)), squares(traces);
        each_product(elements, elements, [&](std::int64_t k, const float* products) {
            for (std::int64_t j = 0; j < dim_; ++j) {
                const auto product = static_cast<double>(products[j]);
                shared_.row(k)[j * panel_rows] = products[j];
                squares[static_cast<std::size_t>(k)] += product * product;
            }
            traces[static_cast<std::size_t>(k)] = static_cast<double>(products[k]);
        });
        trace_ = std::reduce(traces.begin(), traces.end());
        squares_ = std::reduce(squares.begin(), squares.end());
        for (const double* row : taught_) squares_ -= dot(row, row) * dot(row, row);
        squares_ = std::max(squares_, 0.0);
    }

    // take(row, its products with all columns)
    template <typename Take>
    void each_product(const Panels& rows, const Panels& cols, Take take) {
        team_.for_each((rows.size + panel_rows - 1) / panel_rows, [&](std::int64_t number, int id) {
            team_.poll(id);
            Buffer<float> products(panel_rows * cols.count);
            const std::int64_t first = number * panel_rows;
            cols.multiply(rows.row(first), products.data());
            for (std::int64_t r = 0; r < std::min<std::int64_t>(panel_rows, rows.size - first); ++r)
                take(first + r, products.data() + r * cols.count);
        });
    }
    // Each row becomes Σvvᵀ times it, and as long as it was.
    void apply_shared(Matrix& rows) {
        Panels packed(kernels_.fine, rows.rows, dim_);
        for (std::int64_t j = 0; j < rows.rows; ++j) {
            for (std::int64_t k = 0; k < dim_; ++k) {
                packed.row(j)[k * panel_rows] = static_cast<float>(rows[j][k]);
            }
        }
        each_product(packed, shared_, [&](std::int64_t j, const float* products) {
            std::copy_n(products, dim_, rows[j]);
            shorten(rows[j]);
        });
    }
    double dot(const double* a, const double* b) const {
        double sum = 0.0;
        kernels_.exact_dot(a, b, 0, 1, dim_, &sum);
        return sum;
    }
    std::vector<double> along(const double* row, std::int64_t begin, std::int64_t end) const {
        std::vector<double> products(static_cast<std::size_t>(end - begin));
        if (begin < end) {
            kernels_.exact_dot(row, directions_[begin], dim_, static_cast<int>(end - begin), dim_,
                               products.data());
        }
        return products;
    }
    // Rows from everywhere, however many are taken: multiples of the golden ratio, modulo 1.
    const double* start(std::int64_t number) const {
        const double place = static_cast<double>(number) * 0.6180339887498949;
        const auto rows = static_cast<double>(taught_.size());
        return taught_[static_cast<std::size_t>((place - std::floor(place)) * rows)];
    }
    // To length 1; returns the length before.
    double shorten(double* row) const {
        const double norm = std::sqrt(dot(row, row));
        if (norm > 0.0) {
            for (std::int64_t k = 0; k < dim_; ++k) row[k] /= norm;
        }
        return norm;
    }
    void remove_along(double* row, std::int64_t begin, std::int64_t end) const {
        const std::vector<double> products = along(row, begin, end);
        for (std::int64_t j = begin; j < end; ++j) {
            const double length = products[static_cast<std::size_t>(j - begin)];
            const double* direction = directions_[j];
            for (std::int64_t k = 0; k < dim_; ++k) row[k] -= length * direction[k];
        }
    }

    Team& team_;
    const KernelSet& kernels_;
    std::int64_t dim_;
    std::vector<const double*> taught_, watched_;
    Panels shared_;                       // Σvvᵀ over the taught rows
    double trace_ = 0.0, squares_ = 0.0;  // of Σvvᵀ, and of the products of different rows
    double watched_norm2_ = 0.0, left_ = 0.0;
    Matrix directions_;
    std::int64_t size_ = 0, begun_ = 0;
};

}  // namespace

std::shared_ptr<const Projection> Projection::learn(Team& team, const Dataset& dataset,
                                                    const ScoreSpace& space, const Origin& origin,
                                                    const KernelSet& kernels, std::int64_t most,
                                                    double left) {
    constexpr std::int64_t rows_of_element = 4, most_rows = 1536;
    if (dataset.size() == 0) return nullptr;
    Sample sample(dataset, space,
                  std::min({dataset.size(), rows_of_element * dataset.dim(), most_rows}));
    if (!origin.point.empty()) sample.subtract(origin.point);
    Basis basis(team, kernels, sample, most);
    // So many directions hold at most √(most·Σλ²) of Σλ (Cauchy–Schwarz).
    const double held = (1.0 - left) * (1.0 - left);
    if (left > 0.0 && !(basis.effective_rank() * held <= static_cast<double>(most))) return nullptr;
    do {
        basis.grow();
    } while (!basis.complete() && !(basis.left() <= left));
    if (basis.size() == 0 || (left > 0.0 && !(basis.left() <= left))) return nullptr;
    basis.spread();
    return std::make_shared<const Projection>(team, kernels, dataset.dim(), basis.size(),
                                              basis.directions()[0]);
}

Projection::Projection(Team& team, const KernelSet& kernels, std::int64_t dim, std::int64_t size,
                       const double* directions)
    : panels_(kernels.fine, size, dim) {
    Matrix rounded(size, dim);
    team.for_each(size, [&](std::int64_t j, int) {
        for (std::int64_t k = 0; k < dim; ++k) {
            const auto element = static_cast<float>(directions[j * padded(dim) + k]);
            panels_.row(j)[k * panel_rows] = element;
            rounded[j][k] = static_cast<double>(element);
        }
    });
    std::vector<double> squares(static_cast<std::size_t>(size));
    team.for_each(size, [&](std::int64_t j, int) {
        std::vector<double> products(static_cast<std::size_t>(size - j));
        kernels.exact_dot(rounded[j], rounded[j], rounded.stride, static_cast<int>(size - j),
                          rounded.stride, products.data());
        products[0] -= 1.0;
        double sum = -products[0] * products[0];
        for (const double product : products) sum += 2.0 * product * product;
        squares[static_cast<std::size_t>(j)] = sum;
    });
    const auto count = static_cast<double>(size);
    skew_ = std::sqrt(std::reduce(squares.begin(), squares.end())) * (1.0 + 0x1p-20) +
            count * static_cast<double>(dim) * 0x1p-50;
    // The product of each element passes through at most so many roundings, and ‖Q‖ in the norm of
    // Frobenius is at most √(size·(1 + skew)).
    const double roundings = kernels.fine.roundings(dim, 0) * 0x1p-24;
    rounding_ = roundings / (1.0 - roundings) * std::sqrt(count * (1.0 + skew_));
}

Projection::Panels::Panels(const Scorer& fine, std::int64_t rows, std::int64_t dim)
    : scorer(&fine),
      size(rows),
      count(round_up(rows, std::lcm(panel_rows, fine.tile_cols))),
      depth(round_up(dim, fine.depth_step)),
      memory(count * depth) {
    std::fill_n(memory.data(), count * depth, 0.0f);
}

void Projection::Panels::multiply(const float* panel, float* products) const {
    const std::ptrdiff_t bytes = panel_rows * depth * std::ptrdiff_t{sizeof(float)};
    for (std::int64_t j = 0; j < count; j += scorer->tile_cols) {
        for (std::int64_t k = 0; k < depth; k += scorer->longest_depth) {
            const auto part =
                static_cast<int>(std::min<std::int64_t>(scorer->longest_depth, depth - k));
            for (int r = 0; r < panel_rows; r += scorer->tile_rows) {
                scorer->score(panel + k * panel_rows + r, row(j) + k * panel_rows, bytes, part,
                              nullptr, k > 0, nullptr, products + r * count + j, count);
            }
        }
    }
}

}  // namespace tripletmine
