#include "join.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "draws.hpp"
#include "exact.hpp"
#include "kernels/dispatch.hpp"
#include "select/ranked.hpp"

namespace tripletmine {
namespace {

constexpr std::int64_t rows_per_task = 1024;

// As a part of all: of more it takes less time to compute all distances, block by block, and to
// count all by fine scores.
constexpr double few_negatives = 1.0 / 16.0;

// Sorts what consists of ascending runs, few of them, by merging neighbours.
void sort_runs(std::vector<double>& values) {
    std::vector<double> merged(values.size());
    for (bool several = true; several;) {
        several = false;
        auto to = merged.begin();
        for (auto begin = values.begin(); begin != values.end();) {
            const auto middle = std::is_sorted_until(begin, values.end());
            const auto end = std::is_sorted_until(middle, values.end());
            to = std::merge(begin, middle, middle, end, to);
            several = several || begin != values.begin();
            begin = end;
        }
        values.swap(merged);
    }
}

std::shared_ptr<const Dataset> measured(
    Team& team, const KernelSet& kernels, const Population& population,
    const std::optional<std::span<const std::int64_t>>& subset) {
    auto dataset = std::make_shared<Dataset>(population, subset, kernels);
    dataset->measure(team);
    return dataset;
}

// Whether candidates are refused for nothing but being too good.
bool are_open_ended(Sign sign, const std::vector<Range>& ranges) {
    return std::all_of(ranges.begin(), ranges.end(), [&](const Range& range) {
        const bool open =
            sign == Sign::nearest ? range.high == Range{}.high : range.low == Range{}.low;
        return open || !(range.low <= range.high);
    });
}

template <Sign sign>
RowSweep::Question question_of(Relation relation, Ranked<sign>& selector) {
    RowSweep::Question question{relation, sign, selector.most(),
                                [&](std::int64_t row, std::span<const Candidate> candidates) {
                                    for (const Candidate& one : candidates)
                                        selector.offer(row, one);
                                    return selector.floor(row);
                                }};
    for (std::int64_t row = 0; !selector.unlimited() && row < selector.rows(); ++row) {
        question.ceilings.push_back(selector.ceiling(row));
        question.surely_taken.push_back(selector.surely_taken(row));
    }
    return question;
}

}  // namespace

Join::Join(Team& team, const KernelSet& kernels, const Population& rows,
           const std::optional<Population>& references,
           const std::optional<std::span<const std::int64_t>>& subset, Metric metric,
           std::int64_t packing_budget)
    : team_(team),
      kernels_(kernels),
      population_(rows),
      metric_(metric),
      packing_budget_(packing_budget),
      self_join_(!references) {
    cols_ = measured(team, kernels, references ? *references : rows, std::nullopt);
    rows_ = self_join_ && !subset ? cols_ : measured(team, kernels, rows, subset);
    rows_in_all_ = rows_->size();
    space_ = score_space(metric, std::max(rows_->largest_norm2(), cols_->largest_norm2()));
}

Join::Join(Team& team, const Join& other)
    : team_(team),
      kernels_(other.kernels_),
      population_(other.population_),
      metric_(other.metric_),
      packing_budget_(other.packing_budget_),
      self_join_(other.self_join_),
      rows_in_all_(other.rows_in_all_),
      space_(other.space_),
      rows_(other.rows_),
      cols_(other.cols_),
      origins_(other.origins_),
      projection_(other.projection_),
      least_of_blocks_(other.least_of_blocks_),
      kinds_(other.kinds_),
      row_operands_(other.row_operands_),
      col_operands_(other.col_operands_),
      decided_(other.decided_) {}

Join Join::narrowed(std::span<const std::int64_t> rows) const {
    Join join(*this);
    join.rows_ = measured(team_, kernels_, population_, rows);
    for (auto& operand : join.row_operands_) operand = nullptr;
    join.decided_ = 0;
    join.filters_.clear();
    return join;
}

void Join::describe(Report& report, const Stopwatch& stopwatch) const {
    report.zero_rows = cols_->zero_rows() + (self_join_ ? 0 : rows_->zero_rows());
    report.pairs_considered = rows_->size() * candidates();
    report.pairs_decided = decided_;
    report.seconds = stopwatch.seconds();
    report.threads = team_.size();
    report.instruction_set = kernels_.name;
    for (const std::string& filter : filters_) {
        report.plan += (report.plan.empty() ? "" : ", ") + filter;
    }
    if (filters_.empty()) report.plan = "float64";
}

const Origin& Join::origin(Precision precision) {
    // Projected rows are coded as whole ones are.
    auto& origin = origins_[static_cast<std::size_t>(std::max(precision, Precision::coarse))];
    if (!origin) {
        const Scorer& scorer = scorer_of(kernels_, precision);
        origin = std::make_shared<const Origin>(origin_of(*cols_, space_, scorer));
    }
    return *origin;
}

void Join::measure_lengths() {
    const Origin& from = origin(Precision::fine);
    if (from.point.empty()) return;
    constexpr std::int64_t at_once = 16;
    std::vector<double> longest2(static_cast<std::size_t>(team_.size()));
    const auto measure = [&](const Dataset& dataset) {
        const std::int64_t width = padded(dataset.dim());
        team_.for_each((dataset.size() + at_once - 1) / at_once, [&](std::int64_t task, int id) {
            std::vector<double> row(static_cast<std::size_t>(width));
            const std::int64_t end = std::min(dataset.size(), (task + 1) * at_once);
            for (std::int64_t position = task * at_once; position < end; ++position) {
                team_.poll(id);
                read_row(dataset, space_, from, position, row.data());
                double length2 = 0.0;
                kernels_.exact_dot(row.data(), row.data(), 0, 1, width, &length2);
                double& longest = longest2[static_cast<std::size_t>(id)];
                longest = std::max(longest, length2);
            }
        });
    };
    measure(*cols_);
    if (rows_ != cols_) measure(*rows_);
    space_.longest2 = *std::max_element(longest2.begin(), longest2.end());
}

Pairing Join::packed(Precision precision, std::int64_t budget) {
    const Scorer& scorer = scorer_of(kernels_, precision);
    const auto projection = precision == Precision::projected ? *projection_ : nullptr;
    const std::int64_t dim = projection ? projection->size() : cols_->dim();
    const auto bytes = [&](const Dataset& dataset) {
        return Operand::bytes(dataset.size(), dim, scorer);
    };
    const std::int64_t in_all = bytes(*cols_) + (rows_ == cols_ ? 0 : bytes(*rows_));
    const auto index = static_cast<std::size_t>(precision);
    auto &row_operand = row_operands_[index], &col_operand = col_operands_[index];
    const auto pack = [&](const std::shared_ptr<const Dataset>& dataset) {
        return std::make_shared<const Operand>(team_, *dataset, kernels_, scorer, space_,
                                               origin(precision), projection, in_all <= budget);
    };
    note_use(std::string(name_of(scorer.format)) +
             (projection ? " of " + std::to_string(dim) + " directions" : ""));
    if (!col_operand) col_operand = pack(cols_);
    if (!row_operand) row_operand = rows_ == cols_ ? col_operand : pack(rows_);
    return {rows_.get(),    cols_.get(), row_operand.get(), col_operand.get(), self_join_,
            rows_ == cols_, metric_};
}

// Rows packed as float32 take as much memory as the rows themselves. Where that is much, packing
// them is quick and blocks of rows are large, columns are packed anew for each block: for about a
// tenth of the time. (A later question takes them as the first one left them.)
Pairing Join::packed_for_blocks(Precision precision) {
    if (precision != Precision::fine) return packed(precision);
    constexpr std::int64_t little = std::int64_t{64} * 1024 * 1024, bytes = sizeof(float);
    const bool quick = kernels_.fine.format == Format::float32 && cols_->float32() &&
                       origin(precision).point.empty();
    const bool large = rows_->size() >= 4 * most_own_rows * team_.size() &&
                       rows_->dim() * bytes * most_own_rows <= block_cache;
    return packed(Precision::fine,
                  quick && large ? std::min(little, packing_budget_) : packing_budget_);
}

FilterCase Join::case_of(Relation relation, std::int64_t k, bool both_ways) const {
    const bool one_side = rows_ == cols_;
    const double rows = static_cast<double>(both_ways ? rows_in_all_ : rows_->size());
    const double pairs = rows * static_cast<double>(cols_->size());
    FilterCase asked{kernels_,
                     rows_->size(),
                     cols_->size(),
                     cols_->dim(),
                     one_side && !both_ways ? 0.5 * pairs : pairs,
                     one_side,
                     relation,
                     k,
                     {}};
    for (std::size_t i = 0; i < precisions; ++i) asked.packed[i] = row_operands_[i] != nullptr;
    return asked;
}

// Null if there are no few directions that tell much of the rows.
const Projection* Join::learn(const FewDirections& few) {
    if (!projection_) {
        projection_ = Projection::learn(team_, *cols_, space_, origin(Precision::projected),
                                        kernels_, few.most, few.left);
    }
    return projection_->get();
}

// As it is chosen, if it is.
std::optional<FilterPlan> Join::chosen_plan(const FilterCase& asked) {
    const std::optional<Precision> chosen = chosen_filter();
    if (!chosen) return std::nullopt;
    const bool possible = asked.has(*chosen) && (chosen != Precision::projected ||
                                                 learn({(asked.dim + 1) / 2, 0.0}) != nullptr);
    return FilterPlan{{possible ? *chosen : Precision::fine}};
}

FilterPlan Join::plan_filter(const FilterCase& asked) {
    if (const auto chosen = chosen_plan(asked)) return *chosen;
    FilterPlan plan = plan_stages(asked);
    if (plan[0].precision != Precision::coarse) return plan;
    if (const auto few = few_directions(asked, static_cast<double>(packing_budget_))) {
        if (const Projection* projection = learn(*few)) {
            plan.insert(plan.begin(), projected_stage(asked, projection->size()));
        }
    }
    return plan;
}

// Whether a RowSweep answers such a question.
bool Join::by_rows(Relation relation, std::int64_t k) {
    const FilterCase asked = case_of(relation, k);
    return RowSweep::suits(asked, *cols_) &&
           (k > most_seeded || plan_filter(asked)[0].precision != Precision::projected);
}

// For a BlockSweep, of whose rows enough are needed to try a scorer with some of them. Its rows
// begin without floors, which makes survivors as many as if several candidates were wanted.
FilterPlan Join::plan_filter_of_blocks(std::int64_t k) {
    const FilterCase asked = case_of(Relation::negatives, std::max<std::int64_t>(2, k), true);
    if (const auto chosen = chosen_plan(asked)) return *chosen;
    if (rows_in_all_ < 16 * rows_tried(team_.size())) return {{Precision::fine}};
    FilterPlan plan =
        least_of_blocks_ == Precision::projected ? plan_filter(asked) : plan_stages(asked);
    std::erase_if(plan, [&](const FilterStage& one) { return one.precision < least_of_blocks_; });
    return plan;
}

template <typename Selector>
void Join::sweep_blocks(Relation relation, std::int64_t k,
                        const typename BlockSweep<Selector>::Open& open,
                        const typename BlockSweep<Selector>::Close& close,
                        const typename BlockSweep<Selector>::Begin& begin, double share) {
    FilterPlan plan =
        Selector::selective ? plan_filter_of_blocks(k) : FilterPlan{{Precision::fine}};
    // Whatever the scores, those that are wanted survive.
    for (FilterStage& stage : plan) stage.most_doubts += share;
    const auto pack = [&](Precision precision) {
        // What is found wanting takes no more memory.
        if (precision > Precision::coarse && precision != plan[0].precision) {
            forget_coarser(precision);
        }
        return packed_for_blocks(precision);
    };
    BlockSweep<Selector> sweep(team_, kernels_, pack, plan, relation);
    decided_ += sweep.run(open, close, begin);
    if (sweep.precision() != plan[0].precision) least_of_blocks_ = sweep.precision();
}

void Join::note_use(const std::string& filter) {
    if (std::find(filters_.begin(), filters_.end(), filter) == filters_.end()) {
        filters_.push_back(filter);
    }
}

Choice Join::rank(Relation relation, Sign sign, std::int64_t k, std::vector<Range> ranges) {
    return sign == Sign::nearest ? rank_as<Sign::nearest>(relation, k, std::move(ranges))
                                 : rank_as<Sign::farthest>(relation, k, std::move(ranges));
}

// Whether most candidates are of this relation, if it is one of negatives: a RowSweep scores all.
bool Join::are_mostly(Relation relation) const {
    if (relation != Relation::negatives) return true;
    constexpr double most = 0.75;
    double same = 0.0;
    for (const Interval& one : cols_->classes_of(*rows_)) same += static_cast<double>(one.size());
    const double pairs = static_cast<double>(rows_->size()) * static_cast<double>(cols_->size());
    return same <= (1.0 - most) * pairs;
}

void Join::sweep_rows(const std::vector<RowSweep::Question>& questions) {
    const FilterCase asked = case_of(questions.back().relation, questions.back().k);
    const auto chosen = chosen_plan(asked);
    RowSweep sweep(
        team_, kernels_, [this](Precision precision) { return packed(precision); },
        chosen ? *chosen : plan_stages(asked), questions);
    decided_ += sweep.run();
}

template <Sign sign>
Choice Join::rank_as(Relation relation, std::int64_t k, std::vector<Range> ranges) {
    const bool in_one = ranges.empty() || (are_mostly(relation) && are_open_ended(sign, ranges) &&
                                           RowSweep::is_small(rows_->size(), cols_->size()));
    const bool by_row = in_one && by_rows(relation, k);
    Ranked<sign> selector(rows_->size(), k, space_, std::move(ranges), !by_row);
    if (by_row) {
        sweep_rows({{question_of(relation, selector)}});
        return sorted(std::move(selector));
    }
    Sweep<Ranked<sign>> sweep(
        team_, kernels_, [this](Precision precision) { return packed(precision); },
        plan_filter(case_of(relation, k)), relation, selector);
    decided_ += sweep.run();
    return sorted(std::move(selector));
}

// What a selector has chosen, in order.
template <Sign sign>
Choice Join::sorted(Ranked<sign> selector) {
    const std::int64_t rows = rows_->size();
    if (selector.most() > 1) {
        team_.for_each((rows + rows_per_task - 1) / rows_per_task, [&](std::int64_t task, int) {
            const std::int64_t begin = task * rows_per_task;
            selector.sort(begin, std::min(rows, begin + rows_per_task));
        });
    }
    return std::move(selector).release();
}

std::pair<Choice, Choice> Join::first(Sign positive, Sign negative, std::int64_t k) {
    if (!by_rows(Relation::negatives, k)) {
        Choice negatives = rank(Relation::negatives, negative, k, {});
        return {rank(Relation::positives, positive, 1, {}), std::move(negatives)};
    }
    constexpr Sign near = Sign::nearest, far = Sign::farthest;
    if (positive == near) {
        return negative == near ? first_as<near, near>(k) : first_as<near, far>(k);
    }
    return negative == near ? first_as<far, near>(k) : first_as<far, far>(k);
}

template <Sign positive, Sign negative>
std::pair<Choice, Choice> Join::first_as(std::int64_t k) {
    Ranked<positive> positives(rows_->size(), 1, space_, {}, false);
    Ranked<negative> negatives(rows_->size(), k, space_, {}, false);
    sweep_rows({{question_of(Relation::positives, positives),
                 question_of(Relation::negatives, negatives)}});
    return {sorted(std::move(positives)), sorted(std::move(negatives))};
}

Choice Join::list_positives(const Range& range) {
    std::vector<std::int64_t> rooms;
    for (std::int64_t p = 0; p < rows_->size(); ++p) {
        rooms.push_back(cols_->class_of(rows_->label(p)).size());
    }
    Choice choice = Choice::with_rooms(std::move(rooms));
    each_positive([&](std::int64_t p, const Candidate& candidate) {
        if (range.holds(candidate.distance)) choice.add(p, candidate);
    });
    return choice;
}

Join Join::some_rows(std::int64_t most) const {
    const std::int64_t rows = rows_->size(), wanted = std::min(rows, most);
    std::vector<std::int64_t> some;
    for (std::int64_t i = 0; i < wanted; ++i) {
        // One of each part, anywhere in it: rows may come in patterns.
        const std::int64_t begin = i * rows / wanted, end = (i + 1) * rows / wanted;
        some.push_back(rows_->row(begin + Draws(0, i)(0, end - begin)));
    }
    std::sort(some.begin(), some.end());
    return narrowed(some);
}

std::vector<std::vector<double>> Join::some_negatives() {
    constexpr std::int64_t most = 64;  // columns, from all over the set
    const std::int64_t rows = rows_->size(), cols = cols_->size();
    std::vector<std::vector<double>> distances(static_cast<std::size_t>(rows));
    std::vector<ExactDistance> exact(static_cast<std::size_t>(team_.size()), exact_distance());
    team_.for_each(rows, [&](std::int64_t p, int id) {
        team_.poll(id);
        for (std::int64_t i = 0; i < most; ++i) {
            const std::int64_t q = (i * cols + p * cols / rows) / most;
            if (rows_->label(p) == cols_->label(q) || rows_->same_group(p, *cols_, q)) continue;
            distances[static_cast<std::size_t>(p)].push_back(
                exact[static_cast<std::size_t>(id)](p, q));
        }
    });
    for (const ExactDistance& one : exact) include(one);
    return distances;
}

std::vector<std::int64_t> Join::negatives_in_all() {
    if (!kinds_) {
        std::vector<Kind> kinds;
        for (std::int64_t q = 0; cols_->grouped() && q < cols_->size(); ++q) {
            kinds.emplace_back(cols_->group(q), cols_->label(q));
        }
        std::sort(kinds.begin(), kinds.end());
        kinds_ = std::make_shared<const std::vector<Kind>>(std::move(kinds));
    }
    const auto between = [&](const Kind& first, const Kind& last) {
        return std::upper_bound(kinds_->begin(), kinds_->end(), last) -
               std::lower_bound(kinds_->begin(), kinds_->end(), first);
    };
    using Label = std::numeric_limits<std::int64_t>;
    std::vector<std::int64_t> counts;
    for (std::int64_t p = 0; p < rows_->size(); ++p) {
        const std::int64_t label = rows_->label(p);
        counts.push_back(cols_->size() - cols_->class_of(label).size());
        if (!cols_->grouped()) continue;
        const std::int64_t group = rows_->group(p);
        counts.back() -= between({group, Label::min()}, {group, Label::max()}) -
                         between({group, label}, {group, label});
    }
    return counts;
}

// Whether so few negatives are to be counted that it pays to look for them, as for those that are
// listed. Never a question of threads, on which sums must not depend.
bool Join::counts_few(double share) const {
    if (share > few_negatives) return false;
    if (chosen_filter()) return true;
    constexpr double few_pairs = 1 << 22;
    const FilterCase asked = case_of(Relation::negatives, 1, true);
    return asked.pairs >= few_pairs && plan_stages(asked)[0].precision != Precision::fine;
}

Choice Join::list_negatives(const std::vector<Range>& ranges, double share) {
    if (share > few_negatives) return list_negatives_of_all(ranges);
    std::vector<std::vector<Candidate>> found(static_cast<std::size_t>(rows_->size()));
    sweep_blocks<Within>(
        Relation::negatives, 1,
        [&](std::int64_t row, float widest, int) {
            return Within(space_, ranges[static_cast<std::size_t>(row)], widest);
        },
        [&](std::int64_t row, Within& within, int) {
            found[static_cast<std::size_t>(row)] = std::move(within).release();
        },
        {}, share);
    return Choice::of_runs(std::move(found));
}

Choice Join::list_negatives_of_all(const std::vector<Range>& ranges) {
    // Distances by index, NaN where there is no negative; then without the gaps.
    const std::int64_t rows = rows_->size(), cols = cols_->size();
    constexpr double none = std::numeric_limits<double>::quiet_NaN();
    std::vector<double> by_index(static_cast<std::size_t>(rows * cols));
    const std::int64_t size = ExactBlock::most_rows(rows_->dim());
    std::vector<ExactBlock> exact(static_cast<std::size_t>(team_.size()),
                                  {*rows_, *cols_, kernels_, metric_});
    team_.expect(static_cast<double>(rows * cols));
    team_.for_each((cols + size - 1) / size, [&](std::int64_t task, int worker) {
        std::vector<double> distances(static_cast<std::size_t>(size * size));
        const Interval down{task * size, std::min(cols, (task + 1) * size)};
        for (std::int64_t begin = 0; begin < rows; begin += size) {
            const Interval across{begin, std::min(rows, begin + size)};
            team_.poll(worker);
            exact[static_cast<std::size_t>(worker)].compute(across, down, distances.data(), size);
            for (std::int64_t p = begin; p < across.end; ++p) {
                const Range range = ranges.empty() ? Range{} : ranges[static_cast<std::size_t>(p)];
                const Interval same = cols_->class_of(rows_->label(p));
                const double* of_row = distances.data() + (p - begin) * size - down.begin;
                for (std::int64_t q = down.begin; q < down.end; ++q) {
                    const bool negative =
                        (q < same.begin || q >= same.end) && !rows_->same_group(p, *cols_, q);
                    by_index[static_cast<std::size_t>(p * cols + cols_->row(q))] =
                        negative && range.holds(of_row[q]) ? of_row[q] : none;
                }
            }
        }
        team_.advance(static_cast<double>(rows * down.size()));
    });
    for (const ExactBlock& block : exact) decided_ += block.decided();

    std::vector<std::int64_t> counts(static_cast<std::size_t>(rows));
    const auto each = [&](auto take) {
        team_.for_each(rows, [&](std::int64_t p, int) {
            for (std::int64_t j = 0; j < cols; ++j) {
                const double d = by_index[static_cast<std::size_t>(p * cols + j)];
                if (!std::isnan(d)) take(p, Candidate{d, j});
            }
        });
    };
    each([&](std::int64_t p, const Candidate&) { ++counts[static_cast<std::size_t>(p)]; });
    Choice choice = Choice::with_rooms(std::move(counts));
    each([&](std::int64_t p, const Candidate& candidate) { choice.add(p, candidate); });
    return choice;
}

Choice Join::succeed(const Choice& positives, std::int64_t k, const Range& range) {
    Choice choice = Choice::with_room(static_cast<std::int64_t>(positives.candidates.size()), k);
    // Of each row: its positives' numbers in order of distance.
    std::vector<std::vector<std::int64_t>> orders(static_cast<std::size_t>(rows_->size()));
    sweep_blocks<Successors>(
        Relation::negatives, k,
        [&](std::int64_t row, float widest, int) {
            std::vector<std::pair<double, std::int64_t>> ordered;
            for (const Candidate& positive : positives.of(row)) {
                ordered.emplace_back(positive.distance, std::ssize(ordered));
            }
            std::sort(ordered.begin(), ordered.end());
            std::vector<double> thresholds;
            std::vector<std::int64_t>& order = orders[static_cast<std::size_t>(row)];
            order.clear();
            for (const auto& [distance, number] : ordered) {
                thresholds.push_back(distance);
                order.push_back(number);
            }
            return Successors(space_, std::move(thresholds), k, range, widest);
        },
        [&](std::int64_t row, Successors& successors, int) {
            std::vector<std::int64_t>& order = orders[static_cast<std::size_t>(row)];
            successors.each(k, [&](std::int64_t s, const Candidate& candidate) {
                choice.add(positives.begin_of(row) + order[static_cast<std::size_t>(s)], candidate);
            });
            order = {};
        });
    return choice;
}

void Join::race(const Weight& weight,
                const std::function<std::vector<Entry>(std::int64_t)>& entries,
                const std::function<void(std::int64_t, const std::vector<Candidate>&)>& take) {
    const Prospects prospects(space_, weight);
    sweep_blocks<Race>(
        Relation::negatives, 1,
        [&](std::int64_t row, float, int) { return Race(space_, weight, prospects, entries(row)); },
        [&](std::int64_t row, Race& race, int) { take(row, race.winners()); });
}

void Join::count_negatives(const std::function<std::vector<double>(std::int64_t)>& thresholds,
                           const std::function<void(std::int64_t, const Counts&)>& take,
                           const BlockSweep<Counts>::Begin& begin, double share, bool sums) {
    const auto sorted_thresholds = [&](std::int64_t row) {
        std::vector<double> distances = thresholds(row);
        sort_runs(distances);
        return distances;
    };
    const auto close = [&](std::int64_t row, auto& counts, int) {
        counts.accumulate();
        take(row, counts);
    };
    if (counts_few(share)) {
        const std::vector<std::int64_t> in_all = negatives_in_all();
        sweep_blocks<CountsOfFew>(
            Relation::negatives, 1,
            [&](std::int64_t row, float, int) {
                return CountsOfFew(space_, sorted_thresholds(row),
                                   in_all[static_cast<std::size_t>(row)], sums);
            },
            close, begin, share);
    } else {
        sweep_blocks<Counts>(
            Relation::negatives, 1,
            [&](std::int64_t row, float widest, int) {
                return Counts(space_, sorted_thresholds(row), widest);
            },
            close, begin);
    }
}

void Join::survey(std::int64_t k, const std::function<Window(std::int64_t, int)>& open,
                  const std::function<void(std::int64_t, Window&, int)>& close) {
    sweep_blocks<Window>(
        Relation::any, k, [&](std::int64_t row, float, int worker) { return open(row, worker); },
        close);
}

std::vector<std::vector<std::int64_t>> Join::blocks(
    const std::function<double(std::int64_t)>& load) const {
    std::vector<std::pair<std::int64_t, double>> loads;
    for (std::int64_t p = 0; p < rows_->size(); ++p) {
        loads.emplace_back(rows_->row(p), load(cols_->class_of(rows_->label(p)).size()));
    }
    std::sort(loads.begin(), loads.end());
    std::vector<std::vector<std::int64_t>> blocks;
    double left = 0.0;
    for (const auto& [row, own] : loads) {
        if (blocks.empty() || own > left) {
            blocks.emplace_back();
            left = 1.0;
        }
        blocks.back().push_back(row);
        left -= own;
    }
    return blocks;
}

}  // namespace tripletmine
