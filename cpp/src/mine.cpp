// mine and nearest: from options to questions put to a Join, and from its answers to results.
#include <algorithm>
#include <cmath>

#include "join.hpp"
#include "kernels/dispatch.hpp"

namespace tripletmine {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr Range no_range{infinity, -infinity};

class Miner {
public:
    Miner(Join& join, const MineOptions& options) : join_(join), options_(options) {}

    void choose();
    Mined triplets() const;

private:
    Choice ask(Join& join, Relation relation, Strategy strategy, std::int64_t k,
               const Range& range) const;
    void choose_semihard_negatives();
    void choose_semihard_positives();
    void fall_back();

    // Enough ranks for the window, and never more than there are candidates.
    std::int64_t ranks() const {
        const std::int64_t most = join_.cols().size();
        return options_.range_min >= most
                   ? most
                   : std::min(most, options_.range_min + options_.num_negatives);
    }
    std::span<const Candidate> window(std::int64_t position) const {
        const auto all = negatives_.of(position);
        return all.subspan(std::min<std::size_t>(all.size(), options_.range_min));
    }
    bool wanted(double d_ap, double d_an) const;

    Join& join_;
    const MineOptions& options_;
    Choice positives_, negatives_;
    std::vector<std::uint8_t> fell_back_;  // by position
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

void Miner::choose() {
    fell_back_.assign(static_cast<std::size_t>(join_.rows().size()), 0);
    if (options_.positive != Strategy::semihard) {
        positives_ = ask(join_, Relation::positives, options_.positive, 1, options_.positive_range);
    }
    if (options_.negative == Strategy::semihard) {
        choose_semihard_negatives();
    } else {
        negatives_ =
            ask(join_, Relation::negatives, options_.negative, ranks(), options_.negative_range);
    }
    if (options_.positive == Strategy::semihard) choose_semihard_positives();
}

// Semi-hard: the nearest negatives strictly farther than the positive.
void Miner::choose_semihard_negatives() {
    std::vector<Range> ranges(static_cast<std::size_t>(join_.rows().size()), no_range);
    for (std::int64_t p = 0; p < join_.rows().size(); ++p) {
        if (positives_.of(p).empty()) continue;
        const double above = std::nextafter(positives_.of(p)[0].distance, infinity);
        ranges[p] = {std::max(above, options_.negative_range.low), options_.negative_range.high};
    }
    negatives_ = join_.rank(Relation::negatives, Sign::nearest, ranks(), std::move(ranges));
    if (options_.fallback != Fallback::drop) fall_back();
}

// Anchors without any semi-hard negative take the farthest (easy) or the nearest (hard) ones.
void Miner::fall_back() {
    std::vector<std::int64_t> rows, positions;
    for (std::int64_t p = 0; p < join_.rows().size(); ++p) {
        if (positives_.of(p).empty() || !negatives_.of(p).empty()) continue;
        positions.push_back(p);
        rows.push_back(join_.rows().row(p));
    }
    if (rows.empty()) return;
    // Positions are in class order, and so are those of the narrowed join: entry i is positions[i].
    Join narrowed = join_.narrowed(rows);
    const Strategy strategy = options_.fallback == Fallback::easy ? Strategy::easy : Strategy::hard;
    const Choice choice =
        ask(narrowed, Relation::negatives, strategy, ranks(), options_.negative_range);
    join_.include(narrowed);
    for (std::size_t i = 0; i < positions.size(); ++i) {
        const auto chosen = choice.of(static_cast<std::int64_t>(i));
        const std::int64_t p = positions[i];
        std::copy(chosen.begin(), chosen.end(),
                  negatives_.candidates.begin() + p * negatives_.capacity);
        negatives_.counts[p] = static_cast<std::int64_t>(chosen.size());
        fell_back_[p] = !window(p).empty();
    }
}

// Semi-hard positives: the farthest one strictly nearer than every chosen negative.
void Miner::choose_semihard_positives() {
    std::vector<Range> ranges(static_cast<std::size_t>(join_.rows().size()), no_range);
    for (std::int64_t p = 0; p < join_.rows().size(); ++p) {
        if (window(p).empty()) continue;
        const double nearest = std::min(window(p).front().distance, window(p).back().distance);
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

Mined Miner::triplets() const {
    const Dataset& anchors = join_.rows();
    std::vector<std::int64_t> by_row(static_cast<std::size_t>(anchors.size()));
    for (std::int64_t p = 0; p < anchors.size(); ++p) by_row[p] = p;
    std::sort(by_row.begin(), by_row.end(),
              [&](std::int64_t a, std::int64_t b) { return anchors.row(a) < anchors.row(b); });

    Mined mined;
    const auto visit = [&](auto emit) {
        for (const std::int64_t p : by_row) {
            if (positives_.of(p).empty()) continue;
            const Candidate& positive = positives_.of(p)[0];
            for (const Candidate& negative : window(p)) {
                if (wanted(positive.distance, negative.distance)) emit(p, positive, negative);
            }
        }
    };
    visit([&](std::int64_t, const Candidate&, const Candidate&) { ++mined.count; });

    Report& report = mined.report;
    report.anchors = anchors.size();
    for (const std::int64_t p : by_row) {
        report.anchors_without_positive += positives_.of(p).empty();
        report.anchors_without_negative += window(p).empty();
        report.fell_back += fell_back_[p];
    }
    if (mined.count > options_.max_triplets) return mined;

    const auto count = static_cast<std::size_t>(mined.count);
    mined.anchors.reserve(count);
    mined.positives.reserve(count);
    mined.negatives.reserve(count);
    mined.d_ap.reserve(count);
    mined.d_an.reserve(count);
    mined.fell_back.reserve(count);
    visit([&](std::int64_t p, const Candidate& positive, const Candidate& negative) {
        mined.anchors.push_back(anchors.row(p));
        mined.positives.push_back(positive.row);
        mined.negatives.push_back(negative.row);
        mined.d_ap.push_back(positive.distance);
        mined.d_an.push_back(negative.distance);
        mined.fell_back.push_back(fell_back_[p]);
    });
    return mined;
}

}  // namespace

Mined mine(const Population& embeddings, const std::optional<Population>& references,
           const std::optional<std::span<const std::int64_t>>& anchors, const MineOptions& options,
           const Execution& execution) {
    const KernelSet& kernels = choose_kernels(execution.instruction_set);
    Mined mined;
    run_team(execution.n_threads, execution.monitor, [&](Team& team) {
        const Stopwatch stopwatch;
        Join join(team, kernels, embeddings, references, anchors, options.metric,
                  execution.packing_budget);
        Miner miner(join, options);
        miner.choose();
        mined = miner.triplets();
        join.describe(mined.report, stopwatch);
    });
    return mined;
}

Neighbours nearest(const Population& rows, const std::optional<Population>& references,
                   std::int64_t k, Metric metric, const Execution& execution) {
    const KernelSet& kernels = choose_kernels(execution.instruction_set);
    Neighbours neighbours;
    run_team(execution.n_threads, execution.monitor, [&](Team& team) {
        const Stopwatch stopwatch;
        std::optional<Population> cols;
        if (references) cols = unlabelled(*references);
        Join join(team, kernels, unlabelled(rows), cols, std::nullopt, metric,
                  execution.packing_budget);
        const Choice choice = join.rank(Relation::any, Sign::nearest, k, {});
        neighbours.indices.reserve(choice.candidates.size());
        neighbours.distances.reserve(choice.candidates.size());
        for (const Candidate& candidate : choice.candidates) {
            neighbours.indices.push_back(candidate.row);
            neighbours.distances.push_back(candidate.distance);
        }
        neighbours.report.anchors = join.rows().size();
        join.describe(neighbours.report, stopwatch);
    });
    return neighbours;
}

}  // namespace tripletmine
