#include "seeds.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "contests.hpp"
#include "exact.hpp"

namespace tripletmine {
namespace {

constexpr std::int64_t block_cols = tile_granule;
constexpr std::int64_t blocks_for_each = 4;
constexpr std::int64_t candidates = blocks_for_each * block_cols;  // that a row meets
// Where these are more of all candidates than one in so many, they cost more than they save; and
// where there are fewer rows than this makes columns, the means of the columns do.
constexpr std::int64_t least_share = 12;
// A mean is that of every fourth row.
constexpr std::int64_t one_in = 4;

// The means of the blocks of rows, as they are scored but for one factor; a part of the rows tells
// them well enough.
class Means {
public:
    // `largest_norm2`: of any row; no product of means overflows.
    Means(Team& team, const Dataset& dataset, Metric metric, std::int64_t block_rows,
          double largest_norm2)
        : dim_(static_cast<std::size_t>(dataset.dim())),
          count_((dataset.size() + block_rows - 1) / block_rows),
          means_(static_cast<std::size_t>(count_) * dim_),
          halves_(static_cast<std::size_t>(count_)) {
        team.for_each(count_, [&](std::int64_t block, int worker) {
            team.poll(worker);
            std::vector<double> row(static_cast<std::size_t>(padded(dataset.dim()))), sum(dim_);
            const std::int64_t begin = block * block_rows;
            const std::int64_t end = std::min(dataset.size(), begin + block_rows);
            double taken = 0.0, norms2 = 0.0;
            for (std::int64_t position = begin; position < end; position += one_in, ++taken) {
                dataset.widen(position, row.data());
                const double norm2 = dataset.norm2(position);
                const double one = metric == Metric::cosine ? norm2 : largest_norm2;
                const double factor = one > 0.0 ? 1.0 / std::sqrt(one) : 0.0;
                for (std::size_t k = 0; k < dim_; ++k) sum[k] += factor * row[k];
                norms2 += one > 0.0 ? norm2 / one : 0.0;
            }
            for (std::size_t k = 0; k < dim_; ++k) {
                means_[static_cast<std::size_t>(block) * dim_ + k] =
                    static_cast<float>(sum[k] / taken);
            }
            if (from_differences(metric)) halves_[block] = 0.5 * norms2 / taken;
        });
    }

    std::int64_t count() const { return count_; }

    // Grows with the average score of a row of that block with a row of the other's.
    double score(std::int64_t block, const Means& other, std::int64_t other_block) const {
        const float* x = means_.data() + static_cast<std::size_t>(block) * dim_;
        const float* y = other.means_.data() + static_cast<std::size_t>(other_block) * dim_;
        constexpr std::size_t lanes_at_once = 16;
        float sums[lanes_at_once] = {};
        std::size_t k = 0;
        for (; k + lanes_at_once <= dim_; k += lanes_at_once) {
            for (std::size_t i = 0; i < lanes_at_once; ++i) sums[i] += x[k + i] * y[k + i];
        }
        double sum = 0.0;
        for (const float part : sums) sum += static_cast<double>(part);
        for (; k < dim_; ++k) sum += static_cast<double>(x[k]) * static_cast<double>(y[k]);
        return sum - other.halves_[static_cast<std::size_t>(other_block)];
    }

private:
    std::size_t dim_;
    std::int64_t count_;
    std::vector<float> means_;
    std::vector<double> halves_;  // of the mean squared norm, where distances come from differences
};

// The likeliest candidates of the rows of one block.
class Meeting {
public:
    Meeting(const KernelSet& kernels, const Pairing& pairing, Relation relation, Sign sign,
            std::int64_t k, std::int64_t rows)
        : pairing_(pairing),
          may_meet_itself_(pairing.self_join && relation == Relation::any),
          sign_(sign),
          k_(k),
          floors_(static_cast<std::size_t>(rows)),
          best_(static_cast<std::size_t>(rows * hands_for(k))),
          uppers_(static_cast<std::size_t>(block_cols + max_tile_cols)),
          places_(static_cast<std::size_t>(block_cols)),
          contenders_(static_cast<std::size_t>(rows)),
          exact_(*pairing.rows, *pairing.cols, kernels, pairing.metric) {}

    void begin(std::int64_t first_row) {
        first_row_ = first_row;
        std::fill(floors_.begin(), floors_.end(), -std::numeric_limits<float>::infinity());
        std::fill(best_.begin(), best_.end(), -std::numeric_limits<float>::infinity());
        for (std::vector<Contender>& of_row : contenders_) of_row.clear();
    }

    // Takes the scores of a row with a run of columns.
    void take(std::int64_t row, Interval cols, const float* scores) {
        const auto place = static_cast<std::size_t>(row - first_row_);
        const auto part = [&](std::int64_t begin, std::int64_t end) {
            const int found = pairing_.scorer().contend(
                scores + begin - cols.begin,
                pairing_.row_operand->side(sign_, row, nullptr, nullptr),
                pairing_.col_operand->side(sign_, begin, nullptr, nullptr), sign_,
                static_cast<int>(end - begin), static_cast<int>(k_),
                best_.data() + place * static_cast<std::size_t>(hands_for(k_)), uppers_.data(),
                floors_[place], places_.data());
            for (int i = 0; i < found; ++i) {
                const std::int32_t at = places_[static_cast<std::size_t>(i)];
                contenders_[place].push_back({static_cast<std::uint32_t>(begin + at),
                                              uppers_[static_cast<std::size_t>(at)]});
            }
        };
        const std::int64_t self = may_meet_itself_ ? place_of(row, cols) : cols.end;
        part(cols.begin, self);
        if (self < cols.end) part(self + 1, cols.end);
    }

    // Decides the k likeliest of each row: they reach what the last of them does.
    void find_floors(const ScoreSpace& space, std::span<float> floors) {
        const auto k = static_cast<std::size_t>(k_);
        pairs_.clear();
        for (std::size_t place = 0; place < floors.size(); ++place) {
            std::vector<Contender>& best = contenders_[place];
            if (best.size() < k) continue;
            bring_forward(best, k);
            for (std::size_t i = 0; i < k; ++i) {
                pairs_.push_back(
                    {static_cast<std::uint32_t>(first_row_) + static_cast<std::uint32_t>(place),
                     best[i].col});
            }
        }
        distances_.resize(pairs_.size());
        exact_.many(pairs_, distances_.data());
        std::span<const double> left(distances_);
        for (std::size_t place = 0; place < floors.size(); ++place) {
            floors[place] = floors_[place];
            if (contenders_[place].size() < k) continue;
            const auto [least, most] = std::ranges::minmax(left.first(k));
            left = left.subspan(k);
            floors[place] =
                std::max(floors[place], space.floor(sign_, sign_ == Sign::nearest ? most : least));
        }
    }
    std::int64_t decided() const { return exact_.decided(); }

private:
    // Where a row lies among the columns; their end if it does not.
    std::int64_t place_of(std::int64_t row, const Interval& cols) const {
        std::int64_t col = cols.begin;
        while (col < cols.end && pairing_.cols->row(col) != pairing_.rows->row(row)) ++col;
        return col;
    }

    const Pairing& pairing_;
    bool may_meet_itself_;
    Sign sign_;
    std::int64_t k_;
    std::int64_t first_row_ = 0;
    std::vector<float> floors_;
    std::vector<float> best_;  // of each row: see Scorer::contend
    std::vector<float> uppers_;
    std::vector<std::int32_t> places_;
    std::vector<std::vector<Contender>> contenders_;  // of each row
    ExactDistance exact_;
    std::vector<PairOfRows> pairs_;
    std::vector<double> distances_;
};

}  // namespace

Seeds find_seeds(Team& team, const KernelSet& kernels, Pairing pairing, Relation relation,
                 const ScoreSpace& space, Sign sign, std::int64_t k) {
    const Dataset &rows = *pairing.rows, &cols = *pairing.cols;
    if (k == 0 || k > most_seeded) return {};
    if (relation == Relation::positives ||
        std::min(rows.size(), cols.size()) < least_share * candidates) {
        return {};
    }
    pairing.symmetric = false;
    const WalkPlan plan = plan_blocks(pairing, block_cols, team.size());
    Walk walk(team, pairing, relation, plan);
    const double largest_norm2 = std::max(rows.largest_norm2(), cols.largest_norm2());
    const Means row_means(team, rows, pairing.metric, plan.rows_per_block, largest_norm2);
    const Means col_means(team, cols, pairing.metric, block_cols, largest_norm2);

    struct Worker {
        Walk::Scratch walk;
        std::vector<std::pair<double, std::int64_t>> order;
    };
    std::vector<Worker> workers(static_cast<std::size_t>(team.size()));
    std::vector<Meeting> meetings(
        workers.size(), Meeting(kernels, pairing, relation, sign, k, plan.rows_per_block));
    Seeds seeds{std::vector<float>(static_cast<std::size_t>(rows.size()))};
    team.expect(static_cast<double>(rows.size() * candidates));
    team.for_each(row_means.count(), [&](std::int64_t block, int id) {
        Worker& worker = workers[static_cast<std::size_t>(id)];
        Meeting& own = meetings[static_cast<std::size_t>(id)];
        const std::int64_t begin = block * plan.rows_per_block;
        const std::int64_t end = std::min(rows.size(), begin + plan.rows_per_block);
        // Columns of the rows' own classes are no negatives.
        Interval left_out{0, 0};
        if (relation == Relation::negatives) {
            left_out = {cols.class_of(rows.label(begin)).begin,
                        cols.class_of(rows.label(end - 1)).end};
        }
        worker.order.clear();
        for (std::int64_t b = 0; b < col_means.count(); ++b) {
            const Interval those{b * block_cols, std::min(cols.size(), (b + 1) * block_cols)};
            if (those.begin < left_out.end && those.end > left_out.begin) continue;
            const double score = row_means.score(block, col_means, b);
            worker.order.emplace_back(sign == Sign::nearest ? -score : score, b);
        }
        const auto chosen = std::min<std::size_t>(worker.order.size(), blocks_for_each);
        std::partial_sort(worker.order.begin(),
                          worker.order.begin() + static_cast<std::ptrdiff_t>(chosen),
                          worker.order.end());
        own.begin(begin);
        for (std::size_t i = 0; i < chosen; ++i) {
            const std::int64_t first = worker.order[i].second * block_cols;
            walk.run_rows({begin, end, first, std::min(cols.size(), first + block_cols)}, id,
                          worker.walk,
                          [&](std::int64_t row, const Interval& run, const float* scores) {
                              own.take(row, run, scores);
                          });
        }
        own.find_floors(space, std::span(seeds.floors).subspan(begin, end - begin));
    });
    for (const Meeting& one : meetings) seeds.decided += one.decided();
    return seeds;
}

}  // namespace tripletmine
