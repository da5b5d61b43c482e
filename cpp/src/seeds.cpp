#include "seeds.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "contests.hpp"
#include "exact.hpp"

namespace tripletmine {
namespace {

// A block is to be of few classes, so that it lies near to what its rows lie near to.
constexpr std::int64_t rows_of_block = max_tile_rows, least_cols_of_block = 48;
// Where the candidates that a row meets are more of all than one in so many, or there are fewer
// rows than that makes columns, looking costs more than it saves.
constexpr std::int64_t least_share = 12;
// A mean is that of every other row.
constexpr std::int64_t one_in = 2;

constexpr float infinite = std::numeric_limits<float>::infinity();

// How many candidates a row meets, about.
std::int64_t candidates_for(std::int64_t k) { return k == 1 ? 384 : 768; }

// The means of blocks of rows, as these are scored but for one factor. They are rows themselves,
// and their scores tell blocks apart nearly as the average scores of their rows do (of distances
// from differences, as these would without what the rows of a block differ by).
class Means {
public:
    // `largest_norm2`: of any row; no product of means overflows.
    Means(Team& team, const Dataset& dataset, Metric metric, std::int64_t rows_of_mean,
          double largest_norm2)
        : dim_(dataset.dim()),
          count_((dataset.size() + rows_of_mean - 1) / rows_of_mean),
          values_(static_cast<std::size_t>(count_ * dim_)) {
        team.for_each(count_, [&](std::int64_t block, int worker) {
            team.poll(worker);
            std::vector<double> row(static_cast<std::size_t>(padded(dim_))), sum(row.size());
            const std::int64_t begin = block * rows_of_mean;
            const std::int64_t end = std::min(dataset.size(), begin + rows_of_mean);
            double taken = 0.0;
            for (std::int64_t position = begin; position < end; position += one_in, ++taken) {
                dataset.widen(position, row.data());
                const double one =
                    metric == Metric::cosine ? dataset.norm2(position) : largest_norm2;
                const double factor = one > 0.0 ? 1.0 / std::sqrt(one) : 0.0;
                for (std::size_t k = 0; k < sum.size(); ++k) sum[k] += factor * row[k];
            }
            float* mean = values_.data() + block * dim_;
            for (std::int64_t k = 0; k < dim_; ++k) {
                mean[k] = static_cast<float>(sum[static_cast<std::size_t>(k)] / taken);
            }
        });
    }

    Population population() const {
        constexpr std::ptrdiff_t element = sizeof(float);
        return {"means", {values_.data(), DType::float32, count_, dim_, dim_ * element, element}};
    }

private:
    std::int64_t dim_, count_;
    std::vector<float> values_;
};

// The k likeliest candidates of a row, from its scores.
class Likeliest {
public:
    Likeliest(Sign sign, std::int64_t k)
        : sign_(sign), k_(k), best_(static_cast<std::size_t>(hands_for(k)), -infinite) {}

    void clear() {
        floor_ = -infinite;
        std::fill(best_.begin(), best_.end(), -infinite);
        contenders_.clear();
    }

    // Takes the scores of some columns; position(i) is that of the i-th.
    template <typename Position>
    void take(const Scorer& scorer, const float* scores, const TileSide& row, const TileSide& cols,
              std::int64_t count, Position position) {
        if (count == 0) return;
        uppers_.resize(static_cast<std::size_t>(count + max_register));
        places_.resize(static_cast<std::size_t>(count));
        const int found =
            scorer.contend(scores, row, cols, sign_, static_cast<int>(count), static_cast<int>(k_),
                           best_.data(), uppers_.data(), floor_, places_.data());
        for (int i = 0; i < found; ++i) {
            const std::int32_t place = places_[static_cast<std::size_t>(i)];
            const float upper = uppers_[static_cast<std::size_t>(place)];
            if (upper == -infinite) continue;  // left out
            contenders_.push_back({static_cast<std::uint32_t>(position(place)), upper});
        }
    }

    // What k of them surely reach; and these, in any order, or all if there are fewer.
    float floor() const { return floor_; }
    std::span<const Contender> candidates() {
        const std::size_t count = std::min(contenders_.size(), static_cast<std::size_t>(k_));
        bring_forward(contenders_, count);
        return std::span(contenders_).first(count);
    }

private:
    Sign sign_;
    std::int64_t k_;
    float floor_ = -infinite;
    std::vector<float> best_;  // see Scorer::contend
    std::vector<float> uppers_;
    std::vector<std::int32_t> places_;
    std::vector<Contender> contenders_;
};

// What an operand knows of columns of several blocks, side by side.
struct Gathered {
    std::vector<std::int64_t> positions;
    std::vector<float> scale, bias, width;

    void gather(const Operand& operand, Sign sign, std::span<const std::int64_t> begins,
                std::int64_t each) {
        const auto count = static_cast<std::int64_t>(begins.size()) * each;
        positions.resize(static_cast<std::size_t>(count));
        for (std::vector<float>* values : {&scale, &bias, &width}) {
            values->resize(static_cast<std::size_t>(count + max_register));  // kernels read these
        }
        std::int64_t to = 0;
        for (const std::int64_t begin : begins) {
            std::iota(positions.begin() + to, positions.begin() + to + each, begin);
            std::copy_n(operand.scale() + begin, each, scale.begin() + to);
            std::copy_n(operand.bias(sign) + begin, each, bias.begin() + to);
            std::copy_n(operand.width() + begin, each, width.begin() + to);
            to += each;
        }
    }
    TileSide side() const { return {scale.data(), bias.data(), width.data(), nullptr, nullptr}; }
};

class Seeker {
public:
    Seeker(Team& team, const KernelSet& kernels, const Pairing& pairing, Relation relation,
           Sign sign, std::int64_t k)
        : team_(team),
          kernels_(kernels),
          pairing_(pairing.both_ways()),
          relation_(relation),
          sign_(sign),
          k_(k),
          cols_of_block_(round_up(least_cols_of_block, pairing.scorer().tile_cols)),
          blocks_(candidates_for(k) / cols_of_block_),
          stride_(blocks_ * cols_of_block_ + max_register),
          walk_(team, pairing_, Relation::any,
                {rows_of_block, pairing.col_operand->padded_size()}) {
        for (int id = 0; id < team.size(); ++id) {
            workers_.push_back(
                {{},
                 Buffer<float>(rows_of_block * stride_),
                 {},
                 {},
                 Likeliest(sign, k),
                 ExactDistance(*pairing.rows, *pairing.cols, kernels, pairing.metric),
                 {},
                 {}});
        }
    }

    Seeds find(const ScoreSpace& space, const TakeSeeds& take);

private:
    struct alignas(64) Worker {  // no cache line belongs to two
        Walk::Scratch walk;
        Buffer<float> scores;
        Gathered cols;
        std::vector<std::size_t> left_out;  // of these, for a row
        Likeliest of_row;
        ExactDistance exact;
        std::vector<PairOfRows> pairs;
        std::vector<double> distances;
    };

    Interval rows_of(std::int64_t block) const {
        return {block * rows_of_block,
                std::min(pairing_.rows->size(), (block + 1) * rows_of_block)};
    }
    Interval not_for(std::int64_t block) const;
    std::vector<std::vector<std::int64_t>> choose_blocks() const;
    void meet(const Interval& rows, std::span<const std::int64_t> begins, Worker& worker, int id);
    void find_left_out(std::int64_t row, std::span<const std::int64_t> begins,
                       std::vector<std::size_t>& places) const;

    Team& team_;
    const KernelSet& kernels_;
    Pairing pairing_;
    Relation relation_;
    Sign sign_;
    std::int64_t k_;
    std::int64_t cols_of_block_, blocks_;  // of columns: how large, and how many are met
    std::int64_t stride_;
    Walk walk_;
    std::vector<Worker> workers_;
};

Seeds Seeker::find(const ScoreSpace& space, const TakeSeeds& take) {
    const std::vector<std::vector<std::int64_t>> chosen = choose_blocks();
    Seeds seeds{std::vector<float>(static_cast<std::size_t>(pairing_.rows->size()), -infinite)};
    team_.expect(static_cast<double>(pairing_.rows->size() * blocks_ * cols_of_block_));
    team_.for_each(std::ssize(chosen), [&](std::int64_t block, int id) {
        Worker& worker = workers_[static_cast<std::size_t>(id)];
        const Interval rows = rows_of(block);
        const std::span<const std::int64_t> begins = chosen[static_cast<std::size_t>(block)];
        meet(rows, begins, worker, id);
        worker.pairs.clear();
        for (std::int64_t row = rows.begin; row < rows.end; ++row) {
            find_left_out(row, begins, worker.left_out);
            for (const std::size_t i : worker.left_out) worker.cols.bias[i] = infinite;
            worker.of_row.clear();
            worker.of_row.take(
                pairing_.scorer(), worker.scores.data() + (row - rows.begin) * stride_,
                pairing_.row_operand->side(sign_, row, nullptr, nullptr), worker.cols.side(),
                std::ssize(worker.cols.positions),
                [&](std::int32_t i) { return worker.cols.positions[static_cast<std::size_t>(i)]; });
            for (const std::size_t i : worker.left_out) {
                worker.cols.bias[i] = pairing_.col_operand->bias(sign_)[worker.cols.positions[i]];
            }
            seeds.floors[static_cast<std::size_t>(row)] = worker.of_row.floor();
            const std::span<const Contender> candidates = worker.of_row.candidates();
            if (std::ssize(candidates) < k_) continue;
            for (const Contender& one : candidates) {
                worker.pairs.push_back({static_cast<std::uint32_t>(row), one.col});
            }
        }
        // The k likeliest of each row are decided: they reach what the last of them does.
        worker.distances.resize(worker.pairs.size());
        worker.exact.many(worker.pairs, worker.distances.data());
        const auto k = static_cast<std::size_t>(k_);
        for (std::size_t i = 0; i < worker.pairs.size(); i += k) {
            const std::span<const double> distances = std::span(worker.distances).subspan(i, k);
            const auto [least, most] = std::ranges::minmax(distances);
            const std::uint32_t row = worker.pairs[i].row;
            float& floor = seeds.floors[row];
            floor = std::max(floor, space.floor(sign_, sign_ == Sign::nearest ? most : least));
            take(row, std::span(worker.pairs).subspan(i, k), distances);
        }
    });
    for (const Worker& worker : workers_) seeds.decided += worker.exact.decided();
    return seeds;
}

// The blocks of columns that hold some of the rows' own classes, which are no negatives.
Interval Seeker::not_for(std::int64_t block) const {
    if (relation_ != Relation::negatives) return {0, 0};
    const Interval rows = rows_of(block);
    const auto class_of = [&](std::int64_t row) {
        return pairing_.cols->class_of(pairing_.rows->label(row));
    };
    return {class_of(rows.begin).begin / cols_of_block_,
            (class_of(rows.end - 1).end + cols_of_block_ - 1) / cols_of_block_};
}

// Of each block of rows, where the blocks of columns begin whose means are the first candidates of
// its own mean: as many as it is to meet, or all that it may.
std::vector<std::vector<std::int64_t>> Seeker::choose_blocks() const {
    const Dataset &rows = *pairing_.rows, &cols = *pairing_.cols;
    const double largest_norm2 = std::max(rows.largest_norm2(), cols.largest_norm2());
    const Means row_means(team_, rows, pairing_.metric, rows_of_block, largest_norm2);
    const Means col_means(team_, cols, pairing_.metric, cols_of_block_, largest_norm2);
    Dataset row_blocks(row_means.population(), std::nullopt, kernels_);
    Dataset col_blocks(col_means.population(), std::nullopt, kernels_);
    row_blocks.measure(team_);
    col_blocks.measure(team_);
    const Metric metric = from_differences(pairing_.metric) ? Metric::sqeuclidean : Metric::dot;
    const ScoreSpace space =
        score_space(metric, std::max(row_blocks.largest_norm2(), col_blocks.largest_norm2()));
    const Scorer& scorer = pairing_.scorer();
    const Origin origin = origin_of(col_blocks, space, scorer);
    const Operand row_operand(team_, row_blocks, kernels_, scorer, space, origin, nullptr, true);
    const Operand col_operand(team_, col_blocks, kernels_, scorer, space, origin, nullptr, true);
    const Pairing pairing{&row_blocks, &col_blocks, &row_operand, &col_operand,
                          false,       false,       metric};
    Walk walk(team_, pairing, Relation::any, plan_blocks(pairing, 4 * tile_granule, team_.size()));
    walk.announce();

    struct OfRow {
        Likeliest likeliest;
        Interval left_out;
    };
    struct Scratch {
        Walk::Scratch walk;
        std::vector<OfRow> of_rows;
    };
    std::vector<Scratch> scratch(static_cast<std::size_t>(team_.size()));
    std::vector<std::vector<std::int64_t>> chosen(static_cast<std::size_t>(row_blocks.size()));
    team_.for_each(std::ssize(walk.tasks()), [&](std::int64_t number, int id) {
        const Walk::Task& task = walk.tasks()[static_cast<std::size_t>(number)];
        Scratch& own = scratch[static_cast<std::size_t>(id)];
        own.of_rows.clear();
        for (std::int64_t row = task.row_begin; row < task.row_end; ++row) {
            own.of_rows.push_back({Likeliest(sign_, blocks_), not_for(row)});
        }
        walk.run_rows(
            task, id, own.walk, [&](std::int64_t row, const Interval& run, const float* scores) {
                OfRow& of = own.of_rows[static_cast<std::size_t>(row - task.row_begin)];
                const auto take = [&](std::int64_t begin, std::int64_t end) {
                    of.likeliest.take(scorer, scores + begin - run.begin,
                                      row_operand.side(sign_, row, nullptr, nullptr),
                                      col_operand.side(sign_, begin, nullptr, nullptr), end - begin,
                                      [&](std::int32_t i) { return begin + i; });
                };
                take(run.begin, std::clamp(of.left_out.begin, run.begin, run.end));
                take(std::clamp(of.left_out.end, run.begin, run.end), run.end);
            });
        for (std::int64_t row = task.row_begin; row < task.row_end; ++row) {
            OfRow& of = own.of_rows[static_cast<std::size_t>(row - task.row_begin)];
            for (const Contender& one : of.likeliest.candidates()) {
                chosen[static_cast<std::size_t>(row)].push_back(one.col * cols_of_block_);
            }
        }
    });
    return chosen;
}

// Scores a block of rows with some blocks of columns.
void Seeker::meet(const Interval& rows, std::span<const std::int64_t> begins, Worker& worker,
                  int id) {
    worker.cols.gather(*pairing_.col_operand, sign_, begins, cols_of_block_);
    walk_.take_rows(rows.begin, worker.walk);
    float* scores = worker.scores.data();
    for (const std::int64_t begin : begins) {
        walk_.score_rows(rows, {begin, begin + cols_of_block_}, id, worker.walk, scores, stride_);
        scores += cols_of_block_;
    }
    team_.advance(static_cast<double>(rows.size() * blocks_ * cols_of_block_));
}

// The places of those columns of some blocks, side by side, that are the row itself or of its
// group.
void Seeker::find_left_out(std::int64_t row, std::span<const std::int64_t> begins,
                           std::vector<std::size_t>& places) const {
    places.clear();
    const bool meets_itself = pairing_.self_join && relation_ == Relation::any;
    if (!meets_itself && !pairing_.cols->grouped()) return;
    std::int64_t itself = -1;
    if (meets_itself) {
        const Dataset &rows = *pairing_.rows, &cols = *pairing_.cols;
        itself = &rows == &cols ? row : cols.position_of(rows.row(row), {0, cols.size()});
    }
    std::int64_t before = 0;
    for (const std::int64_t begin : begins) {
        const Interval block{begin, begin + cols_of_block_};
        const auto leave_out = [&](std::int64_t col) {
            places.push_back(static_cast<std::size_t>(before + col - begin));
        };
        std::ranges::for_each(walk_.of_group(row, block), leave_out);
        if (block.begin <= itself && itself < block.end) leave_out(itself);
        before += cols_of_block_;
    }
}

}  // namespace

Seeds find_seeds(Team& team, const KernelSet& kernels, const Pairing& pairing, Relation relation,
                 const ScoreSpace& space, Sign sign, std::int64_t k, const TakeSeeds& take) {
    if (k == 0 || k > most_seeded || relation == Relation::positives) return {};
    if (std::min(pairing.rows->size(), pairing.cols->size()) < least_share * candidates_for(k)) {
        return {};
    }
    return Seeker(team, kernels, pairing, relation, sign, k).find(space, take);
}

}  // namespace tripletmine
