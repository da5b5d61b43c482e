// Selector: all candidates of a row whose distance lies in a range.
//
// Nothing that is found teaches it anything: the range is all there is. A row is asked by one
// thread only, from beginning to end.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "metric.hpp"
#include "select/choice.hpp"
#include "tripletmine/tripletmine.hpp"

namespace tripletmine {

class Within {
public:
    static constexpr bool selective = true, learns_from_bounds = true;

    // `widest`: no candidate's bounds lie further apart.
    Within(const ScoreSpace& space, const Range& range, float widest)
        : range_(range),
          floor_(space.floor(Sign::nearest, range.high)),
          ceiling_(space.ceiling(Sign::nearest, range.low)),
          highest_(ceiling_ + 2.0f * widest) {
        if (!(range.low <= range.high)) floor_ = no_limit;
    }

    // One bucket for all scores.
    Buckets buckets() const { return {0.0f, 1.0f, 1}; }
    Limits limits() const { return {&floor_, &highest_, floor_}; }

    std::int64_t expect(std::int64_t, float lower, float upper) const {
        return upper < floor_ || lower > ceiling_ ? no_matter : 0;
    }
    bool settles(std::int64_t, float) const { return false; }

    void offer(std::int64_t, const Candidate& candidate) {
        if (range_.holds(candidate.distance)) found_.push_back(candidate);
    }

    // What was found, ascending by index.
    std::vector<Candidate> release() && {
        std::sort(found_.begin(), found_.end(),
                  [](const Candidate& a, const Candidate& b) { return a.row < b.row; });
        return std::move(found_);
    }

private:
    Range range_;
    float floor_, ceiling_, highest_;
    std::vector<Candidate> found_;
};

}  // namespace tripletmine
