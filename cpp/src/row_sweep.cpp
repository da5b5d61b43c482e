#include "row_sweep.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "exact.hpp"

namespace tripletmine {
namespace {

Pairing both_ways(Pairing pairing) {
    pairing.symmetric = false;
    return pairing;
}

}  // namespace

struct RowSweep::Worker {
    Walk::Scratch walk;
    std::vector<float> uppers;
    std::vector<float> floors, best;  // of each row and question, and of each hand of these
    std::vector<std::int32_t> places;
};

RowSweep::RowSweep(Team& team, const KernelSet& kernels, Pack pack, const FilterPlan& plan,
                   std::span<const Question> questions)
    : team_(team),
      kernels_(kernels),
      pack_(std::move(pack)),
      plan_(plan),
      questions_(questions),
      pairing_(both_ways(pack_(plan[0].precision))),
      walk_(team, pairing_, questions.size() == 1 ? questions[0].relation : Relation::any,
            plan_blocks(pairing_, pairing_.col_operand->padded_size(), team.size())),
      blocks_(walk_.tasks().size()) {
    walk_.announce();
    if (pairing_.rows->labelled()) classes_ = pairing_.cols->classes_of(*pairing_.rows);
}

std::int64_t RowSweep::run() {
    contend();
    for (auto stage = plan_.begin() + 1; stage != plan_.end() && too_many(); ++stage) {
        pairing_ = both_ways(pack_(stage->precision));
        walk_.score_with(pairing_);
        contend();
    }
    std::vector<std::int64_t> decided(blocks_.size());
    for_blocks([&](std::size_t block, int) { decided[block] = decide(blocks_[block]); });
    return std::accumulate(decided.begin(), decided.end(), std::int64_t{0});
}

template <typename Visit>
void RowSweep::for_blocks(Visit visit) {
    team_.for_each(static_cast<std::int64_t>(blocks_.size()), [&](std::int64_t number, int id) {
        visit(static_cast<std::size_t>(number), id);
    });
}

void RowSweep::contend() {
    std::vector<Worker> workers(static_cast<std::size_t>(team_.size()));
    for_blocks([&](std::size_t block, int id) {
        contend(walk_.tasks()[block], id, workers[static_cast<std::size_t>(id)], blocks_[block]);
    });
}

void RowSweep::contend(const Walk::Task& task, int id, Worker& worker, Contenders& block) {
    const auto cols = static_cast<std::size_t>(pairing_.cols->size());
    worker.uppers.resize(cols + max_tile_cols);
    worker.places.resize(cols);
    const auto entries =
        static_cast<std::size_t>(task.row_end - task.row_begin) * questions_.size();
    constexpr float none = -std::numeric_limits<float>::infinity();
    worker.floors.assign(entries, none);
    const bool several = std::any_of(questions_.begin(), questions_.end(),
                                     [](const Question& question) { return question.k > 1; });
    worker.best.assign(several ? entries * contended_hands : 0, none);
    block.clear();
    const auto entry_of = [&](std::int64_t row, std::size_t question) {
        return static_cast<std::size_t>(row - task.row_begin) * questions_.size() + question;
    };
    walk_.run_rows(
        task, id, worker.walk, [&](std::int64_t row, const Interval& run, const float* scores) {
            for (std::size_t q = 0; q < questions_.size(); ++q) {
                const Sign sign = questions_[q].sign;
                const std::size_t entry = entry_of(row, q);
                float* best = several ? worker.best.data() + entry * contended_hands : nullptr;
                each_part(questions_[q], row, run, [&](const Interval& part) {
                    const int found = pairing_.scorer().contend(
                        scores + part.begin - run.begin,
                        pairing_.row_operand->side(sign, row, nullptr, nullptr),
                        pairing_.col_operand->side(sign, part.begin, nullptr, nullptr), sign,
                        static_cast<int>(part.size()), static_cast<int>(questions_[q].k), best,
                        worker.uppers.data(), worker.floors[entry], worker.places.data());
                    for (int i = 0; i < found; ++i) {
                        const auto c = static_cast<std::size_t>(worker.places[i]);
                        block.push_back(
                            {static_cast<std::uint32_t>(row),
                             static_cast<std::uint32_t>(part.begin) + static_cast<std::uint32_t>(c),
                             static_cast<std::uint32_t>(q), worker.uppers[c]});
                    }
                });
            }
        });
    std::erase_if(block, [&](const Contender& contender) {
        return contender.upper < worker.floors[entry_of(contender.row, contender.question)];
    });
}

// Calls visit(part) for what the question is about in a run of columns, the row itself left out.
template <typename Visit>
void RowSweep::each_part(const Question& question, std::int64_t row, const Interval& cols,
                         Visit visit) const {
    const auto part = [&](std::int64_t begin, std::int64_t end) {
        if (begin < end) visit(Interval{begin, end});
    };
    Interval own = cols;
    if (question.relation != Relation::any) {
        const Interval same = classes_[static_cast<std::size_t>(row)];
        own = {std::clamp(same.begin, cols.begin, cols.end),
               std::clamp(same.end, cols.begin, cols.end)};
    }
    if (question.relation == Relation::negatives) {
        part(cols.begin, own.begin);
        part(own.end, cols.end);
    } else if (pairing_.self_join) {
        const std::int64_t self = pairing_.cols->position_of(pairing_.rows->row(row), own);
        const bool there = self < own.end && pairing_.cols->row(self) == pairing_.rows->row(row);
        part(own.begin, self);
        part(self + there, own.end);
    } else {
        part(own.begin, own.end);
    }
}

// Whether closer scores are cheaper than what these leave to do.
bool RowSweep::too_many() const {
    constexpr std::size_t many = 32;  // doubts for each row and question
    std::size_t contenders = 0, accepted = 0;
    for (const Contenders& block : blocks_) contenders += block.size();
    for (const Question& question : questions_)
        accepted += many + static_cast<std::size_t>(question.k);
    return contenders > accepted * static_cast<std::size_t>(pairing_.rows->size());
}

std::int64_t RowSweep::decide(const Contenders& block) const {
    ExactDistance distance(*pairing_.rows, *pairing_.cols, kernels_, pairing_.metric);
    std::vector<std::int64_t> cols;
    std::vector<double> distances;
    for (auto at = block.begin(), end = at; at != block.end(); at = end) {
        const std::int64_t row = at->row;
        cols.clear();
        for (; end != block.end() && end->row == row; ++end) cols.push_back(end->col);
        distances.resize(cols.size());
        distance.many(row, cols, distances.data());
        for (std::size_t i = 0; i < cols.size(); ++i, ++at) {
            questions_[at->question].offer(row, {distances[i], pairing_.cols->row(cols[i])});
        }
    }
    return distance.decided();
}

}  // namespace tripletmine
