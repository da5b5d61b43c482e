// The gradient of the hinge over every triplet of a set, without listing one.
//
// d(a, p) counts once for each negative with which the pair has a loss, and d(a, n) for each
// positive: the slopes of an anchor's distances are two counts, read off its sorted positives. A
// block of anchors holds all its distances; nothing grows with the square of the rows.
#include <algorithm>

#include "gradient.hpp"
#include "join.hpp"
#include "kernels/dispatch.hpp"

namespace tripletmine {
namespace {

// What is held for the pairs of a block of anchors: each is listed, becomes a term and is sorted by
// its two rows.
constexpr double block_bytes = 128.0 * 1024 * 1024;
constexpr double pair_bytes = 96.0;

// The terms of one anchor, with a slope of `weight` for each triplet that has a loss.
std::vector<Term> terms_of(std::int64_t anchor, std::span<const Candidate> positives,
                           std::span<const Candidate> negatives, double margin, double weight) {
    std::vector<Candidate> sorted(positives.begin(), positives.end());
    std::stable_sort(sorted.begin(), sorted.end(), [](const Candidate& a, const Candidate& b) {
        return a.distance < b.distance;
    });
    std::vector<Term> terms;
    // The positives with which a negative has a loss are the farthest ones, from a first one on.
    std::vector<std::int64_t> negatives_from(sorted.size() + 1);
    for (const Candidate& negative : negatives) {
        const auto first =
            std::partition_point(sorted.begin(), sorted.end(), [&](const Candidate& positive) {
                return !(margin - (negative.distance - positive.distance) > 0.0);
            });
        ++negatives_from[static_cast<std::size_t>(first - sorted.begin())];
        const auto count = static_cast<double>(sorted.end() - first);
        if (count == 0.0) continue;
        terms.push_back({anchor, negative.row, negative.distance, -weight * count});
    }
    std::int64_t count = 0;
    for (std::size_t i = 0; i < sorted.size(); ++i) {
        count += negatives_from[i];
        if (count == 0) continue;
        terms.push_back(
            {anchor, sorted[i].row, sorted[i].distance, weight * static_cast<double>(count)});
    }
    return terms;
}

}  // namespace

void batch_all_gradient(const Population& embeddings, Metric metric, double margin, double weight,
                        const GradientView& gradient, const Execution& execution) {
    const KernelSet& kernels = choose_kernels(execution.instruction_set);
    run_team(execution.n_threads, execution.monitor, [&](Team& team) {
        Join join(team, kernels, embeddings, std::nullopt, std::nullopt, metric,
                  execution.packing_budget);
        Dataset rows(unlabelled(embeddings), std::nullopt, kernels);
        rows.measure(team);
        const auto dim = static_cast<std::size_t>(rows.dim());
        std::vector<double> sums(static_cast<std::size_t>(rows.size()) * dim);
        const double of_anchor = pair_bytes * static_cast<double>(rows.size()) / block_bytes;
        const auto expect = [&](double anchors) {
            team.expect(anchors * static_cast<double>(rows.size()));
        };
        expect(static_cast<double>(rows.size()));
        for (const auto& block : join.blocks([&](std::int64_t) { return of_anchor; })) {
            Join anchors = join.narrowed(block);
            const Choice positives = anchors.list_positives({});
            expect(-static_cast<double>(block.size()));  // they are expected once more
            const Choice negatives = anchors.list_negatives();
            std::vector<std::vector<Term>> found(block.size());
            team.for_each(anchors.rows().size(), [&](std::int64_t p, int worker) {
                team.poll(worker);
                found[static_cast<std::size_t>(p)] = terms_of(
                    anchors.rows().row(p), positives.of(p), negatives.of(p), margin, weight);
            });
            std::vector<Term> terms;
            for (auto& part : found) {
                terms.insert(terms.end(), part.begin(), part.end());
                part = {};
            }
            differentiate(team, rows, metric, terms,
                          [&](std::int64_t row, std::span<const double> derivative) {
                              double* sum = sums.data() + static_cast<std::size_t>(row) * dim;
                              for (std::size_t k = 0; k < dim; ++k) sum[k] += derivative[k];
                          });
        }
        for (std::int64_t row = 0; row < rows.size(); ++row) {
            store(std::span(sums).subspan(static_cast<std::size_t>(row) * dim, dim), row, gradient);
        }
    });
}

}  // namespace tripletmine
