// Selector: one candidate at random for each of a row's entries, from all that lie within the
// entry's distances.
//
// A race: every candidate draws a score, from the entry's key and its own index alone, and the
// highest wins. With alike scores that is a uniform choice. With a weight w(d) it is a choice with
// probability proportional to w if the score is ln w + G, G = −ln(−ln u) for u uniform in (0, 1)
// (Gumbel, 1954). No order matters, and what can no longer win needs no float64 distance.
#pragma once

#include <algorithm>
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
    Weight(std::int64_t dim, double cutoff) : dim_(static_cast<double>(dim)), cutoff_(cutoff) {}

    double score(double distance, std::uint64_t bits) const {
        const auto high = static_cast<double>(bits >> 12);
        if (dim_ == 0.0) return high;
        return log_weight(distance) - portable_log(-portable_log((high + 0.5) * 0x1p-52));
    }

    // No candidate farther than this beats a score, among those within a distance.
    double reach(double score, double within) const {
        // ln w falls, and then perhaps rises, where dim >= 3.
        const auto can_win = [&](double d) { return log_weight(d) + most_luck >= score; };
        if (dim_ < 3.0 || within <= cutoff_ || can_win(within)) return within;
        double low = cutoff_, high = within;
        for (int step = 0; step < 40; ++step) {
            const double middle = 0.5 * (low + high);
            (can_win(middle) ? low : high) = middle;
        }
        return high;
    }

private:
    static constexpr double most_luck = 37.0;  // −ln(−ln(1 − 2⁻⁵³)) < 36.8

    double log_weight(double distance) const {
        const double d = std::max(distance, cutoff_);
        return (2.0 - dim_) * portable_log(d) -
               0.5 * (dim_ - 3.0) * portable_log(1.0 - 0.25 * d * d);
    }

    double dim_ = 0.0;  // 0: all alike
    double cutoff_ = 0.0;
};

// For one choice: candidates with beyond < d <= within.
struct Entry {
    std::uint64_t key;
    double beyond, within;
};

class Race {
public:
    static constexpr bool selective = true;

    Race(const ScoreSpace& space, const Weight& weight, std::vector<Entry> entries)
        : space_(space),
          weight_(weight),
          entries_(std::move(entries)),
          scores_(entries_.size(), -infinity),
          winners_(entries_.size(), Candidate{infinity, -1}) {
        double beyond = infinity;
        for (const Entry& entry : entries_) beyond = std::min(beyond, entry.beyond);
        ceiling_ = space.ceiling(Sign::nearest, beyond);
        find_floor();
    }

    // One bucket for all scores.
    Buckets buckets() const { return {0.0f, 1.0f, 1}; }
    Limits limits() const { return {&floor_, &no_limit, floor_}; }

    // Bounds tell only who is too far to win, or too near for any entry.
    std::int64_t expect(std::int64_t, float lower, float) const {
        return lower > ceiling_ ? no_matter : -1;
    }
    bool settles(std::int64_t, float upper) const { return upper < floor_; }

    void offer(std::int64_t, const Candidate& candidate) {
        bool narrower = false;
        for (std::size_t e = 0; e < entries_.size(); ++e) {
            Entry& entry = entries_[e];
            if (!(entry.beyond < candidate.distance && candidate.distance <= entry.within))
                continue;
            const auto index = static_cast<std::uint64_t>(candidate.row);
            const double score =
                weight_.score(candidate.distance, mix(entry.key + golden * (index + 1)));
            if (score < scores_[e]) continue;
            if (score == scores_[e] && candidate.row > winners_[e].row) continue;
            scores_[e] = score;
            winners_[e] = candidate;
            const double within = weight_.reach(score, entry.within);
            narrower = narrower || within < entry.within;
            entry.within = within;
        }
        if (narrower) find_floor();
    }

    // The winner of each entry; every entry has a candidate.
    const std::vector<Candidate>& winners() const { return winners_; }

private:
    static constexpr double infinity = std::numeric_limits<double>::infinity();

    void find_floor() {
        double within = -infinity;
        for (const Entry& entry : entries_) within = std::max(within, entry.within);
        floor_ = space_.floor(Sign::nearest, within);
    }

    ScoreSpace space_;
    Weight weight_;
    std::vector<Entry> entries_;  // within: of what can still win
    std::vector<double> scores_;
    std::vector<Candidate> winners_;
    float floor_ = 0.0f, ceiling_ = 0.0f;
};

}  // namespace tripletmine
