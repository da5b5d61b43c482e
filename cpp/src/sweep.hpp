// Sweep: the only loop over tiles. Scores every pair of a Pairing approximately, drops those whose
// bound proves that they cannot matter, and hands the canonical distance of the rest to a selector.
//
//   for each task (a block of rows × a run of column strips)      any thread, any order
//     for each strip of tile_cols columns
//       score_tile    all row panels of the block against the strip, chain by chain
//       compare_tile  bounds against what rows (and columns) still find interesting → bit masks
//       survivors     right relation? right group? → canonical distance → selector
//
// Knows no strategy. A self-join is symmetric: each unordered pair is scored once and serves both
// of its rows. What rows still find interesting only ever shrinks, so a stale floor is a safe
// floor; the selectors' answers do not depend on the order of offers, so no answer depends on the
// schedule.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "dataset.hpp"
#include "exact.hpp"
#include "kernels/kernel_set.hpp"
#include "metric.hpp"
#include "operand.hpp"
#include "parallel.hpp"
#include "select/ranked.hpp"

namespace tripletmine {

// Which pairs count: all, those of equal labels, those of different labels.
enum class Relation : std::uint8_t { any, positives, negatives };

// The two sides of a sweep. In a self-join a row is never paired with itself.
struct Pairing {
    const Dataset* rows;
    const Dataset* cols;
    const Operand* row_operand;
    const Operand* col_operand;
    bool self_join;  // the columns are rows of the same matrix ...
    bool symmetric;  // ... and the rows are all of them
    Metric metric;
};

// The shape of a sweep: plain data, decided before it begins.
struct SweepPlan {
    std::int64_t rows_per_block;
    std::int64_t strips_per_task;
};

SweepPlan plan_sweep(const Pairing& pairing, const KernelSet& kernels, int threads);

template <typename Selector>
class Sweep {
public:
    Sweep(Team& team, const KernelSet& kernels, const Pairing& pairing, Relation relation,
          Selector& selector);

    // Visits every pair of the relation; returns how many were decided in float64.
    std::int64_t run();

private:
    struct Task {
        std::int64_t row_begin, row_end;      // positions
        std::int64_t strip_begin, strip_end;  // strips of tile_cols columns
    };
    struct Worker {
        std::vector<float> scores;        // of the strip, tile after tile
        std::vector<std::int64_t> tiles;  // first rows of the tiles at work
        std::vector<float> col_floor, col_ceiling, row_floor, row_ceiling;
        FloatBuffer row_panels, col_panels;
        std::optional<ExactDistance> distance;
    };

    void plan_tasks();
    Interval strips_of(std::int64_t row_begin, std::int64_t row_end) const;
    bool relevant(std::int64_t row_begin, std::int64_t row_end, std::int64_t col_begin,
                  std::int64_t col_end) const;
    std::uint64_t allowed(std::int64_t row, std::int64_t col_begin, std::int64_t col_end) const;
    void prepare(Worker& worker) const;
    void run_task(const Task& task, int id);
    void score_strip(Worker& worker, const float* row_panels, std::int64_t row_begin,
                     const float* col_panels) const;
    void decide(Worker& worker, std::int64_t tile_row, std::int64_t col_begin, int tile_index,
                const std::uint64_t* masks);
    float offer(std::int64_t position, const Candidate& candidate);

    Team& team_;
    const KernelSet& kernels_;
    const Pairing& pairing_;
    const Relation relation_;
    Selector& selector_;
    const SweepPlan plan_;
    const bool banded_;

    std::vector<Interval> classes_;  // of each row: the columns that share its label
    std::vector<Task> tasks_;
    std::vector<Worker> workers_;
    // What each row still finds interesting, as of its latest offer; and the right to change it.
    std::unique_ptr<std::atomic<float>[]> floors_;
    std::unique_ptr<std::atomic_flag[]> locks_;
    std::vector<float> ceilings_;
};

template <typename Selector>
Sweep<Selector>::Sweep(Team& team, const KernelSet& kernels, const Pairing& pairing,
                       Relation relation, Selector& selector)
    : team_(team),
      kernels_(kernels),
      pairing_(pairing),
      relation_(relation),
      selector_(selector),
      plan_(plan_sweep(pairing, kernels, team.size())),
      banded_(selector.banded()),
      workers_(static_cast<std::size_t>(team.size())) {
    const std::int64_t rows = pairing.rows->size();
    classes_.resize(static_cast<std::size_t>(relation == Relation::any ? 0 : rows));
    for (std::int64_t p = 0; p < static_cast<std::int64_t>(classes_.size()); ++p) {
        const bool same = p > 0 && pairing.rows->label(p) == pairing.rows->label(p - 1);
        classes_[p] = same ? classes_[p - 1] : pairing.cols->class_of(pairing.rows->label(p));
    }
    floors_ = std::make_unique<std::atomic<float>[]>(static_cast<std::size_t>(rows));
    locks_ = std::make_unique<std::atomic_flag[]>(static_cast<std::size_t>(rows));
    for (std::int64_t p = 0; p < rows; ++p) floors_[p].store(selector.floor(p));
    if (banded_) {
        for (std::int64_t p = 0; p < rows; ++p) ceilings_.push_back(selector.ceiling(p));
    }
    plan_tasks();
}

template <typename Selector>
void Sweep<Selector>::plan_tasks() {
    const std::int64_t rows = pairing_.rows->size();
    for (std::int64_t begin = 0; begin < rows; begin += plan_.rows_per_block) {
        const std::int64_t end = std::min(rows, begin + plan_.rows_per_block);
        const Interval strips = strips_of(begin, end);
        for (std::int64_t s = strips.begin; s < strips.end; s += plan_.strips_per_task) {
            const std::int64_t last = std::min(strips.end, s + plan_.strips_per_task);
            tasks_.push_back({begin, end, s, last});
            team_.expect(static_cast<double>((end - begin) * (last - s) * kernels_.tile_cols));
        }
    }
}

template <typename Selector>
std::int64_t Sweep<Selector>::run() {
    team_.for_each(static_cast<std::int64_t>(tasks_.size()),
                   [&](std::int64_t task, int worker) { run_task(tasks_[task], worker); });
    std::int64_t decided = 0;
    for (const Worker& worker : workers_) {
        if (worker.distance) decided += worker.distance->decided();
    }
    return decided;
}

// The strips in which a block of rows has pairs of the relation.
template <typename Selector>
Interval Sweep<Selector>::strips_of(std::int64_t row_begin, std::int64_t row_end) const {
    Interval cols{pairing_.symmetric ? row_begin : 0, pairing_.cols->size()};
    if (relation_ == Relation::positives) {
        cols.begin = std::max(cols.begin, classes_[row_begin].begin);
        cols.end = classes_[row_end - 1].end;
    }
    if (cols.end <= cols.begin) return {0, 0};
    return {cols.begin / kernels_.tile_cols,
            (cols.end + kernels_.tile_cols - 1) / kernels_.tile_cols};
}

// Whether a tile holds any pair of the relation. Classes follow one another on both sides, so the
// first and the last row of a tile speak for all.
template <typename Selector>
bool Sweep<Selector>::relevant(std::int64_t row_begin, std::int64_t row_end, std::int64_t col_begin,
                               std::int64_t col_end) const {
    if (pairing_.symmetric && col_end - 1 <= row_begin) return false;
    if (relation_ == Relation::any) return true;
    const Interval first = classes_[row_begin], last = classes_[row_end - 1];
    if (relation_ == Relation::positives) return first.begin < col_end && col_begin < last.end;
    const bool one_class = first.begin == last.begin && first.end == last.end;
    return !(one_class && first.begin <= col_begin && col_end <= first.end);
}

// The columns of the strip with which the row may be paired, as bits.
template <typename Selector>
std::uint64_t Sweep<Selector>::allowed(std::int64_t row, std::int64_t col_begin,
                                       std::int64_t col_end) const {
    const auto bits = [&](std::int64_t begin, std::int64_t end) -> std::uint64_t {
        begin = std::clamp(begin, col_begin, col_end) - col_begin;
        end = std::clamp(end, col_begin, col_end) - col_begin;
        if (begin >= end) return 0;
        return (~std::uint64_t{0} >> (64 - (end - begin))) << begin;
    };
    std::uint64_t mask = bits(pairing_.symmetric ? row + 1 : col_begin, col_end);
    if (relation_ == Relation::positives) mask &= bits(classes_[row].begin, classes_[row].end);
    if (relation_ == Relation::negatives) mask &= ~bits(classes_[row].begin, classes_[row].end);
    return mask;
}

// A worker's memory, made by the worker itself and for its first task.
template <typename Selector>
void Sweep<Selector>::prepare(Worker& worker) const {
    const std::int64_t dim = pairing_.rows->dim();
    const auto tile_cols = static_cast<std::size_t>(kernels_.tile_cols);
    const auto tile_rows = static_cast<std::size_t>(kernels_.tile_rows);
    worker.scores.resize(static_cast<std::size_t>(plan_.rows_per_block) * tile_cols);
    worker.tiles.reserve(static_cast<std::size_t>(plan_.rows_per_block) / tile_rows);
    // A rectangular sweep asks nothing for its columns: no bound reaches their floor.
    worker.col_floor.assign(tile_cols, std::numeric_limits<float>::infinity());
    worker.col_ceiling.assign(tile_cols, -std::numeric_limits<float>::infinity());
    worker.row_floor.resize(tile_rows);
    worker.row_ceiling.resize(tile_rows);
    worker.distance.emplace(*pairing_.rows, *pairing_.cols, kernels_, pairing_.metric);
    if (!pairing_.row_operand->kept()) worker.row_panels = FloatBuffer(plan_.rows_per_block * dim);
    if (!pairing_.col_operand->kept()) worker.col_panels = FloatBuffer(kernels_.tile_cols * dim);
}

template <typename Selector>
void Sweep<Selector>::run_task(const Task& task, int id) {
    Worker& worker = workers_[static_cast<std::size_t>(id)];
    if (worker.scores.empty()) prepare(worker);
    const std::int64_t cols = pairing_.cols->size();
    const int tile_rows = kernels_.tile_rows, tile_cols = kernels_.tile_cols;
    const float* row_panels =
        pairing_.row_operand->panels(task.row_begin, plan_.rows_per_block, worker.row_panels);

    for (std::int64_t strip = task.strip_begin; strip < task.strip_end; ++strip) {
        team_.poll(id);
        const std::int64_t col_begin = strip * tile_cols;
        const std::int64_t col_end = std::min(cols, col_begin + tile_cols);
        worker.tiles.clear();
        for (std::int64_t row = task.row_begin; row < task.row_end; row += tile_rows) {
            if (relevant(row, std::min(task.row_end, row + tile_rows), col_begin, col_end)) {
                worker.tiles.push_back(row);
            }
        }
        if (!worker.tiles.empty()) {
            score_strip(worker, row_panels, task.row_begin,
                        pairing_.col_operand->panels(col_begin, tile_cols, worker.col_panels));
            if (pairing_.symmetric) {
                for (std::int64_t c = 0; c < col_end - col_begin; ++c) {
                    worker.col_floor[c] = floors_[col_begin + c].load(std::memory_order_relaxed);
                    if (banded_) worker.col_ceiling[c] = ceilings_[col_begin + c];
                }
            }
            int index = 0;
            for (const std::int64_t row : worker.tiles) {
                const std::int64_t count = std::min<std::int64_t>(tile_rows, task.row_end - row);
                for (std::int64_t r = 0; r < tile_rows; ++r) {
                    const std::int64_t p = row + std::min(r, count - 1);
                    worker.row_floor[r] = floors_[p].load(std::memory_order_relaxed);
                    if (banded_) worker.row_ceiling[r] = ceilings_[p];
                }
                const float* row_bias = pairing_.row_operand->bias(Selector::sign);
                const float* col_bias = pairing_.col_operand->bias(Selector::sign);
                const TileSide row_side{row_bias + row, pairing_.row_operand->width() + row,
                                        worker.row_floor.data(), worker.row_ceiling.data()};
                const TileSide col_side{col_bias + col_begin,
                                        pairing_.col_operand->width() + col_begin,
                                        worker.col_floor.data(), worker.col_ceiling.data()};
                std::uint64_t masks[max_tile_rows];
                if (kernels_.compare_tile(
                        worker.scores.data() + std::int64_t{index} * tile_rows * tile_cols,
                        row_side, col_side, Selector::sign, banded_, masks)) {
                    for (std::int64_t r = 0; r < count; ++r) {
                        masks[r] &= allowed(row + r, col_begin, col_end);
                    }
                    for (std::int64_t r = count; r < tile_rows; ++r) masks[r] = 0;
                    decide(worker, row, col_begin, index, masks);
                }
                ++index;
            }
        }
        team_.advance(static_cast<double>((task.row_end - task.row_begin) * tile_cols));
    }
}

// Chains outside, tiles inside: a chain of the strip stays in the nearest cache for all tiles.
template <typename Selector>
void Sweep<Selector>::score_strip(Worker& worker, const float* row_panels, std::int64_t row_begin,
                                  const float* col_panels) const {
    const std::int64_t dim = pairing_.rows->dim();
    const int tile_size = kernels_.tile_rows * kernels_.tile_cols;
    for (std::int64_t k = 0; k < dim; k += chain_length) {
        const int depth = static_cast<int>(std::min<std::int64_t>(chain_length, dim - k));
        float* tile = worker.scores.data();
        for (const std::int64_t row : worker.tiles) {
            const std::int64_t within = row - row_begin;
            const std::int64_t lane = within % panel_rows;
            kernels_.score_tile(row_panels + (within - lane) * dim + k * panel_rows + lane,
                                col_panels + k * panel_rows, dim * panel_rows, depth, k > 0, tile);
            tile += tile_size;
        }
    }
}

// The survivors of a tile, each looked at again first: its row may have learnt from the one before.
template <typename Selector>
void Sweep<Selector>::decide(Worker& worker, std::int64_t tile_row, std::int64_t col_begin,
                             int tile_index, const std::uint64_t* masks) {
    const int tile_rows = kernels_.tile_rows, tile_cols = kernels_.tile_cols;
    const float* tile = worker.scores.data() + std::int64_t{tile_index} * tile_rows * tile_cols;
    const Operand &row_operand = *pairing_.row_operand, &col_operand = *pairing_.col_operand;
    const float *row_bias = row_operand.bias(Selector::sign), *row_width = row_operand.width();
    const float *col_bias = col_operand.bias(Selector::sign), *col_width = col_operand.width();
    for (int r = 0; r < tile_rows; ++r) {
        const std::int64_t row = tile_row + r;
        for (std::uint64_t bits = masks[r]; bits != 0; bits &= bits - 1) {
            const int c = std::countr_zero(bits);
            const std::int64_t col = col_begin + c;
            const float score = tile[r * tile_cols + c];
            const float upper =
                (Selector::sign == Sign::nearest ? score : -score) - row_bias[row] - col_bias[col];
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
