// BlockSweep: a sweep in which a task has its rows to itself, from their first pair to their last.
//
//   for each block of rows
//     for each chunk of columns, for each row
//       sift        most candidates do not matter, the rest may raise the row's floors;
//         or tally  or all matter, and most are counted by their scores
//       what the bounds left open is remembered
//     decide        row by row, some columns at a time: canonical distances → selectors
//
// The scorer is found by trying: a few rows here and there are swept first, and where too many
// pairs are left open the next scorer takes the others.
//
// For selectors with much to remember for each row (select/intervals.hpp, select/window.hpp): a
// row's selector is made when its block begins and handed over when the block ends, so that memory
// is one block's for each thread and nothing is locked. The price is that a self-join scores each
// unordered pair twice. In a self-join it is for negatives: a row would meet itself among its
// positives.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <vector>

#include "counting.hpp"
#include "exact.hpp"
#include "filter.hpp"
#include "pair_scores.hpp"
#include "walk.hpp"

namespace tripletmine {

// With how many rows a scorer is tried, at least.
inline std::int64_t rows_tried(int threads) { return std::int64_t{2} * threads * max_tile_rows; }

template <typename Selector>
class BlockSweep {
public:
    // begin(rows, worker) hears of each block of rows first; open(row, widest, worker) makes the
    // selector of a row, of which no pair's bounds lie further apart than `widest`; close(row,
    // selector, worker) takes its answer.
    using Begin = std::function<void(const Interval& rows, int worker)>;
    using Open = std::function<Selector(std::int64_t row, float widest, int worker)>;
    using Close = std::function<void(std::int64_t row, Selector& selector, int worker)>;

    // Selectors that every score matters to take fine ones only, as the only stage.
    BlockSweep(Team& team, const KernelSet& kernels, Pack pack, const FilterPlan& plan,
               Relation relation)
        : team_(team),
          kernels_(kernels),
          pack_(std::move(pack)),
          plan_(plan),
          pairing_(pack_(plan[0].precision).both_ways()),
          closer_(plan[0].precision == Precision::projected
                      ? std::make_unique<PairScores>(team, kernels, pack_(Precision::coarse))
                      : nullptr),
          walk_(team, pairing_, relation, plan_blocks(pairing_, cols_at_once, team.size())) {
        walk_.announce();
        for (int id = 0; id < team_.size(); ++id) {
            workers_.emplace_back(
                ExactDistance(*pairing_.rows, *pairing_.cols, kernels_, pairing_.metric));
        }
    }

    // Visits every pair of the relation; returns how many were decided in float64.
    std::int64_t run(const Open& open, const Close& close, const Begin& begin = {}) {
        open_ = open;
        close_ = close;
        begin_ = begin;
        std::vector<Walk::Task> tasks = walk_.tasks();
        while (stage_ + 1 < plan_.size() && !tasks.empty()) {
            std::vector<Walk::Task> sample = take_sample(tasks);
            const double most_doubts = plan_[stage_].most_doubts;
            const bool suits = try_out(sample, most_doubts) <= most_doubts;
            tasks.insert(tasks.end(), sample.begin(), sample.end());
            if (suits) break;
            ++stage_;
            if (tasks.empty()) break;
            closer_.reset();
            pairing_ = pack_(plan_[stage_].precision).both_ways();
            walk_.score_with(pairing_);
            for (Worker& worker : workers_) worker.walk = {};
        }
        run_tasks(tasks);
        std::int64_t decided = 0;
        for (const Worker& worker : workers_) decided += worker.distance.decided();
        return decided;
    }

    // Of the scores that served.
    Precision precision() const { return plan_[stage_].precision; }

private:
    // A pair that the bounds left open, with what they say.
    struct Undecided {
        std::uint32_t row, col;  // positions
        std::int32_t slot;       // or -1 - the first that it may be in
        float upper;
    };
    struct alignas(64) Worker {  // no cache line belongs to two
        explicit Worker(ExactDistance exact) : distance(std::move(exact)) {}
        Selector& of(std::int64_t row) {
            return selectors[static_cast<std::size_t>(row - first_row)];
        }

        Walk::Scratch walk;
        std::int64_t first_row = 0;
        std::vector<Selector> selectors;  // of the rows of the block
        Counting counting;
        std::vector<std::int32_t> places, slots;
        std::vector<PairOfRows> pairs;  // to look closer at, or to decide
        std::vector<float> uppers;      // of these
        std::vector<Undecided> undecided;
        std::size_t room = 0;                    // for them
        std::vector<std::uint32_t> ends, order;  // of the undecided, by columns and row
        std::vector<double> distances;
        ExactDistance distance;
        // Of a task: the pairs that it has met, those that its scores left open, and how many of
        // these it bears.
        std::int64_t met = 0, doubts = 0, most_doubts = 0;
        bool gives_up() const { return doubts > most_doubts; }
    };

    // Where every score matters, what is kept of a row is worth keeping in the nearest cache for
    // many scores; else the scores of a block of rows are.
    static constexpr std::int64_t cols_at_once =
        Selector::selective ? 4 * tile_granule : most_tallied;
    // A row's scores are worked on in parts that stay in the nearest cache.
    static constexpr std::int64_t part_cols = longest_part;
    // As many are decided before the team is asked whether to go on.
    static constexpr std::size_t pairs_at_once = 1024;
    // Beyond so many undecided pairs they are decided at once; at first beyond fewer, where bounds
    // alone teach a selector nothing.
    static constexpr std::size_t most_undecided = 1 << 18;
    static constexpr std::size_t first_undecided =
        Selector::learns_from_bounds ? most_undecided : 1 << 12;

    // Takes the first few rows off some of the tasks, all over the rows, as tasks of their own.
    std::vector<Walk::Task> take_sample(std::vector<Walk::Task>& tasks) const {
        std::vector<Walk::Task> sample;
        const auto count = static_cast<std::int64_t>(tasks.size());
        const std::int64_t least = rows_tried(team_.size()) / max_tile_rows;
        const std::int64_t wanted = std::min(std::max(least, count / 64), count);
        for (std::int64_t i = 0; i < wanted; ++i) {
            Walk::Task& task = tasks[static_cast<std::size_t>((2 * i + 1) * count / (2 * wanted))];
            Walk::Task first = task;
            first.row_end = std::min(task.row_end, task.row_begin + max_tile_rows);
            task.row_begin = first.row_end;
            sample.push_back(first);
        }
        std::erase_if(tasks, [](const Walk::Task& task) { return task.row_begin == task.row_end; });
        return sample;
    }

    // Runs tasks, of which it leaves those that are given up: with more than this part of their
    // pairs left open. Returns which part of a task's pairs is, on average. (Of a task that is
    // given up the rest is scored, for a block is scored as a whole, but not looked at.)
    double try_out(std::vector<Walk::Task>& tasks, double accepted) {
        std::vector<double> doubts(tasks.size());
        std::vector<std::uint8_t> done(tasks.size());
        const float widest = widest_of_columns();
        team_.for_each(std::ssize(tasks), [&](std::int64_t number, int id) {
            const auto at = static_cast<std::size_t>(number);
            Worker& worker = workers_[static_cast<std::size_t>(id)];
            worker.most_doubts = static_cast<std::int64_t>(accepted * Walk::pairs_of(tasks[at]));
            done[at] = run_task(tasks[at], widest, id) ? 1 : 0;
            // The first pairs of a row, with low floors, leave more of them than all do.
            const auto met = static_cast<double>(std::max<std::int64_t>(1, worker.met));
            doubts[at] = std::min(static_cast<double>(worker.doubts) / met, 2.0 * accepted);
        });
        const double sum = std::accumulate(doubts.begin(), doubts.end(), 0.0);
        std::size_t number = 0;
        std::erase_if(tasks, [&](const Walk::Task&) { return done[number++] != 0; });
        for (const Walk::Task& task : tasks) team_.expect(Walk::pairs_of(task));  // again
        return sum / static_cast<double>(doubts.size());
    }

    // Of all columns, and of a row: the widths of what the selectors are told of a pair.
    float widest_of_columns() const {
        const auto widest = [](const Pairing& pairing) {
            const float* widths = pairing.col_operand->width();
            return *std::max_element(widths, widths + pairing.cols->size());
        };
        return closer_ ? std::max(widest(pairing_), widest(closer_->pairing())) : widest(pairing_);
    }
    float width_of(std::int64_t row) const {
        const float width = pairing_.row_operand->width()[row];
        return closer_ ? std::max(width, closer_->pairing().row_operand->width()[row]) : width;
    }

    void run_tasks(const std::vector<Walk::Task>& tasks) {
        const float widest = widest_of_columns();
        for (Worker& worker : workers_) {
            worker.most_doubts = std::numeric_limits<std::int64_t>::max();
        }
        team_.for_each(std::ssize(tasks), [&](std::int64_t number, int id) {
            run_task(tasks[static_cast<std::size_t>(number)], widest, id);
        });
    }

    // Returns whether it was not given up.
    bool run_task(const Walk::Task& task, float widest, int id) {
        Worker& worker = workers_[static_cast<std::size_t>(id)];
        worker.met = worker.doubts = 0;
        worker.room = first_undecided;
        worker.first_row = task.row_begin;
        worker.selectors.clear();
        if (begin_) begin_({task.row_begin, task.row_end}, id);
        for (std::int64_t row = task.row_begin; row < task.row_end; ++row) {
            worker.selectors.push_back(open_(row, widest + width_of(row), id));
        }
        walk_.run_rows(task, id, worker.walk,
                       [&](std::int64_t row, const Interval& cols, const float* scores) {
                           if (!worker.gives_up()) take(worker, id, row, cols, scores);
                       });
        worker.counting.end();
        if (worker.gives_up()) {
            worker.undecided.clear();
            return false;
        }
        decide(worker, id);
        for (std::int64_t row = task.row_begin; row < task.row_end; ++row) {
            team_.poll(id);
            close_(row, worker.of(row), id);
        }
        return true;
    }

    void take(Worker& worker, int id, std::int64_t row, const Interval& cols,
              const float* scores) const {
        worker.places.resize(part_cols + max_register);
        worker.slots.resize(part_cols + max_register);
        if constexpr (!Selector::selective) {
            worker.counting.begin(worker.of(row), pairing_.row_operand->middle()[row]);
        }
        for (std::int64_t begin = cols.begin; begin < cols.end; begin += part_cols) {
            const Interval part{begin, std::min(cols.end, begin + part_cols)};
            if constexpr (Selector::selective) {
                sift(worker, row, part, scores + begin - cols.begin);
            } else {
                tally(worker, row, part, scores + begin - cols.begin);
            }
        }
        worker.met += cols.size();
        if (worker.undecided.size() > worker.room) {
            decide(worker, id);
            worker.room = std::min(2 * worker.room, most_undecided);
        }
    }

    // Where few scores matter.
    void sift(Worker& worker, std::int64_t row, const Interval& cols, const float* scores) const {
        Selector& selector = worker.of(row);
        const TileSide own = pairing_.row_operand->side(Sign::nearest, row, nullptr, nullptr);
        const TileSide others =
            pairing_.col_operand->side(Sign::nearest, cols.begin, nullptr, nullptr);
        const int found =
            pairing_.scorer().sift(scores, own, others, static_cast<int>(cols.size()),
                                   selector.buckets(), selector.limits(), worker.places.data());
        if (closer_) return look_closer(worker, row, cols.begin, found);
        const auto score = pairing_.row_scores(scores, row, 0, cols.begin);
        for (int i = 0; i < found; ++i) {
            const std::int32_t c = worker.places[static_cast<std::size_t>(i)];
            const float upper = score(c) - own.bias[0] - others.bias[c];
            const std::int64_t slot = selector.expect(
                pairing_.cols->row(cols.begin + c), upper - own.width[0] - others.width[c], upper);
            if (slot == no_matter) continue;
            remember(worker, row, cols.begin + c, slot, upper);
            ++worker.doubts;
        }
    }

    // Those that scores of projected rows let through, at these places from a column on.
    void look_closer(Worker& worker, std::int64_t row, std::int64_t first, int found) const {
        worker.pairs.clear();
        for (int i = 0; i < found; ++i) {
            const std::int64_t col = first + worker.places[static_cast<std::size_t>(i)];
            worker.pairs.push_back(
                {static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(col)});
        }
        worker.doubts += found;
        worker.uppers.resize(worker.pairs.size());
        closer_->upper_bounds(worker.pairs, Sign::nearest, worker.uppers.data());
        for (std::size_t i = 0; i < worker.pairs.size(); ++i) {
            const PairOfRows& pair = worker.pairs[i];
            const float upper = worker.uppers[i];
            const std::int64_t slot = worker.of(row).expect(
                pairing_.cols->row(pair.col), closer_->lower_bound(pair, upper), upper);
            if (slot != no_matter) remember(worker, row, pair.col, slot, upper);
        }
    }

    // Where every score matters.
    void tally(Worker& worker, std::int64_t row, const Interval& cols, const float* scores) const {
        const auto count = static_cast<int>(cols.size());
        const int open = kernels_.tally(scores, pairing_.col_operand->middle() + cols.begin, count,
                                        worker.counting.table(), worker.counting.room_for(count),
                                        worker.places.data(), worker.slots.data());
        for (int i = 0; i < open; ++i) {
            const auto at = static_cast<std::size_t>(i);
            remember(worker, row, cols.begin + worker.places[at], -1 - worker.slots[at], 0.0f);
        }
    }

    static void remember(Worker& worker, std::int64_t row, std::int64_t col, std::int64_t slot,
                         float upper) {
        worker.undecided.push_back({static_cast<std::uint32_t>(row),
                                    static_cast<std::uint32_t>(col),
                                    static_cast<std::int32_t>(slot), upper});
    }

    // Offers what the bounds did not settle, with its canonical distance.
    void decide(Worker& worker, int id) const {
        std::vector<Undecided>& undecided = worker.undecided;
        if constexpr (Selector::selective) {
            std::erase_if(undecided, [&](const Undecided& pair) {
                return worker.of(pair.row).settles(pair.slot, pair.upper);
            });
        }
        sort_by_columns(worker);
        worker.distances.resize(undecided.size());
        for (std::size_t begin = 0; begin < undecided.size(); begin += pairs_at_once) {
            team_.poll(id);
            const auto some =
                std::span(worker.order)
                    .subspan(begin, std::min(pairs_at_once, undecided.size() - begin));
            worker.pairs.clear();
            for (const std::uint32_t i : some) {
                worker.pairs.push_back({undecided[i].row, undecided[i].col});
            }
            worker.distance.many(worker.pairs, worker.distances.data() + begin);
        }
        for (std::size_t i = 0; i < undecided.size(); ++i) {
            const Undecided& pair = undecided[worker.order[i]];
            worker.of(pair.row).offer(pair.slot,
                                      {worker.distances[i], pairing_.cols->row(pair.col)});
        }
        undecided.clear();
    }

    // Row by row, but only so many columns at a time that a row meets some of them: a row is loaded
    // for several, and the columns stay near for the next one.
    static void sort_by_columns(Worker& worker) {
        constexpr std::size_t pairs_of_row = 8;
        const std::vector<Undecided>& undecided = worker.undecided;
        worker.order.resize(undecided.size());
        if (undecided.empty()) return;
        std::uint32_t first = UINT32_MAX, last = 0;
        for (const Undecided& pair : undecided) {
            first = std::min(first, pair.col);
            last = std::max(last, pair.col);
        }
        const std::size_t parts = 1 + undecided.size() / (pairs_of_row * worker.selectors.size());
        const std::size_t width = (last - first) / parts + 1;
        const auto part_of = [&](const Undecided& pair) { return (pair.col - first) / width; };
        worker.ends.assign(parts + 1, 0);
        for (const Undecided& pair : undecided) ++worker.ends[part_of(pair) + 1];
        std::partial_sum(worker.ends.begin(), worker.ends.end(), worker.ends.begin());
        for (std::uint32_t i = 0; i < undecided.size(); ++i) {
            worker.order[worker.ends[part_of(undecided[i])]++] = i;
        }
    }

    Team& team_;
    const KernelSet& kernels_;
    Pack pack_;
    const FilterPlan plan_;
    std::size_t stage_ = 0;
    Pairing pairing_;
    std::unique_ptr<const PairScores> closer_;  // as in Sweep
    Walk walk_;
    std::vector<Worker> workers_;
    Open open_;
    Close close_;
    Begin begin_;
};

}  // namespace tripletmine
