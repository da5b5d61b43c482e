// BlockSweep: a sweep in which a task has its rows to itself, from their first pair to their last.
//
//   for each block of rows
//     for each chunk of columns, for each row
//       sift        most candidates do not matter, the rest may raise the row's floors;
//         or tally  or all matter, and most are counted by their scores
//       what the bounds left open is remembered
//     decide        row by row, some columns at a time: canonical distances → selectors
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
#include <numeric>
#include <vector>

#include "counting.hpp"
#include "exact.hpp"
#include "walk.hpp"

namespace tripletmine {

template <typename Selector>
class BlockSweep {
public:
    // begin(rows, worker) hears of each block of rows first; open(row, widest, worker) makes the
    // selector of a row, of which no pair's bounds lie further apart than `widest`; close(row,
    // selector, worker) takes its answer.
    using Begin = std::function<void(const Interval& rows, int worker)>;
    using Open = std::function<Selector(std::int64_t row, float widest, int worker)>;
    using Close = std::function<void(std::int64_t row, Selector& selector, int worker)>;

    BlockSweep(Team& team, const KernelSet& kernels, const Pairing& pairing, Relation relation)
        : team_(team),
          kernels_(kernels),
          pairing_(pairing.both_ways()),
          walk_(team, pairing_, relation, plan_blocks(pairing, cols_at_once, team.size())) {
        walk_.announce();
    }

    // Visits every pair of the relation; returns how many were decided in float64.
    std::int64_t run(const Open& open, const Close& close, const Begin& begin = {}) {
        const float* widths = pairing_.col_operand->width();
        const float widest = *std::max_element(widths, widths + pairing_.cols->size());
        std::vector<Worker> workers;
        for (int id = 0; id < team_.size(); ++id) {
            workers.emplace_back(
                ExactDistance(*pairing_.rows, *pairing_.cols, kernels_, pairing_.metric));
        }
        team_.for_each(
            static_cast<std::int64_t>(walk_.tasks().size()), [&](std::int64_t number, int id) {
                const Walk::Task& task = walk_.tasks()[static_cast<std::size_t>(number)];
                Worker& worker = workers[static_cast<std::size_t>(id)];
                worker.first_row = task.row_begin;
                worker.selectors.clear();
                if (begin) begin({task.row_begin, task.row_end}, id);
                for (std::int64_t row = task.row_begin; row < task.row_end; ++row) {
                    const float width = widest + pairing_.row_operand->width()[row];
                    worker.selectors.push_back(open(row, width, id));
                }
                walk_.run_rows(task, id, worker.walk,
                               [&](std::int64_t row, const Interval& cols, const float* scores) {
                                   take(worker, id, row, cols, scores);
                               });
                worker.counting.end();
                decide(worker, id);
                for (std::int64_t row = task.row_begin; row < task.row_end; ++row) {
                    team_.poll(id);
                    close(row, worker.of(row), id);
                }
            });
        std::int64_t decided = 0;
        for (const Worker& worker : workers) decided += worker.distance.decided();
        return decided;
    }

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
        std::vector<Undecided> undecided;
        std::vector<std::uint32_t> ends, order;  // of the undecided, by columns and row
        std::vector<double> distances;
        ExactDistance distance;
    };

    // Where every score matters, what is kept of a row is worth keeping in the nearest cache for
    // many scores; else the scores of a block of rows are.
    static constexpr std::int64_t cols_at_once =
        Selector::selective ? 4 * tile_granule : most_tallied;
    // A row's scores are worked on in parts that stay in the nearest cache.
    static constexpr std::int64_t part_cols = longest_part;
    // Beyond so many undecided pairs they are decided at once.
    static constexpr std::size_t most_undecided = 1 << 18;

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
        if (worker.undecided.size() > most_undecided) decide(worker, id);
    }

    // Where few scores matter.
    void sift(Worker& worker, std::int64_t row, const Interval& cols, const float* scores) const {
        Selector& selector = worker.of(row);
        const float row_bias = pairing_.row_operand->bias(Sign::nearest)[row];
        const float row_width = pairing_.row_operand->width()[row];
        const float* bias = pairing_.col_operand->bias(Sign::nearest) + cols.begin;
        const float* width = pairing_.col_operand->width() + cols.begin;
        const int found =
            kernels_.sift(scores, bias, static_cast<int>(cols.size()), selector.buckets(row_bias),
                          selector.limits(), worker.places.data());
        for (int i = 0; i < found; ++i) {
            const std::int32_t c = worker.places[static_cast<std::size_t>(i)];
            const float upper = scores[c] - row_bias - bias[c];
            const std::int64_t slot = selector.expect(pairing_.cols->row(cols.begin + c),
                                                      upper - row_width - width[c], upper);
            if (slot != no_matter) remember(worker, row, cols.begin + c, slot, upper);
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
        std::vector<std::int64_t> cols;
        std::vector<double> distances;
        for (std::size_t begin = 0, end; begin < undecided.size(); begin = end) {
            const std::uint32_t row = undecided[worker.order[begin]].row;
            cols.clear();
            for (end = begin; end < undecided.size() && undecided[worker.order[end]].row == row;
                 ++end) {
                cols.push_back(undecided[worker.order[end]].col);
            }
            distances.resize(cols.size());
            worker.distance.many(row, cols, distances.data());
            for (std::size_t i = begin; i < end; ++i) {
                worker.distances[worker.order[i]] = distances[i - begin];
            }
            team_.poll(id);
        }
        for (std::size_t i = 0; i < undecided.size(); ++i) {
            const Undecided& pair = undecided[i];
            worker.of(pair.row).offer(pair.slot,
                                      {worker.distances[i], pairing_.cols->row(pair.col)});
        }
        undecided.clear();
    }

    // Row by row, but only so many columns at a time that a row meets some of them: a row is worth
    // widening, and the columns stay near for the next one.
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
    Pairing pairing_;
    Walk walk_;
};

}  // namespace tripletmine
