// mine: from options to questions put to a Join, and from its answers to triplets.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "join.hpp"
#include "kernels/dispatch.hpp"

namespace tripletmine {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr Range no_range{infinity, -infinity};

// What is held for the pairs of a block of anchors, where every positive or every negative counts.
constexpr std::int64_t block_bytes = 32 * 1024 * 1024;

// The triplets of the anchors of one join, appended to a result.
class Miner {
public:
    Miner(Team& team, Join& join, const MineOptions& options)
        : team_(team), join_(join), options_(options) {}

    void run(Mined& mined) {
        choose();
        append(mined);
    }
    bool count_first(Mined& mined);

private:
    void choose();
    void choose_positives();
    Choice ask(Join& join, Relation relation, Strategy strategy, std::int64_t k,
               const Range& range) const;
    void choose_semihard_negatives();
    void choose_semihard_positives();
    void fall_back();
    void append(Mined& mined);
    void count_anchors(Report& report) const;

    // Enough ranks for the window, and never more than there are candidates.
    std::int64_t ranks() const {
        const std::int64_t most = join_.cols().size();
        return options_.range_min >= most
                   ? most
                   : std::min(most, options_.range_min + options_.num_negatives);
    }
    std::span<const Candidate> window(std::span<const Candidate> ranked) const {
        if (options_.negative == Strategy::all) return ranked;
        return ranked.subspan(std::min<std::size_t>(ranked.size(), options_.range_min));
    }
    bool falls_back(std::int64_t position, std::int64_t i) const {
        return !fallbacks_.counts.empty() && own_negatives(position, i).empty();
    }
    std::span<const Candidate> own_negatives(std::int64_t position, std::int64_t i) const {
        return negatives_.of(per_pair_ ? positives_.begins[position] + i : position);
    }
    // The negatives of an anchor's i-th positive.
    std::span<const Candidate> negatives(std::int64_t position, std::int64_t i) const {
        return window(falls_back(position, i) ? fallbacks_.of(position)
                                              : own_negatives(position, i));
    }
    bool wanted(double d_ap, double d_an) const;

    Team& team_;
    Join& join_;
    const MineOptions& options_;
    Choice positives_, negatives_;
    bool per_pair_ = false;  // negatives_ has an entry for each pair, not for each anchor
    Choice fallbacks_;       // by anchor; empty unless some anchor needs one
};

Choice Miner::ask(Join& join, Relation relation, Strategy strategy, std::int64_t k,
                  const Range& range) const {
    if (strategy == Strategy::random) return join.draw(relation, k, range, options_.seed);
    // "Hard" is the farthest positive and the nearest negative; "easy" the other way round.
    const bool far = (strategy == Strategy::hard) == (relation == Relation::positives);
    const bool any = range.low == -infinity && range.high == infinity;
    std::vector<Range> ranges(any ? 0 : static_cast<std::size_t>(join.rows().size()), range);
    return join.rank(relation, far ? Sign::farthest : Sign::nearest, k, std::move(ranges));
}

void Miner::choose_positives() {
    if (options_.positive == Strategy::all) {
        positives_ = join_.list_positives(options_.positive_range);
    } else if (options_.positive != Strategy::semihard) {
        positives_ = ask(join_, Relation::positives, options_.positive, 1, options_.positive_range);
    }
}

void Miner::choose() {
    choose_positives();
    per_pair_ = options_.positive == Strategy::all &&
                (options_.negative == Strategy::semihard || options_.negative == Strategy::random);
    if (options_.negative == Strategy::semihard) {
        choose_semihard_negatives();
    } else if (options_.negative == Strategy::all) {
        negatives_ = join_.list_negatives(options_.negative_range);
    } else if (per_pair_) {
        negatives_ = join_.draw(Relation::negatives, ranks(), options_.negative_range,
                                options_.seed, &positives_);
    } else {
        negatives_ =
            ask(join_, Relation::negatives, options_.negative, ranks(), options_.negative_range);
    }
    if (options_.positive == Strategy::semihard) choose_semihard_positives();
}

// Semi-hard: the nearest negatives strictly farther than the positive.
void Miner::choose_semihard_negatives() {
    if (per_pair_) {
        negatives_ = join_.succeed(positives_, ranks(), options_.negative_range);
    } else {
        std::vector<Range> ranges(static_cast<std::size_t>(join_.rows().size()), no_range);
        for (std::int64_t p = 0; p < join_.rows().size(); ++p) {
            if (positives_.of(p).empty()) continue;
            const double above = std::nextafter(positives_.of(p)[0].distance, infinity);
            ranges[p] = {std::max(above, options_.negative_range.low),
                         options_.negative_range.high};
        }
        negatives_ = join_.rank(Relation::negatives, Sign::nearest, ranks(), std::move(ranges));
    }
    if (options_.fallback != Fallback::drop) fall_back();
}

// Positives without any semi-hard negative take the anchor's farthest (easy) or nearest (hard)
// ones.
void Miner::fall_back() {
    std::vector<std::int64_t> rows, positions;
    for (std::int64_t p = 0; p < join_.rows().size(); ++p) {
        const auto count = static_cast<std::int64_t>(positives_.of(p).size());
        bool needed = false;
        for (std::int64_t i = 0; i < count; ++i) needed = needed || own_negatives(p, i).empty();
        if (!needed) continue;
        positions.push_back(p);
        rows.push_back(join_.rows().row(p));
    }
    if (rows.empty()) return;
    // Positions are in class order, and so are those of the narrowed join: entry i is positions[i].
    Join narrowed = join_.narrowed(rows);
    const Strategy strategy = options_.fallback == Fallback::easy ? Strategy::easy : Strategy::hard;
    fallbacks_ = ask(narrowed, Relation::negatives, strategy, ranks(), options_.negative_range);
    join_.include(narrowed);
    std::vector<std::int64_t> begins(static_cast<std::size_t>(join_.rows().size()));
    std::vector<std::int64_t> counts(begins.size());
    for (std::size_t i = 0; i < positions.size(); ++i) {
        begins[static_cast<std::size_t>(positions[i])] = fallbacks_.begins[i];
        counts[static_cast<std::size_t>(positions[i])] = fallbacks_.counts[i];
    }
    fallbacks_.begins = std::move(begins);
    fallbacks_.counts = std::move(counts);
}

// Semi-hard positives: the farthest one strictly nearer than every chosen negative.
void Miner::choose_semihard_positives() {
    std::vector<Range> ranges(static_cast<std::size_t>(join_.rows().size()), no_range);
    for (std::int64_t p = 0; p < join_.rows().size(); ++p) {
        const auto chosen = window(negatives_.of(p));
        if (chosen.empty()) continue;
        const double nearest = std::min(chosen.front().distance, chosen.back().distance);
        const double below = std::nextafter(nearest, -infinity);
        ranges[p] = {options_.positive_range.low, std::min(below, options_.positive_range.high)};
    }
    positives_ = join_.rank(Relation::positives, Sign::farthest, 1, std::move(ranges));
}

bool Miner::wanted(double d_ap, double d_an) const {
    const double t = d_an - d_ap;
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

// Appends the triplets, anchors ascending: counted first, then written to their places. Once there
// are more than max_triplets in all they are only counted.
void Miner::append(Mined& mined) {
    const Dataset& anchors = join_.rows();
    count_anchors(mined.report);
    const auto visit = [&](std::int64_t p, auto emit) {
        const auto positives = positives_.of(p);
        for (std::size_t i = 0; i < positives.size(); ++i) {
            const auto number = static_cast<std::int64_t>(i);
            for (const Candidate& negative : negatives(p, number)) {
                if (wanted(positives[i].distance, negative.distance)) {
                    emit(number, positives[i], negative);
                }
            }
        }
    };
    std::vector<std::int64_t> places(static_cast<std::size_t>(anchors.size()));
    team_.for_each(anchors.size(), [&](std::int64_t p, int worker) {
        team_.poll(worker);
        std::int64_t count = 0;
        visit(p, [&](std::int64_t, const Candidate&, const Candidate&) { ++count; });
        places[static_cast<std::size_t>(p)] = count;
    });
    std::vector<std::int64_t> by_row(places.size());
    std::iota(by_row.begin(), by_row.end(), std::int64_t{0});
    std::sort(by_row.begin(), by_row.end(),
              [&](std::int64_t a, std::int64_t b) { return anchors.row(a) < anchors.row(b); });
    for (const std::int64_t p : by_row) {
        mined.count += std::exchange(places[static_cast<std::size_t>(p)], mined.count);
    }
    if (mined.count > options_.max_triplets) {
        mined.clear();
        return;
    }
    mined.resize(mined.count);
    team_.for_each(anchors.size(), [&](std::int64_t p, int worker) {
        team_.poll(worker);
        auto place = static_cast<std::size_t>(places[static_cast<std::size_t>(p)]);
        visit(p, [&](std::int64_t i, const Candidate& positive, const Candidate& negative) {
            mined.anchors[place] = anchors.row(p);
            mined.positives[place] = positive.row;
            mined.negatives[place] = negative.row;
            mined.d_ap[place] = positive.distance;
            mined.d_an[place] = negative.distance;
            mined.fell_back[place] = falls_back(p, i);
            ++place;
        });
    });
}

void Miner::count_anchors(Report& report) const {
    const bool of_anchor = !per_pair_ && options_.negative != Strategy::semihard;
    for (std::int64_t p = 0; p < join_.rows().size(); ++p) {
        const auto count = static_cast<std::int64_t>(positives_.of(p).size());
        bool with_negative = of_anchor && !window(negatives_.of(p)).empty();
        for (std::int64_t i = 0; i < count; ++i) {
            const bool found = !negatives(p, i).empty();
            with_negative = with_negative || found;
            report.fell_back += found && falls_back(p, i);
        }
        report.anchors_without_positive += count == 0;
        report.anchors_without_negative += !with_negative;
    }
    report.anchors += join_.rows().size();
}

// Where every negative counts, there may be far more triplets than can be held: counts them first.
// Returns whether there are at most max_triplets.
bool Miner::count_first(Mined& mined) {
    choose_positives();
    const Range& range = options_.negative_range;
    const double below_range = std::nextafter(range.low, -infinity);
    // t <= 0 and t <= margin, each as a distance, and what lies below the range, to be taken off.
    const auto hard_reach = [&](double d_ap) { return std::min(d_ap, range.high); };
    const auto loss_reach = [&](double d_ap) {
        return std::min(options_.margin ? reach(d_ap, *options_.margin) : infinity, range.high);
    };
    std::atomic<std::int64_t> total = 0;
    join_.count_negatives(
        [&](std::int64_t p) {
            std::vector<double> thresholds{below_range, range.high};
            for (const Candidate& positive : positives_.of(p)) {
                thresholds.push_back(hard_reach(positive.distance));
                thresholds.push_back(loss_reach(positive.distance));
            }
            return thresholds;
        },
        [&](std::int64_t p, const Counts& counts) {
            const std::int64_t below = counts.within(below_range).count;
            const auto within = [&](double distance) {
                return std::max<std::int64_t>(0, counts.within(distance).count - below);
            };
            for (const Candidate& positive : positives_.of(p)) {
                const std::int64_t hard = within(hard_reach(positive.distance));
                const std::int64_t with_loss = within(loss_reach(positive.distance));
                switch (options_.type) {
                    case TripletType::all:
                        total += with_loss;
                        break;
                    case TripletType::hard:
                        total += hard;
                        break;
                    case TripletType::semihard:
                        total += with_loss - hard;
                        break;
                    case TripletType::easy:
                        total += within(range.high) - with_loss;
                        break;
                }
            }
        });
    mined.count += total;
    return mined.count <= options_.max_triplets;
}

// With every negative: the triplets that the labels alone allow, at most. Otherwise 0, not asked.
double most_triplets(const Join& join, const MineOptions& options) {
    if (options.negative != Strategy::all) return 0.0;
    double most = 0.0;
    for (std::int64_t p = 0; p < join.rows().size(); ++p) {
        const auto same = static_cast<double>(join.cols().class_of(join.rows().label(p)).size());
        const double positives = options.positive == Strategy::all ? same : 1.0;
        most += positives * (static_cast<double>(join.cols().size()) - same);
    }
    return most;
}

}  // namespace

void Mined::resize(std::int64_t triplets) {
    const auto size = static_cast<std::size_t>(triplets);
    for (auto* indices : {&anchors, &positives, &negatives}) indices->resize(size);
    for (auto* distances : {&d_ap, &d_an}) distances->resize(size);
    fell_back.resize(size);
}

void Mined::clear() {
    anchors = positives = negatives = {};
    d_ap = d_an = {};
    fell_back = {};
}

Mined mine(const Population& embeddings, const std::optional<Population>& references,
           const std::optional<std::span<const std::int64_t>>& anchors, const MineOptions& options,
           const Execution& execution) {
    const KernelSet& kernels = choose_kernels(execution.instruction_set);
    Mined mined;
    run_team(threads_for(execution, embeddings, references), execution.monitor, [&](Team& team) {
        const Stopwatch stopwatch;
        Join join(team, kernels, embeddings, references, anchors, options.metric,
                  execution.packing_budget);
        if (options.positive != Strategy::all && options.negative != Strategy::all) {
            Miner(team, join, options).run(mined);
        } else {
            const auto in_blocks = [&](auto load, auto work) {
                for (const std::vector<std::int64_t>& block : join.blocks(load)) {
                    Join narrowed = join.narrowed(block);
                    Miner miner(team, narrowed, options);
                    work(miner);
                    join.include(narrowed);
                }
            };
            const auto cols = static_cast<double>(join.cols().size());
            const double of_pair =
                48.0 + 16.0 * std::min(static_cast<double>(options.num_negatives), cols);
            const auto of_pairs = [&](std::int64_t positives) {
                return static_cast<double>(positives) * of_pair / block_bytes;
            };
            bool fits = true;
            if (most_triplets(join, options) > static_cast<double>(options.max_triplets)) {
                in_blocks(of_pairs, [&](Miner& miner) { fits = miner.count_first(mined); });
                if (fits) mined.count = 0;
            }
            if (fits) {
                const double of_anchor =
                    options.negative == Strategy::all ? 24.0 * cols / block_bytes : 0.0;
                in_blocks([&](std::int64_t positives) { return of_pairs(positives) + of_anchor; },
                          [&](Miner& miner) { miner.run(mined); });
            }
        }
        join.describe(mined.report, stopwatch);
    });
    return mined;
}

}  // namespace tripletmine
