#include "row_sweep.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

namespace tripletmine {
namespace {

constexpr float infinite = std::numeric_limits<float>::infinity();

// Of large inputs, how many scores of a row are looked at together: they stay in the second-level
// cache for all rows of a block.
constexpr std::int64_t cols_of_part = 10 * tile_granule;

std::size_t hands_of(std::span<const RowSweep::Question> questions) {
    int most = 0;
    for (const RowSweep::Question& one : questions) most = std::max(most, hands_for(one.k));
    return static_cast<std::size_t>(most);
}

// A row's scores in whole runs, of groups too: short ones leave most hands empty.
WalkPlan uncut(WalkPlan plan) {
    plan.cuts_groups = false;
    return plan;
}

// Whether this is the better sweep of large inputs without groups.
bool is_quicker(const FilterCase& asked) {
    if (asked.k > most_seeded) return true;
    if (!asked.one_side) return asked.k > 1;
    // In nanoseconds a row on one core, about: scoring each pair once more, and looking at all
    // scores; and what Sweep takes to keep floors for each candidate that is wanted.
    constexpr double looking = 0.3, keeping = 750.0;
    const KernelSet& kernels = asked.kernels;
    const double scoring =
        kernels.coarse_takes + (asked.dim < kernels.coarse_pays_from ? kernels.coarse_saves : 0.0);
    return static_cast<double>(asked.cols) *
               (0.5 * static_cast<double>(asked.dim) * scoring + looking) <
           keeping * static_cast<double>(asked.k);
}

// All pairs, unless nothing but positives is asked for.
Relation relation_of(std::span<const RowSweep::Question> questions) {
    const bool positives = std::all_of(
        questions.begin(), questions.end(),
        [](const RowSweep::Question& one) { return one.relation == Relation::positives; });
    return positives ? Relation::positives : Relation::any;
}

}  // namespace

bool RowSweep::is_small(std::int64_t rows, std::int64_t cols) {
    constexpr double few = 1 << 20;
    return static_cast<double>(rows) * static_cast<double>(cols) <= few;
}

bool RowSweep::suits(const FilterCase& asked, const Dataset& cols) {
    if (asked.k < 1 || asked.k > most_contended) return false;
    if (is_small(asked.rows, asked.cols)) return true;
    // What is of a row's group is left out one by one, and large groups may leave hands empty.
    constexpr double much = 1.0 / 16.0;
    return is_quicker(asked) && cols.share_of_group() <= much;
}

RowSweep::RowSweep(Team& team, const KernelSet& kernels, Pack pack, const FilterPlan& plan,
                   std::span<const Question> questions)
    : team_(team),
      kernels_(kernels),
      pack_(std::move(pack)),
      plan_(plan),
      questions_(questions),
      pairing_(pack_(plan[0].precision)),
      in_parts_(!is_small(pairing_.rows->size(), pairing_.cols->size())),
      hands_(hands_of(questions)),
      once_(!in_parts_ && pairing_.symmetric && relation_of(questions) == Relation::any &&
            pairing_.cols->dim() >= kernels.copy_pays_from &&
            // The first blocks have the most to score; all threads are to find as much.
            pairing_.cols->size() >= 2 * team.size() * Walk::rows_scored_once(pairing_)),
      walk_(team, pairing_.both_ways(), relation_of(questions),
            uncut(plan_blocks(pairing_,
                              in_parts_ ? cols_of_part : pairing_.col_operand->padded_size(),
                              team.size()))),
      workers_(static_cast<std::size_t>(team.size())) {
    pairing_ = pairing_.both_ways();
    walk_.announce();
    if (pairing_.rows->labelled()) classes_ = pairing_.cols->classes_of(*pairing_.rows);
}

std::int64_t RowSweep::run() {
    std::vector<std::size_t> blocks(walk_.tasks().size());
    std::iota(blocks.begin(), blocks.end(), std::size_t{0});
    if (once_) {
        matrix_ = walk_.matrix();
        const std::int64_t at_once = Walk::rows_scored_once(pairing_), rows = pairing_.rows->size();
        team_.for_each((rows + at_once - 1) / at_once, [&](std::int64_t block, int id) {
            walk_.score_once(block, id, workers_[id].walk, kernels_, *matrix_);
        });
    }
    for (auto stage = plan_.begin();;) {
        blocks = settle(blocks, *stage, stage + 1 == plan_.end());
        if (blocks.empty()) break;
        for (const std::size_t block : blocks) {
            team_.expect(Walk::pairs_of(walk_.tasks()[block]));  // again
        }
        matrix_.reset();
        pairing_ = pack_((++stage)->precision).both_ways();
        walk_.score_with(pairing_);
    }
    std::int64_t decided = 0;
    for (const Worker& worker : workers_) {
        if (worker.distance) decided += worker.distance->decided();
    }
    return decided;
}

// Answers the questions for some blocks of rows; returns those which are better off with closer
// scores, unless these are the last ones.
std::vector<std::size_t> RowSweep::settle(const std::vector<std::size_t>& blocks,
                                          const FilterStage& stage, bool last) {
    std::vector<std::uint8_t> open(blocks.size());
    for (Worker& worker : workers_) {
        worker.biases.clear();
        for (const Question& question : questions_) {
            const float* full = pairing_.col_operand->bias(question.sign);
            const float* end = full + pairing_.cols->size() + max_register;
            worker.biases.push_back({{full, end}, {}, {}});
        }
        worker.walk = {};
    }
    team_.for_each(static_cast<std::int64_t>(blocks.size()), [&](std::int64_t number, int id) {
        const auto at = static_cast<std::size_t>(number);
        const Walk::Task& task = walk_.tasks()[blocks[at]];
        Worker& worker = workers_[static_cast<std::size_t>(id)];
        if (!contend(task, id, worker, last) ||
            (!last && too_many(task, worker.contests.size(), stage))) {
            open[at] = 1;
        } else {
            decide(worker, id);
        }
    });
    std::vector<std::size_t> left;
    for (std::size_t at = 0; at < blocks.size(); ++at) {
        if (open[at] != 0) left.push_back(blocks[at]);
    }
    return left;
}

// Returns false if far too many contend; those of the last stage are decided in time.
bool RowSweep::contend(const Walk::Task& task, int id, Worker& worker, bool last) {
    constexpr std::size_t most_added = 1 << 20;
    bool overflows = false;
    const auto drop_hopeless = [&] {
        worker.contests.gather(
            [&](const Contests::Contest& contest) { return worker.floors[contest.entry]; });
    };
    const auto cols = static_cast<std::size_t>(pairing_.cols->size());
    worker.uppers.resize(cols + max_tile_cols);
    worker.places.resize(cols);
    const auto entries =
        static_cast<std::size_t>(task.row_end - task.row_begin) * questions_.size();
    worker.floors.assign(entries, -infinite);
    worker.best.assign(entries * hands_, -infinite);
    worker.contests.clear();
    const auto entry_of = [&](std::int64_t row, std::size_t question) {
        return static_cast<std::size_t>(row - task.row_begin) * questions_.size() + question;
    };
    const auto visit = [&](std::int64_t row, const Interval& run, const float* scores) {
        if (overflows) return;
        for (std::size_t q = 0; q < questions_.size(); ++q) {
            const Question& question = questions_[q];
            const Part whole = part_of(question, row, run);
            const Interval& part = whole.cols;
            if (part.size() == 0) continue;
            const Sign sign = question.sign;
            const bool banded = !question.ceilings.empty();
            const std::size_t entry = entry_of(row, q);
            float* best = worker.best.data() + entry * hands_;
            TileSide side = pairing_.col_operand->side(sign, part.begin, nullptr, nullptr);
            side.bias = leave_out(row, whole, sign, worker.biases[q]) + part.begin;
            const int found = pairing_.scorer().contend(
                scores + part.begin - run.begin,
                pairing_.row_operand->side(sign, row,
                                           banded ? question.surely_taken.data() + row : nullptr,
                                           banded ? question.ceilings.data() + row : nullptr),
                side, sign, static_cast<int>(part.size()), static_cast<int>(question.k), best,
                worker.uppers.data(), worker.floors[entry], worker.places.data());
            for (int i = 0; i < found; ++i) {
                const std::int32_t place = worker.places[static_cast<std::size_t>(i)];
                const float upper = worker.uppers[static_cast<std::size_t>(place)];
                if (upper == -infinite) continue;  // left out, or refused
                worker.contests.add({static_cast<std::uint32_t>(part.begin + place), upper});
            }
            worker.contests.close(row, entry);
        }
        if (worker.contests.added() <= most_added) return;
        drop_hopeless();
        if (worker.contests.added() <= most_added / 2) return;
        overflows = !last;
        if (last) decide(worker, id);
        worker.contests.clear();
    };
    if (matrix_) {
        walk_.visit_rows(task, {0, pairing_.cols->size()}, id, matrix_->at(task.row_begin, 0),
                         matrix_->stride, visit);
    } else {
        walk_.run_rows(task, id, worker.walk, visit);
    }
    // In earlier parts of a row columns met lower floors.
    if (in_parts_) drop_hopeless();
    return !overflows;
}

// The columns' bias, infinite in the gap, which neighbouring rows often share, and in this part for
// the row's group.
const float* RowSweep::leave_out(std::int64_t row, const Part& part, Sign sign, Bias& bias) const {
    const float* full = pairing_.col_operand->bias(sign);
    const auto holds = [](const Interval& some, std::int64_t col) {
        return some.begin <= col && col < some.end;
    };
    float* values = bias.values.data();
    for (const std::int64_t col : bias.of_group) {
        if (!holds(bias.gap, col)) values[col] = full[col];
    }
    if (bias.gap.begin != part.gap.begin || bias.gap.end != part.gap.end) {
        std::copy(full + bias.gap.begin, full + bias.gap.end, values + bias.gap.begin);
        std::fill(values + part.gap.begin, values + part.gap.end, infinite);
        bias.gap = part.gap;
    }
    bias.of_group = walk_.of_group(row, part.cols);
    for (const std::int64_t col : bias.of_group) values[col] = infinite;
    return values;
}

// What a question is about in a run of columns; never the row itself.
RowSweep::Part RowSweep::part_of(const Question& question, std::int64_t row,
                                 const Interval& cols) const {
    Interval own = cols;
    if (question.relation != Relation::any) {
        const Interval same = classes_[static_cast<std::size_t>(row)];
        own = {std::clamp(same.begin, cols.begin, cols.end),
               std::clamp(same.end, cols.begin, cols.end)};
    }
    if (question.relation == Relation::negatives) return {cols, own};
    return {own, self_among(row, own)};
}

// The row itself, as one of these columns; or nothing.
Interval RowSweep::self_among(std::int64_t row, const Interval& cols) const {
    const Interval none{cols.begin, cols.begin};
    if (!pairing_.self_join) return none;
    const std::int64_t position = pairing_.rows == pairing_.cols
                                      ? row
                                      : pairing_.cols->position_of(pairing_.rows->row(row), cols);
    if (position < cols.begin || position >= cols.end) return none;
    if (pairing_.cols->row(position) != pairing_.rows->row(row)) return none;
    return {position, position + 1};
}

// Whether closer scores are cheaper than what these leave to do, beyond those that are wanted.
bool RowSweep::too_many(const Walk::Task& task, std::size_t contenders,
                        const FilterStage& stage) const {
    constexpr double few = 32.0;  // doubts for each row and question
    const double doubts =
        std::max(few, stage.most_doubts * static_cast<double>(pairing_.cols->size()));
    double of_row = 0.0;
    for (const Question& question : questions_) of_row += static_cast<double>(question.k) + doubts;
    return static_cast<double>(contenders) >
           of_row * static_cast<double>(task.row_end - task.row_begin);
}

void RowSweep::decide(Worker& worker, int id) const {
    if (!worker.distance) {
        worker.distance.emplace(*pairing_.rows, *pairing_.cols, kernels_, pairing_.metric);
    }
    const auto question_of = [&](const Contests::Contest& contest) -> const Question& {
        return questions_[contest.entry % questions_.size()];
    };
    worker.contests.decide(
        *worker.distance, *pairing_.cols,
        [&](const auto& contest) { return static_cast<std::size_t>(question_of(contest).k); },
        [&](const auto& contest) { return worker.floors[contest.entry]; },
        [&](const auto& contest, std::span<const Candidate> candidates) {
            float& floor = worker.floors[contest.entry];
            floor = std::max(floor, question_of(contest).offer(contest.row, candidates));
        },
        [&] { team_.poll(id); });
}

}  // namespace tripletmine
