// BlockSweep: a sweep in which a task has its rows to itself, from their first pair to their last.
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
#include <vector>

#include "exact.hpp"
#include "walk.hpp"

namespace tripletmine {

template <typename Selector>
class BlockSweep {
public:
    // open(row, widest, worker) makes the selector of a row, of which no pair's bounds lie further
    // apart than `widest`; close(row, selector, worker) takes its answer.
    using Open = std::function<Selector(std::int64_t row, float widest, int worker)>;
    using Close = std::function<void(std::int64_t row, Selector& selector, int worker)>;

    BlockSweep(Team& team, const KernelSet& kernels, const Pairing& pairing, Relation relation)
        : team_(team),
          kernels_(kernels),
          pairing_(pairing),
          walk_(team, pairing, relation, plan_blocks(pairing, cols_at_once, team.size())) {}

    // Visits every pair of the relation; returns how many were decided in float64.
    std::int64_t run(const Open& open, const Close& close) {
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
                worker.rows.clear();
                for (std::int64_t row = task.row_begin; row < task.row_end; ++row) {
                    const float width = widest + pairing_.row_operand->width()[row];
                    worker.rows.push_back({open(row, width, id), {}});
                }
                walk_.run_rows(task, id, worker.walk,
                               [&](std::int64_t row, const Interval& cols, const float* scores) {
                                   take(worker, row, row_of(worker, task, row), cols, scores);
                               });
                for (std::int64_t row = task.row_begin; row < task.row_end; ++row) {
                    team_.poll(id);
                    Row& own = row_of(worker, task, row);
                    decide(worker, row, own);
                    close(row, own.selector, id);
                }
            });
        std::int64_t decided = 0;
        for (const Worker& worker : workers) decided += worker.distance.decided();
        return decided;
    }

private:
    // A candidate that the bounds left open, with what they say.
    struct Undecided {
        std::int64_t col, slot;
        float upper;
    };
    struct Row {
        Selector selector;
        std::vector<Undecided> undecided;
    };
    struct Worker {
        explicit Worker(ExactDistance exact) : distance(std::move(exact)) {}
        Walk::Scratch walk;
        std::vector<Row> rows;
        std::vector<std::int32_t> places, numbers;
        std::vector<float> values;
        std::vector<std::int64_t> cols;
        std::vector<double> distances;
        ExactDistance distance;
    };

    // Where every score matters, a row's selector is worth keeping in the nearest cache for many
    // scores; else the scores of a block of rows are.
    static constexpr std::int64_t cols_at_once = Selector::selective ? 4 * tile_granule : 32768;
    // A row's scores are worked on in parts that stay in the nearest cache.
    static constexpr std::int64_t part_cols = 1024;
    // Beyond so many undecided pairs of a row they are decided at once.
    static constexpr std::size_t most_undecided = 4096;

    static Row& row_of(Worker& worker, const Walk::Task& task, std::int64_t row) {
        return worker.rows[static_cast<std::size_t>(row - task.row_begin)];
    }

    void take(Worker& worker, std::int64_t row, Row& own, const Interval& cols,
              const float* scores) const {
        worker.places.resize(part_cols + max_register);
        for (std::int64_t begin = cols.begin; begin < cols.end; begin += part_cols) {
            const Interval part{begin, std::min(cols.end, begin + part_cols)};
            const float* own_scores = scores + begin - cols.begin;
            const auto count = static_cast<int>(part.size());
            if constexpr (Selector::selective) {
                sift(worker, row, own, part, own_scores, count);
            } else {
                sort_out(worker, row, own, part, own_scores, count);
            }
            if (own.undecided.size() > most_undecided) decide(worker, row, own);
        }
    }

    // Where few scores matter.
    void sift(Worker& worker, std::int64_t row, Row& own, const Interval& cols, const float* scores,
              int count) const {
        const Operand &row_operand = *pairing_.row_operand, &col_operand = *pairing_.col_operand;
        const float row_bias = row_operand.bias(Sign::nearest)[row];
        const float row_width = row_operand.width()[row];
        const float* bias = col_operand.bias(Sign::nearest) + cols.begin;
        const float* width = col_operand.width() + cols.begin;
        const int found = kernels_.sift(scores, bias, count, own.selector.buckets(row_bias),
                                        own.selector.limits(), worker.places.data());
        for (int i = 0; i < found; ++i) {
            const std::int32_t c = worker.places[static_cast<std::size_t>(i)];
            const float upper = scores[c] - row_bias - bias[c];
            const std::int64_t slot = own.selector.expect(pairing_.cols->row(cols.begin + c),
                                                          upper - row_width - width[c], upper);
            if (slot != Selector::no_matter) own.undecided.push_back({cols.begin + c, slot, upper});
        }
    }

    // Where every score matters.
    void sort_out(Worker& worker, std::int64_t row, Row& own, const Interval& cols,
                  const float* scores, int count) const {
        const float row_middle = pairing_.row_operand->middle()[row];
        const float* middle = pairing_.col_operand->middle() + cols.begin;
        worker.numbers.resize(worker.places.size());
        worker.values.resize(worker.places.size());
        kernels_.sort_out(scores, middle, count, own.selector.buckets(row_middle),
                          own.selector.roots(), worker.values.data(), worker.numbers.data());
        const int open = own.selector.take(worker.numbers.data(), worker.values.data(), count,
                                           worker.places.data());
        for (int i = 0; i < open; ++i) {
            const std::int32_t c = worker.places[static_cast<std::size_t>(i)];
            const float value = worker.values[static_cast<std::size_t>(c)];
            if (own.selector.settles(scores[c] - row_middle - middle[c], value)) continue;
            own.undecided.push_back({cols.begin + c, -1, 0.0f});
        }
    }

    // Offers what the bounds did not settle, with its canonical distance.
    void decide(Worker& worker, std::int64_t row, Row& own) const {
        worker.cols.clear();
        for (const Undecided& pair : own.undecided) {
            if constexpr (Selector::selective) {
                if (own.selector.settles(pair.slot, pair.upper)) continue;
            }
            worker.cols.push_back(pair.col);
        }
        own.undecided.clear();
        worker.distances.resize(worker.cols.size());
        worker.distance.many(row, worker.cols, worker.distances.data());
        for (std::size_t i = 0; i < worker.cols.size(); ++i) {
            own.selector.offer({worker.distances[i], pairing_.cols->row(worker.cols[i])});
        }
    }

    Team& team_;
    const KernelSet& kernels_;
    Pairing pairing_;
    Walk walk_;
};

}  // namespace tripletmine
