// pairwise_distances: every canonical distance, block by block, rounded to float32.
#include <algorithm>
#include <cfloat>
#include <stdexcept>
#include <string>

#include "dataset.hpp"
#include "exact.hpp"
#include "kernels/dispatch.hpp"
#include "parallel.hpp"

namespace tripletmine {
namespace {

constexpr std::int64_t blocks_per_task = 16;

[[noreturn]] void reject(std::int64_t i, std::int64_t j, double distance) {
    throw std::invalid_argument("x: the distance of rows " + std::to_string(i) + " and " +
                                std::to_string(j) + " is beyond float32: found " + text(distance) +
                                ", expected smaller values");
}

}  // namespace

void pairwise_distances(const Population& rows, const std::optional<Population>& references,
                        Metric metric, float* out, std::ptrdiff_t row_stride,
                        std::ptrdiff_t col_stride, const Execution& execution) {
    const KernelSet& kernels = choose_kernels(execution.instruction_set);
    const auto at = [&](std::int64_t i, std::int64_t j) {
        return reinterpret_cast<float*>(reinterpret_cast<char*>(out) + i * row_stride +
                                        j * col_stride);
    };
    run_team(execution.n_threads, execution.monitor, [&](Team& team) {
        Dataset x(unlabelled(rows), std::nullopt, kernels);
        x.measure(team);
        std::optional<Dataset> other;
        if (references) other.emplace(unlabelled(*references), std::nullopt, kernels).measure(team);
        const bool symmetric = !other;
        const Dataset& y = symmetric ? x : *other;

        const std::int64_t size = ExactBlock::most_rows(x.dim());
        const auto block = [size](const Dataset& dataset, std::int64_t number) {
            return Interval{number * size, std::min(dataset.size(), (number + 1) * size)};
        };
        const std::int64_t x_blocks = (x.size() + size - 1) / size;
        const std::int64_t y_blocks = (y.size() + size - 1) / size;
        const std::int64_t runs = (y_blocks + blocks_per_task - 1) / blocks_per_task;
        team.expect(static_cast<double>(x.size()) * static_cast<double>(y.size()));

        std::vector<ExactBlock> exact(static_cast<std::size_t>(team.size()),
                                      ExactBlock(x, y, kernels, metric));
        team.for_each(x_blocks * runs, [&](std::int64_t task, int worker) {
            std::vector<double> distances(static_cast<std::size_t>(size * size));
            const Interval across = block(x, task / runs);
            const std::int64_t first = task % runs * blocks_per_task;
            const std::int64_t last = std::min(y_blocks, first + blocks_per_task);
            for (std::int64_t number = first; number < last; ++number) {
                team.poll(worker);
                const Interval down = block(y, number);
                team.advance(static_cast<double>(across.size() * down.size()));
                if (symmetric && number < task / runs) continue;  // mirrored from its opposite
                exact[static_cast<std::size_t>(worker)].compute(across, down, distances.data(),
                                                                size);
                for (std::int64_t i = across.begin; i < across.end; ++i) {
                    const double* row = distances.data() + (i - across.begin) * size;
                    for (std::int64_t j = down.begin; j < down.end; ++j) {
                        const double d = row[j - down.begin];
                        if (!(std::abs(d) <= FLT_MAX)) reject(i, j, d);
                        *at(i, j) = static_cast<float>(d);
                        if (symmetric) *at(j, i) = static_cast<float>(d);
                    }
                }
            }
        });
    });
}

}  // namespace tripletmine
