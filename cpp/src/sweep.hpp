// Sweep: drops the pairs whose bound proves that they cannot matter, and hands the canonical
// distance of the rest to a selector that all tasks share.
//
//   for each strip of a Walk
//     compare_tile  bounds against what rows (and columns) still find interesting → bit masks
//     survivors     right relation? right group? → canonical distance → selector
//
// Knows no strategy. In a symmetric walk a pair serves both of its rows. What rows still find
// interesting only ever shrinks, so a stale floor is a safe floor; the selectors' answers do not
// depend on the order of offers, so no answer depends on the schedule.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "exact.hpp"
#include "metric.hpp"
#include "select/ranked.hpp"
#include "walk.hpp"

namespace tripletmine {

template <typename Selector>
class Sweep {
public:
    Sweep(Team& team, const KernelSet& kernels, const Pairing& pairing, Relation relation,
          Selector& selector)
        : team_(team),
          kernels_(kernels),
          pairing_(pairing),
          walk_(team, kernels, pairing, relation, plan_shared(pairing, kernels, team.size())),
          selector_(selector),
          banded_(selector.banded()),
          workers_(static_cast<std::size_t>(team.size())) {
        const std::int64_t rows = pairing.rows->size();
        floors_ = std::make_unique<std::atomic<float>[]>(static_cast<std::size_t>(rows));
        locks_ = std::make_unique<std::atomic_flag[]>(static_cast<std::size_t>(rows));
        for (std::int64_t p = 0; p < rows; ++p) floors_[p].store(selector.floor(p));
        if (banded_) {
            for (std::int64_t p = 0; p < rows; ++p) ceilings_.push_back(selector.ceiling(p));
        }
    }

    // Visits every pair of the relation; returns how many were decided in float64.
    std::int64_t run();

private:
    struct Worker {
        Walk::Scratch walk;
        std::vector<float> col_floor, col_ceiling, row_floor, row_ceiling;
        std::optional<ExactDistance> distance;
    };

    void prepare(Worker& worker) const;
    void run_task(const Walk::Task& task, int id);
    void visit(Worker& worker, const Walk::Strip& strip, std::int64_t row_end);
    void decide(Worker& worker, const Walk::Strip& strip, std::int64_t row, const float* tile,
                const std::uint64_t* masks);
    float offer(std::int64_t position, const Candidate& candidate);

    Team& team_;
    const KernelSet& kernels_;
    const Pairing& pairing_;
    Walk walk_;
    Selector& selector_;
    const bool banded_;
    std::vector<Worker> workers_;
    // What each row still finds interesting, as of its latest offer; and the right to change it.
    std::unique_ptr<std::atomic<float>[]> floors_;
    std::unique_ptr<std::atomic_flag[]> locks_;
    std::vector<float> ceilings_;
};

template <typename Selector>
std::int64_t Sweep<Selector>::run() {
    team_.for_each(static_cast<std::int64_t>(walk_.tasks().size()),
                   [&](std::int64_t task, int worker) {
                       run_task(walk_.tasks()[static_cast<std::size_t>(task)], worker);
                   });
    std::int64_t decided = 0;
    for (const Worker& worker : workers_) {
        if (worker.distance) decided += worker.distance->decided();
    }
    return decided;
}

template <typename Selector>
void Sweep<Selector>::prepare(Worker& worker) const {
    const auto tile_cols = static_cast<std::size_t>(kernels_.tile_cols);
    const auto tile_rows = static_cast<std::size_t>(kernels_.tile_rows);
    // A rectangular walk asks nothing for its columns: no bound reaches their floor.
    worker.col_floor.assign(tile_cols, std::numeric_limits<float>::infinity());
    worker.col_ceiling.assign(tile_cols, -std::numeric_limits<float>::infinity());
    worker.row_floor.resize(tile_rows);
    worker.row_ceiling.resize(tile_rows);
    worker.distance.emplace(*pairing_.rows, *pairing_.cols, kernels_, pairing_.metric);
}

template <typename Selector>
void Sweep<Selector>::run_task(const Walk::Task& task, int id) {
    Worker& worker = workers_[static_cast<std::size_t>(id)];
    if (!worker.distance) prepare(worker);
    walk_.visit_strips(task, id, worker.walk,
                       [&](const Walk::Strip& strip) { visit(worker, strip, task.row_end); });
}

template <typename Selector>
void Sweep<Selector>::visit(Worker& worker, const Walk::Strip& strip, std::int64_t row_end) {
    if (pairing_.symmetric) {
        for (std::int64_t c = 0; c < strip.col_end - strip.col_begin; ++c) {
            worker.col_floor[c] = floors_[strip.col_begin + c].load(std::memory_order_relaxed);
            if (banded_) worker.col_ceiling[c] = ceilings_[strip.col_begin + c];
        }
    }
    const TileSide cols = Walk::side(*pairing_.col_operand, Selector::sign, strip.col_begin,
                                     worker.col_floor.data(), worker.col_ceiling.data());
    const float* tile = strip.scores;
    for (const std::int64_t row : strip.tiles) {
        const std::int64_t count = std::min<std::int64_t>(kernels_.tile_rows, row_end - row);
        for (std::int64_t r = 0; r < kernels_.tile_rows; ++r) {
            const std::int64_t p = row + std::min(r, count - 1);
            worker.row_floor[r] = floors_[p].load(std::memory_order_relaxed);
            if (banded_) worker.row_ceiling[r] = ceilings_[p];
        }
        const TileSide rows = Walk::side(*pairing_.row_operand, Selector::sign, row,
                                         worker.row_floor.data(), worker.row_ceiling.data());
        std::uint64_t masks[max_tile_rows];
        if (kernels_.compare_tile(tile, rows, cols, Selector::sign, banded_, masks)) {
            for (std::int64_t r = 0; r < kernels_.tile_rows; ++r) {
                masks[r] &= r < count ? walk_.allowed(row + r, strip) : 0;
            }
            decide(worker, strip, row, tile, masks);
        }
        tile += kernels_.tile_rows * kernels_.tile_cols;
    }
}

// The survivors of a tile, each looked at again first: its row may have learnt from the one before.
template <typename Selector>
void Sweep<Selector>::decide(Worker& worker, const Walk::Strip& strip, std::int64_t tile_row,
                             const float* tile, const std::uint64_t* masks) {
    const Operand &row_operand = *pairing_.row_operand, &col_operand = *pairing_.col_operand;
    const float *row_bias = row_operand.bias(Selector::sign), *row_width = row_operand.width();
    const float *col_bias = col_operand.bias(Selector::sign), *col_width = col_operand.width();
    for (int r = 0; r < kernels_.tile_rows; ++r, tile += kernels_.tile_cols) {
        const std::int64_t row = tile_row + r;
        for (std::uint64_t bits = masks[r]; bits != 0; bits &= bits - 1) {
            const int c = std::countr_zero(bits);
            const std::int64_t col = strip.col_begin + c;
            const float signed_score = Selector::sign == Sign::nearest ? tile[c] : -tile[c];
            const float upper = signed_score - row_bias[row] - col_bias[col];
            bool for_row = upper >= worker.row_floor[r];
            bool for_col = pairing_.symmetric && upper >= worker.col_floor[c];
            if (banded_) {
                const float lower = upper - row_width[row] - col_width[col];
                for_row = for_row && lower <= worker.row_ceiling[r];
                for_col = for_col && lower <= worker.col_ceiling[c];
            }
            if (!for_row && !for_col) continue;
            const std::int64_t row_index = pairing_.rows->row(row);
            const std::int64_t col_index = pairing_.cols->row(col);
            if (pairing_.self_join && row_index == col_index) continue;
            if (pairing_.rows->same_group(row, *pairing_.cols, col)) continue;

            const double exact = (*worker.distance)(row, col);
            if (for_row) worker.row_floor[r] = offer(row, {exact, col_index});
            if (for_col) worker.col_floor[c] = offer(col, {exact, row_index});
        }
    }
}

// Returns the row's floor after the offer.
template <typename Selector>
float Sweep<Selector>::offer(std::int64_t position, const Candidate& candidate) {
    while (locks_[position].test_and_set(std::memory_order_acquire)) {
        std::this_thread::yield();
    }
    selector_.offer(position, candidate);
    const float floor = selector_.floor(position);
    floors_[position].store(floor, std::memory_order_relaxed);
    locks_[position].clear(std::memory_order_release);
    return floor;
}

}  // namespace tripletmine
