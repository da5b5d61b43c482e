// Selector: the first k candidates of every row in the order (d, index) or (−d, index), among those
// whose distance lies in the row's range. Nearest-k, farthest-k and, with a range that begins above
// the positive's distance, the semi-hard successor.
//
// What a selector is: it says which scores are still interesting to a row (floor, ceiling), takes
// note of candidates that are still to be decided (expect), and takes candidates with their
// canonical distance (offer). The result of a row depends on the set of offers only, never on their
// order. It is called for one row by one thread at a time; the sweep sees to it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <vector>

#include "metric.hpp"
#include "select/choice.hpp"
#include "tripletmine/tripletmine.hpp"

namespace tripletmine {

template <Sign order>
class Ranked {
public:
    static constexpr Sign sign = order;

    // An empty `ranges` means any distance; else it has a range for each row. Whether it is told
    // what to expect before it is offered.
    Ranked(std::int64_t rows, std::int64_t k, const ScoreSpace& space, std::vector<Range> ranges,
           bool expecting = true)
        : k_(k),
          space_(space),
          ranges_(std::move(ranges)),
          best_(Choice::with_room(rows, k)),
          expected_counts_(static_cast<std::size_t>(expecting ? rows : 0)),
          expected_(static_cast<std::size_t>(expecting ? rows * k : 0)) {}

    // How many candidates a row holds in the end, at most.
    std::int64_t most() const { return k_; }

    std::int64_t rows() const { return std::ssize(best_.counts); }
    bool unlimited() const { return ranges_.empty(); }

    const ScoreSpace& space() const { return space_; }

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
        const float expected = expected_floor(row);
        const bool full = best_.counts[row] == k_;
        if (!full && ranges_.empty()) return expected;
        const double outermost = order == Sign::nearest ? range.high : range.low;
        return std::max(expected, space_.floor(order, full ? heap(row)->distance : outermost));
    }
    float ceiling(std::int64_t row) const {
        const Range range = range_of(row);
        return space_.ceiling(order, order == Sign::nearest ? range.low : range.high);
    }

    // What the row does not refuse for being too good, for certain, whose upper bound is not above
    // this.
    float surely_taken(std::int64_t row) const {
        const bool nearest = order == Sign::nearest;
        return next_below(space_.floor(order, nearest
                                                  ? std::nextafter(ranges_[row].low, -infinity)
                                                  : std::nextafter(ranges_[row].high, infinity)));
    }

    // A candidate that will be offered has at least the score `lower` and at most `upper`: what is
    // worse than k such candidates is worse than the k-th. Returns a floor, that of these alone.
    float expect(std::int64_t row, float lower, float upper) {
        if (k_ == 0 || !surely_allowed(row, lower, upper)) return none_expected;
        float* top = expected_.data() + row * k_;
        std::uint32_t& count = expected_counts_[row];
        if (count < k_) {
            top[count++] = lower;
            std::push_heap(top, top + count, std::greater<>());
        } else if (lower > top[0]) {
            replace_top(top, lower, std::greater<>());
        }
        return expected_floor(row);
    }

    // A candidate that was decided before any is expected, and will be neither expected nor offered
    // again (but for the only one that is wanted, where that changes nothing).
    void begin_with(std::int64_t row, const Candidate& candidate) {
        offer(row, candidate);
        const float score = space_.floor(order, candidate.distance);
        expect(row, score, score);
    }

    void offer(std::int64_t row, const Candidate& candidate) {
        const Range range = range_of(row);
        if (!(range.low <= candidate.distance && candidate.distance <= range.high)) return;
        Candidate* top = heap(row);
        std::uint32_t& count = best_.counts[row];
        if (k_ == 1) {  // no heap
            if (count == 0 || before(candidate, top[0])) top[0] = candidate;
            count = 1;
        } else if (count < k_) {
            top[count++] = candidate;
            std::push_heap(top, top + count, before);
        } else if (k_ > 1 && before(candidate, top[0])) {
            replace_top(top, candidate, before);
        }
    }

    // Puts the candidates of these rows in order; nothing may be offered to them afterwards.
    void sort(std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row) {
            std::sort(heap(row), heap(row) + best_.counts[row], before);
        }
    }

    const Choice& choice() const { return best_; }
    Choice release() && { return std::move(best_); }

private:
    static constexpr double infinity = std::numeric_limits<double>::infinity();
    static constexpr float none_expected = -std::numeric_limits<float>::infinity();

    float expected_floor(std::int64_t row) const {
        const bool full = !expected_.empty() && expected_counts_[row] == k_;
        return full ? expected_[row * k_] : none_expected;
    }
    // Puts a value in the place of the first of a full heap, in one way down.
    template <typename Value, typename Less>
    void replace_top(Value* heap, const Value& value, Less less) const {
        std::int64_t at = 0;
        for (std::int64_t next; (next = 2 * at + 1) < k_; at = next) {
            if (next + 1 < k_ && less(heap[next], heap[next + 1])) ++next;
            if (!less(value, heap[next])) break;
            heap[at] = heap[next];
        }
        heap[at] = value;
    }

    static bool before(const Candidate& a, const Candidate& b) {
        if (a.distance != b.distance) {
            return order == Sign::nearest ? a.distance < b.distance : a.distance > b.distance;
        }
        return a.row < b.row;
    }
    // Whether a candidate within these bounds is in the row's range for certain.
    bool surely_allowed(std::int64_t row, float lower, float upper) const {
        if (ranges_.empty()) return true;
        const double below = std::nextafter(ranges_[row].low, -infinity);
        const double above = std::nextafter(ranges_[row].high, infinity);
        const bool nearest = order == Sign::nearest;
        return lower > space_.ceiling(order, nearest ? above : below) &&
               upper < space_.floor(order, nearest ? below : above);
    }
    // The row's candidates; the last in order is on top.
    Candidate* heap(std::int64_t row) { return best_.candidates.data() + row * k_; }
    const Candidate* heap(std::int64_t row) const { return best_.candidates.data() + row * k_; }
    Range range_of(std::int64_t row) const { return ranges_.empty() ? Range{} : ranges_[row]; }

    std::int64_t k_;
    ScoreSpace space_;
    std::vector<Range> ranges_;
    Choice best_;
    std::vector<std::uint32_t> expected_counts_;
    Column<float> expected_;  // the best k lower bounds of a row; the least is on top
};

}  // namespace tripletmine
