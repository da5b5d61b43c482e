// Walk: the only loop over tiles. Scores the pairs of a Pairing approximately, strip by strip, and
// hands each strip to whoever wants to know: Sweep (shared rows) or BlockSweep (rows of its own).
//
//   for each task (a block of rows × a run of column strips)      any thread, any order
//     for each strip of tile_cols columns
//       score_tile    all row panels of the block against the strip, chain by chain
//       visit         the scores of the strip, while they are in the cache
//
// Knows schedule, blocking and relation; knows no strategy.
#pragma once

#include <cstdint>
#include <vector>

#include "dataset.hpp"
#include "kernels/kernel_set.hpp"
#include "operand.hpp"
#include "parallel.hpp"

namespace tripletmine {

// Which pairs count: all, those of equal labels, those of different labels.
enum class Relation : std::uint8_t { any, positives, negatives };

// The two sides of a walk. In a self-join a row is never paired with itself.
struct Pairing {
    const Dataset* rows;
    const Dataset* cols;
    const Operand* row_operand;
    const Operand* col_operand;
    bool self_join;  // the columns are rows of the same matrix ...
    bool symmetric;  // ... the rows are all of them, and each unordered pair is walked once
    Metric metric;
};

// The shape of a walk: plain data, decided before it begins.
struct WalkPlan {
    std::int64_t rows_per_block;
    std::int64_t strips_per_task;
};

// For walks whose rows are shared by tasks, and for those in which a task has its rows to itself.
WalkPlan plan_shared(const Pairing& pairing, const KernelSet& kernels, int threads);
WalkPlan plan_blocks(const Pairing& pairing, const KernelSet& kernels, int threads);

class Walk {
public:
    struct Task {
        std::int64_t row_begin, row_end;      // positions
        std::int64_t strip_begin, strip_end;  // strips of tile_cols columns
    };

    // A strip at hand. Tile i covers the rows from tiles[i] on; its scores lie row by row.
    struct Strip {
        std::int64_t col_begin, col_end;
        const std::vector<std::int64_t>& tiles;
        const float* scores;
    };

    // One for each worker.
    struct Scratch {
        std::vector<float> scores;
        std::vector<std::int64_t> tiles;
        FloatBuffer row_panels, col_panels;
    };

    Walk(Team& team, const KernelSet& kernels, const Pairing& pairing, Relation relation,
         const WalkPlan& plan);

    const std::vector<Task>& tasks() const { return tasks_; }

    // Calls visit(strip) for every strip of the task that holds pairs of the relation.
    template <typename Visit>
    void visit_strips(const Task& task, int worker, Scratch& scratch, Visit visit);

    // The columns of a strip with which the row may be paired, as bits.
    std::uint64_t allowed(std::int64_t row, const Strip& strip) const;

    // What a tile is compared with, for the rows or columns from `position` on.
    static TileSide side(const Operand& operand, Sign sign, std::int64_t position,
                         const float* floor, const float* ceiling) {
        return {operand.bias(sign) + position, operand.width() + position, floor, ceiling};
    }

private:
    void plan_tasks();
    Interval strips_of(std::int64_t row_begin, std::int64_t row_end) const;
    bool relevant(std::int64_t row_begin, std::int64_t row_end, std::int64_t col_begin,
                  std::int64_t col_end) const;
    void prepare(Scratch& scratch) const;
    void choose_tiles(const Task& task, std::int64_t col_begin, std::int64_t col_end,
                      std::vector<std::int64_t>& tiles) const;
    void score_tiles(Scratch& scratch, const float* row_panels, std::int64_t row_begin,
                     const float* col_panels) const;

    Team& team_;
    const KernelSet& kernels_;
    const Pairing& pairing_;
    const Relation relation_;
    const WalkPlan plan_;
    std::vector<Interval> classes_;  // of each row: the columns that share its label
    std::vector<Task> tasks_;
};

template <typename Visit>
void Walk::visit_strips(const Task& task, int worker, Scratch& scratch, Visit visit) {
    if (scratch.scores.empty()) prepare(scratch);
    const float* row_panels =
        pairing_.row_operand->panels(task.row_begin, plan_.rows_per_block, scratch.row_panels);
    for (std::int64_t number = task.strip_begin; number < task.strip_end; ++number) {
        team_.poll(worker);
        const std::int64_t col_begin = number * kernels_.tile_cols;
        const std::int64_t col_end =
            std::min(pairing_.cols->size(), col_begin + kernels_.tile_cols);
        choose_tiles(task, col_begin, col_end, scratch.tiles);
        if (!scratch.tiles.empty()) {
            score_tiles(
                scratch, row_panels, task.row_begin,
                pairing_.col_operand->panels(col_begin, kernels_.tile_cols, scratch.col_panels));
            visit(Strip{col_begin, col_end, scratch.tiles, scratch.scores.data()});
        }
        team_.advance(static_cast<double>((task.row_end - task.row_begin) * kernels_.tile_cols));
    }
}

}  // namespace tripletmine
