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
          walk_(team, pairing, relation, plan_blocks(pairing, team.size())) {}

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
                walk_.run(
                    task, id, worker.walk, [](const Walk::Strip&) {},
                    [&](const Walk::Strip& strip, const Walk::Tile& tile) {
                        visit(worker, strip, tile, task);
                    });
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

    void visit(Worker& worker, const Walk::Strip& strip, const Walk::Tile& tile,
               const Walk::Task& task) {
        const Scorer& scorer = pairing_.scorer();
        const auto* scores = static_cast<const float*>(tile.scores);
        std::uint64_t masks[max_tile_rows];
        if (!interesting(worker, strip, tile, task, masks)) return;
        for (std::int64_t r = 0; r < scorer.tile_rows && tile.row_begin + r < task.row_end; ++r) {
            const std::int64_t row = tile.row_begin + r;
            settle(worker, worker.rows[static_cast<std::size_t>(row - task.row_begin)], row,
                   strip.col_begin, scores + r * scorer.tile_cols,
                   masks[r] & walk_.allowed(row, strip));
        }
    }

    // The pairs of a tile that the floors and ceilings of its rows let through.
    bool interesting(Worker& worker, const Walk::Strip& strip, const Walk::Tile& tile,
                     const Walk::Task& task, std::uint64_t* masks) const {
        const Scorer& scorer = pairing_.scorer();
        if constexpr (!Selector::selective) {
            std::fill(masks, masks + scorer.tile_rows, ~std::uint64_t{0});
            return true;
        }
        constexpr float infinity = std::numeric_limits<float>::infinity();
        worker.nothing.assign(max_tile_cols, infinity);
        worker.row_floor.assign(max_tile_rows, infinity);
        worker.row_ceiling.assign(max_tile_rows, -infinity);
        for (std::int64_t r = 0; r < scorer.tile_rows && tile.row_begin + r < task.row_end; ++r) {
            const Selector& selector =
                worker.rows[static_cast<std::size_t>(tile.row_begin + r - task.row_begin)];
            worker.row_floor[static_cast<std::size_t>(r)] = selector.floor();
            worker.row_ceiling[static_cast<std::size_t>(r)] = selector.ceiling();
        }
        return scorer.compare(
            tile.scores,
            pairing_.row_operand->side(Sign::nearest, tile.row_begin, worker.row_floor.data(),
                                       worker.row_ceiling.data()),
            pairing_.col_operand->side(Sign::nearest, strip.col_begin, worker.nothing.data(),
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
