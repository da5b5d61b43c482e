// pairwise_distances: every canonical distance, block by block, rounded to float32.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "buffer.hpp"
#include "dataset.hpp"
#include "exact.hpp"
#include "kernels/dispatch.hpp"
#include "parallel.hpp"

namespace tripletmine {
namespace {

// Of a task: columns, and at most so many rows, and bytes of them. (Each block of columns is
// widened once for all of these.)
constexpr std::int64_t most_cols_of_task = 1024, most_rows_of_task = 256;
constexpr std::int64_t most_bytes_of_task = 4 * 1024 * 1024;
constexpr std::int64_t tasks_of_thread = 4;

[[noreturn]] void reject(std::int64_t i, std::int64_t j, double distance) {
    throw std::invalid_argument("x: the distance of rows " + std::to_string(i) + " and " +
                                std::to_string(j) + " is beyond float32: found " + text(distance) +
                                ", expected smaller values");
}

// The caller's matrix, of any strides.
class Output {
public:
    Output(float* first, std::ptrdiff_t row_stride, std::ptrdiff_t col_stride)
        : first_(reinterpret_cast<char*>(first)),
          row_stride_(row_stride),
          col_stride_(col_stride) {}

    // values[i * stride + j] of rows.begin + i and cols.begin + j.
    void take(const Interval& rows, const Interval& cols, const float* values,
              std::int64_t stride) const {
        for (std::int64_t i = 0; i < rows.size(); ++i, values += stride) {
            char* to = first_ + (rows.begin + i) * row_stride_ + cols.begin * col_stride_;
            if (col_stride_ == sizeof(float)) {
                std::copy_n(values, cols.size(), reinterpret_cast<float*>(to));
                continue;
            }
            for (std::int64_t j = 0; j < cols.size(); ++j) {
                *reinterpret_cast<float*>(to + j * col_stride_) = values[j];
            }
        }
    }

private:
    char* first_;
    std::ptrdiff_t row_stride_, col_stride_;
};

// The distances of a block, rounded to float32.
class Block {
public:
    Block(const Dataset& x, const Dataset& y, const KernelSet& kernels, Metric metric)
        : kernels_(kernels),
          exact_(x, y, kernels, metric),
          stride_(round_up(ExactBlock::most_rows(x.dim()), at_once)),
          distances_(static_cast<std::size_t>(stride_ * stride_)),
          rounded_(distances_.size()),
          turned_(distances_.size()) {}

    void hold(const Interval& rows, const Interval& cols) { exact_.hold(rows, cols); }

    void compute(const Interval& rows, const Interval& cols) {
        exact_.compute(rows, cols, distances_.data(), stride_);
        for (std::int64_t i = 0; i < rows.size(); ++i) {
            const double* from = distances_.data() + i * stride_;
            float* to = rounded_.data() + i * stride_;
            bool fit = true;
            for (std::int64_t j = 0; j < cols.size(); ++j) {
                fit = fit & (std::abs(from[j]) <= FLT_MAX);
                to[j] = static_cast<float>(from[j]);
            }
            for (std::int64_t j = 0; !fit && j < cols.size(); ++j) {
                if (!(std::abs(from[j]) <= FLT_MAX))
                    reject(rows.begin + i, cols.begin + j, from[j]);
            }
        }
    }

    std::int64_t stride() const { return stride_; }
    const float* by_rows() const { return rounded_.data(); }
    const float* by_cols() {
        for (std::int64_t i = 0; i < stride_; i += at_once) {
            for (std::int64_t j = 0; j < stride_; j += at_once) {
                kernels_.transpose(rounded_.data() + i * stride_ + j, stride_,
                                   turned_.data() + j * stride_ + i, stride_);
            }
        }
        return turned_.data();
    }

private:
    static constexpr std::int64_t at_once = 16;  // turned over

    const KernelSet& kernels_;
    ExactBlock exact_;
    std::int64_t stride_;
    std::vector<double> distances_;
    std::vector<float> rounded_, turned_;
};

}  // namespace

void pairwise_distances(const Population& rows, const std::optional<Population>& references,
                        Metric metric, float* out, std::ptrdiff_t row_stride,
                        std::ptrdiff_t col_stride, const Execution& execution) {
    const KernelSet& kernels = choose_kernels(execution.instruction_set);
    const Output output(out, row_stride, col_stride);
    const MatrixView& columns = (references ? *references : rows).matrix;
    constexpr double of_one = 4.0;  // as long as so many multiplications of scores
    const double work = of_one * static_cast<double>(rows.matrix.rows) *
                        static_cast<double>(columns.rows) * static_cast<double>(columns.cols);
    run_team(threads_for(execution.n_threads, work), execution.monitor, [&](Team& team) {
        Dataset x(unlabelled(rows), std::nullopt, kernels);
        x.measure(team);
        std::optional<Dataset> other;
        if (references) other.emplace(unlabelled(*references), std::nullopt, kernels).measure(team);
        const bool symmetric = !other;
        const Dataset& y = symmetric ? x : *other;

        const std::int64_t size = ExactBlock::most_rows(x.dim());
        // Of whole blocks: no two tasks write the same.
        const std::int64_t row_bytes = static_cast<std::int64_t>(sizeof(double)) * padded(x.dim());
        const std::int64_t most_rows = std::min(most_rows_of_task, most_bytes_of_task / row_bytes);
        const std::int64_t fair = x.size() / (tasks_of_thread * team.size()) + 1;
        const std::int64_t rows_of_task =
            std::clamp(round_up(fair, size), size, std::max(size, most_rows / size * size));
        const std::int64_t cols_of_task = most_cols_of_task / size * size;
        const std::int64_t across_tasks = (x.size() + rows_of_task - 1) / rows_of_task;
        const std::int64_t down_tasks = (y.size() + cols_of_task - 1) / cols_of_task;
        team.expect(static_cast<double>(x.size()) * static_cast<double>(y.size()));

        std::vector<Block> blocks(static_cast<std::size_t>(team.size()),
                                  Block(x, y, kernels, metric));
        team.for_each(across_tasks * down_tasks, [&](std::int64_t task, int worker) {
            Block& block = blocks[static_cast<std::size_t>(worker)];
            const auto part = [](std::int64_t begin, std::int64_t end, std::int64_t most) {
                return Interval{begin, std::min(end, begin + most)};
            };
            const Interval across = part(task / down_tasks * rows_of_task, x.size(), rows_of_task);
            const Interval down = part(task % down_tasks * cols_of_task, y.size(), cols_of_task);
            for (std::int64_t col = down.begin; col < down.end; col += size) {
                team.poll(worker);
                const Interval cols = part(col, down.end, size);
                team.advance(static_cast<double>(across.size() * cols.size()));
                if (symmetric && cols.end <= across.begin) continue;  // mirrored from its opposite
                block.hold(across, down);
                for (std::int64_t row = across.begin; row < across.end; row += size) {
                    const Interval some = part(row, across.end, size);
                    if (symmetric && cols.end <= some.begin) break;
                    block.compute(some, cols);
                    output.take(some, cols, block.by_rows(), block.stride());
                    if (symmetric) output.take(cols, some, block.by_cols(), block.stride());
                }
            }
        });
    });
}

}  // namespace tripletmine
