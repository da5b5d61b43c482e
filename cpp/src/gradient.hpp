// The derivative of a sum of distances, row by row: what the gradient of every loss comes down to.
//
// A loss is made of hinges of distances, so its gradient is that of Σ slope · d(x, y), where the
// slope says how the loss changes with this distance. Called by loss.cpp and batch_all.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "dataset.hpp"
#include "parallel.hpp"

namespace tripletmine {

// slope · d(x, y) of two rows, with the distance as it was computed.
struct Term {
    std::int64_t x, y;
    double distance;
    double slope;
};

// Learns the derivative by one row, on a worker's thread.
using TakeDerivative = std::function<void(std::int64_t row, std::span<const double> derivative)>;

// The derivative by every row that has a term, each taken once; the dataset is unlabelled and
// measured. A row's terms are added in their order by one thread, so the number of threads changes
// nothing.
void differentiate(Team& team, const Dataset& rows, Metric metric, std::span<const Term> terms,
                   const TakeDerivative& take);

// Rounds a derivative to its row of the gradient; a value beyond its type is an error.
void store(std::span<const double> derivative, std::int64_t row, const GradientView& gradient);

}  // namespace tripletmine
