// Selector: the negatives of one query. Its candidates fall, by their distance, to the rule that
// refuses them or to the survivors; every one that is refused is counted, and the first of all
// candidates and the first of the survivors are kept, each as many as are asked for.
//
//   distance  ──────────────────────────────────────────────────────────────────────>
//             absolute │ relative │ max_score │      survivors       │ min_score
//             margin   │ margin   │           │ ^ the first of them  │
//
// The bounds alone tell where most candidates fall. A row is asked by one thread only, from
// beginning to end.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "metric.hpp"
#include "select/choice.hpp"
#include "select/intervals.hpp"
#include "select/ranked.hpp"

namespace tripletmine {

// Where a candidate falls: to the first rule that refuses it, or to the survivors.
enum class Verdict : std::uint8_t {
    absolute_margin,
    relative_margin,
    max_score,
    survivor,
    min_score,
};
constexpr std::size_t verdicts = 5;

// What the rules make of a query's candidates, as distances.
struct Cutoffs {
    // The farthest that are too similar by each rule; -inf where it refuses none.
    double absolute_margin = -std::numeric_limits<double>::infinity();
    double relative_margin = -std::numeric_limits<double>::infinity();
    double max_score = -std::numeric_limits<double>::infinity();
    // The farthest that are similar enough.
    double min_score = std::numeric_limits<double>::infinity();

    double too_similar() const { return std::max({absolute_margin, relative_margin, max_score}); }
};

class Window {
public:
    static constexpr bool selective = true, learns_from_bounds = true;

    // Keeps the first `of_all` candidates and the first `of_survivors`. The survivors are counted
    // if that is asked for; the refused, unless for being too far, always. No candidate is one of
    // `excluded` (ascending).
    Window(const ScoreSpace& space, const Cutoffs& cutoffs, std::int64_t of_all,
           std::int64_t of_survivors, bool count_survivors, std::span<const std::int64_t> excluded)
        : thresholds_(space, ascending(cutoffs)),
          all_(1, of_all, space, {}),
          survivors_(1, of_survivors, space, {survivors(cutoffs)}),
          excluded_(excluded) {
        const double counted = count_survivors ? std::max(cutoffs.too_similar(), cutoffs.min_score)
                                               : cutoffs.too_similar();
        counted_floor_ = counted == -infinity ? std::numeric_limits<float>::infinity()
                                              : space.floor(Sign::nearest, counted);
        learn();
    }

    // One bucket for all scores.
    Buckets buckets() const { return {0.0f, 1.0f, 1}; }
    Limits limits() const { return {&floor_, &no_limit, floor_}; }

    // Takes note of a candidate (a row) by its bounds: where it falls, or -1 if it may be one of
    // several, or `no_matter` if that alone settles it.
    std::int64_t expect(std::int64_t candidate, float lower, float upper) {
        const std::int64_t slot = thresholds_.slot(lower, upper);
        if (settles(slot, upper)) return no_matter;
        if (upper >= std::min(all_floor_, survivors_floor_) && !is_excluded(candidate)) {
            all_.expect(0, lower, upper);
            survivors_.expect(0, lower, upper);
            learn();
        }
        return slot;
    }

    // Whether that alone says where the candidate falls, and that it is not one to keep.
    bool settles(std::int64_t slot, float upper) {
        if (slot < 0 || upper >= all_floor_) return false;
        const auto verdict = static_cast<Verdict>(slot);
        if (verdict == Verdict::survivor && upper >= survivors_floor_) return false;
        ++counts_[static_cast<std::size_t>(verdict)];
        return true;
    }

    void offer(std::int64_t, const Candidate& candidate) {
        const Verdict verdict = judge(candidate.distance);
        ++counts_[static_cast<std::size_t>(verdict)];
        const bool is_survivor = verdict == Verdict::survivor;
        if ((all_.most() == 0 && !is_survivor) || is_excluded(candidate.row)) return;
        all_.offer(0, candidate);
        if (is_survivor) survivors_.offer(0, candidate);
        learn();
    }

    Verdict judge(double distance) const {
        return static_cast<Verdict>(thresholds_.slot(distance));
    }

    bool survives(const Candidate& candidate) const {
        return judge(candidate.distance) == Verdict::survivor;
    }

    // Takes an excluded one off the counts, which the bounds could not tell from the others.
    void discount(double distance) { --counts_[static_cast<std::size_t>(judge(distance))]; }

    std::int64_t count(Verdict verdict) const { return counts_[static_cast<std::size_t>(verdict)]; }

    // Puts what was kept in order; nothing may be offered afterwards.
    void sort() {
        all_.sort(0, 1);
        survivors_.sort(0, 1);
    }
    std::span<const Candidate> first_of_all() const { return all_.choice().of(0); }
    std::span<const Candidate> first_survivors() const { return survivors_.choice().of(0); }

private:
    static constexpr double infinity = std::numeric_limits<double>::infinity();

    // The last distance of every verdict but the last: the thresholds of `judge`.
    static std::vector<double> ascending(const Cutoffs& cutoffs) {
        const double second = std::max(cutoffs.absolute_margin, cutoffs.relative_margin);
        const double third = std::max(second, cutoffs.max_score);
        return {cutoffs.absolute_margin, second, third, std::max(third, cutoffs.min_score)};
    }
    static Range survivors(const Cutoffs& cutoffs) {
        const double refused = cutoffs.too_similar();
        const double low = refused == -infinity ? refused : std::nextafter(refused, infinity);
        return {low, cutoffs.min_score};
    }

    bool is_excluded(std::int64_t row) const {
        return std::binary_search(excluded_.begin(), excluded_.end(), row);
    }

    void learn() {
        all_floor_ = all_.floor(0);
        survivors_floor_ = survivors_.floor(0);
        floor_ = std::min({all_floor_, survivors_floor_, counted_floor_});
    }

    Thresholds thresholds_;
    Ranked<Sign::nearest> all_, survivors_;
    std::span<const std::int64_t> excluded_;
    std::array<std::int64_t, verdicts> counts_{};
    float counted_floor_, all_floor_ = 0.0f, survivors_floor_ = 0.0f, floor_ = 0.0f;
};

}  // namespace tripletmine
