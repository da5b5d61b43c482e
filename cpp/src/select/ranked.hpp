// Selector: the first k candidates of every row in the order (d, index) or (−d, index), among those
// whose distance lies in the row's range. Nearest-k, farthest-k and, with a range that begins above
// the positive's distance, the semi-hard successor.
//
// What a selector is: it says which scores are still interesting to a row (floor, ceiling) and
// takes candidates with their canonical distance (offer). The result of a row depends on the set of
// offers only, never on their order. It is called for one row by one thread at a time; the sweep
// sees to it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "metric.hpp"
#include "tripletmine/tripletmine.hpp"

namespace tripletmine {

struct Candidate {
    double distance;
    std::int64_t row;
};

// What was chosen for each row: up to `capacity` candidates, first to last.
struct Choice {
    std::int64_t capacity = 0;
    std::vector<std::int64_t> counts;
    std::vector<Candidate> candidates;
    std::span<const Candidate> of(std::int64_t row) const {
        return {candidates.data() + row * capacity, static_cast<std::size_t>(counts[row])};
    }
};

template <Sign order>
class Ranked {
public:
    static constexpr Sign sign = order;

    // An empty `ranges` means any distance; else it has a range for each row.
    Ranked(std::int64_t rows, std::int64_t k, const ScoreSpace& space, std::vector<Range> ranges)
        : k_(k),
          space_(space),
          ranges_(std::move(ranges)),
          counts_(static_cast<std::size_t>(rows)),
          best_(static_cast<std::size_t>(rows * k)) {}

    // Whether any row refuses candidates for being too good.
    bool banded() const {
        return std::any_of(ranges_.begin(), ranges_.end(), [](const Range& range) {
            return order == Sign::nearest ? range.low > -infinity : range.high < infinity;
        });
    }

    // Upper bounds below the floor and lower bounds above the ceiling cannot be part of the answer.
    float floor(std::int64_t row) const {
        const Range range = range_of(row);
        if (k_ == 0 || !(range.low <= range.high)) return std::numeric_limits<float>::infinity();
        const bool full = counts_[row] == k_;
        const double outermost = order == Sign::nearest ? range.high : range.low;
        return space_.floor(order, full ? best_[row * k_].distance : outermost);
    }
    float ceiling(std::int64_t row) const {
        const Range range = range_of(row);
        return space_.ceiling(order, order == Sign::nearest ? range.low : range.high);
    }

    void offer(std::int64_t row, const Candidate& candidate) {
        const Range range = range_of(row);
        if (!(range.low <= candidate.distance && candidate.distance <= range.high)) return;
        Candidate* heap = best_.data() + row * k_;  // the last in order is on top
        std::int64_t& count = counts_[row];
        if (count < k_) {
            heap[count++] = candidate;
            std::push_heap(heap, heap + count, before);
        } else if (k_ > 0 && before(candidate, heap[0])) {
            std::pop_heap(heap, heap + k_, before);
            heap[k_ - 1] = candidate;
            std::push_heap(heap, heap + k_, before);
        }
    }

    // Puts the candidates of these rows in order; nothing may be offered to them afterwards.
    void sort(std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row) {
            std::sort(best_.data() + row * k_, best_.data() + row * k_ + counts_[row], before);
        }
    }

    Choice release() && { return {k_, std::move(counts_), std::move(best_)}; }

private:
    static constexpr double infinity = std::numeric_limits<double>::infinity();

    static bool before(const Candidate& a, const Candidate& b) {
        if (a.distance != b.distance) {
            return order == Sign::nearest ? a.distance < b.distance : a.distance > b.distance;
        }
        return a.row < b.row;
    }
    Range range_of(std::int64_t row) const { return ranges_.empty() ? Range{} : ranges_[row]; }

    std::int64_t k_;
    ScoreSpace space_;
    std::vector<Range> ranges_;
    std::vector<std::int64_t> counts_;
    std::vector<Candidate> best_;
};

}  // namespace tripletmine
