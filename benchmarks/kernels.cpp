// How close the kernels come to what the machine can do: for every kernel set that runs here, both
// scorers and several numbers of dimensions, the rate of one thread, and beside it the rate of a
// loop that does nothing but the same arithmetic in registers, measured just before.
//
//     cmake -S . -B build/bench -DTRIPLETMINE_PYTHON=OFF -DTRIPLETMINE_BENCHMARKS=ON
//     cmake --build build/bench && build/bench/kernel_benchmark [name ...]    of kernel sets
//
// Prints a Markdown table. One multiplication and one addition are two operations; the score of a
// pair of rows of d elements counts 2·d, whatever instructions it takes.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "dataset.hpp"
#include "kernels/dispatch.hpp"
#include "operand.hpp"
#include "parallel.hpp"

namespace tripletmine {
namespace {

constexpr std::int64_t dims[] = {128, 384, 768, 1024};
constexpr std::int64_t all_cols = 32 * tile_granule;
constexpr std::int64_t most_rows = 256;
constexpr std::int64_t block_cache = 512 * 1024;  // as in walk.cpp: a block of rows stays in it
constexpr double shortest = 0.05;                 // seconds of a measurement
constexpr int repeats = 5;

// The greatest rate, in 10^9 operations a second, at which work(n) does n * operations.
template <typename Work>
double rate(double operations, Work work) {
    using Clock = std::chrono::steady_clock;
    double best = 0.0;
    std::int64_t count = 1;
    for (int done = 0; done < repeats;) {
        const auto begin = Clock::now();
        work(count);
        const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
        if (seconds < shortest) {
            count = seconds < shortest / 8 ? 4 * count : 2 * count;
            continue;
        }
        best = std::max(best, static_cast<double>(count) * operations / seconds * 1e-9);
        ++done;
    }
    return best;
}

// The limits. Sums enough to hide the latency of an instruction; OPAQUE keeps the compiler from
// taking out of the loop what does not change in it.
constexpr int sums_at_once = 12;

#if defined(__x86_64__)

#define OPAQUE(value) asm volatile("" : "+v"(value))
#define OPAQUE_BASELINE(value) asm volatile("" : "+x"(value))

__attribute__((target("avx512f"))) void fma_512(std::int64_t steps) {
    __m512 sums[sums_at_once] = {}, a = _mm512_setzero_ps(), b = a;
    OPAQUE(a);
    for (std::int64_t i = 0; i < steps; ++i) {
        for (__m512& sum : sums) sum = _mm512_fmadd_ps(a, b, sum);
    }
    for (__m512& sum : sums) OPAQUE(sum);
}

__attribute__((target("avx2,fma"))) void fma_256(std::int64_t steps) {
    __m256 sums[sums_at_once] = {}, a = _mm256_setzero_ps(), b = a;
    for (std::int64_t i = 0; i < steps; ++i) {
        for (__m256& sum : sums) {
            sum = _mm256_fmadd_ps(a, b, sum);
            OPAQUE_BASELINE(sum);
        }
    }
}

void multiply_add_128(std::int64_t steps) {
    __m128 sums[sums_at_once] = {}, a = _mm_setzero_ps(), b = a;
    for (std::int64_t i = 0; i < steps; ++i) {
        for (__m128& sum : sums) {
            OPAQUE_BASELINE(a);
            sum = _mm_add_ps(sum, _mm_mul_ps(a, b));
            OPAQUE_BASELINE(sum);
        }
    }
}

__attribute__((target("avx512f,avx512vnni"))) void dpbusd_512(std::int64_t steps) {
    __m512i sums[sums_at_once] = {}, a = _mm512_setzero_si512(), b = a;
    OPAQUE(a);
    for (std::int64_t i = 0; i < steps; ++i) {
        for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, a, b);
    }
    for (__m512i& sum : sums) OPAQUE(sum);
}

// Two products of int8 are summed in int16, two of those in int16 again, then in int32.
__attribute__((target("avx512f,avx512bw"))) void maddubs_512(std::int64_t steps) {
    __m512i sums[sums_at_once] = {}, a = _mm512_setzero_si512(), b = a, ones = a;
    for (std::int64_t i = 0; i < steps; ++i) {
        for (__m512i& sum : sums) {
            const __m512i first = _mm512_maddubs_epi16(a, b);
            OPAQUE(a);
            const __m512i second = _mm512_maddubs_epi16(a, b);
            OPAQUE(a);
            const __m512i pairs = _mm512_add_epi16(first, second);
            sum = _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, ones));
        }
    }
    for (__m512i& sum : sums) OPAQUE(sum);
}

__attribute__((target("avx2"))) void maddubs_256(std::int64_t steps) {
    __m256i sums[8] = {}, a = _mm256_setzero_si256(), b = a, ones = a;
    for (std::int64_t i = 0; i < steps; ++i) {
        for (__m256i& sum : sums) {
            const __m256i first = _mm256_maddubs_epi16(a, b);
            OPAQUE_BASELINE(a);
            const __m256i second = _mm256_maddubs_epi16(a, b);
            OPAQUE_BASELINE(a);
            const __m256i pairs = _mm256_add_epi16(first, second);
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
        }
    }
    for (__m256i& sum : sums) OPAQUE_BASELINE(sum);
}

// Of the four sums that fit beside two registers of rows and two of columns.
__attribute__((target("amx-tile,amx-int8"))) void tile_codes(std::int64_t steps) {
    for (std::int64_t i = 0; i < steps; ++i) {
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
    }
}

__attribute__((target("amx-tile,amx-bf16"))) void tile_bfloat16(std::int64_t steps) {
    for (std::int64_t i = 0; i < steps; ++i) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

#elif defined(__aarch64__)

#define OPAQUE(value) asm volatile("" : "+w"(value))

void fma_128(std::int64_t steps) {
    float32x4_t sums[sums_at_once] = {}, a = vdupq_n_f32(0), b = a;
    for (std::int64_t i = 0; i < steps; ++i) {
        for (float32x4_t& sum : sums) {
            sum = vfmaq_f32(sum, a, b);
            OPAQUE(sum);
        }
    }
}

// The set without dot products: products in int16, each two summed, then in int32.
void mull_128(std::int64_t steps) {
    int32x4_t sums[sums_at_once] = {};
    int8x16_t a = vdupq_n_s8(0), b = a;
    for (std::int64_t i = 0; i < steps; ++i) {
        for (int32x4_t& sum : sums) {
            OPAQUE(a);
            const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
            sum = vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(a, b)));
            OPAQUE(sum);
        }
    }
}

void multiply_add_128(std::int64_t steps) {
    float32x4_t sums[sums_at_once] = {}, a = vdupq_n_f32(0), b = a;
    for (std::int64_t i = 0; i < steps; ++i) {
        for (float32x4_t& sum : sums) {
            OPAQUE(a);
            sum = vaddq_f32(sum, vmulq_f32(a, b));
            OPAQUE(sum);
        }
    }
}

__attribute__((target("arch=armv8.2-a+dotprod"))) void dot_128(std::int64_t steps) {
    int32x4_t sums[sums_at_once] = {};
    int8x16_t a = vdupq_n_s8(0), b = a;
    for (std::int64_t i = 0; i < steps; ++i) {
        for (int32x4_t& sum : sums) {
            sum = vdotq_s32(sum, a, b);
            OPAQUE(sum);
        }
    }
}

#endif

// What a scorer computes with. One step of the loop is so many useful operations.
struct Limit {
    std::string_view set;
    Format format;
    const char* arithmetic;
    void (*loop)(std::int64_t steps);
    double operations;
};

constexpr Limit limits[] = {
#if defined(__x86_64__)
    // 16 rows × 16 columns × 64 int8 or 32 bfloat16; of pairs, every product takes three.
    {"amx", Format::int8, "tdpbssd", tile_codes, 4 * 2.0 * 16 * 16 * 64},
    {"amx", Format::bfloat16_pair, "tdpbf16ps / 3", tile_bfloat16, 4 * 2.0 * 16 * 16 * 32 / 3},
    {"avx512_vnni", Format::float32, "vfmadd, 512 bits", fma_512, 2.0 * 16 * sums_at_once},
    {"avx512_vnni", Format::int8, "vpdpbusd, 512 bits", dpbusd_512, 2.0 * 64 * sums_at_once},
    {"avx512", Format::float32, "vfmadd, 512 bits", fma_512, 2.0 * 16 * sums_at_once},
    {"avx512", Format::int8, "vpmaddubsw, 512 bits", maddubs_512, 2.0 * 128 * sums_at_once},
    {"avx2", Format::float32, "vfmadd, 256 bits", fma_256, 2.0 * 8 * sums_at_once},
    {"avx2", Format::int8, "vpmaddubsw, 256 bits", maddubs_256, 2.0 * 64 * 8},
    {"portable", Format::float32, "mulps + addps", multiply_add_128, 2.0 * 4 * sums_at_once},
#elif defined(__aarch64__)
    {"neon_dot", Format::float32, "fmla", fma_128, 2.0 * 4 * sums_at_once},
    {"neon_dot", Format::int8, "sdot", dot_128, 2.0 * 16 * sums_at_once},
    {"neon", Format::float32, "fmla", fma_128, 2.0 * 4 * sums_at_once},
    {"neon", Format::int8, "smull + addp + sadalp", mull_128, 2.0 * 16 * sums_at_once},
    {"portable", Format::float32, "fmul + fadd", multiply_add_128, 2.0 * 4 * sums_at_once},
#else
    {"", Format::float32, "", nullptr, 0.0},
#endif
};

const Limit* limit_of(std::string_view set, Format format) {
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
                scorer.score(from + skipped, cols + skipped, operand.panel_bytes(), part,
                             rows.start.data() + row, k > 0, scores, scorer.tile_cols);
                if (depth > step) scores += tile_size;
            }
        }
    }
}

double rate_of(Team& team, const KernelSet& kernels, const Scorer& scorer,
               const std::vector<float>& values, std::int64_t dim) {
    const auto row_bytes = static_cast<std::ptrdiff_t>(sizeof(float)) * dim;
    Dataset dataset({"rows", {values.data(), DType::float32, all_cols, dim, row_bytes, 4}},
                    std::nullopt, kernels);
    dataset.measure(team);
    const ScoreSpace space = score_space(Metric::cosine, dataset.largest_norm2());
    const Operand operand(team, dataset, kernels, scorer, space, true);
    const std::int64_t by_cache = block_cache / (operand.panel_bytes() / panel_rows);
    const std::int64_t row_count = std::min(most_rows, by_cache) / max_tile_rows * max_tile_rows;
    RowSide rows;
    operand.row_side(0, row_count, rows);
    Buffer<std::byte> scratch;
    const Buffer<float> scores(most_rows * max_tile_cols);
    const Acquired acquired(scorer);
    return rate(2.0 * static_cast<double>(row_count * all_cols * dim), [&](std::int64_t times) {
        for (; times > 0; --times) score_block(operand, rows, row_count, scratch, scores.data());
    });
}

const char* name_of(Format format) {
    switch (format) {
        case Format::float32:
            return "float32";
        case Format::bfloat16_pair:
            return "bfloat16 pairs";
        case Format::int8:
            return "int8";
    }
    return "";
}

void measure(Team& team, const RegisteredSet& set, const Scorer& scorer,
             const std::vector<float>& values) {
    double most = 0.0;
    const Limit* limit = limit_of(set.info.name, scorer.format);
    if (limit != nullptr) {
        const Acquired acquired(scorer);
        most = rate(limit->operations, limit->loop);
    }
    std::string line = "| " + std::string(set.info.name) + " | " + name_of(scorer.format) + " | ";
    char text[64];
    std::snprintf(text, sizeof text, "%.1f", most);
    line += limit == nullptr ? "– | –" : std::string(limit->arithmetic) + " | " + text;
    for (const std::int64_t dim : dims) {
        const double reached = rate_of(team, *set.kernels, scorer, values, dim);
        std::snprintf(text, sizeof text, " | %.1f", reached);
        line += text;
        if (limit == nullptr) continue;
        std::snprintf(text, sizeof text, " (%.0f%%)", 100 * reached / most);
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
            measure(team, set, set.kernels->fine, values);
            measure(team, set, set.kernels->coarse, values);
        });
    }
}

}  // namespace
}  // namespace tripletmine

int main(int argc, char** argv) {
    tripletmine::run({argv + 1, static_cast<std::size_t>(argc - 1)});
}
