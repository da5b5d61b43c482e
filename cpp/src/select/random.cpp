// Candidates at random: the order in which a row's candidates are drawn.
//
// The candidates of an anchor (its positives but itself, or its negatives), ascending by index, are
// shuffled by Fisher and Yates from the front, and candidates of its group or out of range are
// passed over; the first k that remain are a uniform sample without replacement. Only the part of
// the shuffle that is looked at is computed. Draw t of an anchor depends on (seed, relation,
// anchor, t) alone, so that no thread count, partition or k changes it.
#include <algorithm>

#include "draws.hpp"
#include "exact.hpp"
#include "join.hpp"

namespace tripletmine {
namespace {

constexpr std::int64_t rows_per_task = 64;
constexpr int draws_between_polls = 4096;

}  // namespace

Choice Join::draw(Relation relation, std::int64_t k, const Range& range, std::uint64_t seed,
                  const Choice* positives) {
    Choice choice = Choice::with_room(
        positives ? static_cast<std::int64_t>(positives->candidates.size()) : rows_->size(), k);
    const std::vector<std::int64_t> position_of = positions_of(*cols_);
    std::vector<ExactDistance> exact(static_cast<std::size_t>(team_.size()),
                                     {*rows_, *cols_, kernels_, metric_});
    // Draws until entry `number` of the choice holds k candidates or there are no more.
    const auto fill = [&](std::int64_t number, std::int64_t row, const Candidates& candidates,
                          const Draws& draws, int worker) {
        ExactDistance& distance = exact[static_cast<std::size_t>(worker)];
        LazyShuffle shuffle(draws, candidates.size());
        for (int steps = 1; choice.counts[number] < k && !shuffle.done(); ++steps) {
            if (steps % draws_between_polls == 0) team_.poll(worker);
            const std::int64_t col = candidates.position(shuffle.next());
            if (rows_->same_group(row, *cols_, col)) continue;
            const double d = distance(row, col);
            if (range.holds(d)) choice.add(number, {d, cols_->row(col)});
        }
    };
    const std::int64_t tasks = (rows_->size() + rows_per_task - 1) / rows_per_task;
    const auto drawn_for = [&](std::int64_t p) {  // how many candidates, at most
        return static_cast<double>(positives ? std::ssize(positives->of(p)) : 1) *
               static_cast<double>(k);
    };
    for (std::int64_t p = 0; p < rows_->size(); ++p) team_.expect(drawn_for(p));
    team_.for_each(tasks, [&](std::int64_t task, int worker) {
        const std::int64_t end = std::min(rows_->size(), (task + 1) * rows_per_task);
        for (std::int64_t p = task * rows_per_task; p < end; ++p) {
            const std::int64_t anchor = rows_->row(p);
            const Candidates candidates(*cols_, position_of, relation, rows_->label(p),
                                        self_join_ ? anchor : -1);
            const Draws draws(seed, relation, anchor);
            if (positives == nullptr) {
                fill(p, p, candidates, draws, worker);
            } else {
                std::int64_t number = positives->begin_of(p);
                for (const Candidate& positive : positives->of(p)) {
                    team_.poll(worker);
                    fill(number++, p, candidates, draws.of_pair(positive.row), worker);
                }
            }
            team_.advance(drawn_for(p));
        }
    });
    for (const ExactDistance& distance : exact) decided_ += distance.decided();
    return choice;
}

}  // namespace tripletmine
