// The registers of the AVX-512 sets (F, BW, VL, DQ): one holds sixteen floats or all eight partial
// sums. Internal linkage: every set compiles its own copy with its own flags.
#pragma once

#include <immintrin.h>

#include "kernels/kernel_set.hpp"

namespace tripletmine {
namespace {

struct F32;

struct I32 {
    static constexpr int width = 16;
    __m512i v;
    static I32 load(const std::int32_t* p) { return {_mm512_loadu_si512(p)}; }
    static I32 fill(std::int32_t value) { return {_mm512_set1_epi32(value)}; }
    static I32 sequence(std::int32_t first) {
        const __m512i lane_numbers =
            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        return {_mm512_add_epi32(_mm512_set1_epi32(first), lane_numbers)};
    }
    static I32 truncate(F32 a);
    static I32 nearest(F32 a);
    static I32 gather(const std::int32_t* table, I32 index) {
        return {_mm512_i32gather_epi32(index.v, table, 4)};
    }
    void store(std::int32_t* p) const { _mm512_storeu_si512(p, v); }
    void store_bytes(std::uint8_t* p) const {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v));
    }
    void store_halves(std::int16_t* p) const {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(v));
    }
};

struct F32 {
    static constexpr int width = 16;
    __m512 v;
    static F32 zero() { return {_mm512_setzero_ps()}; }
    static F32 load(const float* p) { return {_mm512_loadu_ps(p)}; }
    static F32 broadcast(const float* p) { return {_mm512_set1_ps(*p)}; }
    static F32 from_int32(const std::int32_t* p) {
        return {_mm512_cvtepi32_ps(_mm512_loadu_si512(p))};
    }
    static F32 gather(const float* table, I32 index) {
        return {_mm512_i32gather_ps(index.v, table, 4)};
    }
    void store(float* p) const { _mm512_storeu_ps(p, v); }
};
inline I32 I32::truncate(F32 a) { return {_mm512_cvttps_epi32(a.v)}; }
inline I32 I32::nearest(F32 a) { return {_mm512_cvtps_epi32(a.v)}; }
inline F32 fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline F32 add(F32 a, F32 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F32 mul(F32 a, F32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F32 sub(F32 a, F32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F32 sqrt(F32 a) { return {_mm512_sqrt_ps(a.v)}; }
inline F32 min(F32 a, F32 b) { return {_mm512_min_ps(a.v, b.v)}; }
inline F32 max(F32 a, F32 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline void interleave(F32 a, F32 b, F32& first, F32& second) {
    const __m512i places =
        _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    first = {_mm512_permutex2var_ps(a.v, places, b.v)};
    second = {_mm512_permutex2var_ps(a.v, _mm512_add_epi32(places, _mm512_set1_epi32(8)), b.v)};
}
inline float largest(F32 a) { return _mm512_reduce_max_ps(a.v); }
inline std::uint64_t at_least(F32 a, F32 b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ); }
inline std::uint64_t at_most(F32 a, F32 b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ); }
inline I32 add(I32 a, I32 b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline I32 sub(I32 a, I32 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
inline I32 max(I32 a, I32 b) { return {_mm512_max_epi32(a.v, b.v)}; }
inline I32 shift_right(I32 a, int bits) {
    return {_mm512_srai_epi32(a.v, static_cast<unsigned>(bits))};
}
inline std::int32_t total(I32 a) { return _mm512_reduce_add_epi32(a.v); }
inline std::uint64_t below_zero(I32 a) { return _mm512_movepi32_mask(a.v); }
inline I32 keep(I32 a, std::uint64_t bits) {
    return {_mm512_maskz_mov_epi32(static_cast<__mmask16>(bits), a.v)};
}
inline I32 increment_below(I32 number, F32 a, F32 b) {
    const __mmask16 below = _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ);
    return {_mm512_mask_add_epi32(number.v, below, number.v, _mm512_set1_epi32(1))};
}
inline void compress(const I32& from, std::uint64_t bits, std::int32_t* to) {
    _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(static_cast<__mmask16>(bits), from.v));
}
inline void compress(const F32& from, std::uint64_t bits, float* to) {
    _mm512_storeu_ps(to, _mm512_maskz_compress_ps(static_cast<__mmask16>(bits), from.v));
}

struct F64x8 {
    __m512d v;
    static F64x8 zero() { return {_mm512_setzero_pd()}; }
    static F64x8 load(const double* p) { return {_mm512_loadu_pd(p)}; }
    static F64x8 broadcast(const double* p) { return {_mm512_set1_pd(*p)}; }
    void store(double* p) const { _mm512_storeu_pd(p, v); }
};
inline F64x8 add(F64x8 a, F64x8 b) { return {_mm512_add_pd(a.v, b.v)}; }
inline F64x8 sub(F64x8 a, F64x8 b) { return {_mm512_sub_pd(a.v, b.v)}; }
inline F64x8 mul(F64x8 a, F64x8 b) { return {_mm512_mul_pd(a.v, b.v)}; }
inline double reduce(F64x8 a) {
    const __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(a.v), _mm512_extractf64x4_pd(a.v, 1));
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

inline F64x8 widen8_float32(const void* p) noexcept {
    return {_mm512_cvtps_pd(_mm256_loadu_ps(static_cast<const float*>(p)))};
}
inline F64x8 widen8_float16(const void* p) noexcept {
    return {_mm512_cvtps_pd(_mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p))))};
}
inline F64x8 widen8_bfloat16(const void* p) noexcept {
    const __m128i half = _mm_loadu_si128(static_cast<const __m128i*>(p));
    const __m256i bits = _mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16);
    return {_mm512_cvtps_pd(_mm256_castsi256_ps(bits))};
}

struct Codes {
    __m512i v;
    static Codes load(const void* p) { return {_mm512_loadu_si512(p)}; }
    static Codes broadcast(const void* p) { return {_mm512_broadcastd_epi32(_mm_loadu_si32(p))}; }
};
inline Codes sub(Codes a, Codes b) { return {_mm512_sub_epi8(a.v, b.v)}; }

}  // namespace
}  // namespace tripletmine
