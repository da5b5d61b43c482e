// mine: the anchors of a call in batches, what is chosen for each, and the triplets that this
// makes.
#include <algorithm>
#include <deque>
#include <iterator>
#include <utility>

#include "join.hpp"
#include "kernels/dispatch.hpp"
#include "miner.hpp"
#include "selection.hpp"

namespace tripletmine {
namespace {

// What is held of the choices of a batch of anchors: where every positive or every negative counts,
// for each thread, which then finds enough to do; and where none does but mine's result is to come
// in blocks.
constexpr double batch_bytes_of_thread = 12.0 * 1024 * 1024;
constexpr double large_batch_bytes = 512.0 * 1024 * 1024;
constexpr double bytes_of_negative = 32.0;  // while they are listed

bool expands(const MineOptions& options) {
    return options.positive == Strategy::all || options.negative == Strategy::all;
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
        mined.count += Miner(team, narrowed, options, outlook).count();
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
