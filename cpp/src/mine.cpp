// mine: from options to questions put to a Join, and from its answers to triplets.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <deque>
#include <iterator>
#include <limits>
#include <tuple>
#include <utility>

#include "join.hpp"
#include "kernels/dispatch.hpp"
#include "selection.hpp"

namespace tripletmine {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr Range no_range{infinity, -infinity};

// What is held of the choices of a batch of anchors: where every positive or every negative counts,
// for each thread, which then finds enough to do; and where none does but mine's result is to come
// in blocks.
constexpr double batch_bytes_of_thread = 12.0 * 1024 * 1024;
constexpr double large_batch_bytes = 512.0 * 1024 * 1024;
constexpr double bytes_of_negative = 32.0;  // while they are listed

bool expands(const MineOptions& options) {
    return options.positive == Strategy::all || options.negative == Strategy::all;
}

// Whether every positive has negatives of its own, not those of its anchor.
bool chooses_per_pair(const MineOptions& options) {
    return options.positive == Strategy::all &&
           (options.negative == Strategy::semihard || options.negative == Strategy::random);
}

// Enough ranks for the window, and never more than there are candidates.
std::int64_t ranks_of(const MineOptions& options, std::int64_t candidates) {
    return options.range_min >= candidates
               ? candidates
               : std::min(candidates, options.range_min + options.num_negatives);
}

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

// What some anchors say of all, about: which part of their negatives counts with any positive,
// which part of all positives with all negatives makes a triplet, and the distances of some
// negatives, ascending.
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

const Outlook everything{};  // nothing is known

// Puts the questions of one call to a join.
class Miner {
public:
    Miner(Team& team, Join& join, const MineOptions& options, const Outlook& outlook = everything)
        : team_(team), join_(join), options_(options), outlook_(outlook), chosen_(options) {}

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

    std::int64_t ranks() const { return ranks_of(options_, join_.cols().size()); }

    Team& team_;
    Join& join_;
    const MineOptions& options_;
    const Outlook& outlook_;
    bool has_positives_ = false;
    std::vector<Range> ranges_;  // of negatives, once they are asked for
    Selection chosen_;
};

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
    constexpr std::int64_t at_once = 64;  // columns, from all over the set
    choose_positives();
    const std::vector<Range>& ranges = ranges_of_negatives();
    const Dataset &rows = join_.rows(), &cols = join_.cols();
    std::vector<Outlook> outlooks(static_cast<std::size_t>(rows.size()), {0.0, 0.0, {}});
    std::vector<ExactDistance> exact(static_cast<std::size_t>(team_.size()),
                                     join_.exact_distance());
    team_.for_each(rows.size(), [&](std::int64_t p, int id) {
        team_.poll(id);
        Outlook& outlook = outlooks[static_cast<std::size_t>(p)];
        std::vector<double> lows, highs;  // of what is wanted with each positive
        for (const Candidate& positive : chosen_.positives.of(p)) {
            const Range wanted = wanted_range(options_, positive.distance);
            lows.push_back(wanted.low);
            highs.push_back(wanted.high);
        }
        std::sort(lows.begin(), lows.end());
        std::sort(highs.begin(), highs.end());
        for (std::int64_t i = 0; i < at_once; ++i) {
            const std::int64_t q = (i * cols.size() + p * cols.size() / rows.size()) / at_once;
            if (rows.label(p) == cols.label(q) || rows.same_group(p, cols, q)) continue;
            const double distance = exact[static_cast<std::size_t>(id)](p, q);
            outlook.distances.push_back(distance);
            outlook.negatives += ranges[static_cast<std::size_t>(p)].holds(distance) ? 1.0 : 0.0;
            const auto begun = std::upper_bound(lows.begin(), lows.end(), distance) - lows.begin();
            const auto ended =
                std::lower_bound(highs.begin(), highs.end(), distance) - highs.begin();
            outlook.triplets += static_cast<double>(begun - ended);
        }
    });
    Outlook all{0.0, 0.0, {}};
    double pairs = 0.0;
    for (std::int64_t p = 0; p < rows.size(); ++p) {
        const Outlook& one = outlooks[static_cast<std::size_t>(p)];
        all.negatives += one.negatives;
        all.triplets += one.triplets;
        all.distances.insert(all.distances.end(), one.distances.begin(), one.distances.end());
        pairs += static_cast<double>(one.distances.size() * chosen_.positives.of(p).size());
    }
    for (const ExactDistance& one : exact) join_.include(one);
    if (all.distances.empty()) return everything;
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
        });
    return total;
}

// Of a call.
Outlook look_ahead(Team& team, Join& join, const MineOptions& options) {
    constexpr std::int64_t rows_asked = 32;
    constexpr double few_pairs = 1 << 17;  // of which all distances take no longer
    const std::int64_t rows = join.rows().size();
    const double pairs = static_cast<double>(rows) * static_cast<double>(join.cols().size());
    const bool any = is_any(options.negative_range) && !depends_on_positives(options);
    if (options.negative != Strategy::all || any || pairs <= few_pairs) return {};
    std::vector<std::int64_t> some;
    for (std::int64_t i = 0; i < std::min(rows, rows_asked); ++i) {
        some.push_back(join.rows().row((2 * i + 1) * rows / (2 * std::min(rows, rows_asked))));
    }
    std::sort(some.begin(), some.end());
    Join narrowed = join.narrowed(some);
    const Outlook outlook = Miner(team, narrowed, options).look_ahead();
    join.include(narrowed);
    return outlook;
}

// The triplets that the labels alone allow, at most.
double most_triplets(const Join& join, const MineOptions& options) {
    const auto chosen = static_cast<double>(options.num_negatives);
    double most = 0.0;
    for (std::int64_t p = 0; p < join.rows().size(); ++p) {
        const auto same = static_cast<double>(join.cols().class_of(join.rows().label(p)).size());
        const double positives = options.positive == Strategy::all ? same : 1.0;
        const double negatives = static_cast<double>(join.cols().size()) - same;
        most += positives *
                (options.negative == Strategy::all ? negatives : std::min(negatives, chosen));
    }
    return most;
}

// What may be held of a batch of anchors.
double batch_bytes(const Join& join, const MineOptions& options) {
    return expands(options) ? std::min(large_batch_bytes, batch_bytes_of_thread * join.workers())
                            : large_batch_bytes;
}

// Batches of anchors whose choices (or, to count them, whose positives alone) may be held together.
std::deque<std::vector<std::int64_t>> batches(const Join& join, const MineOptions& options,
                                              const Outlook& outlook, bool counting = false) {
    const auto cols = static_cast<double>(join.cols().size());
    const double ranks = 16.0 * static_cast<double>(ranks_of(options, join.cols().size()));
    // Twice as many as are expected, and some more.
    const double share = std::min(1.0, 2.0 * outlook.negatives + 0.01);
    const double of_negatives =
        options.negative == Strategy::all && !counting ? bytes_of_negative * cols * share : 0.0;
    const double of_anchor = 128.0 + ranks + of_negatives;
    const double of_pair = options.positive != Strategy::all ? 0.0
                           : chooses_per_pair(options)       ? 28.0 + ranks
                                                             : 24.0;
    const double bytes = batch_bytes(join, options);
    auto blocks = join.blocks([&](std::int64_t positives) {
        return (of_anchor + static_cast<double>(positives) * of_pair) / bytes;
    });
    return {std::move_iterator(blocks.begin()), std::move_iterator(blocks.end())};
}

// The progress of a whole call, in pairs of an anchor and a candidate. How much work it is, or a
// batch of its anchors, its team learns only as it goes.
class Progress final : public Monitor {
public:
    explicit Progress(Monitor* whole) : whole_(whole) {}

    void expect(double pairs) { in_all_ = pairs; }
    // A batch: its pairs, and how many the team will be told of, at least.
    void begin(double pairs, double least_work) {
        finished_ += batch_;
        batch_ = pairs;
        least_work_ = least_work;
        begun_ = expected_;
    }
    // These pairs need not be met.
    void skip(double pairs) { finished_ += pairs; }
    void start_team() { begun_ = expected_ = 0.0; }

    void tick(double pairs_done, double pairs_in_all) override {
        expected_ = pairs_in_all;
        const double work = std::max(least_work_, pairs_in_all - begun_);
        const double part = work > 0.0 ? std::clamp((pairs_done - begun_) / work, 0.0, 1.0) : 0.0;
        shown_ = std::max(shown_, finished_ + part * batch_);
        if (whole_ != nullptr) whole_->tick(shown_, in_all_);
    }

private:
    Monitor* whole_;
    double in_all_ = 0.0, finished_ = 0.0, batch_ = 0.0, shown_ = 0.0;
    double begun_ = 0.0, expected_ = 0.0, least_work_ = 0.0;  // of the team
};

double pairs_of(const Join& join) {
    return static_cast<double>(join.rows().size()) * static_cast<double>(join.candidates());
}

// To be called before anything is chosen for the anchors of a join.
void begin(Progress& progress, const Join& join, const MineOptions& options) {
    const bool once = &join.rows() == &join.cols();  // each pair, for both of its rows
    const bool swept = options.negative != Strategy::random;
    progress.begin(pairs_of(join), swept ? pairs_of(join) * (once ? 0.5 : 1.0) : 0.0);
}

// Chooses for the next batch of anchors; or, where these want more of the negatives than the batch
// was made for, for the first half of them.
Selection choose_next(Team& team, Join& whole, const MineOptions& options, const Outlook& outlook,
                      Progress& progress, std::deque<std::vector<std::int64_t>>& left) {
    constexpr double too_many = 2.0;
    for (;;) {
        std::vector<std::int64_t>& batch = left.front();
        Join narrowed = whole.narrowed(batch);
        Miner miner(team, narrowed, options, outlook);
        const bool splits =
            options.negative == Strategy::all && batch.size() > 1 &&
            bytes_of_negative * miner.negatives_expected() > too_many * batch_bytes(whole, options);
        if (!splits) {
            begin(progress, narrowed, options);
            Selection selection = miner.choose();
            whole.include(narrowed);
            left.pop_front();
            return selection;
        }
        const auto half = batch.begin() + std::ssize(batch) / 2;
        std::vector<std::int64_t> rest(half, batch.end());
        batch.erase(half, batch.end());
        left.insert(left.begin() + 1, std::move(rest));
    }
}

// Where every negative counts there may be far more triplets than can be held: there they are
// counted before any is listed.
bool may_need_counting(const Join& join, const MineOptions& options) {
    return options.negative == Strategy::all &&
           most_triplets(join, options) > static_cast<double>(options.max_triplets);
}

// Whether the triplets are at most max_triplets; else their count is in `mined`.
bool fits(Team& team, Join& join, const MineOptions& options, const Outlook& outlook,
          Progress& progress, Mined& mined) {
    if (!may_need_counting(join, options)) return true;
    constexpr double doubtful = 0.25;  // of those that are expected
    const double expected = std::min(1.0, outlook.triplets + 1e-3) * most_triplets(join, options);
    if (expected <= doubtful * static_cast<double>(options.max_triplets)) {
        progress.skip(pairs_of(join));
        return true;
    }
    for (const std::vector<std::int64_t>& batch : batches(join, options, outlook, true)) {
        Join narrowed = join.narrowed(batch);
        begin(progress, narrowed, options);
        mined.count += Miner(team, narrowed, options).count();
        join.include(narrowed);
    }
    if (mined.count > options.max_triplets) return false;
    mined.count = 0;
    return true;
}

// Makes room for what several batches may append; memory that is not used is not taken.
void reserve(const Join& join, const MineOptions& options, Mined& mined) {
    const double most = most_triplets(join, options);
    constexpr double worth_reserving = 1e8;
    if (most <= std::min(worth_reserving, static_cast<double>(options.max_triplets))) {
        mined.reserve(static_cast<std::int64_t>(most));
    }
}

// Appends a selection. Once there are more than max_triplets in all they are only counted.
void append(Team& team, const Selection& selection, const MineOptions& options, Mined& mined) {
    selection.report({0, selection.anchors()}, mined.report);
    mined.count += selection.triplets();
    if (mined.count > options.max_triplets) {
        mined.clear();
    } else {
        selection.list(team, {0, selection.triplets()}, mined);
    }
}

}  // namespace

void Mined::reserve(std::int64_t triplets) {
    const auto size = static_cast<std::size_t>(triplets);
    for (auto* indices : {&anchors, &positives, &negatives}) indices->reserve(size);
    for (auto* distances : {&d_ap, &d_an}) distances->reserve(size);
    fell_back.reserve(size);
}

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
    Progress progress(execution.monitor);
    run_team(threads_for(execution, embeddings, references), &progress, [&](Team& team) {
        const Stopwatch stopwatch;
        Join join(team, kernels, embeddings, references, anchors, options.metric,
                  execution.packing_budget);
        const bool counts = expands(options) && may_need_counting(join, options);
        progress.expect((counts ? 2.0 : 1.0) * pairs_of(join));
        if (!expands(options)) {
            begin(progress, join, options);
            const Selection selection = Miner(team, join, options).choose();
            join.forget_packed();  // the triplets take as much
            append(team, selection, options, mined);
        } else {
            const Outlook outlook = look_ahead(team, join, options);
            if (fits(team, join, options, outlook, progress, mined)) {
                auto left = batches(join, options, outlook);
                if (left.size() > 1) reserve(join, options, mined);
                while (!left.empty()) {
                    append(team, choose_next(team, join, options, outlook, progress, left), options,
                           mined);
                }
            }
        }
        join.describe(mined.report, stopwatch);
    });
    return mined;
}

struct BlockMiner::State {
    State(const MineOptions& mine_options, const Execution& how)
        : kernels(choose_kernels(how.instruction_set)),
          options(mine_options),
          progress(how.monitor) {}

    const KernelSet& kernels;
    MineOptions options;
    int n_threads = 1;
    Progress progress;
    std::optional<Join> join;  // of a team that has gone: each call makes its own of it
    Outlook outlook;
    std::deque<std::vector<std::int64_t>> batches_left;
    std::optional<Selection> selection;     // of the batch at hand
    std::int64_t listed = 0, reported = 0;  // triplets and anchors of it that are in a block
    std::int64_t decided = 0;
    double seconds = 0.0;  // that no block has reported yet
    bool finished = false;

    void select(Team& team, Join& whole);
    void fill(Team& team, Join& whole, Mined& mined);
};

BlockMiner::BlockMiner(const Population& embeddings, const std::optional<Population>& references,
                       const std::optional<std::span<const std::int64_t>>& anchors,
                       const MineOptions& options, const Execution& execution)
    : state_(std::make_unique<State>(options, execution)) {
    State& state = *state_;
    state.n_threads = threads_for(execution, embeddings, references);
    run_team(state.n_threads, &state.progress, [&](Team& team) {
        const Stopwatch stopwatch;
        state.join.emplace(team, state.kernels, embeddings, references, anchors, options.metric,
                           execution.packing_budget);
        state.progress.expect(pairs_of(*state.join));
        state.outlook = look_ahead(team, *state.join, options);
        state.batches_left = batches(*state.join, options, state.outlook);
        state.seconds = stopwatch.seconds();
    });
}

BlockMiner::~BlockMiner() = default;

// Chooses for the next batch.
void BlockMiner::State::select(Team& team, Join& whole) {
    if (!expands(options) && std::ssize(batches_left.front()) == whole.rows().size()) {
        begin(progress, whole, options);
        selection.emplace(Miner(team, whole, options).choose());
        batches_left.pop_front();
    } else {
        selection.emplace(choose_next(team, whole, options, outlook, progress, batches_left));
    }
    listed = reported = 0;
}

// Lists until the block is full and a triplet waits for the next one, or there are no more.
void BlockMiner::State::fill(Team& team, Join& whole, Mined& mined) {
    for (;;) {
        if (!selection) {
            finished = batches_left.empty();
            if (finished) return;
            select(team, whole);
        }
        const std::int64_t left = selection->triplets() - listed;
        const std::int64_t taken = std::min(left, options.max_triplets - mined.count);
        selection->list(team, {listed, listed + taken}, mined);
        listed += taken;
        mined.count += taken;
        // Those without a triplet belong to the block before, wherever a batch ends.
        const std::int64_t within = selection->anchors_within(listed);
        selection->report({reported, within}, mined.report);
        reported = within;
        if (left > 0 && taken == 0) return;
        if (taken == left) selection.reset();
    }
}

std::optional<Mined> BlockMiner::next() {
    State& state = *state_;
    if (state.finished) return std::nullopt;
    Mined mined;
    state.progress.start_team();
    run_team(state.n_threads, &state.progress, [&](Team& team) {
        const Stopwatch stopwatch;
        Join join(team, *state.join);
        state.fill(team, join, mined);
        state.join.emplace(team, join);  // with what was packed meanwhile
        Report& report = mined.report;
        join.describe(report, stopwatch);
        report.pairs_considered = report.anchors * join.candidates();
        report.pairs_decided -= std::exchange(state.decided, report.pairs_decided);
        report.seconds += std::exchange(state.seconds, 0.0);
    });
    return mined;
}

}  // namespace tripletmine
