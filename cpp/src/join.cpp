#include "join.hpp"

#include <algorithm>

namespace tripletmine {
namespace {

constexpr std::int64_t rows_per_task = 1024;

std::shared_ptr<const Dataset> measured(
    Team& team, const KernelSet& kernels, const Population& population,
    const std::optional<std::span<const std::int64_t>>& subset) {
    auto dataset = std::make_shared<Dataset>(population, subset, kernels);
    dataset->measure(team);
    return dataset;
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

Join Join::narrowed(std::span<const std::int64_t> rows) const {
    Join join(*this);
    join.rows_ = measured(team_, kernels_, population_, rows);
    join.row_operand_ = nullptr;
    join.decided_ = 0;
    return join;
}

void Join::describe(Report& report, const Stopwatch& stopwatch) const {
    report.zero_rows = cols_->zero_rows() + (self_join_ ? 0 : rows_->zero_rows());
    report.pairs_considered = rows_->size() * (cols_->size() - (self_join_ ? 1 : 0));
    report.pairs_decided = decided_;
    report.seconds = stopwatch.seconds();
    report.threads = team_.size();
    report.instruction_set = kernels_.name;
}

// Rows are packed at the first question that needs it, within the budget for both sides.
Pairing Join::packed() {
    const auto pack = [&](const std::shared_ptr<const Dataset>& dataset) {
        const std::int64_t both = Operand::bytes(rows_->size(), rows_->dim(), kernels_) +
                                  Operand::bytes(cols_->size(), cols_->dim(), kernels_);
        return std::make_shared<const Operand>(team_, *dataset, kernels_, space_,
                                               both <= packing_budget_);
    };
    if (!col_operand_) col_operand_ = pack(cols_);
    if (!row_operand_) row_operand_ = rows_ == cols_ ? col_operand_ : pack(rows_);
    return {rows_.get(),    cols_.get(), row_operand_.get(), col_operand_.get(), self_join_,
            rows_ == cols_, metric_};
}

Choice Join::rank(Relation relation, Sign sign, std::int64_t k, std::vector<Range> ranges) {
    return sign == Sign::nearest ? rank_as<Sign::nearest>(relation, k, std::move(ranges))
                                 : rank_as<Sign::farthest>(relation, k, std::move(ranges));
}

template <Sign sign>
Choice Join::rank_as(Relation relation, std::int64_t k, std::vector<Range> ranges) {
    const Pairing pairing = packed();
    Ranked<sign> selector(rows_->size(), k, space_, std::move(ranges));
    Sweep<Ranked<sign>> sweep(team_, kernels_, pairing, relation, selector);
    decided_ += sweep.run();
    team_.for_each((rows_->size() + rows_per_task - 1) / rows_per_task,
                   [&](std::int64_t task, int) {
                       const std::int64_t begin = task * rows_per_task;
                       selector.sort(begin, std::min(rows_->size(), begin + rows_per_task));
                   });
    return std::move(selector).release();
}

}  // namespace tripletmine
