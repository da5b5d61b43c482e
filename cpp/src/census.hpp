// Counts the negatives of every (anchor, positive) pair, with few anchors under way at a time.
// Called by census.cpp and sample.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "join.hpp"

namespace tripletmine {

// reaches(norm2, positives, distances) appends the distances within which the negatives of an
// anchor of this squared norm are to be counted, about `each` for a positive.
using Reaches = std::function<void(double norm2, std::span<const Candidate> positives,
                                   std::vector<double>& distances)>;

// What was counted for one anchor: its positives, ascending by index, the distances asked for, and
// the counts within each.
struct AnchorCounts {
    std::int64_t row;  // of the caller's matrix
    double norm2;
    std::span<const Candidate> positives;
    std::span<const double> reaches;
    const Counts& counts;
};

// Calls take(anchor, own) for every row of the join, on a worker's thread; `anchor` is the row's
// place among the rows in ascending order. Without `sums` counts are all that is needed.
void count_by_anchor(Join& join, std::int64_t each, bool sums, const Reaches& reaches,
                     const std::function<void(std::int64_t anchor, const AnchorCounts&)>& take);

}  // namespace tripletmine
