// triplet_loss and contrastive_loss: hinges of canonical distances, summed in a fixed order.
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "exact.hpp"
#include "gradient.hpp"
#include "kernels/dispatch.hpp"

namespace tripletmine {
namespace {

constexpr std::int64_t entries_per_task = 64;

// A training step's few triplets take less time than a team takes to wake up, and its waiting
// threads would take the processors from the step's matrix products.
constexpr std::int64_t values_worth_a_team = 1 << 17;

int threads_for(std::int64_t entries, std::int64_t dim, int wanted) {
    return wanted == 0 && entries * dim < values_worth_a_team ? 1 : wanted;
}

// Eight partial sums, added up as those of a distance are.
double sum8(std::span<const double> values) {
    double p[lanes] = {};
    for (std::size_t i = 0; i < values.size(); ++i) p[i % lanes] += values[i];
    return ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]));
}

// What both losses share: evaluate(entry, distance, term) returns the loss of an entry, asks for
// distance(x, y), and names the terms of its derivative with term(x, y, distance, slope).
template <typename Evaluate>
Losses run(const Population& embeddings, std::int64_t entries, Metric metric,
           const Differentiation& wanted, const Execution& execution, const Evaluate& evaluate) {
    const KernelSet& kernels = choose_kernels(execution.instruction_set);
    Losses losses;
    const int n_threads = threads_for(entries, embeddings.matrix.cols, execution.n_threads);
    run_team(n_threads, execution.monitor, [&](Team& team) {
        Dataset rows(unlabelled(embeddings), std::nullopt, kernels);
        rows.measure(team);
        const bool differentiable = wanted.gradient.data != nullptr;
        const std::int64_t tasks = (entries + entries_per_task - 1) / entries_per_task;
        losses.each.resize(static_cast<std::size_t>(entries));
        std::vector<std::vector<Term>> found(static_cast<std::size_t>(tasks));
        std::vector<ExactDistance> exact(static_cast<std::size_t>(team.size()),
                                         {rows, rows, kernels, metric});
        team.for_each(tasks, [&](std::int64_t task, int worker) {
            const std::int64_t end = std::min(entries, (task + 1) * entries_per_task);
            for (std::int64_t entry = task * entries_per_task; entry < end; ++entry) {
                team.poll(worker);
                losses.each[static_cast<std::size_t>(entry)] =
                    evaluate(entry, exact[static_cast<std::size_t>(worker)],
                             [&](std::int64_t x, std::int64_t y, double distance, double slope) {
                                 if (!differentiable) return;
                                 found[static_cast<std::size_t>(task)].push_back(
                                     {x, y, distance, wanted.weight(entry) * slope});
                             });
            }
        });
        losses.sum = sum8(losses.each);
        if (!std::isfinite(losses.sum)) {
            throw std::invalid_argument(
                "embeddings: found a loss beyond float64, expected smaller values (divide all rows "
                "by one number)");
        }
        if (!differentiable) return;
        std::vector<Term> terms;
        for (auto& part : found) {
            terms.insert(terms.end(), part.begin(), part.end());
            part = {};
        }
        differentiate(team, rows, metric, terms,
                      [&](std::int64_t row, std::span<const double> derivative) {
                          store(derivative, row, wanted.gradient);
                      });
    });
    return losses;
}

}  // namespace

// A triplet has a loss exactly if it is hard or semi-hard, by the subtraction that says so.
Losses triplet_loss(const Population& embeddings, std::span<const std::int64_t> triplets,
                    Metric metric, double margin, const Differentiation& wanted,
                    const Execution& execution) {
    return run(embeddings, static_cast<std::int64_t>(triplets.size() / 3), metric, wanted,
               execution, [&](std::int64_t entry, ExactDistance& distance, auto term) {
                   const auto triplet = triplets.subspan(static_cast<std::size_t>(3 * entry), 3);
                   const std::int64_t a = triplet[0], p = triplet[1], n = triplet[2];
                   const double d_ap = distance(a, p), d_an = distance(a, n);
                   const double loss = margin - (d_an - d_ap);
                   if (!(loss > 0.0)) return 0.0;
                   term(a, p, d_ap, 1.0);
                   term(a, n, d_an, -1.0);
                   return loss;
               });
}

Losses contrastive_loss(const Population& embeddings, std::span<const std::int64_t> pairs,
                        std::span<const std::uint8_t> same, Metric metric, double margin,
                        const Differentiation& wanted, const Execution& execution) {
    return run(embeddings, static_cast<std::int64_t>(same.size()), metric, wanted, execution,
               [&](std::int64_t entry, ExactDistance& distance, auto term) {
                   const auto pair = pairs.subspan(static_cast<std::size_t>(2 * entry), 2);
                   const std::int64_t x = pair[0], y = pair[1];
                   const double d = distance(x, y);
                   if (same[static_cast<std::size_t>(entry)]) {
                       term(x, y, d, 2.0 * d);
                       return d * d;
                   }
                   const double missing = margin - d;
                   if (!(missing > 0.0)) return 0.0;
                   term(x, y, d, -2.0 * missing);
                   return missing * missing;
               });
}

}  // namespace tripletmine
