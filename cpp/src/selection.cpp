#include "selection.hpp"

#include <algorithm>
#include <numeric>

#include "metric.hpp"

namespace tripletmine {
namespace {

// Enough for a task, whether a pair has one negative or thousands.
constexpr std::int64_t least_pairs = 64, negatives_per_task = 1024;
constexpr std::size_t negatives_between_polls = 4096;

}  // namespace

// As fl(d_an - d_ap) rises with d_an, whatever is asked of it is asked of that.
Range wanted_range(const MineOptions& options, double d_ap) {
    const double last = options.margin ? reach(d_ap, *options.margin) : Range{}.high;
    switch (options.type) {
        case TripletType::hard:
            return {Range{}.low, d_ap};
        case TripletType::semihard:
            return {next_above(d_ap), last};
        case TripletType::easy:
            return {next_above(last), Range{}.high};
        case TripletType::all:
            break;
    }
    return {Range{}.low, last};
}

std::span<const Candidate> Selection::window(std::span<const Candidate> ranked) const {
    if (options_.negative == Strategy::all) return ranked;
    return ranked.subspan(std::min<std::size_t>(ranked.size(), options_.range_min));
}

template <typename Visit>
void Selection::for_pairs(Team& team, const Interval& numbers, Visit visit) const {
    const std::int64_t pairs_per_task =
        std::max(least_pairs, negatives_per_task / (1 + negatives.room()));
    const std::int64_t tasks = (numbers.size() + pairs_per_task - 1) / pairs_per_task;
    team.for_each(tasks, [&](std::int64_t task, int worker) {
        const std::int64_t begin = numbers.begin + task * pairs_per_task;
        const std::int64_t end = std::min(numbers.end, begin + pairs_per_task);
        auto first = std::upper_bound(first_pairs_.begin(), first_pairs_.end(), begin) - 1;
        for (std::int64_t number = begin; number < end; ++number) {
            while (number == first[1]) ++first;
            const auto place = static_cast<std::size_t>(first - first_pairs_.begin());
            const std::int64_t position = order_[place], i = number - *first;
            const auto chosen = negatives_of(position, i);
            if (chosen.size() >= negatives_between_polls) team.poll(worker);
            const Candidate& positive = positives.of(position)[i];
            visit(Pair{number, rows_[place], positive, chosen,
                       wanted_range(options_, positive.distance), falls_back(position, i)});
        }
    });
}

void Selection::number(Team& team, const Dataset& anchors) {
    order_.resize(static_cast<std::size_t>(anchors.size()));
    if (anchors.whole()) {
        for (std::int64_t p = 0; p < anchors.size(); ++p) order_[anchors.row(p)] = p;
    } else {
        std::iota(order_.begin(), order_.end(), std::int64_t{0});
        std::sort(order_.begin(), order_.end(),
                  [&](std::int64_t a, std::int64_t b) { return anchors.row(a) < anchors.row(b); });
    }
    std::int64_t pairs = 0;
    for (const std::int64_t position : order_) {
        rows_.push_back(anchors.row(position));
        first_pairs_.push_back(pairs);
        pairs += positives.counts[static_cast<std::size_t>(position)];
    }
    first_pairs_.push_back(pairs);
    ends_.resize(static_cast<std::size_t>(pairs));
    for_pairs(team, {0, pairs}, [&](const Pair& pair) {
        const auto [low, high] = pair.wanted;
        std::int64_t kept = 0;
        if (low == Range{}.low && high == Range{}.high) {
            kept = std::ssize(pair.negatives);
        } else {
            for (const Candidate& negative : pair.negatives) {  // without branches
                kept += (negative.distance >= low) & (negative.distance <= high);
            }
        }
        ends_[static_cast<std::size_t>(pair.number)] = kept;
    });
    std::partial_sum(ends_.begin(), ends_.end(), ends_.begin());
}

std::int64_t Selection::anchors_within(std::int64_t listed) const {
    const auto more = std::upper_bound(ends_.begin(), ends_.end(), listed) - ends_.begin();
    if (more == static_cast<std::ptrdiff_t>(ends_.size())) return anchors();
    return std::upper_bound(first_pairs_.begin(), first_pairs_.end(), more) - first_pairs_.begin() -
           1;
}

void Selection::list(Team& team, const Interval& numbers, Mined& mined) const {
    if (numbers.size() == 0) return;
    const auto before = static_cast<std::int64_t>(mined.anchors.size());
    mined.resize(before + numbers.size());
    const auto pair_of = [&](std::int64_t triplet) {
        return std::upper_bound(ends_.begin(), ends_.end(), triplet) - ends_.begin();
    };
    for_pairs(team, {pair_of(numbers.begin), pair_of(numbers.end - 1) + 1}, [&](const Pair& pair) {
        std::int64_t triplet =
            pair.number == 0 ? 0 : ends_[static_cast<std::size_t>(pair.number - 1)];
        for (const Candidate& negative : pair.negatives) {
            if (!pair.wanted.holds(negative.distance)) continue;
            const std::int64_t number = triplet++;
            if (number < numbers.begin) continue;
            if (number >= numbers.end) break;
            const auto place = static_cast<std::size_t>(before + number - numbers.begin);
            mined.anchors[place] = pair.anchor;
            mined.positives[place] = pair.positive.row;
            mined.negatives[place] = negative.row;
            mined.d_ap[place] = pair.positive.distance;
            mined.d_an[place] = negative.distance;
            mined.fell_back[place] = pair.fell_back;
        }
    });
}

void Selection::report(const Interval& anchors, Report& report) const {
    const bool of_anchor = !per_pair && options_.negative != Strategy::semihard;
    for (std::int64_t place = anchors.begin; place < anchors.end; ++place) {
        const std::int64_t position = order_[static_cast<std::size_t>(place)];
        const auto count = static_cast<std::int64_t>(positives.of(position).size());
        bool found_any = of_anchor && !window(negatives.of(position)).empty();
        if (!negatives_in_all.empty()) {
            found_any = negatives_in_all[static_cast<std::size_t>(position)] > 0;
        }
        for (std::int64_t i = 0; i < count; ++i) {
            const bool found = !negatives_of(position, i).empty();
            found_any = found_any || found;
            report.fell_back += found && falls_back(position, i);
        }
        report.anchors_without_positive += count == 0;
        report.anchors_without_negative += !found_any;
    }
    report.anchors += anchors.size();
}

}  // namespace tripletmine
