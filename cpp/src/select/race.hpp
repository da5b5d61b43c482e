// Selector: one candidate at random for each of a row's entries, from all that lie within the
// entry's distances.
//
// A race: every candidate draws a score, from the entry's key and its own index alone, and the
// highest wins. With alike scores that is a uniform choice. With a weight w(d) it is a choice with
// probability proportional to w if the score is ln w + G, G = −ln(−ln u) for u uniform in (0, 1)
// (Gumbel, 1954). No order matters, and what can no longer win needs no float64 distance: how lucky
// a candidate is its index tells, and how near it may be its bounds.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "draws.hpp"
#include "metric.hpp"
#include "select/choice.hpp"

namespace tripletmine {

// ln x of a normal x > 0 from single operations, each rounded once: the same bits everywhere, which
// no library promises. x = m·2^e with m in [√½, √2); ln m = 2·artanh s, s = (m − 1) / (m + 1).
inline double portable_log(double x) {
    int exponent = 0;
    double m = std::frexp(x, &exponent);
    if (m < 0x1.6a09e667f3bcdp-1) {
        m *= 2.0;
        --exponent;
    }
    const double s = (m - 1.0) / (m + 1.0);
    const double square = s * s;
    double sum = 0.0;
    for (int k = 23; k >= 1; k -= 2) sum = sum * square + 1.0 / k;
    constexpr double ln2 = 0x1.62e42fefa39efp-1;
    return 2.0 * s * sum + static_cast<double>(exponent) * ln2;
}

// What makes some candidates likelier than others: nothing, or the inverse of q(d), the density of
// the distances d between points that are uniform on a sphere in `dim` dimensions, no larger than
// at `cutoff` (Wu, Manmatha, Smola and Krähenbühl, "Sampling Matters in Deep Embedding Learning",
// 2017): ln w = (2 − dim)·ln d − ½(dim − 3)·ln(1 − ¼d²).
class Weight {
public:
    Weight() = default;
    // No candidate farther than `farthest` < 2 is weighed.
    Weight(std::int64_t dim, double cutoff, double farthest)
        : dim_(static_cast<double>(dim)), cutoff_(cutoff), farthest_(farthest) {}

    // What a distance adds to the scores of a candidate: ln w.
    double of_distance(double distance) const {
        if (dim_ == 0.0) return 0.0;
        const double d = std::max(distance, cutoff_);
        return (2.0 - dim_) * portable_log(d) -
               0.5 * (dim_ - 3.0) * portable_log(1.0 - 0.25 * d * d);
    }
    // Whether that falls with the distance, and then perhaps rises.
    bool falls() const { return dim_ >= 3.0; }
    double cutoff() const { return cutoff_; }
    double farthest() const { return farthest_; }

    double score(double of_distance, std::uint64_t bits) const {
        const auto high = static_cast<double>(bits >> 12);
        if (dim_ == 0.0) return high;
        return of_distance - portable_log(-portable_log((high + 0.5) * 0x1p-52));
    }
    // Whether these bits can make a score of what the distance adds to it, told without logarithms:
    // from 1 − u >= 2^−(z+1) it follows that −ln u is no less, and G <= (z + 1)·ln 2.
    bool may_reach(double score, double of_distance, std::uint64_t bits) const {
        if (dim_ == 0.0) return static_cast<double>(bits >> 12) >= score;
        constexpr double ln2 = 0x1.62e42fefa39fp-1, roundings = 1e-6;
        const int z = std::countl_zero(~bits | 0xfff);
        return of_distance + (z + 1) * ln2 + roundings >= score;
    }

    // No candidate farther than this beats a score, among those within a distance.
    double reach(double score, double within) const {
        const auto can_win = [&](double d) { return of_distance(d) + most_luck >= score; };
        if (!falls() || within <= cutoff_ || can_win(within)) return within;
        double low = cutoff_, high = within;
        for (int step = 0; step < 40; ++step) {
            const double middle = 0.5 * (low + high);
            (can_win(middle) ? low : high) = middle;
        }
        return high;
    }

private:
    static constexpr double most_luck = 37.0;  // −ln(−ln(1 − 2⁻⁵³)) < 36.8

    double dim_ = 0.0;  // 0: all alike
    double cutoff_ = 0.0, farthest_ = 0.0;
};

// What the distance of a candidate adds to its scores at most, told by the upper bound of its
// score: one table for all rows.
class Prospects {
public:
    Prospects(const ScoreSpace& space, const Weight& weight) {
        if (!weight.falls()) return;
        const double nearest = weight.cutoff(), farthest = weight.farthest();
        const double at_end = weight.of_distance(farthest);
        const double high = static_cast<double>(space.floor(Sign::nearest, nearest));
        const double low = static_cast<double>(space.floor(Sign::nearest, farthest));
        const double width = std::max(high - low, 0x1p-20) / cells;
        high_ = static_cast<float>(high);
        per_score_ = static_cast<float>(1.0 / width);
        most_.push_back(std::max(weight.of_distance(nearest), at_end));
        // The farthest of some distances that a candidate of the cell lies beyond.
        double distance = nearest;
        int reached = 0;
        for (int cell = 1; cell < cells; ++cell) {
            const double best = high - (cell - 1) * width;  // one to spare, for places are rounded
            for (; reached < cells; ++reached) {
                const double next = nearest + (farthest - nearest) * (reached / double{cells});
                if (!(best < static_cast<double>(space.floor(Sign::nearest, next)))) break;
                distance = next;
            }
            most_.push_back(std::max(weight.of_distance(distance), at_end));
        }
    }

    double most(float upper) const {
        if (most_.empty()) return std::numeric_limits<double>::infinity();
        const float place = std::min(std::max((high_ - upper) * per_score_, 0.0f), cells - 1.0f);
        return most_[static_cast<std::size_t>(place)];
    }

private:
    static constexpr int cells = 512;

    float high_ = 0.0f, per_score_ = 0.0f;
    std::vector<double> most_;  // of each cell; empty: nothing is known
};

// For one choice: candidates with beyond < d <= within.
struct Entry {
    std::uint64_t key;
    double beyond, within;
};

class Race {
public:
    static constexpr bool selective = true, learns_from_bounds = false;

    Race(const ScoreSpace& space, const Weight& weight, const Prospects& prospects,
         const std::vector<Entry>& entries)
        : space_(space), weight_(weight), prospects_(prospects) {
        for (const Entry& entry : entries) {
            lanes_.push_back({entry, space.floor(Sign::nearest, entry.within),
                              space.ceiling(Sign::nearest, entry.beyond), -infinity});
            winners_.push_back({infinity, -1});
        }
        find_floor();
    }

    // One bucket for all scores.
    Buckets buckets() const { return {0.0f, 1.0f, 1}; }
    Limits limits() const { return {&floor_, &no_limit, floor_}; }

    // Bounds tell who is too far for an entry, or too near, or not near enough for so little luck.
    std::int64_t expect(std::int64_t candidate, float lower, float upper) const {
        const double of_distance = prospects_.most(upper);
        for (const Lane& lane : lanes_) {
            if (upper < lane.floor || lower > lane.ceiling) continue;
            if (weight_.may_reach(lane.score, of_distance, bits(lane, candidate))) return -1;
        }
        return no_matter;
    }
    bool settles(std::int64_t, float upper) const { return upper < floor_; }

    void offer(std::int64_t, const Candidate& candidate) {
        const double d = candidate.distance;
        const auto holds = [d](const Lane& lane) {
            return lane.entry.beyond < d && d <= lane.entry.within;
        };
        if (std::none_of(lanes_.begin(), lanes_.end(), holds)) return;
        const double of_distance = weight_.of_distance(d);
        bool narrower = false;
        for (std::size_t e = 0; e < lanes_.size(); ++e) {
            Lane& lane = lanes_[e];
            const std::uint64_t own = bits(lane, candidate.row);
            if (!holds(lane) || !weight_.may_reach(lane.score, of_distance, own)) continue;
            const double score = weight_.score(of_distance, own);
            if (score < lane.score) continue;
            if (score == lane.score && candidate.row > winners_[e].row) continue;
            lane.score = score;
            winners_[e] = candidate;
            const double within = weight_.reach(score, lane.entry.within);
            if (!(within < lane.entry.within)) continue;
            lane.entry.within = within;
            lane.floor = space_.floor(Sign::nearest, within);
            narrower = true;
        }
        if (narrower) find_floor();
    }

    // The winner of each entry; every entry has a candidate.
    const std::vector<Candidate>& winners() const { return winners_; }

private:
    static constexpr double infinity = std::numeric_limits<double>::infinity();

    // An entry, whose `within` falls to what can still win; the bounds of scores that are of its
    // distances; its best score up to now.
    struct Lane {
        Entry entry;
        float floor, ceiling;
        double score;
    };

    static std::uint64_t bits(const Lane& lane, std::int64_t candidate) {
        return mix(lane.entry.key + golden * (static_cast<std::uint64_t>(candidate) + 1));
    }

    void find_floor() {
        floor_ = std::numeric_limits<float>::infinity();
        for (const Lane& lane : lanes_) floor_ = std::min(floor_, lane.floor);
    }

    ScoreSpace space_;
    Weight weight_;
    const Prospects& prospects_;
    std::vector<Lane> lanes_;
    std::vector<Candidate> winners_;
    float floor_ = 0.0f;
};

}  // namespace tripletmine
