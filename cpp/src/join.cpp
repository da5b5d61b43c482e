#include "join.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

#include "exact.hpp"
#include "kernels/dispatch.hpp"
#include "select/ranked.hpp"

namespace tripletmine {
namespace {

constexpr std::int64_t rows_per_task = 1024;

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

template <Sign sign>
RowSweep::Question question_of(Relation relation, Ranked<sign>& selector) {
    return {relation, sign, selector.most(),
            [&](std::int64_t row, std::span<const Candidate> candidates) {
                for (const Candidate& one : candidates) selector.offer(row, one);
                return selector.floor(row);
            }};
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
    space_ = score_space(metric, std::max(rows_->largest_norm2(), cols_->largest_norm2()));
}

Join::Join(Team& team, const Join& other)
    : team_(team),
      kernels_(other.kernels_),
      population_(other.population_),
      metric_(other.metric_),
      packing_budget_(other.packing_budget_),
      self_join_(other.self_join_),
      space_(other.space_),
      rows_(other.rows_),
      cols_(other.cols_),
      origin_(other.origin_),
      projection_(other.projection_),
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

const Scorer& Join::scorer_of(Precision precision) const {
    switch (precision) {
        case Precision::projected:
        case Precision::coarse:
            return kernels_.coarse;
        case Precision::medium:
            return kernels_.medium;
        case Precision::fine:
            break;
    }
    return kernels_.fine;
}

const Origin& Join::origin() {
    if (!origin_) {
        origin_ = std::make_shared<const Origin>(origin_of(*cols_, space_, kernels_.coarse));
    }
    return *origin_;
}

Pairing Join::packed(Precision precision, std::int64_t budget) {
    const Scorer& scorer = scorer_of(precision);
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
                                               scorer.format == Format::int8 ? origin() : Origin{},
                                               projection, in_all <= budget);
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
Pairing Join::packed_for_blocks() {
    constexpr std::int64_t little = std::int64_t{64} * 1024 * 1024, bytes = sizeof(float);
    const bool quick = kernels_.fine.format == Format::float32 && cols_->float32_row(0) != nullptr;
    const bool large = rows_->size() >= 4 * most_own_rows * team_.size() &&
                       rows_->dim() * bytes * most_own_rows <= block_cache;
    return packed(Precision::fine,
                  quick && large ? std::min(little, packing_budget_) : packing_budget_);
}

// Whether few directions tell so much of the rows that scores of these are worth having. In
// nanoseconds on one core, about.
bool Join::projects(Relation relation, std::int64_t k) {
    // What a pair is spared must make up for the survivors, of which each is scored again. Where
    // several candidates are wanted, floors are lower, and survivors more.
    const double least_spared = k == 1 ? 1.0 : 2.0, of_survivors = 0.5 * least_spared;
    // Of the mean squared norm, outside of the directions.
    const double left = k == 1 ? 0.12 : 0.06;
    constexpr double learning = 200.0, projecting = 0.011;  // of dim², once and for each row

    const auto dim = static_cast<double>(rows_->dim());
    const auto rows = static_cast<double>(rows_->size()), cols = static_cast<double>(cols_->size());
    const bool symmetric = rows_ == cols_;
    const double most = std::min(dim / 2.0, dim - least_spared / kernels_.coarse_takes);
    const double gain =
        rows * cols * (symmetric ? 0.5 : 1.0) * (dim / 2.0 * kernels_.coarse_takes - of_survivors);
    const double cost = dim * dim * (learning + projecting * (symmetric ? rows : rows + cols));
    // Codes, row by row too, and those of directions: no row is projected twice.
    const auto bytes = [&](const Dataset& dataset) {
        return Operand::bytes(dataset.size(), dataset.dim(), kernels_.coarse);
    };
    const double packed =
        2.5 * static_cast<double>(bytes(*cols_) + (symmetric ? 0 : bytes(*rows_)));
    if (relation == Relation::positives || kernels_.fine.format != Format::float32 || most < 1.0 ||
        gain < 1.25 * cost || packed > static_cast<double>(packing_budget_)) {
        return false;
    }
    if (!projection_) {
        projection_ = Projection::learn(team_, *cols_, space_, origin(), kernels_,
                                        static_cast<std::int64_t>(most), left);
    }
    return *projection_ != nullptr;
}

// For tests and benchmarks the environment variable TRIPLETMINE_FILTER chooses, and nothing changes
// it: "projected" (to half of the dimensions; where scores are made of float32), "coarse", "medium"
// (where the kernel set has that) or "fine".
FilterPlan Join::plan_filter(Relation relation, std::int64_t k) {
    const char* chosen = std::getenv("TRIPLETMINE_FILTER");
    const std::string_view name = chosen == nullptr ? "" : chosen;
    if (!name.empty() && name != "projected" && name != "coarse" && name != "medium" &&
        name != "fine") {
        throw std::invalid_argument("TRIPLETMINE_FILTER: found '" + std::string(name) +
                                    "', expected 'projected', 'coarse', 'medium' or 'fine'");
    }
    constexpr std::int64_t longest_coded = std::int64_t{1} << 16;  // int8 sums fit in int32
    const bool has_medium = kernels_.medium.score != nullptr;
    const bool codable = rows_->dim() <= longest_coded;
    if (name == "projected" && codable && kernels_.fine.format == Format::float32) {
        if (!projection_) {
            projection_ = Projection::learn(team_, *cols_, space_, origin(), kernels_,
                                            (rows_->dim() + 1) / 2, 0.0);
        }
        if (*projection_) return {{Precision::projected}};
    }
    if (name == "coarse" && codable) return {{Precision::coarse}};
    if (name == "medium" && has_medium) return {{Precision::medium}};
    if (!name.empty() || !codable || rows_->dim() < kernels_.coarse_pays_from) {
        return {{Precision::fine}};
    }
    // In nanoseconds. Of a survivor: examined, remembered, perhaps decided.
    const auto dim = static_cast<double>(rows_->dim());
    const double of_survivor = 20.0 + 0.1 * dim, of_packed_element = 2.0;
    const double worth_packing =
        of_packed_element * dim / of_survivor * static_cast<double>(rows_->size() + cols_->size());
    const auto stage = [&](Precision precision, double saved) {
        return FilterStage{precision, dim * saved / of_survivor, worth_packing};
    };
    FilterPlan plan{
        stage(Precision::coarse, kernels_.coarse_saves - kernels_.medium_saves),
        stage(Precision::medium, kernels_.medium_saves),
        {Precision::fine},
    };
    if (!has_medium) plan.erase(plan.begin() + 1);
    // Positives are few, and what is packed already does for them. The k-th negative is a low
    // floor, which many coarse scores reach.
    const auto begins = [&](const FilterStage& one) {
        if (relation == Relation::positives) return packed_already(one.precision);
        return k == 1 || one.precision != Precision::coarse || !has_medium;
    };
    const auto first = std::find_if(plan.begin(), plan.end(), begins);
    if (first != plan.end()) plan.erase(plan.begin(), first);
    if (plan[0].precision == Precision::coarse && projects(relation, k)) {
        const double spared = dim - static_cast<double>((*projection_)->size());
        const double of_closer = 10.0 + 0.03 * dim;
        plan.insert(plan.begin(),
                    {Precision::projected, spared * kernels_.coarse_takes / of_closer, 0.0});
    }
    return plan;
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

void Join::sweep_rows(const std::vector<RowSweep::Question>& questions) {
    RowSweep sweep(
        team_, kernels_, [this](Precision precision) { return packed(precision); },
        plan_filter(questions.back().relation, questions.back().k), questions);
    decided_ += sweep.run();
}

template <Sign sign>
Choice Join::rank_as(Relation relation, std::int64_t k, std::vector<Range> ranges) {
    Ranked<sign> selector(rows_->size(), k, space_, std::move(ranges));
    if (selector.unlimited() && RowSweep::suits(rows_->size(), cols_->size(), k)) {
        sweep_rows({{question_of(relation, selector)}});
        return sorted(std::move(selector));
    }
    Sweep<Ranked<sign>> sweep(
        team_, kernels_, [this](Precision precision) { return packed(precision); },
        plan_filter(relation, k), relation, selector);
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
    if (!RowSweep::suits(rows_->size(), cols_->size(), k)) {
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
    Ranked<positive> positives(rows_->size(), 1, space_, {});
    Ranked<negative> negatives(rows_->size(), k, space_, {});
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
    const std::int64_t size = ExactBlock::most_rows(rows_->dim());
    std::vector<Listing> scratch = listings();
    team_.for_each((rows_->size() + size - 1) / size, [&](std::int64_t task, int worker) {
        const Interval rows{task * size, std::min(rows_->size(), (task + 1) * size)};
        list_positives(rows, worker, scratch[static_cast<std::size_t>(worker)],
                       [&](std::int64_t p, const Candidate& candidate) {
                           if (range.holds(candidate.distance)) choice.add(p, candidate);
                       });
    });
    include(scratch);
    return choice;
}

Choice Join::list_negatives(const Range& range) {
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
                for (std::int64_t q = down.begin; q < down.end; ++q) {
                    const double d =
                        distances[static_cast<std::size_t>((p - begin) * size + q - down.begin)];
                    const bool negative = rows_->label(p) != cols_->label(q) && eligible(p, q);
                    by_index[static_cast<std::size_t>(p * cols + cols_->row(q))] =
                        negative && range.holds(d) ? d : none;
                }
            }
        }
        team_.advance(static_cast<double>(rows * down.size()));
    });
    for (const ExactBlock& block : exact) decided_ += block.decided();

    Choice choice = Choice::with_room(rows, cols);
    team_.for_each(rows, [&](std::int64_t p, int) {
        for (std::int64_t j = 0; j < cols; ++j) {
            const double d = by_index[static_cast<std::size_t>(p * cols + j)];
            if (!std::isnan(d)) choice.add(p, {d, j});
        }
    });
    return choice;
}

Choice Join::succeed(const Choice& positives, std::int64_t k, const Range& range) {
    Choice choice = Choice::with_room(static_cast<std::int64_t>(positives.candidates.size()), k);
    // Of each row: its positives' numbers in order of distance.
    std::vector<std::vector<std::int64_t>> orders(static_cast<std::size_t>(rows_->size()));
    const Pairing pairing = packed_for_blocks();
    BlockSweep<Successors> sweep(team_, kernels_, pairing, Relation::negatives);
    decided_ += sweep.run(
        [&](std::int64_t row, float widest, int) {
            std::vector<std::pair<double, std::int64_t>> ordered;
            for (const Candidate& positive : positives.of(row)) {
                ordered.emplace_back(positive.distance, std::ssize(ordered));
            }
            std::sort(ordered.begin(), ordered.end());
            std::vector<double> thresholds;
            std::vector<std::int64_t>& order = orders[static_cast<std::size_t>(row)];
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
    const Pairing pairing = packed_for_blocks();
    BlockSweep<Race> sweep(team_, kernels_, pairing, Relation::negatives);
    decided_ +=
        sweep.run([&](std::int64_t row, float, int) { return Race(space_, weight, entries(row)); },
                  [&](std::int64_t row, Race& race, int) { take(row, race.winners()); });
}

void Join::count_negatives(const std::function<std::vector<double>(std::int64_t)>& thresholds,
                           const std::function<void(std::int64_t, const Counts&)>& take,
                           const BlockSweep<Counts>::Begin& begin) {
    const Pairing pairing = packed_for_blocks();
    BlockSweep<Counts> sweep(team_, kernels_, pairing, Relation::negatives);
    decided_ += sweep.run(
        [&](std::int64_t row, float widest, int) {
            std::vector<double> distances = thresholds(row);
            sort_runs(distances);
            return Counts(space_, std::move(distances), widest);
        },
        [&](std::int64_t row, Counts& counts, int) {
            counts.accumulate();
            take(row, counts);
        },
        begin);
}

void Join::survey(const std::function<Window(std::int64_t, int)>& open,
                  const std::function<void(std::int64_t, Window&, int)>& close) {
    const Pairing pairing = packed_for_blocks();
    BlockSweep<Window> sweep(team_, kernels_, pairing, Relation::any);
    decided_ +=
        sweep.run([&](std::int64_t row, float, int worker) { return open(row, worker); }, close);
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
