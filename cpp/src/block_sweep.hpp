// BlockSweep: a sweep in which a task has its rows to itself, from their first pair to their last.
//
// For selectors with much to remember for each row (select/intervals.hpp): a row's selector is made
// when its block begins and handed over when the block ends, so that memory is one block's for each
// thread and nothing is locked. The price is that a self-join scores each unordered pair twice.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "exact.hpp"
#include "walk.hpp"

namespace tripletmine {

template <typename Selector>
class BlockSweep {
public:
    // open(row, worker) makes the selector of a row; close(row, selector, worker) takes its answer.
    using Open = std::function<Selector(std::int64_t row, int worker)>;
    using Close = std::function<void(std::int64_t row, Selector& selector, int worker)>;

    BlockSweep(Team& team, const KernelSet& kernels, const Pairing& pairing, Relation relation)
        : team_(team),
          kernels_(kernels),
          pairing_(pairing),
          walk_(team, kernels, pairing, relation, plan_blocks(pairing, kernels, team.size())) {}

    // Visits every pair of the relation; returns how many were decided in float64.
    std::int64_t run(const Open& open, const Close& close) {
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
                    worker.rows.push_back(open(row, id));
                }
                walk_.visit_strips(task, id, worker.walk,
                                   [&](const Walk::Strip& strip) { visit(worker, strip, task); });
                for (std::int64_t row = task.row_begin; row < task.row_end; ++row) {
                    close(row, worker.rows[static_cast<std::size_t>(row - task.row_begin)], id);
                }
            });
        std::int64_t decided = 0;
        for (const Worker& worker : workers) decided += worker.distance.decided();
        return decided;
    }

private:
    struct Worker {
        explicit Worker(ExactDistance exact) : distance(std::move(exact)) {}
        Walk::Scratch walk;
        std::vector<Selector> rows;
        std::vector<float> row_floor, row_ceiling, nothing;
        ExactDistance distance;
    };

    void visit(Worker& worker, const Walk::Strip& strip, const Walk::Task& task) {
        const float* tile = strip.scores;
        for (const std::int64_t row : strip.tiles) {
            std::uint64_t masks[max_tile_rows];
            if (interesting(worker, strip, task, row, tile, masks)) {
                for (std::int64_t r = 0; r < kernels_.tile_rows && row + r < task.row_end; ++r) {
                    const std::uint64_t bits = masks[r] & walk_.allowed(row + r, strip);
                    settle(worker, worker.rows[static_cast<std::size_t>(row + r - task.row_begin)],
                           row + r, strip.col_begin, tile + r * kernels_.tile_cols, bits);
                }
            }
            tile += kernels_.tile_rows * kernels_.tile_cols;
        }
    }

    // The pairs of a tile that the floors and ceilings of its rows let through.
    bool interesting(Worker& worker, const Walk::Strip& strip, const Walk::Task& task,
                     std::int64_t row, const float* tile, std::uint64_t* masks) const {
        if constexpr (!Selector::selective) {
            std::fill(masks, masks + kernels_.tile_rows, ~std::uint64_t{0});
            return true;
        }
        constexpr float infinity = std::numeric_limits<float>::infinity();
        worker.nothing.assign(static_cast<std::size_t>(kernels_.tile_cols), infinity);
        worker.row_floor.assign(static_cast<std::size_t>(kernels_.tile_rows), infinity);
        worker.row_ceiling.assign(static_cast<std::size_t>(kernels_.tile_rows), -infinity);
        for (std::int64_t r = 0; r < kernels_.tile_rows && row + r < task.row_end; ++r) {
            const Selector& selector =
                worker.rows[static_cast<std::size_t>(row + r - task.row_begin)];
            worker.row_floor[static_cast<std::size_t>(r)] = selector.floor();
            worker.row_ceiling[static_cast<std::size_t>(r)] = selector.ceiling();
        }
        return kernels_.compare_tile(
            tile,
            Walk::side(*pairing_.row_operand, Sign::nearest, row, worker.row_floor.data(),
                       worker.row_ceiling.data()),
            Walk::side(*pairing_.col_operand, Sign::nearest, strip.col_begin, worker.nothing.data(),
                       worker.nothing.data()),
            Sign::nearest, true, masks);
    }

    // What the bounds do not settle is decided in float64.
    void settle(Worker& worker, Selector& selector, std::int64_t row, std::int64_t col_begin,
                const float* scores, std::uint64_t bits) const {
        const Operand &row_operand = *pairing_.row_operand, &col_operand = *pairing_.col_operand;
        const float row_bias = row_operand.bias(Sign::nearest)[row];
        const float row_width = row_operand.width()[row];
        const float* col_bias = col_operand.bias(Sign::nearest) + col_begin;
        const float* col_width = col_operand.width() + col_begin;
        const std::int64_t row_index = pairing_.rows->row(row);
        for (; bits != 0; bits &= bits - 1) {
            const int c = std::countr_zero(bits);
            const std::int64_t col = col_begin + c;
            const std::int64_t col_index = pairing_.cols->row(col);
            if (pairing_.self_join && row_index == col_index) continue;
            if (pairing_.rows->same_group(row, *pairing_.cols, col)) continue;
            const float upper = scores[c] - row_bias - col_bias[c];
            const float lower = upper - row_width - col_width[c];
            if (selector.settles(lower, upper)) continue;
            selector.offer({worker.distance(row, col), col_index});
        }
    }

    Team& team_;
    const KernelSet& kernels_;
    const Pairing& pairing_;
    Walk walk_;
};

}  // namespace tripletmine
