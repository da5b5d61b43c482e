#include "gradient.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace tripletmine {
namespace {

constexpr std::int64_t rows_per_task = 16;
constexpr std::int64_t terms_between_polls = 64;

// A row beside one of its terms.
struct Side {
    std::span<const double> values;
    double norm2;
};

// sum += slope · ∂d(x, y)/∂x. Where the distance has no derivative (equal rows, a row of norm 0)
// it counts as 0.
void add_derivative(Metric metric, double slope, double distance, const Side& x, const Side& y,
                    std::span<double> sum) {
    const std::size_t dim = sum.size();
    switch (metric) {
        case Metric::sqeuclidean:
        case Metric::euclidean: {
            if (distance == 0.0) return;
            // From differences, which are exact for near-duplicates.
            const double factor = metric == Metric::sqeuclidean ? 2.0 * slope : slope / distance;
            for (std::size_t k = 0; k < dim; ++k) sum[k] += factor * (x.values[k] - y.values[k]);
            return;
        }
        case Metric::dot:
            for (std::size_t k = 0; k < dim; ++k) sum[k] -= slope * y.values[k];
            return;
        case Metric::cosine:
            break;
    }
    if (distance == 0.0 || x.norm2 == 0.0 || y.norm2 == 0.0) return;
    // (cos · x/‖x‖ − y/‖y‖)/‖x‖, in an order in which no factor leaves float64.
    const double per_x = 1.0 / std::sqrt(x.norm2), per_y = 1.0 / std::sqrt(y.norm2);
    const double factor = slope * per_x, along = (1.0 - distance) * per_x;
    for (std::size_t k = 0; k < dim; ++k) {
        sum[k] += factor * (along * x.values[k] - per_y * y.values[k]);
    }
}

// The numbers of each row's terms, in order: a counting sort.
struct TermsByRow {
    std::vector<std::int64_t> begins, numbers;

    TermsByRow(std::int64_t rows, std::span<const Term> terms)
        : begins(static_cast<std::size_t>(rows) + 2), numbers(2 * terms.size()) {
        // begins[row + 1] is where the next term of a row goes, and in the end where the row ends.
        for (const Term& term : terms) {
            for (const std::int64_t row : {term.x, term.y}) {
                ++begins[static_cast<std::size_t>(row) + 2];
            }
        }
        std::partial_sum(begins.begin(), begins.end(), begins.begin());
        for (std::size_t number = 0; number < terms.size(); ++number) {
            for (const std::int64_t row : {terms[number].x, terms[number].y}) {
                const std::int64_t place = begins[static_cast<std::size_t>(row) + 1]++;
                numbers[static_cast<std::size_t>(place)] = static_cast<std::int64_t>(number);
            }
        }
    }
    std::span<const std::int64_t> of(std::int64_t row) const {
        const auto begin = static_cast<std::size_t>(begins[static_cast<std::size_t>(row)]);
        const auto end = static_cast<std::size_t>(begins[static_cast<std::size_t>(row) + 1]);
        return std::span(numbers).subspan(begin, end - begin);
    }
};

}  // namespace

void differentiate(Team& team, const Dataset& rows, Metric metric, std::span<const Term> terms,
                   const TakeDerivative& take) {
    const TermsByRow by_row(rows.size(), terms);
    const auto dim = static_cast<std::size_t>(rows.dim());
    const auto length = static_cast<std::size_t>(padded(rows.dim()));
    const std::int64_t tasks = (rows.size() + rows_per_task - 1) / rows_per_task;
    team.for_each(tasks, [&](std::int64_t task, int worker) {
        std::vector<double> own(length), other(length), sum(dim);
        const std::int64_t end = std::min(rows.size(), (task + 1) * rows_per_task);
        for (std::int64_t row = task * rows_per_task; row < end; ++row) {
            const auto numbers = by_row.of(row);
            if (numbers.empty()) continue;
            rows.widen(row, own.data());
            std::fill(sum.begin(), sum.end(), 0.0);
            for (std::size_t i = 0; i < numbers.size(); ++i) {
                if (i % terms_between_polls == 0) team.poll(worker);
                const Term& term = terms[static_cast<std::size_t>(numbers[i])];
                const std::int64_t partner = term.x == row ? term.y : term.x;
                rows.widen(partner, other.data());
                add_derivative(metric, term.slope, term.distance, {own, rows.norm2(row)},
                               {other, rows.norm2(partner)}, sum);
            }
            take(row, sum);
        }
    });
}

void store(std::span<const double> derivative, std::int64_t row, const GradientView& gradient) {
    const bool single = gradient.dtype == DType::float32;
    const std::size_t first = static_cast<std::size_t>(row) * derivative.size();
    for (std::size_t k = 0; k < derivative.size(); ++k) {
        const double value = derivative[k];
        if (!(std::abs(value) <= (single ? FLT_MAX : DBL_MAX))) {
            throw std::invalid_argument("embeddings: the gradient of row " + std::to_string(row) +
                                        " is beyond " + (single ? "float32" : "float64") +
                                        ": found " + text(value) + ", expected smaller values");
        }
        if (single) {
            static_cast<float*>(gradient.data)[first + k] = static_cast<float>(value);
        } else {
            static_cast<double*>(gradient.data)[first + k] = value;
        }
    }
}

}  // namespace tripletmine
