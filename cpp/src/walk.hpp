// Walk: the only loop over tiles. Scores the pairs of a Pairing approximately, tile by tile, and
// hands each tile to whoever wants to know: Sweep (shared rows) or BlockSweep (rows of its own).
//
//   for each task (a block of rows × a run of columns)           any thread, any order
//     for each strip of tile_cols columns
//       begin(strip)
//       for each tile of tile_rows rows
//         visit(strip, tile)   its scores, while they are in the cache
//
// Knows schedule, blocking and relation; knows no strategy.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "dataset.hpp"
#include "kernels/kernel_set.hpp"
#include "operand.hpp"
#include "parallel.hpp"

namespace tripletmine {

// Which pairs count: all, those of equal labels, those of different labels.
enum class Relation : std::uint8_t { any, positives, negatives };

// The two sides of a walk, packed for one scorer. In a self-join a row is never paired with itself.
struct Pairing {
    const Dataset* rows;
    const Dataset* cols;
    const Operand* row_operand;
    const Operand* col_operand;
    bool self_join;  // the columns are rows of the same matrix ...
    bool symmetric;  // ... the rows are all of them, and each unordered pair is walked once
    Metric metric;

    const Scorer& scorer() const { return row_operand->scorer(); }

    // The score of a pair: of positions row and col, at place (r, c) of a tile.
    float score(const void* scores, std::int64_t row, std::int64_t r, std::int64_t col,
                std::int64_t c) const {
        const std::int64_t at = r * scorer().tile_cols + c;
        if (scorer().format != Format::int8) return static_cast<const float*>(scores)[at];
        return static_cast<float>(static_cast<const std::int32_t*>(scores)[at]) *
               col_operand->scale()[col] * row_operand->scale()[row];
    }
};

// The shape of a walk: plain data, decided before it begins.
struct WalkPlan {
    std::int64_t rows_per_block;
    std::int64_t cols_per_task;
};

// For walks whose rows are shared by tasks, and for those in which a task has its rows to itself.
WalkPlan plan_shared(const Pairing& pairing, int threads);
WalkPlan plan_blocks(const Pairing& pairing, int threads);

class Walk {
public:
    struct Task {
        std::int64_t row_begin, row_end;  // positions
        std::int64_t col_begin, col_end;
    };
    struct Strip {
        std::int64_t col_begin, col_end;
    };
    // The rows from row_begin on, at most tile_rows; their scores, row by row.
    struct Tile {
        std::int64_t row_begin;
        const void* scores;
    };

    // One for each worker.
    struct Scratch {
        std::vector<std::int64_t> tiles;
        Buffer<float> scores;
        RowSide rows;
        Buffer<std::byte> cols;
    };

    Walk(Team& team, const Pairing& pairing, Relation relation, const WalkPlan& plan);

    const std::vector<Task>& tasks() const { return tasks_; }

    // The same walk on the same rows, packed for another scorer.
    void score_with(const Pairing& pairing) { pairing_ = pairing; }

    template <typename Begin, typename Visit>
    void run(const Task& task, int worker, Scratch& scratch, Begin begin, Visit visit);

    // The columns of a strip with which the row may be paired, as bits.
    std::uint64_t allowed(std::int64_t row, const Strip& strip) const;

private:
    void plan_tasks();
    Interval cols_of(std::int64_t row_begin, std::int64_t row_end) const;
    bool relevant(std::int64_t row_begin, std::int64_t row_end, std::int64_t col_begin,
                  std::int64_t col_end) const;
    void choose_tiles(const Task& task, const Strip& strip, std::vector<std::int64_t>& tiles) const;

    Team& team_;
    Pairing pairing_;
    const Relation relation_;
    const WalkPlan plan_;
    std::vector<Interval> classes_;  // of each row: the columns that share its label
    std::vector<Task> tasks_;
};

// While it lives, this thread may score.
class ScoringThread {
public:
    explicit ScoringThread(const Scorer& scorer) : scorer_(scorer) {
        if (scorer_.acquire) scorer_.acquire();
    }
    ~ScoringThread() {
        if (scorer_.release) scorer_.release();
    }
    ScoringThread(const ScoringThread&) = delete;
    ScoringThread& operator=(const ScoringThread&) = delete;

private:
    const Scorer& scorer_;
};

template <typename Begin, typename Visit>
void Walk::run(const Task& task, int worker, Scratch& scratch, Begin begin, Visit visit) {
    const Operand &row_operand = *pairing_.row_operand, &col_operand = *pairing_.col_operand;
    const Scorer& scorer = pairing_.scorer();
    const ScoringThread scoring(scorer);
    const std::int64_t depth = row_operand.depth(), step = scorer.longest_depth;
    const std::int64_t tile_size = scorer.tile_rows * scorer.tile_cols;
    const std::int64_t element = panel_rows * row_operand.element_bytes();
    if (scratch.scores.empty())
        scratch.scores = Buffer<float>(plan_.rows_per_block * max_tile_cols);
    row_operand.row_side(task.row_begin, plan_.rows_per_block, scratch.rows);
    for (std::int64_t c = task.col_begin; c < task.col_end; c += scorer.tile_cols) {
        team_.poll(worker);
        const Strip strip{c, std::min(task.col_end, c + scorer.tile_cols)};
        choose_tiles(task, strip, scratch.tiles);
        if (!scratch.tiles.empty()) {
            begin(strip);
            const std::byte* cols = col_operand.col_side(c, scorer.tile_cols, scratch.cols);
            // A part of the strip that is taken at once stays in the nearest cache for all tiles;
            // only where there are several do the scores of all tiles have to be kept.
            for (std::int64_t k = 0; k < depth; k += step) {
                const int part = static_cast<int>(std::min(step, depth - k));
                float* scores = scratch.scores.data();
                for (const std::int64_t row : scratch.tiles) {
                    const std::int64_t at = row - task.row_begin, lane = at % panel_rows;
                    const std::byte* rows = scratch.rows.panels +
                                            at / panel_rows * row_operand.panel_bytes() +
                                            lane * row_operand.row_bytes();
                    scorer.score(rows + k * element, cols + k * element, row_operand.panel_bytes(),
                                 part, scratch.rows.start.data() + at, k > 0, scores,
                                 scorer.tile_cols);
                    if (k + part == depth) visit(strip, Tile{row, scores});
                    if (depth > step) scores += tile_size;
                }
            }
        }
        team_.advance(static_cast<double>((task.row_end - task.row_begin) * scorer.tile_cols));
    }
}

}  // namespace tripletmine
