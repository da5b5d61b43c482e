// pairwise_distances: every canonical distance, block by block, rounded to float32.
#include <algorithm>
#include <cfloat>
#include <stdexcept>
#include <string>

#include "dataset.hpp"
#include "kernels/dispatch.hpp"
#include "metric.hpp"
#include "parallel.hpp"

namespace tripletmine {
namespace {

constexpr std::int64_t block_bytes =
    256 * 1024;  // of widened rows: stays in the second-level cache
constexpr std::int64_t most_rows_per_block = 64;
constexpr std::int64_t blocks_per_task = 16;

class Blocks {
public:
    Blocks(const Dataset& dataset, std::int64_t rows) : dataset_(dataset), rows_(rows) {}
    std::int64_t count() const { return (dataset_.size() + rows_ - 1) / rows_; }
    std::int64_t begin(std::int64_t block) const { return block * rows_; }
    std::int64_t end(std::int64_t block) const {
        return std::min(dataset_.size(), (block + 1) * rows_);
    }
    void widen(std::int64_t block, std::vector<double>& to) const {
        const std::int64_t stride = padded(dataset_.dim());
        to.resize(static_cast<std::size_t>(rows_ * stride));
        for (std::int64_t p = begin(block); p < end(block); ++p) {
            dataset_.widen(p, to.data() + (p - begin(block)) * stride);
        }
    }

private:
    const Dataset& dataset_;
    std::int64_t rows_;
};

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

        const std::int64_t stride = padded(x.dim());
        const std::int64_t block = std::clamp<std::int64_t>(
            block_bytes / (static_cast<std::int64_t>(sizeof(double)) * stride), 4,
            most_rows_per_block);
        const Blocks x_blocks(x, block), y_blocks(y, block);
        const std::int64_t runs = (y_blocks.count() + blocks_per_task - 1) / blocks_per_task;
        const auto exact = from_differences(metric) ? kernels.exact_squares : kernels.exact_dot;
        team.expect(static_cast<double>(x.size()) * static_cast<double>(y.size()));

        struct Worker {
            std::vector<double> x, y, sums;
        };
        std::vector<Worker> workers(static_cast<std::size_t>(team.size()));
        team.for_each(x_blocks.count() * runs, [&](std::int64_t task, int id) {
            Worker& worker = workers[static_cast<std::size_t>(id)];
            worker.sums.resize(static_cast<std::size_t>(block));
            const std::int64_t bx = task / runs, first = task % runs * blocks_per_task;
            const std::int64_t last = std::min(y_blocks.count(), first + blocks_per_task);
            if (!symmetric || last > bx) x_blocks.widen(bx, worker.x);
            for (std::int64_t by = first; by < last; ++by) {
                team.poll(id);
                const std::int64_t begin = y_blocks.begin(by), end = y_blocks.end(by);
                team.advance(
                    static_cast<double>((x_blocks.end(bx) - x_blocks.begin(bx)) * (end - begin)));
                if (symmetric && by < bx) continue;  // mirrored from the block opposite
                y_blocks.widen(by, worker.y);
                for (std::int64_t i = x_blocks.begin(bx); i < x_blocks.end(bx); ++i) {
                    exact(worker.x.data() + (i - x_blocks.begin(bx)) * stride, worker.y.data(),
                          stride, static_cast<int>(end - begin), stride, worker.sums.data());
                    for (std::int64_t j = begin; j < end; ++j) {
                        const double d = canonical_distance(
                            metric, worker.sums[static_cast<std::size_t>(j - begin)], x.norm2(i),
                            y.norm2(j));
                        if (!(std::abs(d) <= FLT_MAX)) {
                            throw std::invalid_argument(
                                "the distance of rows " + std::to_string(i) + " and " +
                                std::to_string(j) + " is beyond float32: found " +
                                std::to_string(d) + ", expected smaller values");
                        }
                        *at(i, j) = static_cast<float>(d);
                        if (symmetric) *at(j, i) = static_cast<float>(d);
                    }
                }
            }
        });
    });
}

}  // namespace tripletmine
