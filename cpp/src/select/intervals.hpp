// Selectors that divide a row's candidates by a list of distances T_0 <= T_1 <= ... <= T_{m-1}:
// candidate d lies in slot #{s : T_s < d}, from 0 (d <= T_0) to m (d > T_{m-1}).
//
//   Successors   the first k of every slot: the nearest candidates beyond each T_s
//   Counts       how many candidates lie in every slot, and the sum of their distances
//
// For most candidates the bounds of the score lie between two neighbouring thresholds and name the
// slot without a float64 distance. A row is asked by one thread only, from beginning to end.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "metric.hpp"
#include "select/choice.hpp"
#include "select/ranked.hpp"

namespace tripletmine {

// The thresholds of one row, as distances and as scores. Scores fall where distances rise.
class Thresholds {
public:
    // `distances` ascending.
    Thresholds(const ScoreSpace& space, std::vector<double> distances)
        : distances_(std::move(distances)) {
        constexpr double infinity = std::numeric_limits<double>::infinity();
        beyond_.reserve(distances_.size());
        within_.reserve(distances_.size());
        for (const double distance : distances_) {
            beyond_.push_back(space.floor(Sign::nearest, distance));
            within_.push_back(space.ceiling(Sign::nearest, std::nextafter(distance, infinity)));
        }
        for (step_ = 1; 2 * step_ <= size(); step_ *= 2) {
        }
    }

    std::int64_t size() const { return static_cast<std::int64_t>(distances_.size()); }
    double operator[](std::int64_t s) const { return distances_[static_cast<std::size_t>(s)]; }

    // The slot of a candidate whose score lies in [lower, upper], or -1 if it may be one of
    // several.
    std::int64_t slot(float lower, float upper) const {
        // d > T_s is certain where upper < beyond_[s]: count them. No branch depends on the data.
        if (distances_.empty()) return 0;
        std::int64_t below = 0;
        for (std::int64_t step = step_; step > 0; step /= 2) {
            const std::int64_t next = below + step;
            const bool inside = next <= size();
            const float threshold = beyond_[static_cast<std::size_t>(inside ? next - 1 : 0)];
            below = inside && upper < threshold ? next : below;
        }
        // d <= T_s is certain where lower > within_[s]: the next threshold has to be.
        const bool certain = below == size() || lower > within_[static_cast<std::size_t>(below)];
        return certain ? below : -1;
    }

    std::int64_t slot(double distance) const {
        return std::lower_bound(distances_.begin(), distances_.end(), distance) -
               distances_.begin();
    }

private:
    std::vector<double> distances_;
    std::vector<float> beyond_, within_;
    std::int64_t step_ = 1;
};

// The nearest candidates strictly beyond each of a row's thresholds.
class Successors {
public:
    static constexpr bool selective = true;

    Successors(const ScoreSpace& space, std::vector<double> thresholds, std::int64_t k,
               const Range& range)
        : thresholds_(space, std::move(thresholds)),
          range_(range),
          slots_(thresholds_.size() + 1, k, space, {}),
          floors_(static_cast<std::size_t>(thresholds_.size() + 1),
                  space.floor(Sign::nearest, range.high)),
          ceiling_(thresholds_.size() == 0
                       ? -std::numeric_limits<float>::infinity()
                       : space.ceiling(Sign::nearest, std::max(thresholds_[0], range.low))) {}

    // Interesting at all: beyond the first threshold, and not worse than the worst slot still
    // wants.
    float floor() const { return floors_.back(); }
    float ceiling() const { return ceiling_; }

    // Whether the bounds alone say that the candidate does not matter.
    bool settles(float lower, float upper) {
        const std::int64_t slot = thresholds_.slot(lower, upper);
        return slot >= 0 && upper < floors_[static_cast<std::size_t>(slot)];
    }

    void offer(const Candidate& candidate) {
        if (!(range_.low <= candidate.distance && candidate.distance <= range_.high)) return;
        const std::int64_t slot = thresholds_.slot(candidate.distance);
        if (slot == 0) return;
        slots_.offer(slot, candidate);
        floors_[static_cast<std::size_t>(slot)] =
            std::max(floors_[static_cast<std::size_t>(slot)], slots_.floor(slot));
    }

    // Calls add(s, candidate) for the first k beyond T_s, in order, for every s.
    template <typename Add>
    void each(std::int64_t k, Add add) {
        slots_.sort(0, thresholds_.size() + 1);
        for (std::int64_t s = 0; s < thresholds_.size(); ++s) {
            // Equal thresholds leave the slots between them empty.
            std::int64_t left = k;
            for (std::int64_t slot = s + 1; slot <= thresholds_.size() && left > 0; ++slot) {
                for (const Candidate& candidate : slots_.choice().of(slot)) {
                    if (left-- > 0) add(s, candidate);
                }
            }
        }
    }

private:
    Thresholds thresholds_;
    Range range_;
    Ranked<Sign::nearest> slots_;
    std::vector<float> floors_;  // of each slot; slot 0 is never asked for
    float ceiling_;
};

// How many candidates are within each of a row's thresholds, and the sum of their distances.
class Counts {
public:
    static constexpr bool selective = false;

    struct Total {
        std::int64_t count = 0;
        double sum = 0.0;  // of the distances; exact only where they were decided in float64
    };

    Counts(const ScoreSpace& space, std::vector<double> thresholds)
        : space_(space),
          thresholds_(space, std::move(thresholds)),
          totals_(static_cast<std::size_t>(thresholds_.size() + 1)) {}

    float floor() const { return -std::numeric_limits<float>::infinity(); }
    float ceiling() const { return std::numeric_limits<float>::infinity(); }

    bool settles(float lower, float upper) {
        const std::int64_t slot = thresholds_.slot(lower, upper);
        if (slot < 0) return false;
        const double score = 0.5 * (static_cast<double>(lower) + static_cast<double>(upper));
        add(slot, space_.distance(score));
        return true;
    }

    void offer(const Candidate& candidate) {
        add(thresholds_.slot(candidate.distance), candidate.distance);
    }

    // From slots to "within": call once, after the last candidate.
    void accumulate() {
        for (std::size_t s = 1; s < totals_.size(); ++s) {
            totals_[s].count += totals_[s - 1].count;
            totals_[s].sum += totals_[s - 1].sum;
        }
    }
    // Of all candidates with d <= threshold, one of the row's thresholds.
    const Total& within(double threshold) const {
        return totals_[static_cast<std::size_t>(thresholds_.slot(threshold))];
    }
    std::int64_t in_all() const { return totals_.back().count; }

private:
    void add(std::int64_t slot, double distance) {
        Total& total = totals_[static_cast<std::size_t>(slot)];
        ++total.count;
        total.sum += distance;
    }

    ScoreSpace space_;
    Thresholds thresholds_;
    std::vector<Total> totals_;  // of each slot
};

}  // namespace tripletmine
