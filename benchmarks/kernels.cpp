// How close the kernels come to what the machine can do: for every kernel set that runs here,
// canonical distances, all scorers and several numbers of dimensions, the rate of one thread, and
// beside it the rate of a loop that does nothing but the same arithmetic in registers, measured
// just before.
//
//     cmake -S . -B build/bench -DTRIPLETMINE_PYTHON=OFF -DTRIPLETMINE_BENCHMARKS=ON
//     cmake --build build/bench && build/bench/kernel_benchmark [name ...]    of kernel sets
//
// Prints a Markdown table. Two shares of the limit: of that best rate, and of the rate of the same
// loop in the moment after the kernel, at the clock to which the core had gone down meanwhile: it
// computes on data that change, and moves them, which takes more power than registers at rest. One
// multiplication and one addition are two operations; the score of a pair of rows of d elements
// counts 2·d, whatever instructions it takes.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "buffer.hpp"
#include "dataset.hpp"
#include "exact.hpp"
#include "kernels/dispatch.hpp"
#include "operand.hpp"
#include "parallel.hpp"

namespace tripletmine {
namespace {

constexpr std::int64_t dims[] = {128, 384, 768, 1024};
constexpr std::int64_t all_cols = 32 * tile_granule;
constexpr std::int64_t most_rows = 256;
constexpr std::int64_t block_cache = 1024 * 1024;  // as in walk.cpp: a block of rows stays in it
constexpr double shortest = 0.05;                  // seconds of a measurement
constexpr double moment = 50e-6;                   // too short for the clock to go up again
constexpr int repeats = 5;

template <typename Work>
double seconds_of(std::int64_t count, Work work) {
    const auto begin = std::chrono::steady_clock::now();
    work(count);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// The greatest rate, in 10^9 operations a second, at which work(n) does n * operations. Calls
// after(rate) after every measurement.
template <typename Work, typename After>
double rate(double operations, Work work, After after) {
    double best = 0.0;
    std::int64_t count = 1;
    for (int done = 0; done < repeats;) {
        const double seconds = seconds_of(count, work);
        if (seconds < shortest) {
            count = seconds < shortest / 8 ? 4 * count : 2 * count;
            continue;
        }
        const double found = static_cast<double>(count) * operations / seconds * 1e-9;
        after(found);
        best = std::max(best, found);
        ++done;
    }
    return best;
}

// The limits: the instructions of a kernel on twelve sums, enough to hide their latency, with
// operands and temporaries in registers 12 to 15. In assembly, because a compiler would interchange
// the loops, or take out of them what does not change. `steps` is counted down to 0.
constexpr int sums_at_once = 12;

#if defined(__x86_64__)

#define REGISTER_LOOP(begin, instructions, end)                                                  \
    asm volatile(begin "\n1:\n.irp sum,0,1,2,3,4,5,6,7,8,9,10,11\n" instructions                 \
                       "\n.endr\ndec %0\njnz 1b\n" end                                           \
                 : "+r"(steps)                                                                   \
                 :                                                                               \
                 : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", \
                   "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

void fma_512(std::int64_t steps) {
    REGISTER_LOOP("vzeroall", "vfmadd231ps %%zmm12, %%zmm13, %%zmm\\sum", "vzeroupper");
}
void fma_256(std::int64_t steps) {
    REGISTER_LOOP("vzeroall", "vfmadd231ps %%ymm12, %%ymm13, %%ymm\\sum", "vzeroupper");
}
void multiply_add_128(std::int64_t steps) {
    REGISTER_LOOP(".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13\nxorps %%xmm\\i, %%xmm\\i\n.endr",
                  "movaps %%xmm12, %%xmm14\nmulps %%xmm13, %%xmm14\naddps %%xmm14, %%xmm\\sum", "");
}
// A canonical sum rounds each product.
void multiply_add_doubles_512(std::int64_t steps) {
    REGISTER_LOOP("vzeroall",
                  "vmulpd %%zmm12, %%zmm13, %%zmm14\nvaddpd %%zmm14, %%zmm\\sum, %%zmm\\sum",
                  "vzeroupper");
}
void multiply_add_doubles_256(std::int64_t steps) {
    REGISTER_LOOP("vzeroall",
                  "vmulpd %%ymm12, %%ymm13, %%ymm14\nvaddpd %%ymm14, %%ymm\\sum, %%ymm\\sum",
                  "vzeroupper");
}
void multiply_add_doubles_128(std::int64_t steps) {
    REGISTER_LOOP(".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13\nxorps %%xmm\\i, %%xmm\\i\n.endr",
                  "movaps %%xmm12, %%xmm14\nmulpd %%xmm13, %%xmm14\naddpd %%xmm14, %%xmm\\sum", "");
}
void dpbusd_512(std::int64_t steps) {
    REGISTER_LOOP("vzeroall", "vpdpbusd %%zmm12, %%zmm13, %%zmm\\sum", "vzeroupper");
}
void dpwssd_512(std::int64_t steps) {
    REGISTER_LOOP("vzeroall", "vpdpwssd %%zmm12, %%zmm13, %%zmm\\sum", "vzeroupper");
}
// Two products of int8 are summed in int16, and so are those sums: of these in zmm20 to zmm29. All
// multiplications come first, as in the kernel; one after the other, additions take ports that
// these could use.
constexpr int sums_of_maddubs_512 = 10;
__attribute__((target("avx512f"))) void maddubs_512(std::int64_t steps) {
    asm volatile(
        "vzeroall\n1:\n"
        ".irp i,0,1,2,3,4,5,6,7,8,9\nvpmaddubsw %%zmm0, %%zmm1, %%zmm1\\i\n.endr\n"
        ".irp i,0,1,2,3,4,5,6,7,8,9\nvpaddw %%zmm1\\i, %%zmm2\\i, %%zmm2\\i\n.endr\n"
        "dec %0\njnz 1b\nvzeroupper"
        : "+r"(steps)
        :
        : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
          "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19",
          "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29");
}
void maddubs_256(std::int64_t steps) {
    REGISTER_LOOP("vzeroall",
                  "vpmaddubsw %%ymm12, %%ymm13, %%ymm14\nvpaddw %%ymm14, %%ymm\\sum, %%ymm\\sum",
                  "vzeroupper");
}
void madd_256(std::int64_t steps) {
    REGISTER_LOOP("vzeroall",
                  "vpmaddwd %%ymm12, %%ymm13, %%ymm14\nvpaddd %%ymm14, %%ymm\\sum, %%ymm\\sum",
                  "vzeroupper");
}

// Of tiles there are eight: four sums, two of rows and two of columns.
__attribute__((target("amx-tile,amx-int8"))) void tile_codes(std::int64_t steps) {
    for (; steps > 0; --steps) {
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
    }
}
__attribute__((target("amx-tile,amx-bf16"))) void tile_bfloat16(std::int64_t steps) {
    for (; steps > 0; --steps) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

#elif defined(__aarch64__)

#define REGISTER_LOOP(instructions)                                                              \
    asm volatile(                                                                                \
        ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\nmovi v\\i\\().16b, #0\n.endr\n"           \
        "1:\n.irp sum,0,1,2,3,4,5,6,7,8,9,10,11\n" instructions                                  \
        "\n.endr\nsubs %0, %0, #1\nb.ne 1b\n"                                                    \
        : "+r"(steps)                                                                            \
        :                                                                                        \
        : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", \
          "v13", "v14", "v15")

void fma_128(std::int64_t steps) { REGISTER_LOOP("fmla v\\sum\\().4s, v12.4s, v13.4s"); }
void multiply_add_128(std::int64_t steps) {
    REGISTER_LOOP("fmul v14.4s, v12.4s, v13.4s\nfadd v\\sum\\().4s, v\\sum\\().4s, v14.4s");
}
void multiply_add_doubles_128(std::int64_t steps) {
    REGISTER_LOOP("fmul v14.2d, v12.2d, v13.2d\nfadd v\\sum\\().2d, v\\sum\\().2d, v14.2d");
}
void dot_128(std::int64_t steps) {
    REGISTER_LOOP(".arch armv8.2-a+dotprod\nsdot v\\sum\\().4s, v12.16b, v13.16b");
}
// Without dot products: products in int16, each two summed, then in int32.
void mull_128(std::int64_t steps) {
    REGISTER_LOOP(
        "smull v14.8h, v12.8b, v13.8b\nsmull2 v15.8h, v12.16b, v13.16b\n"
        "addp v14.8h, v14.8h, v15.8h\nsadalp v\\sum\\().4s, v14.8h");
}

#endif

// What a scorer computes with, or without a format canonical distances. One step of the loop is so
// many useful operations.
struct Limit {
    std::string_view set;
    std::optional<Format> format;
    const char* arithmetic;
    void (*loop)(std::int64_t steps);
    double operations;
};

constexpr Limit limits[] = {
#if defined(__x86_64__)
    // 16 rows × 16 columns × 64 int8 or 32 bfloat16; of pairs, every product takes three.
    {"amx", Format::int8, "tdpbssd", tile_codes, 4 * 2.0 * 16 * 16 * 64},
    {"amx", Format::bfloat16, "tdpbf16ps", tile_bfloat16, 4 * 2.0 * 16 * 16 * 32},
    {"amx", Format::bfloat16_pair, "tdpbf16ps / 3", tile_bfloat16, 4 * 2.0 * 16 * 16 * 32 / 3},
    {"avx512_vnni", Format::float32, "vfmadd, 512 bits", fma_512, 2.0 * 16 * sums_at_once},
    {"avx512_vnni", Format::int8, "vpdpbusd, 512 bits", dpbusd_512, 2.0 * 64 * sums_at_once},
    {"avx512_vnni", Format::int16, "vpdpwssd, 512 bits", dpwssd_512, 2.0 * 32 * sums_at_once},
    {"amx", {}, "vmulpd + vaddpd, 512 bits", multiply_add_doubles_512, 2.0 * 8 * sums_at_once},
    {"avx512_vnni",
     {},
     "vmulpd + vaddpd, 512 bits",
     multiply_add_doubles_512,
     2.0 * 8 * sums_at_once},
    {"avx512", {}, "vmulpd + vaddpd, 512 bits", multiply_add_doubles_512, 2.0 * 8 * sums_at_once},
    {"avx2", {}, "vmulpd + vaddpd, 256 bits", multiply_add_doubles_256, 2.0 * 4 * sums_at_once},
    {"portable", {}, "mulpd + addpd", multiply_add_doubles_128, 2.0 * 2 * sums_at_once},
    {"avx512", Format::float32, "vfmadd, 512 bits", fma_512, 2.0 * 16 * sums_at_once},
    {"avx512", Format::int8, "vpmaddubsw + vpaddw, 512 bits", maddubs_512,
     2.0 * 64 * sums_of_maddubs_512},
    {"avx2", Format::float32, "vfmadd, 256 bits", fma_256, 2.0 * 8 * sums_at_once},
    {"avx2", Format::int8, "vpmaddubsw + vpaddw, 256 bits", maddubs_256, 2.0 * 32 * sums_at_once},
    {"avx2", Format::int16, "vpmaddwd + vpaddd, 256 bits", madd_256, 2.0 * 16 * sums_at_once},
    {"portable", Format::float32, "mulps + addps", multiply_add_128, 2.0 * 4 * sums_at_once},
#elif defined(__aarch64__)
    {"neon_dot", Format::float32, "fmla", fma_128, 2.0 * 4 * sums_at_once},
    {"neon_dot", Format::int8, "sdot", dot_128, 2.0 * 16 * sums_at_once},
    {"neon", Format::float32, "fmla", fma_128, 2.0 * 4 * sums_at_once},
    {"neon", Format::int8, "smull + addp + sadalp", mull_128, 2.0 * 16 * sums_at_once},
    {"portable", Format::float32, "fmul + fadd", multiply_add_128, 2.0 * 4 * sums_at_once},
    {"neon_dot", {}, "fmul + fadd", multiply_add_doubles_128, 2.0 * 2 * sums_at_once},
    {"neon", {}, "fmul + fadd", multiply_add_doubles_128, 2.0 * 2 * sums_at_once},
    {"portable", {}, "fmul + fadd", multiply_add_doubles_128, 2.0 * 2 * sums_at_once},
#else
    {"", {}, "", nullptr, 0.0},
#endif
};

const Limit* limit_of(std::string_view set, std::optional<Format> format) {
    const auto is_it = [&](const Limit& limit) {
        return limit.loop != nullptr && limit.set == set && limit.format == format;
    };
    const auto found = std::find_if(std::begin(limits), std::end(limits), is_it);
    return found == std::end(limits) ? nullptr : found;
}

// A scorer is acquired by the thread while this lives.
class Acquired {
public:
    explicit Acquired(const Scorer& scorer) : scorer_(scorer) {
        if (scorer_.acquire) scorer_.acquire();
    }
    ~Acquired() {
        if (scorer_.release) scorer_.release();
    }
    Acquired(const Acquired&) = delete;
    Acquired& operator=(const Acquired&) = delete;

private:
    const Scorer& scorer_;
};

// Scores a block of rows with all columns as Walk::run does: strip by strip, in parts of
// longest_depth, whose columns stay in the nearest cache for all tiles.
void score_block(const Operand& operand, const RowSide& rows, std::int64_t row_count,
                 Buffer<std::byte>& scratch, float* to) {
    const Scorer& scorer = operand.scorer();
    const std::int64_t depth = operand.depth(), step = scorer.longest_depth;
    const std::int64_t tile_size = scorer.tile_rows * scorer.tile_cols;
    for (std::int64_t c = 0; c < all_cols; c += scorer.tile_cols) {
        const std::byte* cols = operand.col_side(c, scorer.tile_cols, scratch);
        for (std::int64_t k = 0; k < depth; k += step) {
            const std::int64_t skipped = k * panel_rows * operand.element_bytes();
            const auto part = static_cast<int>(std::min(step, depth - k));
            float* scores = to;
            for (std::int64_t row = 0; row < row_count; row += scorer.tile_rows) {
                const std::byte* from = rows.panels + row / panel_rows * operand.panel_bytes() +
                                        row % panel_rows * operand.row_bytes();
                const std::byte* soon =
                    operand.share_of_strip(c + scorer.tile_cols, row / scorer.tile_rows, k);
                scorer.score(from + skipped, cols + skipped, operand.panel_bytes(), part,
                             operand.start(rows, row, k), k > 0, soon, scores, scorer.tile_cols);
                if (depth > step) scores += tile_size;
            }
        }
    }
}

// The best rate, and its share of the limit at the same clock.
struct Reached {
    double rate, share;
};

template <typename Work>
Reached reached(const Limit* limit, double most, double operations, Work work) {
    std::vector<double> shares;
    const auto compare = [&](double found) {
        if (limit == nullptr) return;
        const auto steps = static_cast<std::int64_t>(most * 1e9 * moment / limit->operations);
        const double seconds = seconds_of(steps, limit->loop);
        shares.push_back(found * seconds * 1e9 / (static_cast<double>(steps) * limit->operations));
    };
    const double best = rate(operations, work, compare);
    std::sort(shares.begin(), shares.end());
    return {best, shares.empty() ? 0.0 : shares[shares.size() / 2]};
}

// What there is to measure: with a limit, on rows of so many elements.
using Measurement = std::function<Reached(const Limit* limit, double most, std::int64_t dim)>;

Measurement scores(Team& team, const KernelSet& kernels, const Scorer& scorer,
                   const std::vector<float>& values) {
    return [&](const Limit* limit, double most, std::int64_t dim) {
        const auto row_bytes = static_cast<std::ptrdiff_t>(sizeof(float)) * dim;
        Dataset dataset({"rows", {values.data(), DType::float32, all_cols, dim, row_bytes, 4}},
                        std::nullopt, kernels);
        dataset.measure(team);
        const ScoreSpace space = score_space(Metric::cosine, dataset.largest_norm2());
        const Operand operand(team, dataset, kernels, scorer, space, Origin{}, nullptr, true);
        const std::int64_t by_cache = block_cache / (operand.panel_bytes() / panel_rows);
        const std::int64_t row_count =
            std::min(most_rows, by_cache) / max_tile_rows * max_tile_rows;
        RowSide rows;
        operand.row_side(0, row_count, rows);
        Buffer<std::byte> scratch;
        const Buffer<float> to(most_rows * max_tile_cols);
        const auto score = [&](std::int64_t times) {
            for (; times > 0; --times) score_block(operand, rows, row_count, scratch, to.data());
        };
        return reached(limit, most, 2.0 * static_cast<double>(row_count * all_cols * dim), score);
    };
}

// Canonical sums of a block of rows with another, as an ExactBlock has them.
Measurement distances(const KernelSet& kernels, const std::vector<float>& values) {
    return [&](const Limit* limit, double most, std::int64_t dim) {
        const std::int64_t size = ExactBlock::most_rows(dim), length = padded(dim);
        const Buffer<double> panels(2 * size * length), to(lanes * size);
        std::copy_n(values.begin(), 2 * size * length, panels.data());
        const auto sum = [&](std::int64_t times) {
            for (std::int64_t row = 0; times > 0; --times, row = 0) {
                for (; row < size; row += lanes) {
                    kernels.exact_dots_of_panels(
                        panels.data() + row * length, panels.data() + size * length,
                        static_cast<int>(size / lanes), length, to.data(), size);
                }
            }
        };
        return reached(limit, most, 2.0 * static_cast<double>(size * size * dim), sum);
    };
}

void measure(std::string_view set, std::string_view what, const Limit* limit,
             const Measurement& measurement) {
    const double most =
        limit == nullptr ? 0.0 : rate(limit->operations, limit->loop, [](double) {});
    std::string line = "| " + std::string(set) + " | " + std::string(what) + " | ";
    char text[64];
    std::snprintf(text, sizeof text, "%.1f", most);
    line += limit == nullptr ? "– | –" : std::string(limit->arithmetic) + " | " + text;
    for (const std::int64_t dim : dims) {
        const Reached found = measurement(limit, most, dim);
        std::snprintf(text, sizeof text, " | %.1f", found.rate);
        line += text;
        if (limit == nullptr) continue;
        std::snprintf(text, sizeof text, " (%.0f%%, %.0f%%)", 100 * found.rate / most,
                      100 * found.share);
        line += text;
    }
    std::printf("%s |\n", line.c_str());
    std::fflush(stdout);
}

void run(std::span<char*> names) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<std::size_t>(all_cols * *std::rbegin(dims)));
    for (float& value : values) value = normal(random);

    std::printf("| kernel set | scores | arithmetic | its limit, Gop/s |");
    for (const std::int64_t dim : dims) std::printf(" d = %lld |", static_cast<long long>(dim));
    std::printf("\n|---|---|---|---:|");
    for (std::size_t i = 0; i < std::size(dims); ++i) std::printf("---:|");
    std::printf("\n");
    for (const RegisteredSet& set : registered_sets()) {
        const auto is_it = [&](const char* name) { return set.info.name == name; };
        if (!set.info.supported) continue;
        if (!names.empty() && std::none_of(names.begin(), names.end(), is_it)) continue;
        run_team(1, nullptr, [&](Team& team) {
            const KernelSet& kernels = *set.kernels;
            measure(set.info.name, "float64", limit_of(set.info.name, {}),
                    distances(kernels, values));
            for (const Scorer* scorer : {&kernels.fine, &kernels.medium, &kernels.coarse}) {
                if (scorer->score == nullptr) continue;
                const Acquired acquired(*scorer);
                measure(set.info.name, name_of(scorer->format),
                        limit_of(set.info.name, scorer->format),
                        scores(team, kernels, *scorer, values));
            }
        });
    }
}

}  // namespace
}  // namespace tripletmine

int main(int argc, char** argv) {
    tripletmine::run({argv + 1, static_cast<std::size_t>(argc - 1)});
}
