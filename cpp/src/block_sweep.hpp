// BlockSweep: a sweep in which a task has its rows to itself, from their first pair to their last.
//
// For selectors with much to remember for each row (select/intervals.hpp): a row's selector is made
// when its block begins and handed over when the block ends, so that memory is one block's for each
// thread and nothing is locked. The price is that a self-join scores each unordered pair twice.
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
          walk_(team, pairing, relation, plan_blocks(pairing, team.size())) {}

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
        std::vector<std::int64_t> cols;
        std::vector<double> distances;
        ExactDistance distance;
    };

    // Beyond so many undecided pairs of a row they are decided at once.
    static constexpr std::size_t most_undecided = 4096;

    static Row& row_of(Worker& worker, const Walk::Task& task, std::int64_t row) {
        return worker.rows[static_cast<std::size_t>(row - task.row_begin)];
    }

    void take(Worker& worker, std::int64_t row, Row& own, const Interval& cols,
              const float* scores) const {
        const auto count = static_cast<int>(cols.size());
        worker.places.resize(static_cast<std::size_t>(count + max_register));
        if constexpr (Selector::selective) {
            sift(worker, row, own, cols, scores, count);
        } else {
            sort_out(worker, row, own, cols, scores, count);
        }
        if (own.undecided.size() > most_undecided) decide(worker, row, own);
    }

    // For Successors: few scores matter.
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
            const std::int64_t slot = own.selector.expect(upper - row_width - width[c], upper);
            if (slot != Selector::no_matter) own.undecided.push_back({cols.begin + c, slot, upper});
        }
    }

    // For Counts: every score matters.
    void sort_out(Worker& worker, std::int64_t row, Row& own, const Interval& cols,
                  const float* scores, int count) const {
        const float row_middle = pairing_.row_operand->middle()[row];
        const float* middle = pairing_.col_operand->middle() + cols.begin;
        worker.numbers.resize(worker.places.size());
        kernels_.sort_out(scores, middle, count, own.selector.buckets(row_middle),
                          worker.numbers.data());
        const int open = own.selector.take(worker.numbers.data(), count, worker.places.data());
        for (int i = 0; i < open; ++i) {
            const std::int32_t c = worker.places[static_cast<std::size_t>(i)];
            if (own.selector.settles(scores[c] - row_middle - middle[c])) continue;
            own.undecided.push_back({cols.begin + c, -1, 0.0f});
        }
    }

    // Offers what the bounds did not settle, with its canonical distance.
    void decide(Worker& worker, std::int64_t row, Row& own) const {
        worker.cols.clear();
        for (const Undecided& pair : own.undecided) {
            if constexpr (Selector::selective) {
                if (!own.selector.still_interesting(pair.slot, pair.upper)) continue;
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
