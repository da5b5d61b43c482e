// nearest: the first k of every row, without labels.
#include "join.hpp"
#include "kernels/dispatch.hpp"

namespace tripletmine {

Neighbours nearest(const Population& rows, const std::optional<Population>& references,
                   std::int64_t k, Metric metric, const Execution& execution) {
    const KernelSet& kernels = choose_kernels(execution.instruction_set);
    Neighbours neighbours;
    run_team(threads_for(execution, rows, references), execution.monitor, [&](Team& team) {
        const Stopwatch stopwatch;
        std::optional<Population> cols;
        if (references) cols = unlabelled(*references);
        Join join(team, kernels, unlabelled(rows), cols, std::nullopt, metric,
                  execution.packing_budget);
        const Choice choice = join.rank(Relation::any, Sign::nearest, k, {});
        neighbours.indices.reserve(choice.candidates.size());
        neighbours.distances.reserve(choice.candidates.size());
        for (const Candidate& candidate : choice.candidates) {
            neighbours.indices.push_back(candidate.row);
            neighbours.distances.push_back(candidate.distance);
        }
        neighbours.report.anchors = join.rows().size();
        join.describe(neighbours.report, stopwatch);
    });
    return neighbours;
}

}  // namespace tripletmine
