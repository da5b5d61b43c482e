// AVX2 with FMA and F16C: eight floats a register, two registers for the eight partial sums.
#include <immintrin.h>

#include "kernels/kernel_set.hpp"

namespace tripletmine {
namespace {

constexpr int tile_rows = 16, tile_cols = 16, float_rows = 6, code_rows = 4;
constexpr int exact_rows = 4, exact_panels = 1;

struct F32;

struct I32 {
    static constexpr int width = 8;
    __m256i v;
    static I32 load(const std::int32_t* p) {
        return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
    }
    static I32 fill(std::int32_t value) { return {_mm256_set1_epi32(value)}; }
    static I32 sequence(std::int32_t first) {
        return {
            _mm256_add_epi32(_mm256_set1_epi32(first), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))};
    }
    static I32 truncate(F32 a);
    static I32 nearest(F32 a);
    static I32 gather(const std::int32_t* table, I32 index) {
        return {_mm256_i32gather_epi32(table, index.v, 4)};
    }
    void store(std::int32_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
    void store_bytes(std::uint8_t* p) const {
        const __m256i low = _mm256_and_si256(v, _mm256_set1_epi32(0xff));
        const __m128i words =
            _mm_packs_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
    }
    void store_halves(std::int16_t* p) const {
        const __m128i halves =
            _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), halves);
    }
};

struct F32 {
    static constexpr int width = 8;
    __m256 v;
    static F32 zero() { return {_mm256_setzero_ps()}; }
    static F32 load(const float* p) { return {_mm256_loadu_ps(p)}; }
    static F32 broadcast(const float* p) { return {_mm256_broadcast_ss(p)}; }
    static F32 from_int32(const std::int32_t* p) {
        return {_mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
    }
    static F32 gather(const float* table, I32 index) {
        return {_mm256_i32gather_ps(table, index.v, 4)};
    }
    void store(float* p) const { _mm256_storeu_ps(p, v); }
};
inline I32 I32::truncate(F32 a) { return {_mm256_cvttps_epi32(a.v)}; }
inline I32 I32::nearest(F32 a) { return {_mm256_cvtps_epi32(a.v)}; }
inline F32 sqrt(F32 a) { return {_mm256_sqrt_ps(a.v)}; }
inline F32 min(F32 a, F32 b) { return {_mm256_min_ps(a.v, b.v)}; }
inline F32 max(F32 a, F32 b) { return {_mm256_max_ps(a.v, b.v)}; }
inline F32 fma(F32 a, F32 b, F32 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline F32 add(F32 a, F32 b) { return {_mm256_add_ps(a.v, b.v)}; }
inline F32 mul(F32 a, F32 b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline F32 sub(F32 a, F32 b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline void interleave(F32 a, F32 b, F32& first, F32& second) {
    const __m256 low = _mm256_unpacklo_ps(a.v, b.v), high = _mm256_unpackhi_ps(a.v, b.v);
    first = {_mm256_permute2f128_ps(low, high, 0x20)};
    second = {_mm256_permute2f128_ps(low, high, 0x31)};
}
inline float largest(F32 a) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
inline std::uint64_t lane_bits(__m256 mask) {
    return static_cast<std::uint64_t>(static_cast<unsigned>(_mm256_movemask_ps(mask)));
}
inline std::uint64_t at_least(F32 a, F32 b) {
    return lane_bits(_mm256_cmp_ps(a.v, b.v, _CMP_GE_OQ));
}
inline std::uint64_t at_most(F32 a, F32 b) {
    return lane_bits(_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ));
}
inline I32 add(I32 a, I32 b) { return {_mm256_add_epi32(a.v, b.v)}; }
inline I32 sub(I32 a, I32 b) { return {_mm256_sub_epi32(a.v, b.v)}; }
inline I32 max(I32 a, I32 b) { return {_mm256_max_epi32(a.v, b.v)}; }
inline I32 shift_right(I32 a, int bits) { return {_mm256_srai_epi32(a.v, bits)}; }
inline std::int32_t total(I32 a) {
    const __m128i four =
        _mm_add_epi32(_mm256_castsi256_si128(a.v), _mm256_extracti128_si256(a.v, 1));
    const __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_srli_epi64(two, 32)));
}
inline std::uint64_t below_zero(I32 a) { return lane_bits(_mm256_castsi256_ps(a.v)); }
inline I32 keep(I32 a, std::uint64_t bits) {
    const __m256i of_lanes = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i chosen =
        _mm256_and_si256(_mm256_set1_epi32(static_cast<std::int32_t>(bits)), of_lanes);
    return {_mm256_and_si256(_mm256_cmpeq_epi32(chosen, of_lanes), a.v)};
}
// The lanes that are set in a byte, side by side.
struct LaneLists {
    std::uint8_t of[256][8];
    constexpr LaneLists() : of{} {
        for (int bits = 0; bits < 256; ++bits) {
            int count = 0;
            for (int lane = 0; lane < 8; ++lane) {
                if (bits >> lane & 1) of[bits][count++] = static_cast<std::uint8_t>(lane);
            }
        }
    }
};
constexpr LaneLists lane_lists;
inline __m256i lanes_of(std::uint64_t bits) {
    return _mm256_cvtepu8_epi32(
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(lane_lists.of[bits])));
}
inline void compress(F32 from, std::uint64_t bits, float* to) {
    _mm256_storeu_ps(to, _mm256_permutevar8x32_ps(from.v, lanes_of(bits)));
}
inline void compress(I32 from, std::uint64_t bits, std::int32_t* to) {
    I32{_mm256_permutevar8x32_epi32(from.v, lanes_of(bits))}.store(to);
}
inline I32 increment_below(I32 number, F32 a, F32 b) {
    const __m256i below = _mm256_castps_si256(_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ));
    return {_mm256_sub_epi32(number.v, below)};
}

struct F64x8 {
    __m256d low, high;
    static F64x8 zero() { return {_mm256_setzero_pd(), _mm256_setzero_pd()}; }
    static F64x8 load(const double* p) { return {_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)}; }
    static F64x8 broadcast(const double* p) {
        const __m256d value = _mm256_broadcast_sd(p);
        return {value, value};
    }
    void store(double* p) const {
        _mm256_storeu_pd(p, low);
        _mm256_storeu_pd(p + 4, high);
    }
};
inline F64x8 add(F64x8 a, F64x8 b) {
    return {_mm256_add_pd(a.low, b.low), _mm256_add_pd(a.high, b.high)};
}
inline F64x8 sub(F64x8 a, F64x8 b) {
    return {_mm256_sub_pd(a.low, b.low), _mm256_sub_pd(a.high, b.high)};
}
inline F64x8 mul(F64x8 a, F64x8 b) {
    return {_mm256_mul_pd(a.low, b.low), _mm256_mul_pd(a.high, b.high)};
}
inline double reduce(F64x8 a) {
    const __m256d four = _mm256_add_pd(a.low, a.high);
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

struct Codes {
    __m256i v;
    static Codes load(const void* p) {
        return {_mm256_loadu_si256(static_cast<const __m256i*>(p))};
    }
    static Codes broadcast(const void* p) { return {_mm256_broadcastd_epi32(_mm_loadu_si32(p))}; }
};
inline Codes sub(Codes a, Codes b) { return {_mm256_sub_epi8(a.v, b.v)}; }

// Unsigned columns times signed rows. Two products together are at most 2 * 180 * 90 = 32400, and
// nothing saturates; sums of int16 take one multiplication for 32 products, those of int32 would
// take one and a half.
constexpr int code_levels = 90, code_offset = 90;
constexpr bool short_sums = true;
struct CodeSums {
    __m256i v;
    static CodeSums fill(std::int32_t word) { return {_mm256_set1_epi32(word)}; }
};
inline CodeSums add_products(CodeSums sums, Codes col, Codes row) {
    return {_mm256_add_epi16(sums.v, _mm256_maddubs_epi16(col.v, row.v))};
}
inline I32 whole(CodeSums sums) { return {_mm256_madd_epi16(sums.v, _mm256_set1_epi16(1))}; }
inline I32 add_long_products(I32 sums, Codes col, Codes row) {
    return {_mm256_add_epi32(sums.v, _mm256_madd_epi16(col.v, row.v))};
}

inline F64x8 widen_floats(__m256 floats) {
    return {_mm256_cvtps_pd(_mm256_castps256_ps128(floats)),
            _mm256_cvtps_pd(_mm256_extractf128_ps(floats, 1))};
}
inline F64x8 widen8_float32(const void* p) noexcept {
    return widen_floats(_mm256_loadu_ps(static_cast<const float*>(p)));
}
inline F64x8 widen8_float16(const void* p) noexcept {
    return widen_floats(_mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p))));
}
inline F64x8 widen8_bfloat16(const void* p) noexcept {
    const __m128i half = _mm_loadu_si128(static_cast<const __m128i*>(p));
    const __m256i bits = _mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16);
    return widen_floats(_mm256_castsi256_ps(bits));
}

}  // namespace

#include "kernels/algorithms.inl"

extern const KernelSet kernel_set_avx2;
constinit const KernelSet kernel_set_avx2 =
    make_kernel_set("avx2", fine_scorer, coarse_scorer, 64, 0, 0.0135, 0.0065,
                    long_scorer<add_long_products, false>, 0.006);

}  // namespace tripletmine
