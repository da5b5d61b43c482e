// Walk: the only loop over tiles. Scores the pairs of a Pairing approximately and hands the scores
// to whoever wants to know: tile by tile to Sweep (shared rows), row by row to BlockSweep and
// RowSweep (rows of their own).
//
//   for each task (a block of rows × a run of columns)           any thread, any order
//     run                                      run_rows
//       for each strip of tile_cols columns      for each chunk of columns
//         begin(strip)                             score all tiles
//         for each tile of tile_rows rows          for each row
//           visit(strip, tile)                       visit(row, columns, scores)
//
// Knows schedule, blocking and relation; knows no strategy.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
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

    // For walks in which each row meets all columns.
    Pairing both_ways() const {
        Pairing pairing = *this;
        pairing.symmetric = false;
        return pairing;
    }

    // The scores of a row, at place r of a tile whose columns begin at this position.
    struct RowScores {
        const void* scores;
        const float* col_scale;  // null unless they are sums of codes
        float row_scale;
        float operator()(std::int64_t c) const {
            if (col_scale == nullptr) return static_cast<const float*>(scores)[c];
            return static_cast<float>(static_cast<const std::int32_t*>(scores)[c]) * row_scale *
                   col_scale[c];
        }
    };
    RowScores row_scores(const void* tile, std::int64_t row, std::int64_t r,
                         std::int64_t col_begin) const {
        constexpr std::int64_t bytes = 4;  // of a float or an int32
        const bool codes = of_codes(scorer().format);
        return {static_cast<const char*>(tile) + r * scorer().tile_cols * bytes,
                codes ? col_operand->scale() + col_begin : nullptr, row_operand->scale()[row]};
    }
};

// The shape of a walk: plain data, decided before it begins.
struct WalkPlan {
    std::int64_t rows_per_block;
    std::int64_t cols_per_task;
    std::int64_t cols_per_chunk = tile_granule;  // that run_rows takes at once
    bool cuts_groups = true;                     // out of the runs that it visits

    // The scores of a chunk lie an odd number of cache lines apart from row to row: not all in a
    // few sets.
    std::int64_t chunk_stride() const { return cols_per_chunk + max_register; }
};

// A block of rows stays in the second-level cache.
inline constexpr std::int64_t block_cache = 1024 * 1024;

// The rows of a task that has them to itself, at most.
inline constexpr std::int64_t most_own_rows = 128;

// For walks whose rows are shared by tasks, and for those in which a task has its rows to itself.
WalkPlan plan_shared(const Pairing& pairing, int threads);
// `cols_at_once`: how many scores of a row are best visited together.
WalkPlan plan_blocks(const Pairing& pairing, std::int64_t cols_at_once, int threads);

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
    // How many pairs a task is about, and those from this one on.
    static double pairs_of(const Task& task) {
        return static_cast<double>((task.row_end - task.row_begin) *
                                   (task.col_end - task.col_begin));
    }
    double pairs_from(std::int64_t task) const;
    // Tells the team how many are to come.
    void announce() const { team_.expect(pairs_from(0)); }

    // The same walk on the same rows, packed for another scorer.
    void score_with(const Pairing& pairing) { pairing_ = pairing; }

    template <typename Begin, typename Visit>
    void run(const Task& task, int worker, Scratch& scratch, Begin begin, Visit visit);

    // Calls visit(row, cols, scores) for runs of columns with which the row may be paired (groups
    // left out too, if they are cut); scores[0] is that of cols.begin.
    template <typename Visit>
    void run_rows(const Task& task, int worker, Scratch& scratch, Visit visit);

    // The first half of that: takes the rows of a block, and scores them with some columns, from
    // the edge of a tile on. Rows of scores lie `stride` apart, and there is room for whole tiles.
    void take_rows(std::int64_t row_begin, Scratch& scratch) const {
        pairing_.row_operand->row_side(row_begin, plan_.rows_per_block, scratch.rows);
    }
    void score_rows(const Interval& rows, const Interval& cols, int worker, Scratch& scratch,
                    float* scores, std::int64_t stride);

    // The other half: calls visit for scores that are there, and lie `stride` apart from row to
    // row; the first is that of the task's first row and of the first of these columns.
    template <typename Visit>
    void visit_rows(const Task& task, const Interval& cols, int worker, const float* scores,
                    std::int64_t stride, Visit visit);

    // All scores of a self-join of few rows, which is walked both ways: the rows lie `stride`
    // apart.
    struct Matrix {
        Buffer<float> scores;
        std::int64_t stride;
        float* at(std::int64_t row, std::int64_t col) const {
            return scores.data() + row * stride + col;
        }
    };
    Matrix matrix() const;
    // Scores a block of so many rows with each other; and with those of later blocks, for whose
    // rows the same scores are those with its own. After all blocks the matrix is filled.
    static std::int64_t rows_scored_once(const Pairing& pairing);
    void score_once(std::int64_t block, int worker, Scratch& scratch, const KernelSet& kernels,
                    const Matrix& matrix);

    // The columns of an interval that are of the row's group, ascending.
    std::span<const std::int64_t> of_group(std::int64_t row, const Interval& cols) const;

    // The columns of a strip with which the row may be paired, as bits.
    std::uint64_t allowed(std::int64_t row, const Strip& strip) const;
    // Clears the bits of others, for some rows from this one on.
    void leave_allowed(std::int64_t row, std::int64_t count, const Strip& strip,
                       std::uint64_t* masks) const;

private:
    void index_groups();
    void score(const RowSide& rows, std::int64_t row, const std::byte* cols, std::int64_t col,
               std::int64_t k, float* scores, std::int64_t stride) const;
    template <typename Visit>
    void visit_allowed(std::int64_t row, const Interval& cols, Visit visit) const;
    void plan_tasks();
    Interval cols_of(std::int64_t row_begin, std::int64_t row_end) const;
    bool relevant(std::int64_t row_begin, std::int64_t row_end, std::int64_t col_begin,
                  std::int64_t col_end) const;
    void choose_tiles(const Task& task, const Strip& strip, std::vector<std::int64_t>& tiles) const;

    Team& team_;
    Pairing pairing_;
    const Relation relation_;
    const WalkPlan plan_;
    std::vector<Interval> classes_;       // of each row: the columns that share its label
    std::vector<std::int64_t> by_group_;  // positions of the columns, sorted by (group, position)
    std::vector<Interval> groups_;        // of each row: the part of these that is of its group
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
    const Scorer& scorer = pairing_.scorer();
    const ScoringThread scoring(scorer);
    const std::int64_t depth = pairing_.row_operand->depth(), step = scorer.longest_depth;
    const std::int64_t tile_size = scorer.tile_rows * scorer.tile_cols;
    if (scratch.scores.empty()) {
        scratch.scores = Buffer<float>(plan_.rows_per_block * max_tile_cols);
    }
    pairing_.row_operand->row_side(task.row_begin, plan_.rows_per_block, scratch.rows);
    for (std::int64_t c = task.col_begin; c < task.col_end; c += scorer.tile_cols) {
        team_.poll(worker);
        const Strip strip{c, std::min(task.col_end, c + scorer.tile_cols)};
        choose_tiles(task, strip, scratch.tiles);
        if (!scratch.tiles.empty()) {
            begin(strip);
            const std::byte* cols =
                pairing_.col_operand->col_side(c, scorer.tile_cols, scratch.cols);
            // A part of the strip that is taken at once stays in the nearest cache for all tiles;
            // only where there are several do the scores of all tiles have to be kept.
            for (std::int64_t k = 0; k < depth; k += step) {
                float* scores = scratch.scores.data();
                for (const std::int64_t row : scratch.tiles) {
                    score(scratch.rows, row - task.row_begin, cols, c, k, scores, scorer.tile_cols);
                    if (k + step >= depth) visit(strip, Tile{row, scores});
                    if (depth > step) scores += tile_size;
                }
            }
        }
        team_.advance(static_cast<double>((task.row_end - task.row_begin) *
                                          (strip.col_end - strip.col_begin)));
    }
}

template <typename Visit>
void Walk::run_rows(const Task& task, int worker, Scratch& scratch, Visit visit) {
    const std::int64_t stride = plan_.chunk_stride();
    if (scratch.scores.empty()) {
        scratch.scores = Buffer<float>(plan_.rows_per_block * stride);
        for (std::int64_t row = 0; row < plan_.rows_per_block; ++row) {  // what lies between rows
            float* end = scratch.scores.data() + row * stride + plan_.cols_per_chunk;
            std::fill(end, end + stride - plan_.cols_per_chunk, 0.0f);
        }
    }
    take_rows(task.row_begin, scratch);
    for (std::int64_t begin = task.col_begin; begin < task.col_end; begin += plan_.cols_per_chunk) {
        const Interval chunk{begin, std::min(task.col_end, begin + plan_.cols_per_chunk)};
        score_rows({task.row_begin, task.row_end}, chunk, worker, scratch, scratch.scores.data(),
                   stride);
        visit_rows(task, chunk, worker, scratch.scores.data(), stride, visit);
    }
}

template <typename Visit>
void Walk::visit_rows(const Task& task, const Interval& cols, int worker, const float* scores,
                      std::int64_t stride, Visit visit) {
    for (std::int64_t row = task.row_begin; row < task.row_end; ++row, scores += stride) {
        visit_allowed(row, cols, [&](const Interval& run) {
            visit(row, run, scores + run.begin - cols.begin);
        });
        if (row % 8 == 0) team_.poll(worker);
    }
    team_.advance(static_cast<double>((task.row_end - task.row_begin) * cols.size()));
}

// Calls visit(cols) for every run of allowed columns.
template <typename Visit>
void Walk::visit_allowed(std::int64_t row, const Interval& cols, Visit visit) const {
    const Interval same = relation_ == Relation::any ? Interval{cols.begin, cols.begin}
                                                     : classes_[static_cast<std::size_t>(row)];
    const Interval own{std::clamp(same.begin, cols.begin, cols.end),
                       std::clamp(same.end, cols.begin, cols.end)};
    const auto part = [&](Interval rest) {
        const auto without = [&](std::int64_t col) {  // cuts one column out
            if (col < rest.begin || col >= rest.end) return;
            if (rest.begin < col) visit(Interval{rest.begin, col});
            rest.begin = col + 1;
        };
        if (plan_.cuts_groups) std::ranges::for_each(of_group(row, rest), without);
        if (rest.size() > 0) visit(rest);
    };
    if (relation_ == Relation::positives) return part(own);
    part({cols.begin, own.begin});
    part({own.end, cols.end});
}

}  // namespace tripletmine
