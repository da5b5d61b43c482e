#include "selection.hpp"

#include <algorithm>
#include <numeric>

namespace tripletmine {
namespace {

// Enough for a task, whether a pair has one negative or thousands.
constexpr std::int64_t least_pairs = 64, negatives_per_task = 1024;
constexpr std::size_t negatives_between_polls = 4096;

}  // namespace

std::span<const Candidate> Selection::window(std::span<const Candidate> ranked) const {
    if (options_.negative == Strategy::all) return ranked;
    return ranked.subspan(std::min<std::size_t>(ranked.size(), options_.range_min));
}

bool Selection::wanted(const Pair& pair, const Candidate& negative) const {
    const double t = negative.distance - pair.positive.distance;
    switch (options_.type) {
        case TripletType::hard:
            return t <= 0.0;
        case TripletType::semihard:
            return t > 0.0 && t <= *options_.margin;
        case TripletType::easy:
            return t > *options_.margin;
        case TripletType::all:
            break;
    }
    return !options_.margin || t <= *options_.margin;
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
            visit(Pair{number, rows_[place], positives.of(position)[i], chosen,
                       falls_back(position, i)});
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
        const auto kept = [&](const Candidate& negative) { return wanted(pair, negative); };
        ends_[static_cast<std::size_t>(pair.number)] =
            keeps_all() ? static_cast<std::int64_t>(pair.negatives.size())
                        : std::count_if(pair.negatives.begin(), pair.negatives.end(), kept);
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
            if (!wanted(pair, negative)) continue;
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
        bool with_negative = of_anchor && !window(negatives.of(position)).empty();
        for (std::int64_t i = 0; i < count; ++i) {
            const bool found = !negatives_of(position, i).empty();
            with_negative = with_negative || found;
            report.fell_back += found && falls_back(position, i);
        }
        report.anchors_without_positive += count == 0;
        report.anchors_without_negative += !with_negative;
    }
    report.anchors += anchors.size();
}

}  // namespace tripletmine
