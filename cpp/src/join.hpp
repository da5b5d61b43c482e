// Join: the two sides of a call, checked, measured and packed once, and the questions put to them.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "block_sweep.hpp"
#include "dataset.hpp"
#include "exact.hpp"
#include "filter.hpp"
#include "kernels/kernel_set.hpp"
#include "operand.hpp"
#include "parallel.hpp"
#include "row_sweep.hpp"
#include "select/choice.hpp"
#include "select/intervals.hpp"
#include "select/race.hpp"
#include "select/window.hpp"
#include "select/within.hpp"
#include "sweep.hpp"
#include "walk.hpp"

namespace tripletmine {

class Stopwatch {
public:
    double seconds() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }

private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// The threads of a call whose pairs these are.
inline int threads_for(const Execution& execution, const Population& rows,
                       const std::optional<Population>& references) {
    const MatrixView& cols = references ? references->matrix : rows.matrix;
    return threads_for(execution.n_threads, static_cast<double>(rows.matrix.rows) *
                                                static_cast<double>(cols.rows) *
                                                static_cast<double>(cols.cols));
}

class Join {
public:
    Join(Team& team, const KernelSet& kernels, const Population& rows,
         const std::optional<Population>& references,
         const std::optional<std::span<const std::int64_t>>& subset, Metric metric,
         std::int64_t packing_budget);

    // The same sides, measured and packed as they are, for the questions of a later team.
    Join(Team& team, const Join& other);

    // The same columns (not measured or packed again), and only these of the rows.
    Join narrowed(std::span<const std::int64_t> rows) const;

    const Dataset& rows() const { return *rows_; }
    const Dataset& cols() const { return *cols_; }
    int workers() const { return team_.size(); }
    bool self_join() const { return self_join_; }

    // How far a fine score is off, usually, in parts of the product (or the sum) of the squared
    // norms: what some additions in float32, or a pair of bfloat16, leave.
    double score_error() const {
        return kernels_.fine.format == Format::bfloat16_pair ? 0x1p-19 : 0x1p-22;
    }
    // Finds out how long rows are for fine scores: sums of these are the closer for it.
    void measure_lengths();

    // The candidates of each row, whatever their labels.
    std::int64_t candidates() const { return cols_->size() - (self_join_ ? 1 : 0); }

    // The first k candidates of every row by distance, among those within the row's range (all, if
    // `ranges` is empty). Nearest: ascending (d, index); farthest: ascending (−d, index).
    Choice rank(Relation relation, Sign sign, std::int64_t k, std::vector<Range> ranges);

    // The first positive and the first k negatives of every row: both asked at once where that is
    // less work.
    std::pair<Choice, Choice> first(Sign positive, Sign negative, std::int64_t k);

    // The first k candidates of every row, among those within the range, in an order drawn at
    // random: see select/random.cpp. With `positives`, k for each (row, positive) pair instead:
    // run positives->begin_of(row) + i is of the row's i-th positive.
    Choice draw(Relation relation, std::int64_t k, const Range& range, std::uint64_t seed,
                const Choice* positives = nullptr);

    // Every positive of every row within the range, ascending by index.
    Choice list_positives(const Range& range);

    // Calls take(row, candidate) for every positive of every row instead, ascending by index; those
    // of a row on one worker's thread.
    template <typename Take>
    void each_positive(Take take);

    // The same for some rows. `scratch` is the worker's own.
    struct Listing {
        ExactBlock exact;
        std::vector<double> distances;
    };
    template <typename Take>
    void list_positives(const Interval& rows, int worker, Listing& scratch, Take take) const;
    // One for each worker.
    std::vector<Listing> listings() const {
        return std::vector<Listing>(static_cast<std::size_t>(team_.size()),
                                    {{*rows_, *cols_, kernels_, metric_}, {}});
    }

    // For every (row, positive) pair, numbered as for draw: the first k negatives strictly farther
    // than the positive, nearest first, among those within the range.
    Choice succeed(const Choice& positives, std::int64_t k, const Range& range);

    // Every negative of every row within the row's range (all, if `ranges` is empty), ascending by
    // index. `share` is how many of them that will be, about, as a part of all: few are looked for
    // by their scores.
    Choice list_negatives(const std::vector<Range>& ranges = {}, double share = 1.0);

    // Some of the rows, from all over them; and of each row the distances of some negatives.
    Join some_rows(std::int64_t most) const;
    std::vector<std::vector<double>> some_negatives();

    // How many candidates of each row are negatives, whatever their distance.
    std::vector<std::int64_t> negatives_in_all();

    // For every row one negative for each of its entries, drawn at random: see select/race.hpp.
    void race(const Weight& weight, const std::function<std::vector<Entry>(std::int64_t)>& entries,
              const std::function<void(std::int64_t, const std::vector<Candidate>&)>& take);

    // Counts the negatives of every row within distances of interest: thresholds(row) names them
    // (in any order), take(row, counts) learns the answer, on the worker's thread; begin(rows,
    // worker) hears of each block of rows before. `share` as for list_negatives, of those within
    // the last distance. Without `sums` counts are all that is needed.
    void count_negatives(const std::function<std::vector<double>(std::int64_t)>& thresholds,
                         const std::function<void(std::int64_t, const Counts&)>& take,
                         const BlockSweep<Counts>::Begin& begin, double share, bool sums);
    // Whether coarse scores help with such a share.
    bool counts_few(double share) const;

    // Offers every candidate that matters to the window of every row, which keeps some k of them:
    // see select/window.hpp. What is open(row, worker) and close(row, window, worker): see
    // BlockSweep.
    void survey(std::int64_t k, const std::function<Window(std::int64_t, int)>& open,
                const std::function<void(std::int64_t, Window&, int)>& close);

    const ScoreSpace& space() const { return space_; }

    // The rows in ascending order, cut into blocks of which each is a load of at most 1 (or one
    // row); load(c) is that of a row with c candidates of its label.
    std::vector<std::vector<std::int64_t>> blocks(
        const std::function<double(std::int64_t)>& load) const;

    // Distances of single pairs, for one worker.
    ExactDistance exact_distance() const { return {*rows_, *cols_, kernels_, metric_}; }

    // Counts the work of a join narrowed from this one, or of a worker, as this one's; and keeps
    // what the join learned of the columns, and packed of them, for the next one.
    void include(const Join& narrowed) {
        decided_ += narrowed.decided_;
        for (const std::string& filter : narrowed.filters_) note_use(filter);
        if (!projection_) projection_ = narrowed.projection_;
        if (!kinds_) kinds_ = narrowed.kinds_;
        if (narrowed.least_of_blocks_ > least_of_blocks_) {
            least_of_blocks_ = narrowed.least_of_blocks_;
            if (least_of_blocks_ > Precision::coarse) forget_coarser(least_of_blocks_);
        }
        for (std::size_t i = 0; i < precisions; ++i) {
            if (!origins_[i]) origins_[i] = narrowed.origins_[i];
            if (!col_operands_[i]) col_operands_[i] = narrowed.col_operands_[i];
        }
    }
    void include(const ExactDistance& distance) { decided_ += distance.decided(); }
    void include(const std::vector<Listing>& listings) {
        for (const Listing& one : listings) decided_ += one.exact.decided();
    }

    // To be called when there are no more questions: the packed rows take memory.
    void forget_packed() { row_operands_ = col_operands_ = {}; }
    void forget_coarser(Precision precision) {
        for (std::size_t i = 0; i < static_cast<std::size_t>(precision); ++i) {
            row_operands_[i] = col_operands_[i] = nullptr;
        }
    }

    // Fills in what the report says of the work done.
    void describe(Report& report, const Stopwatch& stopwatch) const;

private:
    void note_use(const std::string& filter);

    // Both sides packed for a scorer, at the first question that needs it.
    Pairing packed(Precision precision) { return packed(precision, packing_budget_); }
    Pairing packed(Precision precision, std::int64_t budget);
    // For a BlockSweep.
    Pairing packed_for_blocks(Precision precision);
    FilterCase case_of(Relation relation, std::int64_t k, bool both_ways = false) const;
    std::optional<FilterPlan> chosen_plan(const FilterCase& asked);
    FilterPlan plan_filter(const FilterCase& asked);
    bool by_rows(Relation relation, std::int64_t k);
    bool are_mostly(Relation relation) const;
    FilterPlan plan_filter_of_blocks(std::int64_t k);
    const Projection* learn(const FewDirections& few);
    const Origin& origin(Precision precision);

    Choice list_negatives_of_all(const std::vector<Range>& ranges);

    // Whether neither position nor group forbids the pair.
    bool eligible(std::int64_t row, std::int64_t col) const {
        return !(self_join_ && rows_->row(row) == cols_->row(col)) &&
               !rows_->same_group(row, *cols_, col);
    }
    template <typename Selector>
    void sweep_blocks(Relation relation, std::int64_t k,
                      const typename BlockSweep<Selector>::Open& open,
                      const typename BlockSweep<Selector>::Close& close,
                      const typename BlockSweep<Selector>::Begin& begin = {}, double share = 0.0);
    void sweep_rows(const std::vector<RowSweep::Question>& questions);
    template <Sign sign>
    Choice sorted(Ranked<sign> selector);
    template <Sign sign>
    Choice rank_as(Relation relation, std::int64_t k, std::vector<Range> ranges);
    template <Sign positive, Sign negative>
    std::pair<Choice, Choice> first_as(std::int64_t k);

    Team& team_;
    const KernelSet& kernels_;
    Population population_;  // of the rows
    Metric metric_;
    std::int64_t packing_budget_;
    bool self_join_;
    std::int64_t rows_in_all_ = 0;  // of the join that this one was narrowed from, or its own
    ScoreSpace space_;
    std::shared_ptr<const Dataset> rows_, cols_;
    // Of codes, the same for both sides; made when they are first needed.
    std::array<std::shared_ptr<const Origin>, precisions> origins_;  // by precision
    std::optional<std::shared_ptr<const Projection>> projection_;    // as its first question has it
    // The least precise scores that block sweeps have not found wanting yet.
    Precision least_of_blocks_ = Precision::projected;
    // Group and label of each column, in order; if they were asked for.
    using Kind = std::pair<std::int64_t, std::int64_t>;
    std::shared_ptr<const std::vector<Kind>> kinds_;
    // By precision.
    std::array<std::shared_ptr<const Operand>, precisions> row_operands_, col_operands_;
    std::int64_t decided_ = 0;
    std::vector<std::string> filters_;  // in the order of their first use
};

template <typename Take>
void Join::each_positive(Take take) {
    const std::int64_t size = ExactBlock::most_rows(rows_->dim());
    std::vector<Listing> scratch = listings();
    team_.for_each((rows_->size() + size - 1) / size, [&](std::int64_t task, int worker) {
        const Interval rows{task * size, std::min(rows_->size(), (task + 1) * size)};
        list_positives(rows, worker, scratch[static_cast<std::size_t>(worker)], take);
    });
    include(scratch);
}

template <typename Take>
void Join::list_positives(const Interval& rows, int worker, Listing& scratch, Take take) const {
    const std::int64_t size = ExactBlock::most_rows(rows_->dim());
    scratch.distances.resize(static_cast<std::size_t>(size * size));
    // Rows of one class share their positives.
    for (std::int64_t begin = rows.begin, end; begin < rows.end; begin = end) {
        const std::int64_t last = std::min(rows.end, begin + size);
        for (end = begin; end < last && rows_->label(end) == rows_->label(begin);) ++end;
        const Interval same = cols_->class_of(rows_->label(begin));
        for (std::int64_t c = same.begin; c < same.end; c += size) {
            const Interval across{begin, end}, down{c, std::min(same.end, c + size)};
            team_.poll(worker);
            scratch.exact.compute(across, down, scratch.distances.data(), size);
            for (std::int64_t p = begin; p < end; ++p) {
                const double* of_row = scratch.distances.data() + (p - begin) * size;
                for (std::int64_t q = down.begin; q < down.end; ++q) {
                    if (eligible(p, q)) take(p, Candidate{of_row[q - c], cols_->row(q)});
                }
            }
        }
    }
}

}  // namespace tripletmine
