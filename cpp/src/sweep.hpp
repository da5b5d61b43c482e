// Sweep: drops the pairs whose bound proves that they cannot matter, and hands the canonical
// distance of the rest to a selector that all tasks share.
//
//   for each tile of a Walk
//     reaches     might any pair be interesting to its row (or column)? mostly not
//     compare     bounds against what rows (and columns) still find interesting → bit masks
//     survivors   right relation? (where rows are projected: still there by closer scores?)
//                 right group? → remembered, and their lower bounds raise the floors
//                 (where rows are projected and one candidate is wanted: decided, a few together)
//   what is remembered, when there is much of it and at the end
//     decide      still interesting, and no seed? → canonical distance → selector
//
// Knows no strategy. In a symmetric walk a pair serves both of its rows. What rows still find
// interesting only ever shrinks, so a stale floor is a safe floor; the selectors' answers do not
// depend on the order of offers, so no answer depends on the schedule.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "contests.hpp"
#include "exact.hpp"
#include "filter.hpp"
#include "metric.hpp"
#include "pair_scores.hpp"
#include "seeds.hpp"
#include "select/ranked.hpp"
#include "walk.hpp"

namespace tripletmine {

template <typename Selector>
class Sweep {
public:
    Sweep(Team& team, const KernelSet& kernels, Pack pack, const FilterPlan& plan,
          Relation relation, Selector& selector)
        : team_(team),
          kernels_(kernels),
          pack_(std::move(pack)),
          plan_(plan),
          pairing_(pack_(plan[0].precision)),
          closer_(plan[0].precision == Precision::projected
                      ? std::make_unique<PairScores>(team, kernels, pack_(Precision::coarse))
                      : nullptr),
          walk_(team, pairing_, relation, plan_shared(pairing_, team.size())),
          selector_(selector),
          banded_(selector.banded()),
          grouped_(pairing_.rows->grouped()),
          may_meet_itself_(pairing_.self_join && !pairing_.symmetric),
          unconditional_(selector.most() == 1 && selector.unlimited() &&
                         !pairing_.rows->grouped() && (pairing_.symmetric || !pairing_.self_join)),
          most_undecided_(room_for_undecided(*pairing_.rows, selector.most(), team.size())),
          workers_(static_cast<std::size_t>(team.size())) {
        const std::int64_t rows = pairing_.rows->size();
        floors_ = std::make_unique<std::atomic<float>[]>(static_cast<std::size_t>(rows));
        locks_ = std::make_unique<std::atomic_flag[]>(static_cast<std::size_t>(rows));
        for (std::int64_t p = 0; p < rows; ++p) floors_[p].store(selector.floor(p));
        walk_.announce();
        if (!banded_ && rows > 0 && selector.unlimited()) seed(relation);
        if (banded_) {
            for (std::int64_t p = 0; p < rows; ++p) ceilings_.push_back(selector.ceiling(p));
        }
    }

    // Visits every pair of the relation; returns how many were decided in float64.
    std::int64_t run();

private:
    // A pair that the bounds did not exclude, for one of its rows.
    struct Undecided {
        std::uint32_t row, other;  // positions
        float upper;
    };

    struct alignas(64) Worker {  // no cache line belongs to two
        Walk::Scratch walk;
        // Of a strip's columns, and of a task's rows as of some strips ago: floors only rise.
        std::vector<float> col_floor, col_ceiling, row_floor, row_ceiling;
        std::int64_t first_row = 0, strips = 0;  // of the task
        std::vector<TileReach> reach;            // of its tiles, with floors as those of the rows
        std::vector<PairOfRows> pairs;           // of a tile
        std::vector<float> uppers;               // of these
        std::vector<PairOfRows> pressing;        // to be decided soon
        std::vector<Undecided> undecided;
        std::vector<std::uint32_t> order;  // of the undecided, by row
        std::optional<ExactDistance> distance;
        Contests contests;
        std::int64_t doubts = 0, seen = 0;  // pairs kept for want of closer bounds, and all
    };

    static constexpr std::size_t pairs_per_task = 1024;
    static constexpr std::size_t most_pressing = 8;  // pairs that are decided together
    // How many columns a task's rows meet before their floors are looked at again.
    static constexpr std::int64_t cols_per_look = 128;

    // A few pairs for each candidate of the answer, within some megabytes, and unless the rows are
    // few within half of what these take.
    static std::size_t room_for_undecided(const Dataset& rows, std::int64_t k, int workers) {
        constexpr std::int64_t least = 1 << 18, most = 1 << 20;
        constexpr std::int64_t bytes_of_pair = sizeof(Undecided) + sizeof(std::uint32_t);
        const auto bytes_of_rows = rows.size() * rows.dim() * std::int64_t{sizeof(float)};
        const std::int64_t fitting = bytes_of_rows / 2 / (bytes_of_pair * workers);
        return static_cast<std::size_t>(
            std::clamp(std::min(4 * rows.size() * k, fitting), least, most));
    }
    void seed(Relation relation);
    // Whether the pair was decided before the sweep began, for this row of it.
    bool is_known(std::int64_t row, std::int64_t other) const;
    void prepare(Worker& worker) const;
    std::int64_t find_stage();
    double doubts_of_tasks(std::int64_t begin, std::int64_t end);
    void run_tasks(std::int64_t begin, std::int64_t end);
    void run_task(const Walk::Task& task, int id);
    void measure_tiles(Worker& worker, const Walk::Task& task) const;
    void begin_strip(Worker& worker, const Walk::Task& task, const Walk::Strip& strip) const;
    void look_at_rows(Worker& worker, const Walk::Task& task) const;
    void visit(Worker& worker, int id, const Walk::Strip& strip, const Walk::Tile& tile,
               std::int64_t row_end);
    static bool is_flood(const std::uint64_t* masks, std::int64_t rows, std::int64_t cols);
    void raise_floors(Worker& worker, const Walk::Strip& strip, const Walk::Tile& tile,
                      std::int64_t rows) const;
    void look_closer(Worker& worker, const Walk::Strip& strip, const Walk::Tile& tile,
                     std::span<const std::uint64_t> masks);
    void examine(Worker& worker, const Walk::Strip& strip, const Walk::Tile& tile, std::int64_t r,
                 std::uint64_t bits);
    void consider(Worker& worker, std::int64_t row, std::int64_t col, float lower, float upper);
    void decide_pressing(Worker& worker);
    void keep(Worker& worker, std::int64_t row, std::int64_t other, float lower, float upper);
    void offer(std::int64_t row, const Candidate& candidate) {
        change(row, [&] {
            selector_.offer(row, candidate);
            return selector_.floor(row);
        });
    }
    void make_room(Worker& worker, int id);
    void forget_hopeless(Worker& worker) const;
    void sort_by_row(Worker& worker) const;
    // Some of what a worker has left undecided, row by row.
    struct Part {
        const Worker& of;
        std::span<const std::uint32_t> order;
        const Undecided& operator[](std::size_t i) const { return of.undecided[order[i]]; }
    };
    static Part part_of(const Worker& worker, std::size_t begin) {
        const std::size_t count = std::min(pairs_per_task, worker.order.size() - begin);
        return {worker, std::span(worker.order).subspan(begin, count)};
    }
    void decide(Worker& worker, const Part& pairs);
    void decide_all();
    template <typename Change>
    void change(std::int64_t row, Change change);

    Team& team_;
    const KernelSet& kernels_;
    Pack pack_;
    const FilterPlan plan_;
    Pairing pairing_;
    // Of pairs that scores of projected rows let through, before they are remembered. These have
    // poor lower bounds, which would raise no floor.
    std::unique_ptr<const PairScores> closer_;
    Walk walk_;
    Selector& selector_;
    const bool banded_, grouped_, may_meet_itself_;
    // Whether any pair of the relation counts, and the best one is all that is asked for.
    const bool unconditional_;
    // Beyond so many undecided pairs a worker decides them at once.
    const std::size_t most_undecided_;
    std::vector<Worker> workers_;
    // What each row still finds interesting, as of its latest change; and the right to change it.
    std::unique_ptr<std::atomic<float>[]> floors_;
    std::unique_ptr<std::atomic_flag[]> locks_;
    std::vector<float> ceilings_;
    bool seeded_ = false;  // whether rows began with candidates and floors, where some were found
    // By row, then: the positions that were decided for it before the sweep began, as many as are
    // wanted or none.
    std::vector<std::uint32_t> known_;
    std::int64_t decided_ = 0;
};

template <typename Selector>
std::int64_t Sweep<Selector>::run() {
    run_tasks(find_stage(), static_cast<std::int64_t>(walk_.tasks().size()));
    decide_all();
    for (const Worker& worker : workers_) {
        if (worker.distance) decided_ += worker.distance->decided();
    }
    return decided_;
}

template <typename Selector>
void Sweep<Selector>::seed(Relation relation) {
    const std::int64_t each = selector_.most();
    constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
    const auto take = [&](std::int64_t row, std::span<const PairOfRows> pairs,
                          std::span<const double> distances) {
        for (std::size_t i = 0; i < pairs.size(); ++i) {
            known_[static_cast<std::size_t>(row * each) + i] = pairs[i].col;
            selector_.begin_with(row, {distances[i], pairing_.cols->row(pairs[i].col)});
        }
    };
    known_.assign(static_cast<std::size_t>(each <= most_seeded ? pairing_.rows->size() * each : 0),
                  none);
    const Seeds seeds = find_seeds(team_, kernels_, closer_ ? closer_->pairing() : pairing_,
                                   relation, selector_.space(), Selector::sign, each, take);
    seeded_ = !seeds.floors.empty();
    if (!seeded_) known_ = {};
    for (std::size_t p = 0; p < seeds.floors.size(); ++p) floors_[p].store(seeds.floors[p]);
    decided_ = seeds.decided;
}

template <typename Selector>
bool Sweep<Selector>::is_known(std::int64_t row, std::int64_t other) const {
    if (!seeded_) return false;
    const std::int64_t each = selector_.most();
    const std::uint32_t* own = known_.data() + row * each;
    return std::find(own, own + each, static_cast<std::uint32_t>(other)) != own + each;
}

// Goes on in the plan as long as the first tasks leave too many pairs to decide; returns how many
// tasks it took.
template <typename Selector>
std::int64_t Sweep<Selector>::find_stage() {
    const auto tasks = static_cast<std::int64_t>(walk_.tasks().size());
    const std::int64_t probe = std::max<std::int64_t>(2 * team_.size(), tasks / 64);
    // Later tasks meet higher floors: about this part of the doubts of the first ones.
    constexpr double later = 0.3;
    std::int64_t begin = 0;
    for (auto stage = plan_.begin(); stage + 1 != plan_.end(); ++stage) {
        if (begin + 3 * probe > tasks) break;
        // Where rows had no floors yet, the first tasks find them, and the next are looked at.
        if (begin == 0 && !seeded_) run_tasks(0, begin = probe);
        const double doubts = later * doubts_of_tasks(begin, begin + probe);
        begin += probe;
        if (stage->suits(doubts, walk_.pairs_from(begin))) break;
        pairing_ = pack_((stage + 1)->precision);
        closer_.reset();
        walk_.score_with(pairing_);
        for (Worker& worker : workers_) worker.walk = {};
    }
    return begin;
}

// Runs tasks; returns which part of their pairs was kept for want of closer bounds.
template <typename Selector>
double Sweep<Selector>::doubts_of_tasks(std::int64_t begin, std::int64_t end) {
    for (Worker& worker : workers_) worker.doubts = worker.seen = 0;
    run_tasks(begin, end);
    double doubts = 0.0, pairs = 0.0;
    for (const Worker& worker : workers_) {
        doubts += static_cast<double>(worker.doubts);
        pairs += static_cast<double>(worker.seen);
    }
    return pairs > 0.0 ? doubts / pairs : 0.0;
}

template <typename Selector>
void Sweep<Selector>::prepare(Worker& worker) const {
    // A rectangular walk asks nothing for its columns: no bound reaches their floor.
    worker.col_floor.assign(max_tile_cols, std::numeric_limits<float>::infinity());
    worker.col_ceiling.assign(max_tile_cols, -std::numeric_limits<float>::infinity());
    // Growing would hold two copies. A tile may add both sides of each of its pairs.
    worker.undecided.reserve(most_undecided_ + 2 * max_tile_rows * max_tile_cols);
    worker.pairs.resize(closer_ ? max_tile_rows * max_tile_cols : 0);
    worker.uppers.resize(worker.pairs.size());
    worker.distance.emplace(*pairing_.rows, *pairing_.cols, kernels_, pairing_.metric);
}

template <typename Selector>
void Sweep<Selector>::run_tasks(std::int64_t begin, std::int64_t end) {
    team_.for_each(end - begin, [&](std::int64_t task, int id) {
        run_task(walk_.tasks()[static_cast<std::size_t>(begin + task)], id);
    });
}

template <typename Selector>
void Sweep<Selector>::run_task(const Walk::Task& task, int id) {
    Worker& worker = workers_[static_cast<std::size_t>(id)];
    if (!worker.distance) prepare(worker);
    worker.first_row = task.row_begin;
    worker.strips = 0;
    measure_tiles(worker, task);
    walk_.run(
        task, id, worker.walk, [&](const Walk::Strip& strip) { begin_strip(worker, task, strip); },
        [&](const Walk::Strip& strip, const Walk::Tile& tile) {
            visit(worker, id, strip, tile, task.row_end);
        });
    decide_pressing(worker);
}

// Floors are looked at later.
template <typename Selector>
void Sweep<Selector>::measure_tiles(Worker& worker, const Walk::Task& task) const {
    const std::int64_t step = pairing_.scorer().tile_rows;
    worker.reach.clear();
    for (std::int64_t row = task.row_begin; row < task.row_end; row += step) {
        const std::int64_t count = std::min(step, task.row_end - row);
        const TileSide side = pairing_.row_operand->side(Selector::sign, row, nullptr, nullptr);
        worker.reach.push_back({side.scale, *std::min_element(side.bias, side.bias + count), 0.0f});
    }
}

template <typename Selector>
void Sweep<Selector>::begin_strip(Worker& worker, const Walk::Task& task,
                                  const Walk::Strip& strip) const {
    const std::int64_t strips_per_look = cols_per_look / pairing_.scorer().tile_cols;
    if (worker.strips++ % std::max<std::int64_t>(1, strips_per_look) == 0) {
        look_at_rows(worker, task);
    }
    if (!pairing_.symmetric) return;
    for (std::int64_t c = 0; c < strip.col_end - strip.col_begin; ++c) {
        worker.col_floor[c] = floors_[strip.col_begin + c].load(std::memory_order_relaxed);
        if (banded_) worker.col_ceiling[c] = ceilings_[strip.col_begin + c];
    }
}

// What lies beyond the last row is not looked at.
template <typename Selector>
void Sweep<Selector>::look_at_rows(Worker& worker, const Walk::Task& task) const {
    const std::int64_t rows = task.row_end - task.row_begin;
    const auto padded = static_cast<std::size_t>(round_up(rows, max_tile_rows));
    worker.row_floor.resize(padded);
    for (std::int64_t r = 0; r < rows; ++r) {
        worker.row_floor[r] = floors_[task.row_begin + r].load(std::memory_order_relaxed);
    }
    const std::int64_t step = pairing_.scorer().tile_rows;
    for (std::int64_t begin = 0; begin < rows; begin += step) {
        float least = std::numeric_limits<float>::infinity();
        for (std::int64_t r = begin; r < std::min(rows, begin + step); ++r) {
            least = std::min(least, worker.row_floor[r]);
        }
        worker.reach[begin / step].floor = least;
    }
    if (!banded_) return;
    worker.row_ceiling.resize(padded);
    std::copy_n(ceilings_.begin() + task.row_begin, rows, worker.row_ceiling.begin());
}

template <typename Selector>
void Sweep<Selector>::visit(Worker& worker, int id, const Walk::Strip& strip,
                            const Walk::Tile& tile, std::int64_t row_end) {
    const Scorer& scorer = pairing_.scorer();
    const std::int64_t count = std::min<std::int64_t>(scorer.tile_rows, row_end - tile.row_begin);
    const std::int64_t first = tile.row_begin - worker.first_row;
    std::uint64_t masks[max_tile_rows];
    worker.seen += count * scorer.tile_cols;
    const TileSide cols = pairing_.col_operand->side(
        Selector::sign, strip.col_begin, worker.col_floor.data(), worker.col_ceiling.data());
    const TileReach& reach = worker.reach[first / scorer.tile_rows];
    if (!scorer.reaches(tile.scores, reach, cols, Selector::sign)) return;
    const TileSide rows =
        pairing_.row_operand->side(Selector::sign, tile.row_begin, worker.row_floor.data() + first,
                                   worker.row_ceiling.data() + first);
    const auto compare = [&] {
        return scorer.compare(tile.scores, rows, cols, Selector::sign, banded_, masks);
    };
    if (!compare()) return;
    if (unconditional_ && !closer_ && is_flood(masks, count, scorer.tile_cols)) {
        raise_floors(worker, strip, tile, count);
        if (!compare()) return;
    }
    walk_.leave_allowed(tile.row_begin, count, strip, masks);
    if (closer_) {
        look_closer(worker, strip, tile, std::span(masks).first(static_cast<std::size_t>(count)));
    } else {
        for (std::int64_t r = 0; r < count; ++r) {
            if (masks[r] != 0) examine(worker, strip, tile, r, masks[r]);
        }
    }
    if (worker.undecided.size() > most_undecided_) make_room(worker, id);
}

// Where rows or columns have met few candidates yet, nearly every pair of a tile survives. (So it
// may be of projected rows too, but these have lower bounds that raise no floor.)
template <typename Selector>
bool Sweep<Selector>::is_flood(const std::uint64_t* masks, std::int64_t rows, std::int64_t cols) {
    constexpr std::int64_t many = 8;  // survivors a row, on average
    const auto touched = std::count_if(masks, masks + rows, [](std::uint64_t m) { return m != 0; });
    if (touched * cols <= many * rows) return false;
    return std::accumulate(masks, masks + rows, std::int64_t{0}, [](auto count, std::uint64_t m) {
               return count + std::popcount(m);
           }) > many * rows;
}

// The best lower bound of every row and column of a tile is a floor, until they are looked at
// again.
template <typename Selector>
void Sweep<Selector>::raise_floors(Worker& worker, const Walk::Strip& strip, const Walk::Tile& tile,
                                   std::int64_t rows) const {
    const std::int64_t cols = strip.col_end - strip.col_begin;
    const TileSide side =
        pairing_.col_operand->side(Selector::sign, strip.col_begin, nullptr, nullptr);
    for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t row = tile.row_begin + r;
        const TileSide own = pairing_.row_operand->side(Selector::sign, row, nullptr, nullptr);
        const auto scores = pairing_.row_scores(tile.scores, row, r, strip.col_begin);
        const std::uint64_t allowed = walk_.allowed(row, strip);
        float& best = worker.row_floor[row - worker.first_row];
        for (std::int64_t c = 0; c < cols; ++c) {
            const float score = scores(c);
            const float upper =
                (Selector::sign == Sign::nearest ? score : -score) - own.bias[0] - side.bias[c];
            float lower = upper - own.width[0] - side.width[c];
            lower = allowed >> c & 1 ? lower : -std::numeric_limits<float>::infinity();
            best = std::max(best, lower);
            if (pairing_.symmetric) worker.col_floor[c] = std::max(worker.col_floor[c], lower);
        }
    }
}

// Closer scores leave few of the pairs that those of projected rows let through.
template <typename Selector>
void Sweep<Selector>::look_closer(Worker& worker, const Walk::Strip& strip, const Walk::Tile& tile,
                                  std::span<const std::uint64_t> masks) {
    PairOfRows* end = worker.pairs.data();
    auto row = static_cast<std::uint32_t>(tile.row_begin);
    const auto first_col = static_cast<std::uint32_t>(strip.col_begin);
    for (std::uint64_t bits : masks) {
        for (; bits != 0; bits &= bits - 1) {
            *end++ = {row, first_col + static_cast<std::uint32_t>(std::countr_zero(bits))};
        }
        ++row;
    }
    const std::span<const PairOfRows> pairs(worker.pairs.data(), end);
    worker.doubts += std::ssize(pairs);
    closer_->upper_bounds(pairs, Selector::sign, worker.uppers.data());
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        const std::int64_t r = pairs[i].row - worker.first_row, c = pairs[i].col - first_col;
        const float upper = worker.uppers[i];
        if (upper < worker.row_floor[r] && upper < worker.col_floor[c]) continue;
        consider(worker, pairs[i].row, pairs[i].col, closer_->lower_bound(pairs[i], upper), upper);
    }
}

template <typename Selector>
void Sweep<Selector>::examine(Worker& worker, const Walk::Strip& strip, const Walk::Tile& tile,
                              std::int64_t r, std::uint64_t bits) {
    const std::int64_t row = tile.row_begin + r;
    const TileSide rows = pairing_.row_operand->side(Selector::sign, row, nullptr, nullptr);
    const TileSide cols =
        pairing_.col_operand->side(Selector::sign, strip.col_begin, nullptr, nullptr);
    const auto scores = pairing_.row_scores(tile.scores, row, r, strip.col_begin);
    const float row_bias = rows.bias[0], row_width = rows.width[0];
    for (; bits != 0; bits &= bits - 1) {
        const int c = std::countr_zero(bits);
        const float score = scores(c);
        const float upper =
            (Selector::sign == Sign::nearest ? score : -score) - row_bias - cols.bias[c];
        consider(worker, row, strip.col_begin + c, upper - row_width - cols.width[c], upper);
    }
}

// Whether the pair still matters to its row (or to its column), now that its bounds are known.
template <typename Selector>
void Sweep<Selector>::consider(Worker& worker, std::int64_t row, std::int64_t col, float lower,
                               float upper) {
    bool for_row = upper >= floors_[row].load(std::memory_order_relaxed);
    bool for_col = pairing_.symmetric && upper >= floors_[col].load(std::memory_order_relaxed);
    if (banded_) {
        for_row = for_row && lower <= ceilings_[row];
        for_col = for_col && lower <= ceilings_[col];
    }
    if (!for_row && !for_col) return;
    if (may_meet_itself_ && pairing_.rows->row(row) == pairing_.cols->row(col)) return;
    if (grouped_ && pairing_.rows->same_group(row, *pairing_.cols, col)) return;
    if (closer_ && selector_.most() == 1) {
        const bool is_news = (for_row && !is_known(row, col)) || (for_col && !is_known(col, row));
        if (!is_news) return;
        // Floors are best kept as high as they can be: the next pair costs about as much. But of a
        // few together none waits for its memory.
        worker.pressing.push_back(
            {static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(col)});
        if (worker.pressing.size() == most_pressing) decide_pressing(worker);
        return;
    }
    if (for_row) keep(worker, row, col, lower, upper);
    if (for_col) keep(worker, col, row, lower, upper);
}

template <typename Selector>
void Sweep<Selector>::decide_pressing(Worker& worker) {
    double distances[most_pressing];
    worker.distance->many(worker.pressing, distances);
    for (std::size_t i = 0; i < worker.pressing.size(); ++i) {
        const auto [row, col] = worker.pressing[i];
        offer(row, {distances[i], pairing_.cols->row(col)});
        if (pairing_.symmetric) offer(col, {distances[i], pairing_.rows->row(row)});
    }
    worker.pressing.clear();
}

// Remembers the pair; its lower bound may already make others uninteresting.
template <typename Selector>
void Sweep<Selector>::keep(Worker& worker, std::int64_t row, std::int64_t other, float lower,
                           float upper) {
    const bool raises = lower > floors_[row].load(std::memory_order_relaxed);
    // (Whether others are known is asked when they are decided.)
    if (raises && is_known(row, other)) return;
    worker.undecided.push_back(
        {static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(other), upper});
    if (raises) {
        change(row, [&] { return selector_.expect(row, lower, upper); });
    } else {
        ++worker.doubts;
    }
}

template <typename Selector>
void Sweep<Selector>::make_room(Worker& worker, int id) {
    forget_hopeless(worker);
    if (worker.undecided.size() < most_undecided_ / 8 * 7) return;
    sort_by_row(worker);
    for (std::size_t i = 0; i < worker.order.size(); i += pairs_per_task) {
        team_.poll(id);
        decide(worker, part_of(worker, i));
    }
    worker.undecided.clear();
}

template <typename Selector>
void Sweep<Selector>::forget_hopeless(Worker& worker) const {
    std::erase_if(worker.undecided, [&](const Undecided& pair) {
        return pair.upper < floors_[pair.row].load(std::memory_order_relaxed);
    });
}

// Row by row: the likeliest candidates of a row are decided first.
template <typename Selector>
void Sweep<Selector>::sort_by_row(Worker& worker) const {
    const std::vector<Undecided>& undecided = worker.undecided;
    std::vector<std::uint32_t> ends(static_cast<std::size_t>(pairing_.rows->size()) + 1);
    for (const Undecided& pair : undecided) ++ends[pair.row + 1];
    std::partial_sum(ends.begin(), ends.end(), ends.begin());
    worker.order.resize(undecided.size());
    for (std::uint32_t i = 0; i < undecided.size(); ++i) {
        worker.order[ends[undecided[i].row]++] = i;
    }
}

template <typename Selector>
void Sweep<Selector>::decide_all() {
    team_.for_each(team_.size(), [&](std::int64_t number, int) {
        Worker& worker = workers_[static_cast<std::size_t>(number)];
        forget_hopeless(worker);
        sort_by_row(worker);
    });
    std::vector<Part> parts;
    for (const Worker& worker : workers_) {
        for (std::size_t i = 0; i < worker.order.size(); i += pairs_per_task) {
            parts.push_back(part_of(worker, i));
        }
    }
    team_.for_each(static_cast<std::int64_t>(parts.size()), [&](std::int64_t number, int id) {
        Worker& worker = workers_[static_cast<std::size_t>(id)];
        if (!worker.distance) prepare(worker);
        decide(worker, parts[static_cast<std::size_t>(number)]);
    });
}

template <typename Selector>
void Sweep<Selector>::decide(Worker& worker, const Part& pairs) {
    const auto floor = [&](std::int64_t row) {
        return floors_[row].load(std::memory_order_relaxed);
    };
    const std::size_t count = pairs.order.size();
    worker.contests.clear();
    for (std::size_t i = 0; i < count;) {
        const std::int64_t row = pairs[i].row;
        for (; i < count && pairs[i].row == row; ++i) {
            if (pairs[i].upper >= floor(row) && !is_known(row, pairs[i].other)) {
                worker.contests.add({pairs[i].other, pairs[i].upper});
            }
        }
        worker.contests.close(row, 0);
    }
    const auto k = static_cast<std::size_t>(selector_.most());
    worker.contests.decide(
        *worker.distance, *pairing_.cols, [&](const auto&) { return k; },
        [&](const auto& contest) { return floor(contest.row); },
        [&](const auto& contest, std::span<const Candidate> candidates) {
            change(contest.row, [&] {
                for (const Candidate& one : candidates) selector_.offer(contest.row, one);
                return selector_.floor(contest.row);
            });
        },
        [] {});
}

// Lets the selector change its mind about a row: `change` returns a floor, of all that it knows or
// of some.
template <typename Selector>
template <typename Change>
void Sweep<Selector>::change(std::int64_t row, Change change) {
    while (locks_[row].test_and_set(std::memory_order_acquire)) {
        std::this_thread::yield();
    }
    const float floor = change();
    if (floor > floors_[row].load(std::memory_order_relaxed)) {
        floors_[row].store(floor, std::memory_order_relaxed);
    }
    locks_[row].clear(std::memory_order_release);
}

}  // namespace tripletmine
