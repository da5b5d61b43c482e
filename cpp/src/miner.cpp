#include "miner.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

namespace tripletmine {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr Range no_range{infinity, -infinity};

// "Hard" is the farthest positive and the nearest negative; "easy" the other way round.
Sign sign_of(Relation relation, Strategy strategy) {
    const bool far = (strategy == Strategy::hard) == (relation == Relation::positives);
    return far ? Sign::farthest : Sign::nearest;
}

bool is_any(const Range& range) { return range.low == -infinity && range.high == infinity; }

// Whether what is chosen are the first positive and the first negatives, whatever the others are.
bool chooses_firsts(const MineOptions& options) {
    const auto first = [](Strategy strategy, const Range& range) {
        return (strategy == Strategy::easy || strategy == Strategy::hard) && is_any(range);
    };
    return first(options.positive, options.positive_range) &&
           first(options.negative, options.negative_range);
}

// Whether all negatives are asked for, but only those count that lie at some distances from the
// positives.
bool depends_on_positives(const MineOptions& options) {
    const bool any_makes_one = options.type == TripletType::all && !options.margin;
    return options.negative == Strategy::all && options.positive != Strategy::semihard &&
           is_any(options.negative_range) && !any_makes_one;
}

}  // namespace

bool chooses_per_pair(const MineOptions& options) {
    return options.positive == Strategy::all &&
           (options.negative == Strategy::semihard || options.negative == Strategy::random);
}

std::int64_t ranks_of(const MineOptions& options, std::int64_t candidates) {
    return options.range_min >= candidates
               ? candidates
               : std::min(candidates, options.range_min + options.num_negatives);
}

Choice Miner::ask(Join& join, Relation relation, Strategy strategy, std::int64_t k,
                  const Range& range) const {
    if (strategy == Strategy::random) return join.draw(relation, k, range, options_.seed);
    std::vector<Range> ranges(is_any(range) ? 0 : static_cast<std::size_t>(join.rows().size()),
                              range);
    return join.rank(relation, sign_of(relation, strategy), k, std::move(ranges));
}

void Miner::choose_positives() {
    if (std::exchange(has_positives_, true)) return;
    if (options_.positive == Strategy::all) {
        chosen_.positives = join_.list_positives(options_.positive_range);
    } else if (options_.positive != Strategy::semihard) {
        chosen_.positives =
            ask(join_, Relation::positives, options_.positive, 1, options_.positive_range);
    }
}

Selection Miner::choose() {
    if (chooses_firsts(options_)) {
        std::tie(chosen_.positives, chosen_.negatives) =
            join_.first(sign_of(Relation::positives, options_.positive),
                        sign_of(Relation::negatives, options_.negative), ranks());
        chosen_.number(team_, join_.rows());
        return std::move(chosen_);
    }
    chosen_.per_pair = chooses_per_pair(options_);
    if (options_.negative == Strategy::semihard || chosen_.per_pair ||
        depends_on_positives(options_)) {
        choose_positives();
        choose_negatives();
    } else {
        choose_negatives();  // the greater work: what it packs serves the positives too
        choose_positives();
    }
    if (options_.positive == Strategy::semihard) choose_semihard_positives();
    chosen_.number(team_, join_.rows());
    return std::move(chosen_);
}

void Miner::choose_negatives() {
    if (options_.negative == Strategy::semihard) {
        choose_semihard_negatives();
    } else if (options_.negative == Strategy::all) {
        if (depends_on_positives(options_)) chosen_.negatives_in_all = join_.negatives_in_all();
        const double all = static_cast<double>(join_.rows().size() * join_.cols().size());
        chosen_.negatives =
            join_.list_negatives(ranges_of_negatives(), negatives_expected() / std::max(1.0, all));
    } else if (chosen_.per_pair) {
        chosen_.negatives = join_.draw(Relation::negatives, ranks(), options_.negative_range,
                                       options_.seed, &chosen_.positives);
    } else {
        chosen_.negatives =
            ask(join_, Relation::negatives, options_.negative, ranks(), options_.negative_range);
    }
}

// Where all those negatives of each anchor lie that may count.
const std::vector<Range>& Miner::ranges_of_negatives() {
    if (!ranges_.empty()) return ranges_;
    const bool depends = depends_on_positives(options_);
    if (depends) choose_positives();
    ranges_.assign(static_cast<std::size_t>(join_.rows().size()),
                   depends ? no_range : options_.negative_range);
    constexpr std::int64_t at_once = 64;
    team_.for_each((join_.rows().size() + at_once - 1) / at_once, [&](std::int64_t task, int id) {
        const std::int64_t end = std::min(join_.rows().size(), (task + 1) * at_once);
        for (std::int64_t p = task * at_once; depends && p < end; ++p) {
            team_.poll(id);
            Range& range = ranges_[static_cast<std::size_t>(p)];
            for (const Candidate& positive : chosen_.positives.of(p)) {
                const Range wanted = wanted_range(options_, positive.distance);
                range = {std::min(range.low, wanted.low), std::max(range.high, wanted.high)};
            }
        }
    });
    return ranges_;
}

double Miner::negatives_expected() {
    double shares = 0.0;
    for (const Range& range : ranges_of_negatives()) shares += outlook_.share(range);
    return shares * static_cast<double>(join_.cols().size());
}

Outlook Miner::look_ahead() {
    choose_positives();
    const std::vector<Range>& ranges = ranges_of_negatives();
    const std::vector<std::vector<double>> distances = join_.some_negatives();
    Outlook all{0.0, 0.0, {}};
    double pairs = 0.0;
    for (std::int64_t p = 0; p < join_.rows().size(); ++p) {
        const std::vector<double>& own = distances[static_cast<std::size_t>(p)];
        std::vector<double> lows, highs;  // of what is wanted with each positive
        for (const Candidate& positive : chosen_.positives.of(p)) {
            const Range wanted = wanted_range(options_, positive.distance);
            lows.push_back(wanted.low);
            highs.push_back(wanted.high);
        }
        std::sort(lows.begin(), lows.end());
        std::sort(highs.begin(), highs.end());
        for (const double distance : own) {
            all.negatives += ranges[static_cast<std::size_t>(p)].holds(distance) ? 1.0 : 0.0;
            const auto begun = std::upper_bound(lows.begin(), lows.end(), distance) - lows.begin();
            const auto ended =
                std::lower_bound(highs.begin(), highs.end(), distance) - highs.begin();
            all.triplets += static_cast<double>(begun - ended);
        }
        all.distances.insert(all.distances.end(), own.begin(), own.end());
        pairs += static_cast<double>(own.size() * chosen_.positives.of(p).size());
    }
    if (all.distances.empty()) return {};
    all.negatives /= static_cast<double>(all.distances.size());
    all.triplets = pairs > 0.0 ? all.triplets / pairs : all.negatives;
    std::sort(all.distances.begin(), all.distances.end());
    return all;
}

// Semi-hard: the nearest negatives strictly farther than the positive.
void Miner::choose_semihard_negatives() {
    if (chosen_.per_pair) {
        chosen_.negatives = join_.succeed(chosen_.positives, ranks(), options_.negative_range);
    } else {
        std::vector<Range> ranges(static_cast<std::size_t>(join_.rows().size()), no_range);
        for (std::int64_t p = 0; p < join_.rows().size(); ++p) {
            if (chosen_.positives.of(p).empty()) continue;
            const double above = std::nextafter(chosen_.positives.of(p)[0].distance, infinity);
            ranges[p] = {std::max(above, options_.negative_range.low),
                         options_.negative_range.high};
        }
        chosen_.negatives =
            join_.rank(Relation::negatives, Sign::nearest, ranks(), std::move(ranges));
    }
    if (options_.fallback != Fallback::drop) fall_back();
}

// Positives without any semi-hard negative take the anchor's farthest (easy) or nearest (hard)
// ones.
void Miner::fall_back() {
    std::vector<std::int64_t> rows, positions;
    for (std::int64_t p = 0; p < join_.rows().size(); ++p) {
        const auto count = static_cast<std::int64_t>(chosen_.positives.of(p).size());
        bool needed = false;
        for (std::int64_t i = 0; i < count; ++i)
            needed = needed || chosen_.own_negatives(p, i).empty();
        if (!needed) continue;
        positions.push_back(p);
        rows.push_back(join_.rows().row(p));
    }
    if (rows.empty()) return;
    // Positions are in class order, and so are those of the narrowed join: entry i is positions[i].
    Join narrowed = join_.narrowed(rows);
    const Strategy strategy = options_.fallback == Fallback::easy ? Strategy::easy : Strategy::hard;
    chosen_.fallbacks =
        ask(narrowed, Relation::negatives, strategy, ranks(), options_.negative_range);
    join_.include(narrowed);
    std::vector<std::int64_t> begins(static_cast<std::size_t>(join_.rows().size()));
    std::vector<std::uint32_t> counts(begins.size());
    for (std::size_t i = 0; i < positions.size(); ++i) {
        begins[static_cast<std::size_t>(positions[i])] =
            chosen_.fallbacks.begin_of(static_cast<std::int64_t>(i));
        counts[static_cast<std::size_t>(positions[i])] = chosen_.fallbacks.counts[i];
    }
    chosen_.fallbacks.begins = std::move(begins);
    chosen_.fallbacks.counts = std::move(counts);
}

// Semi-hard positives: the farthest one strictly nearer than every chosen negative.
void Miner::choose_semihard_positives() {
    std::vector<Range> ranges(static_cast<std::size_t>(join_.rows().size()), no_range);
    for (std::int64_t p = 0; p < join_.rows().size(); ++p) {
        const auto chosen = chosen_.window(chosen_.negatives.of(p));
        if (chosen.empty()) continue;
        const double nearest = std::min(chosen.front().distance, chosen.back().distance);
        const double below = std::nextafter(nearest, -infinity);
        ranges[p] = {options_.positive_range.low, std::min(below, options_.positive_range.high)};
    }
    chosen_.positives = join_.rank(Relation::positives, Sign::farthest, 1, std::move(ranges));
}

// Of the negatives, about: those no farther than all that count.
double Miner::share_within_reach() {
    double shares = 0.0;
    for (const Range& range : ranges_of_negatives()) {
        shares += outlook_.share({-infinity, range.high});
    }
    return shares / static_cast<double>(std::max<std::int64_t>(1, join_.rows().size()));
}

std::int64_t Miner::count() {
    choose_positives();
    // Of the negatives that make a triplet with a positive: the last distance before them, and
    // theirs.
    const auto limits = [&](double d_ap) -> std::pair<double, double> {
        const Range wanted = wanted_range(options_, d_ap), &allowed = options_.negative_range;
        return {std::nextafter(std::max(wanted.low, allowed.low), -infinity),
                std::min(wanted.high, allowed.high)};
    };
    std::atomic<std::int64_t> total = 0;
    join_.count_negatives(
        [&](std::int64_t p) {
            std::vector<double> thresholds;
            for (const Candidate& positive : chosen_.positives.of(p)) {
                const auto [before, last] = limits(positive.distance);
                thresholds.push_back(before);
                thresholds.push_back(last);
            }
            return thresholds;
        },
        [&](std::int64_t p, const Counts& counts) {
            for (const Candidate& positive : chosen_.positives.of(p)) {
                const auto [before, last] = limits(positive.distance);
                total += std::max<std::int64_t>(
                    0, counts.within(last).count - counts.within(before).count);
            }
        },
        {}, share_within_reach(), false);
    return total;
}

Outlook look_ahead(Team& team, Join& join, const MineOptions& options) {
    constexpr std::int64_t rows_asked = 32;
    constexpr double few_pairs = 1 << 17;  // of which all distances take no longer
    const double pairs =
        static_cast<double>(join.rows().size()) * static_cast<double>(join.cols().size());
    const bool any = is_any(options.negative_range) && !depends_on_positives(options);
    if (options.negative != Strategy::all || any || pairs <= few_pairs) return {};
    Join some = join.some_rows(rows_asked);
    const Outlook outlook = Miner(team, some, options).look_ahead();
    join.include(some);
    return outlook;
}

}  // namespace tripletmine
