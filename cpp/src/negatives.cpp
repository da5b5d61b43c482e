// mine_negatives: for every query, the corpus rows that are negatives beside its positives.
//
// Each rule on the scores (margins, max_score, min_score) refuses all candidates on one side of a
// distance, so that the rules become the cutoffs of a Window. A query's nearest candidates, some
// more than are wanted, mostly hold the answer; one sweep for all windows answers the queries for
// which the rules refuse too many of these, or survivors have to be counted. What a query's
// positives cost is paid by that query alone: they are refused one by one, where the sweep meets
// them.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <span>
#include <vector>

#include "draws.hpp"
#include "exact.hpp"
#include "join.hpp"
#include "kernels/dispatch.hpp"
#include "select/window.hpp"

namespace tripletmine {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t rows_per_task = 64;
constexpr std::int64_t steps_between_polls = 4096;
constexpr std::int64_t few = 256;  // survivors: more are found soon enough by chance

double score_of(Metric metric, double distance) {
    return (metric == Metric::cosine ? 1.0 : 0.0) - distance;
}

// The largest distance for which `holds`, which holds up to some distance and for none beyond:
// -inf if for none at all.
template <typename Holds>
double last_distance(Holds holds) {
    if (!holds(-DBL_MAX)) return -infinity;
    if (holds(DBL_MAX)) return infinity;
    std::uint64_t low = ordered_bits(-DBL_MAX), high = ordered_bits(DBL_MAX);
    while (high - low > 1) {
        const std::uint64_t middle = low + (high - low) / 2;
        (holds(ordered_double(middle)) ? low : high) = middle;
    }
    return ordered_double(low);
}

bool nearer(const Candidate& a, const Candidate& b) {
    return a.distance != b.distance ? a.distance < b.distance : a.row < b.row;
}

class NegativeMiner {
public:
    NegativeMiner(Team& team, const KernelSet& kernels, Join& join, const RowLists& positives,
                  const RowLists& excluded, const NegativeOptions& options, MinedNegatives& mined)
        : team_(team),
          join_(join),
          positives_(positives),
          excluded_(excluded),
          options_(options),
          mined_(mined),
          corpus_(join.cols().size()),
          workers_(static_cast<std::size_t>(team.size()),
                   {{join.rows(), join.cols(), kernels, options.metric}, {}, 0, {}}) {
        plan();
    }

    void run();

private:
    struct Worker {
        ExactDistance distance;
        Rejected rejected;
        std::int64_t short_queries;
        std::vector<Candidate> chosen;
    };

    void plan();
    std::vector<std::int64_t> rank();
    std::int64_t enough_ranks() const;
    void announced(std::int64_t queries);
    std::vector<std::int64_t> rank(const Interval& queries, std::int64_t k);
    void survey(std::span<const std::int64_t> queries);
    void draw();
    bool is_known(const Window& window, std::span<const Candidate> nearest) const;
    Window open(std::int64_t query, int id);
    void close(std::int64_t query, Window& window, int id);
    void count(std::int64_t query, Window& window, int id);
    void choose(std::int64_t query, const Window& window, int id);
    void draw_from_pool(std::int64_t query, std::vector<Candidate>& pool) const;
    void draw_from_corpus(std::int64_t query, const Window& window, int id);

    bool has_rules() const {
        return options_.max_score || options_.min_score || options_.absolute_margin ||
               options_.relative_margin;
    }
    bool among_all() const { return options_.rank_among == RankAmong::all; }
    bool drawn_from_corpus() const {
        return options_.sampling == Sampling::random && !options_.range_max;
    }
    double score(double distance) const { return score_of(options_.metric, distance); }
    std::int64_t candidates(std::int64_t query) const {
        return corpus_ - static_cast<std::int64_t>(excluded_.of(query).size());
    }
    Draws draws(std::int64_t query) const { return {options_.seed, Relation::negatives, query}; }

    Team& team_;
    Join& join_;
    const RowLists& positives_;
    const RowLists& excluded_;
    const NegativeOptions& options_;
    MinedNegatives& mined_;
    const std::int64_t corpus_;
    std::vector<Worker> workers_;
    Cutoffs common_;                              // of the rules that are the same for every query
    std::int64_t of_all_ = 0, of_survivors_ = 0;  // how many ranks have to be known
    bool count_survivors_ = false;
};

void NegativeMiner::plan() {
    if (options_.max_score) {
        common_.max_score = last_distance([&](double d) { return score(d) > *options_.max_score; });
    }
    if (options_.min_score) {
        common_.min_score =
            last_distance([&](double d) { return score(d) >= *options_.min_score; });
    }
    const auto ranks = [&](std::int64_t wanted) { return std::min(wanted, corpus_); };
    const std::int64_t skipped = ranks(options_.range_min);
    const std::int64_t first = ranks(skipped + options_.num_negatives);
    // Without rules, all candidates survive.
    if (among_all() && has_rules()) {
        of_all_ = options_.range_max ? ranks(*options_.range_max) : skipped;
        of_survivors_ = options_.range_max ? 0 : first;
    } else if (options_.sampling == Sampling::top) {
        of_survivors_ = first;
    } else {
        of_survivors_ = options_.range_max ? ranks(*options_.range_max) : skipped;
    }
    // A draw ends when no survivor is left, so it has to know how many there are; and which, where
    // min_score may leave few.
    count_survivors_ = options_.min_score || (drawn_from_corpus() && has_rules());
    if (drawn_from_corpus() && options_.min_score) {
        const std::int64_t known = std::min(64 * std::min(options_.num_negatives, few), few);
        of_survivors_ = ranks(skipped + std::max(options_.num_negatives, known));
    } else if (drawn_from_corpus() && has_rules() && among_all()) {
        of_survivors_ = 0;
    }
}

void NegativeMiner::run() {
    const std::int64_t queries = join_.rows().size();
    mined_.indices.assign(static_cast<std::size_t>(queries * options_.num_negatives), -1);
    mined_.scores.assign(mined_.indices.size(), std::numeric_limits<double>::quiet_NaN());
    mined_.positive_scores.resize(positives_.indices.size());
    if (of_all_ > 0 || of_survivors_ > 0 || has_rules()) {
        survey(rank());
    } else {
        draw();
    }
    for (const Worker& worker : workers_) {
        mined_.rejected.absolute_margin += worker.rejected.absolute_margin;
        mined_.rejected.relative_margin += worker.rejected.relative_margin;
        mined_.rejected.max_score += worker.rejected.max_score;
        mined_.rejected.min_score += worker.rejected.min_score;
        mined_.short_queries += worker.short_queries;
        mined_.report.pairs_decided += worker.distance.decided();
    }
}

// Answers the queries whose negatives are among their nearest candidates; returns the others.
std::vector<std::int64_t> NegativeMiner::rank() {
    constexpr std::int64_t bytes = 64 * 1024 * 1024, bytes_of_one = sizeof(Candidate);
    constexpr std::int64_t tried = 1024, part_left = 3;
    const std::int64_t queries = join_.rows().size(), k = enough_ranks();
    std::vector<std::int64_t> left;
    std::int64_t end = 0;
    team_.expect(static_cast<double>(queries) * static_cast<double>(corpus_));
    while (k > 0 && end < queries && std::ssize(left) * part_left <= end) {
        // With rules there may be too many that they refuse.
        const bool trying = end == 0 && has_rules();
        const std::int64_t some = trying ? tried : std::max(tried, bytes / (k * bytes_of_one));
        const Interval next{end, std::min(queries, end + some)};
        announced(next.size());
        const std::vector<std::int64_t> open = rank(next, k);
        left.insert(left.end(), open.begin(), open.end());
        end = next.end;
    }
    announced(queries - end);
    for (; end < queries; ++end) left.push_back(end);
    return left;
}

// A sweep is about to expect the pairs of some queries that are expected already.
void NegativeMiner::announced(std::int64_t queries) {
    team_.expect(-static_cast<double>(queries) * static_cast<double>(corpus_));
}

// How many nearest candidates of a query are enough, for most; or 0 if that is not worth trying.
std::int64_t NegativeMiner::enough_ranks() const {
    constexpr std::int64_t spare = 32, part_ranked = 4;
    const std::int64_t queries = join_.rows().size();
    const std::int64_t wanted = std::max(of_all_, of_survivors_);
    if (count_survivors_ || wanted == 0 || queries == 0) return 0;
    std::vector<std::int64_t> excluded;  // of each query, how many
    for (std::int64_t query = 0; query < queries; ++query) {
        excluded.push_back(std::ssize(excluded_.of(query)));
    }
    const auto most = excluded.begin() + (queries - 1) * 9 / 10;
    std::nth_element(excluded.begin(), most, excluded.end());
    // And about as many again that the rules refuse.
    const std::int64_t k = wanted + *most + (has_rules() ? wanted + spare : 0);
    const bool worth =
        *most <= wanted + spare && k <= std::min(most_contended, corpus_ / part_ranked);
    return worth ? k : 0;
}

std::vector<std::int64_t> NegativeMiner::rank(const Interval& queries, std::int64_t k) {
    std::vector<std::int64_t> some(static_cast<std::size_t>(queries.size()));
    std::iota(some.begin(), some.end(), queries.begin);
    std::optional<Join> narrowed;
    if (queries.size() < join_.rows().size()) narrowed.emplace(join_.narrowed(some));
    const Choice nearest = (narrowed ? *narrowed : join_).rank(Relation::any, Sign::nearest, k, {});
    if (narrowed) join_.include(*narrowed);
    std::vector<std::uint8_t> known(some.size());
    team_.for_each(
        (queries.size() + rows_per_task - 1) / rows_per_task, [&](std::int64_t task, int id) {
            const std::int64_t end = std::min(queries.size(), (task + 1) * rows_per_task);
            for (std::int64_t i = task * rows_per_task; i < end; ++i) {
                team_.poll(id);
                Window window = open(queries.begin + i, id);
                for (const Candidate& one : nearest.of(i)) window.offer(0, one);
                known[i] = is_known(window, nearest.of(i));
                if (known[i] != 0) close(queries.begin + i, window, id);
            }
        });
    std::erase_if(some, [&](std::int64_t query) { return known[query - queries.begin] != 0; });
    return some;
}

// Whether a window that was offered these nearest candidates holds all that it would of all.
bool NegativeMiner::is_known(const Window& window, std::span<const Candidate> nearest) const {
    return !nearest.empty() &&
           window.survives(nearest.back()) &&  // whatever the rules refuse lies before it
           std::ssize(window.first_of_all()) == of_all_ &&
           std::ssize(window.first_survivors()) == of_survivors_;
}

void NegativeMiner::survey(std::span<const std::int64_t> queries) {
    if (queries.empty()) return;
    std::optional<Join> narrowed;
    if (std::ssize(queries) < join_.rows().size()) narrowed.emplace(join_.narrowed(queries));
    (narrowed ? *narrowed : join_)
        .survey(
            std::max(of_all_, of_survivors_),
            [&](std::int64_t i, int id) { return open(queries[i], id); },
            [&](std::int64_t i, Window& window, int id) { close(queries[i], window, id); });
    if (narrowed) join_.include(*narrowed);
}

// Where nothing has to be known of the candidates before they are drawn.
void NegativeMiner::draw() {
    const std::int64_t queries = join_.rows().size();
    team_.expect(static_cast<double>(queries * options_.num_negatives));
    team_.for_each((queries + rows_per_task - 1) / rows_per_task, [&](std::int64_t task, int id) {
        const std::int64_t end = std::min(queries, (task + 1) * rows_per_task);
        for (std::int64_t query = task * rows_per_task; query < end; ++query) {
            Window window = open(query, id);
            close(query, window, id);
            team_.poll(id);
            team_.advance(static_cast<double>(options_.num_negatives));
        }
    });
}

// The scores of a query's positives, and with them what the rules mean for it.
Window NegativeMiner::open(std::int64_t query, int id) {
    ExactDistance& distance = workers_[static_cast<std::size_t>(id)].distance;
    const auto own = positives_.of(query);
    double* scores = mined_.positive_scores.data() + positives_.begins[query];
    double least = infinity, most = -infinity, sum = 0.0;
    for (std::size_t i = 0; i < own.size(); ++i) {
        if (i % steps_between_polls == 0) team_.poll(id);
        scores[i] = score(distance(query, own[i]));
        least = std::min(least, scores[i]);
        most = std::max(most, scores[i]);
        sum += scores[i];
    }
    Cutoffs cutoffs = common_;
    if (options_.absolute_margin || options_.relative_margin) {
        const double positive = options_.positive_score == PositiveScore::min ? least
                                : options_.positive_score == PositiveScore::max
                                    ? most
                                    : sum / static_cast<double>(own.size());
        if (options_.absolute_margin) {
            cutoffs.absolute_margin = last_distance(
                [&](double d) { return score(d) + *options_.absolute_margin > positive; });
        }
        if (options_.relative_margin) {
            const double limit = positive - std::abs(positive) * *options_.relative_margin;
            cutoffs.relative_margin = last_distance([&](double d) { return score(d) > limit; });
        }
    }
    return {join_.space(), cutoffs, of_all_, of_survivors_, count_survivors_, excluded_.of(query)};
}

void NegativeMiner::close(std::int64_t query, Window& window, int id) {
    Worker& worker = workers_[static_cast<std::size_t>(id)];
    window.sort();
    if (has_rules()) count(query, window, id);
    choose(query, window, id);
    const auto place = static_cast<std::size_t>(query * options_.num_negatives);
    for (std::size_t i = 0; i < worker.chosen.size(); ++i) {
        mined_.indices[place + i] = worker.chosen[i].row;
        mined_.scores[place + i] = score(worker.chosen[i].distance);
    }
    worker.short_queries +=
        static_cast<std::int64_t>(worker.chosen.size()) < options_.num_negatives;
}

void NegativeMiner::count(std::int64_t query, Window& window, int id) {
    Worker& worker = workers_[static_cast<std::size_t>(id)];
    std::int64_t steps = 0;
    for (const std::int64_t row : excluded_.of(query)) {
        if (steps++ % steps_between_polls == 0) team_.poll(id);
        window.discount(worker.distance(query, row));
    }
    worker.rejected.absolute_margin += window.count(Verdict::absolute_margin);
    worker.rejected.relative_margin += window.count(Verdict::relative_margin);
    worker.rejected.max_score += window.count(Verdict::max_score);
    if (options_.min_score) {  // the others
        worker.rejected.min_score += candidates(query) - window.count(Verdict::absolute_margin) -
                                     window.count(Verdict::relative_margin) -
                                     window.count(Verdict::max_score) -
                                     window.count(Verdict::survivor);
    }
}

// Leaves the query's negatives, in order of rank, in the worker's `chosen`.
void NegativeMiner::choose(std::int64_t query, const Window& window, int id) {
    std::vector<Candidate>& chosen = workers_[static_cast<std::size_t>(id)].chosen;
    chosen.clear();
    if (drawn_from_corpus()) {
        draw_from_corpus(query, window, id);
        return;
    }
    // The survivors in the window.
    const auto all = window.first_of_all(), survivors = window.first_survivors();
    const auto survives = [&](const Candidate& candidate) { return window.survives(candidate); };
    const auto skipped = static_cast<std::size_t>(std::min(options_.range_min, corpus_));
    if (of_survivors_ == 0) {
        for (std::size_t rank = skipped; rank < all.size(); ++rank) {
            if (survives(all[rank])) chosen.push_back(all[rank]);
        }
    } else {
        const std::size_t before =
            of_all_ == 0
                ? skipped
                : static_cast<std::size_t>(std::count_if(all.begin(), all.end(), survives));
        if (before < survivors.size()) {
            chosen.assign(survivors.begin() + static_cast<std::ptrdiff_t>(before), survivors.end());
        }
    }
    if (options_.sampling == Sampling::random) draw_from_pool(query, chosen);
    if (static_cast<std::int64_t>(chosen.size()) > options_.num_negatives) {
        chosen.resize(static_cast<std::size_t>(options_.num_negatives));
    }
}

// The first num_negatives of a shuffle of the pool, in order of rank.
void NegativeMiner::draw_from_pool(std::int64_t query, std::vector<Candidate>& pool) const {
    LazyShuffle shuffle(draws(query), static_cast<std::int64_t>(pool.size()));
    std::vector<Candidate> drawn;
    while (!shuffle.done() && static_cast<std::int64_t>(drawn.size()) < options_.num_negatives) {
        drawn.push_back(pool[static_cast<std::size_t>(shuffle.next())]);
    }
    std::sort(drawn.begin(), drawn.end(), nearer);
    pool = std::move(drawn);
}

// The first num_negatives of a shuffle of the corpus that are survivors beyond range_min, in order
// of rank.
void NegativeMiner::draw_from_corpus(std::int64_t query, const Window& window, int id) {
    Worker& worker = workers_[static_cast<std::size_t>(id)];
    const auto excluded = excluded_.of(query);
    const auto known = window.first_survivors();
    const auto skipped = among_all() && has_rules()
                             ? window.first_of_all()
                             : known.first(std::min<std::size_t>(known.size(), options_.range_min));
    const auto survives = [&](const Candidate& candidate) { return window.survives(candidate); };
    const auto in_window = [&](const Candidate& candidate) {
        return survives(candidate) && (skipped.empty() || nearer(skipped.back(), candidate));
    };
    const std::int64_t survivors =
        has_rules() ? window.count(Verdict::survivor) : candidates(query);
    const std::int64_t left = survivors - std::count_if(skipped.begin(), skipped.end(), survives);
    const auto wanted = static_cast<std::size_t>(std::min(options_.num_negatives, left));

    // Where survivors are few, most rows are passed over: no distance is computed for them.
    const bool all_known = survivors == static_cast<std::int64_t>(known.size());
    std::vector<Candidate> by_row(known.begin(), all_known ? known.end() : known.begin());
    std::sort(by_row.begin(), by_row.end(),
              [](const Candidate& a, const Candidate& b) { return a.row < b.row; });
    const auto candidate_at = [&](std::int64_t row) -> std::optional<Candidate> {
        if (!all_known) {
            if (std::binary_search(excluded.begin(), excluded.end(), row)) return std::nullopt;
            return Candidate{worker.distance(query, row), row};
        }
        const auto found =
            std::lower_bound(by_row.begin(), by_row.end(), row,
                             [](const Candidate& a, std::int64_t b) { return a.row < b; });
        if (found == by_row.end() || found->row != row) return std::nullopt;
        return *found;
    };
    LazyShuffle shuffle(draws(query), corpus_);
    for (std::int64_t steps = 1; worker.chosen.size() < wanted && !shuffle.done(); ++steps) {
        if (steps % steps_between_polls == 0) team_.poll(id);
        const std::optional<Candidate> candidate = candidate_at(shuffle.next());
        if (candidate && in_window(*candidate)) worker.chosen.push_back(*candidate);
    }
    std::sort(worker.chosen.begin(), worker.chosen.end(), nearer);
}

}  // namespace

MinedNegatives mine_negatives(const Population& queries, const Population& corpus,
                              const RowLists& positives, const RowLists& excluded,
                              const NegativeOptions& options, const Execution& execution) {
    const KernelSet& kernels = choose_kernels(execution.instruction_set);
    MinedNegatives mined;
    run_team(execution.n_threads, execution.monitor, [&](Team& team) {
        const Stopwatch stopwatch;
        // Without labels, positions are rows.
        Join join(team, kernels, unlabelled(queries), unlabelled(corpus), std::nullopt,
                  options.metric, execution.packing_budget);
        NegativeMiner miner(team, kernels, join, positives, excluded, options, mined);
        miner.run();
        const std::int64_t decided = mined.report.pairs_decided;
        mined.report.anchors = join.rows().size();
        join.describe(mined.report, stopwatch);
        mined.report.pairs_considered -= static_cast<std::int64_t>(excluded.indices.size());
        mined.report.pairs_decided += decided;
    });
    return mined;
}

}  // namespace tripletmine
