// Miner: the options of mine as questions put to a Join, and its answers as a Selection.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "join.hpp"
#include "parallel.hpp"
#include "selection.hpp"
#include "tripletmine/tripletmine.hpp"

namespace tripletmine {

// Whether every positive has negatives of its own, not those of its anchor.
bool chooses_per_pair(const MineOptions& options);

// Enough ranks for the window, and never more than there are candidates.
std::int64_t ranks_of(const MineOptions& options, std::int64_t candidates);

// What some anchors say of all, about: which part of their negatives counts with any positive,
// which part of all positives with all negatives makes a triplet, and the distances of some
// negatives, ascending. Where nothing was asked, everything may count.
struct Outlook {
    double negatives = 1.0, triplets = 1.0;
    std::vector<double> distances = {};

    double share(const Range& range) const {
        if (distances.empty()) return 1.0;
        const auto first = std::lower_bound(distances.begin(), distances.end(), range.low);
        const auto last = std::upper_bound(distances.begin(), distances.end(), range.high);
        return static_cast<double>(std::max<std::ptrdiff_t>(0, last - first)) /
               static_cast<double>(distances.size());
    }
};

// Of a call; nothing is asked where nothing is to be gained by it.
Outlook look_ahead(Team& team, Join& join, const MineOptions& options);

// Puts the questions of one call to a join.
class Miner {
public:
    Miner(Team& team, Join& join, const MineOptions& options, Outlook outlook = {})
        : team_(team),
          join_(join),
          options_(options),
          outlook_(std::move(outlook)),
          chosen_(options) {}

    // Of these anchors, and some columns.
    Outlook look_ahead();

    // How many of these anchors' negatives count, about.
    double negatives_expected();

    // What is chosen for the anchors of the join.
    Selection choose();

    // Where every negative counts, there may be far more triplets than can be held: counts them
    // only, without a choice.
    std::int64_t count();

private:
    void choose_positives();
    void choose_negatives();
    Choice ask(Join& join, Relation relation, Strategy strategy, std::int64_t k,
               const Range& range) const;
    void choose_semihard_negatives();
    void choose_semihard_positives();
    void fall_back();
    const std::vector<Range>& ranges_of_negatives();
    double share_within_reach();

    std::int64_t ranks() const { return ranks_of(options_, join_.cols().size()); }

    Team& team_;
    Join& join_;
    const MineOptions& options_;
    const Outlook outlook_;
    bool has_positives_ = false;
    std::vector<Range> ranges_;  // of negatives, once they are asked for
    Selection chosen_;
};

}  // namespace tripletmine
