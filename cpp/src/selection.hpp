// Selection: what was chosen for some anchors, and the triplets that this makes.
//
// Every positive with every negative are far more triplets than choices, so the choices are kept
// while the triplets are listed, all at once or a part at a time. Triplets are numbered in the
// order of the result: by anchor, positive and rank of the negative. Filled by a Miner; knows no
// distances but those it was given.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dataset.hpp"
#include "parallel.hpp"
#include "select/choice.hpp"
#include "tripletmine/tripletmine.hpp"

namespace tripletmine {

// The distances of the negatives that make a triplet of the type with a positive at this one.
Range wanted_range(const MineOptions& options, double d_ap);

class Selection {
public:
    explicit Selection(const MineOptions& options) : options_(options) {}

    // By position of the anchor; negatives by pair instead, as positives are numbered, if
    // `per_pair`. Fallbacks are empty unless some anchor needs them.
    Choice positives, negatives, fallbacks;
    bool per_pair = false;
    // How many negatives each anchor has, where `negatives` are not all of them.
    std::vector<std::int64_t> negatives_in_all;

    // Without the ranks that range_min skips.
    std::span<const Candidate> window(std::span<const Candidate> ranked) const;
    // Those of an anchor's i-th positive, before the window and the fallback.
    std::span<const Candidate> own_negatives(std::int64_t position, std::int64_t i) const {
        return negatives.of(per_pair ? positives.begin_of(position) + i : position);
    }

    // To be called once, after everything is chosen for these anchors.
    void number(Team& team, const Dataset& anchors);

    std::int64_t anchors() const { return static_cast<std::int64_t>(order_.size()); }
    std::int64_t triplets() const { return ends_.empty() ? 0 : ends_.back(); }

    // How many anchors, the first ones, have no triplet beyond the first `listed`.
    std::int64_t anchors_within(std::int64_t listed) const;

    // Appends the triplets of this interval of numbers.
    void list(Team& team, const Interval& numbers, Mined& mined) const;

    // Counts these anchors, by place in the order of rows, in the report.
    void report(const Interval& anchors, Report& report) const;

private:
    // An anchor and one of its positives. Numbered like triplets: by anchor, then by positive.
    struct Pair {
        std::int64_t number, anchor;
        const Candidate& positive;
        std::span<const Candidate> negatives;
        Range wanted;  // of them
        bool fell_back;
    };

    bool falls_back(std::int64_t position, std::int64_t i) const {
        return !fallbacks.counts.empty() && own_negatives(position, i).empty();
    }
    // The negatives of an anchor's i-th positive.
    std::span<const Candidate> negatives_of(std::int64_t position, std::int64_t i) const {
        return window(falls_back(position, i) ? fallbacks.of(position)
                                              : own_negatives(position, i));
    }
    // Calls visit(pair) for the pairs of this interval of numbers, on all threads.
    template <typename Visit>
    void for_pairs(Team& team, const Interval& numbers, Visit visit) const;

    MineOptions options_;
    std::vector<std::int64_t> order_, rows_;  // the positions by ascending row, and their rows
    std::vector<std::int64_t> first_pairs_;   // of each anchor in order, and the number of all
    std::vector<std::int64_t> ends_;          // of each pair: the triplets up to its last one
};

}  // namespace tripletmine
