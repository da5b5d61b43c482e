#include "walk.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace tripletmine {
namespace {

constexpr std::int64_t most_shared_rows = 256;
constexpr double multiply_adds_per_task = 1e9;  // some milliseconds

// Small inputs: enough blocks for every thread to find work.
std::int64_t rows_per_block(const Pairing& pairing, std::int64_t most, int threads) {
    const Operand& operand = *pairing.row_operand;
    const std::int64_t by_cache = block_cache / (operand.panel_bytes() / panel_rows);
    const std::int64_t by_threads = pairing.rows->size() / (4 * threads);
    const std::int64_t rows = std::min({by_cache, by_threads, most});
    return std::max<std::int64_t>(rows, max_tile_rows) / max_tile_rows * max_tile_rows;
}

}  // namespace

WalkPlan plan_shared(const Pairing& pairing, int threads) {
    const std::int64_t rows = rows_per_block(pairing, most_shared_rows, threads);
    const double granule = static_cast<double>(rows * pairing.row_operand->depth() * tile_granule);
    const auto granules = static_cast<std::int64_t>(multiply_adds_per_task / granule);
    return {rows, std::max<std::int64_t>(1, granules) * tile_granule};
}

WalkPlan plan_blocks(const Pairing& pairing, std::int64_t cols_at_once, int threads) {
    const std::int64_t cols = pairing.col_operand->padded_size();
    const std::int64_t chunk = std::min(cols, cols_at_once / tile_granule * tile_granule);
    std::int64_t rows = most_own_rows;
    constexpr std::int64_t bytes_of_score = 4;
    if (rows * chunk * bytes_of_score > block_cache) {
        // Scores go to the outer caches and come back, and the fewer rows the more of them stay;
        // but the fewer rows the more often columns come from there. As much of the one as of the
        // other.
        const std::int64_t row_bytes = pairing.row_operand->panel_bytes() / panel_rows;
        rows = std::clamp(row_bytes / (2 * bytes_of_score), rows / 2, rows);
    }
    return {rows_per_block(pairing, rows, threads), cols, chunk};
}

Walk::Walk(Team& team, const Pairing& pairing, Relation relation, const WalkPlan& plan)
    : team_(team), pairing_(pairing), relation_(relation), plan_(plan) {
    if (relation != Relation::any) classes_ = pairing.cols->classes_of(*pairing.rows);
    index_groups();
    plan_tasks();
}

void Walk::index_groups() {
    const Dataset &rows = *pairing_.rows, &cols = *pairing_.cols;
    if (!cols.grouped()) return;
    std::vector<std::pair<std::int64_t, std::int64_t>> order;  // (group, position)
    for (std::int64_t col = 0; col < cols.size(); ++col) order.emplace_back(cols.group(col), col);
    std::sort(order.begin(), order.end());
    std::vector<std::pair<std::int64_t, std::int64_t>> begins;  // of each group, among these
    for (const auto& [group, col] : order) {
        if (begins.empty() || begins.back().first != group) {
            begins.emplace_back(group, std::ssize(by_group_));
        }
        by_group_.push_back(col);
    }
    for (std::int64_t row = 0; row < rows.size(); ++row) {
        const auto own = std::ranges::lower_bound(begins, rows.group(row), {},
                                                  [](const auto& begin) { return begin.first; });
        if (own == begins.end() || own->first != rows.group(row)) {
            groups_.push_back({});
        } else {
            const bool last = own + 1 == begins.end();
            groups_.push_back({own->second, last ? cols.size() : (own + 1)->second});
        }
    }
}

std::span<const std::int64_t> Walk::of_group(std::int64_t row, const Interval& cols) const {
    if (by_group_.empty()) return {};
    const Interval& own = groups_[static_cast<std::size_t>(row)];
    const auto begin =
        std::lower_bound(by_group_.begin() + own.begin, by_group_.begin() + own.end, cols.begin);
    return {begin, std::lower_bound(begin, by_group_.begin() + own.end, cols.end)};
}

// The part of a tile's scores that begins with element k. The tiles of a block take turns in
// fetching the next strip.
void Walk::score(const RowSide& rows, std::int64_t row, const std::byte* cols, std::int64_t col,
                 std::int64_t k, float* scores, std::int64_t stride) const {
    const Operand& operand = *pairing_.row_operand;
    const Scorer& scorer = operand.scorer();
    const std::int64_t lane = row % panel_rows;
    const std::int64_t skipped = k * panel_rows * operand.element_bytes();
    const std::byte* from =
        rows.panels + row / panel_rows * operand.panel_bytes() + lane * operand.row_bytes();
    const auto depth =
        static_cast<int>(std::min<std::int64_t>(scorer.longest_depth, operand.depth() - k));
    const std::byte* soon =
        pairing_.col_operand->share_of_strip(col + scorer.tile_cols, row / scorer.tile_rows, k);
    scorer.score(from + skipped, cols + skipped, operand.panel_bytes(), depth,
                 operand.start(rows, row, k), k > 0, soon, scores, stride);
}

void Walk::score_rows(const Interval& of_block, const Interval& cols, int worker, Scratch& scratch,
                      float* scores, std::int64_t stride) {
    const Scorer& scorer = pairing_.scorer();
    const ScoringThread scoring(scorer);
    const std::int64_t depth = pairing_.row_operand->depth(), step = scorer.longest_depth;
    const std::int64_t rows = of_block.size();
    for (std::int64_t c = cols.begin; c < cols.end; c += scorer.tile_cols) {
        team_.poll(worker);
        const std::byte* panels = pairing_.col_operand->col_side(c, scorer.tile_cols, scratch.cols);
        for (std::int64_t k = 0; k < depth; k += step) {
            for (std::int64_t row = 0; row < rows; row += scorer.tile_rows) {
                const std::int64_t parts = (depth + step - 1) / step * rows;
                const std::int64_t part = k / step * rows + row;
                pairing_.col_operand->fetch_ahead(c + scorer.tile_cols, part,
                                                  part + scorer.tile_rows, parts);
                score(scratch.rows, row, panels, c, k, scores + row * stride + c - cols.begin,
                      stride);
            }
        }
    }
}

std::int64_t Walk::rows_scored_once(const Pairing& pairing) {
    // Few, since they are scored twice with each other; but they are to begin where tiles and
    // panels do, on both sides.
    const Scorer& scorer = pairing.scorer();
    const int step = std::lcm(panel_rows, std::lcm(scorer.tile_rows, scorer.tile_cols));
    return round_up(max_tile_rows, step);
}

Walk::Matrix Walk::matrix() const {
    const std::int64_t rows = pairing_.rows->size();
    // An odd number of cache lines, as in WalkPlan::chunk_stride.
    const std::int64_t lines = round_up(rows, pairing_.scorer().tile_cols) / max_register + 1;
    const std::int64_t stride = (lines | 1) * max_register;
    return {Buffer<float>(round_up(rows, max_tile_rows) * stride + max_register), stride};
}

void Walk::score_once(std::int64_t block, int worker, Scratch& scratch, const KernelSet& kernels,
                      const Matrix& matrix) {
    const std::int64_t size = pairing_.rows->size(), at_once = rows_scored_once(pairing_);
    const Interval rows{block * at_once, std::min(size, (block + 1) * at_once)};
    pairing_.row_operand->row_side(rows.begin, at_once, scratch.rows);
    for (std::int64_t begin = rows.begin; begin < size; begin += tile_granule) {
        const Interval cols{begin, std::min(size, begin + tile_granule)};
        score_rows(rows, cols, worker, scratch, matrix.at(rows.begin, begin), matrix.stride);
        for (std::int64_t c = std::max(begin, rows.end); c < cols.end; c += panel_rows) {
            for (std::int64_t r = rows.begin; r < rows.end; r += panel_rows) {
                kernels.transpose(matrix.at(r, c), matrix.stride, matrix.at(c, r), matrix.stride);
            }
        }
    }
}

void Walk::plan_tasks() {
    const std::int64_t rows = pairing_.rows->size();
    for (std::int64_t begin = 0; begin < rows; begin += plan_.rows_per_block) {
        const std::int64_t end = std::min(rows, begin + plan_.rows_per_block);
        const Interval cols = cols_of(begin, end);
        for (std::int64_t c = cols.begin; c < cols.end; c += plan_.cols_per_task) {
            const std::int64_t last = std::min(cols.end, c + plan_.cols_per_task);
            tasks_.push_back({begin, end, c, last});
        }
    }
}

double Walk::pairs_from(std::int64_t task) const {
    return std::accumulate(tasks_.begin() + task, tasks_.end(), 0.0,
                           [](double pairs, const Task& one) { return pairs + pairs_of(one); });
}

// The columns in which a block of rows has pairs of the relation, from a tile's edge on.
Interval Walk::cols_of(std::int64_t row_begin, std::int64_t row_end) const {
    Interval cols{pairing_.symmetric ? row_begin : 0, pairing_.cols->size()};
    if (relation_ == Relation::positives) {
        cols.begin = std::max(cols.begin, classes_[row_begin].begin);
        cols.end = classes_[row_end - 1].end;
    }
    if (cols.end <= cols.begin) return {0, 0};
    return {cols.begin / tile_granule * tile_granule, cols.end};
}

// Whether a tile holds any pair of the relation. Classes follow one another on both sides, so the
// first and the last row of a tile speak for all.
bool Walk::relevant(std::int64_t row_begin, std::int64_t row_end, std::int64_t col_begin,
                    std::int64_t col_end) const {
    if (pairing_.symmetric && col_end - 1 <= row_begin) return false;
    if (relation_ == Relation::any) return true;
    const Interval first = classes_[row_begin], last = classes_[row_end - 1];
    if (relation_ == Relation::positives) return first.begin < col_end && col_begin < last.end;
    const bool one_class = first.begin == last.begin && first.end == last.end;
    return !(one_class && first.begin <= col_begin && col_end <= first.end);
}

std::uint64_t Walk::allowed(std::int64_t row, const Strip& strip) const {
    const auto bits = [&](std::int64_t begin, std::int64_t end) -> std::uint64_t {
        begin = std::clamp(begin, strip.col_begin, strip.col_end) - strip.col_begin;
        end = std::clamp(end, strip.col_begin, strip.col_end) - strip.col_begin;
        if (begin >= end) return 0;
        return (~std::uint64_t{0} >> (64 - (end - begin))) << begin;
    };
    std::uint64_t mask = bits(pairing_.symmetric ? row + 1 : strip.col_begin, strip.col_end);
    if (relation_ == Relation::positives) mask &= bits(classes_[row].begin, classes_[row].end);
    if (relation_ == Relation::negatives) mask &= ~bits(classes_[row].begin, classes_[row].end);
    return mask;
}

// Classes follow one another on both sides, so that most tiles are of different ones throughout.
void Walk::leave_allowed(std::int64_t row, std::int64_t count, const Strip& strip,
                         std::uint64_t* masks) const {
    const std::int64_t last = row + count - 1;
    const bool all = strip.col_end - strip.col_begin == pairing_.scorer().tile_cols &&
                     (!pairing_.symmetric || last < strip.col_begin) &&
                     (relation_ == Relation::any ||
                      (relation_ == Relation::negatives && (classes_[last].end <= strip.col_begin ||
                                                            classes_[row].begin >= strip.col_end)));
    for (std::int64_t r = 0; !all && r < count; ++r) {
        if (masks[r] != 0) masks[r] &= allowed(row + r, strip);
    }
}

void Walk::choose_tiles(const Task& task, const Strip& strip,
                        std::vector<std::int64_t>& tiles) const {
    tiles.clear();
    const std::int64_t step = pairing_.scorer().tile_rows;
    for (std::int64_t row = task.row_begin; row < task.row_end; row += step) {
        const std::int64_t row_end = std::min(task.row_end, row + step);
        if (relevant(row, row_end, strip.col_begin, strip.col_end)) tiles.push_back(row);
    }
}

}  // namespace tripletmine
