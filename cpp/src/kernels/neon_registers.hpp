// The registers of the NEON sets: four floats or two doubles each. Internal linkage: every set
// compiles its own copy with its own flags.
#pragma once

#include <arm_neon.h>

#include "kernels/kernel_set.hpp"

namespace tripletmine {
namespace {

constexpr int tile_rows = 4, tile_cols = 16, float_rows = 4, code_rows = 4;
constexpr int exact_rows = 4, exact_panels = 1;

struct F32;

struct I32 {
    static constexpr int width = 4;
    int32x4_t v;
    static I32 load(const std::int32_t* p) { return {vld1q_s32(p)}; }
    static I32 fill(std::int32_t value) { return {vdupq_n_s32(value)}; }
    static I32 sequence(std::int32_t first) {
        const int32x4_t lane_numbers = {0, 1, 2, 3};
        return {vaddq_s32(vdupq_n_s32(first), lane_numbers)};
    }
    static I32 truncate(F32 a);
    static I32 nearest(F32 a);
    static I32 gather(const std::int32_t* table, I32 index) {
        const std::int32_t lanes_of[4] = {
            table[vgetq_lane_s32(index.v, 0)], table[vgetq_lane_s32(index.v, 1)],
            table[vgetq_lane_s32(index.v, 2)], table[vgetq_lane_s32(index.v, 3)]};
        return {vld1q_s32(lanes_of)};
    }
    void store(std::int32_t* p) const { vst1q_s32(p, v); }
    void store_bytes(std::uint8_t* p) const {
        for (int i = 0; i < width; ++i) p[i] = static_cast<std::uint8_t>(v[i]);
    }
    void store_halves(std::int16_t* p) const { vst1_s16(p, vmovn_s32(v)); }
};

struct F32 {
    static constexpr int width = 4;
    float32x4_t v;
    static F32 zero() { return {vdupq_n_f32(0.0f)}; }
    static F32 load(const float* p) { return {vld1q_f32(p)}; }
    static F32 broadcast(const float* p) { return {vld1q_dup_f32(p)}; }
    static F32 from_int32(const std::int32_t* p) { return {vcvtq_f32_s32(vld1q_s32(p))}; }
    static F32 gather(const float* table, I32 index) {
        const float lanes_of[4] = {
            table[vgetq_lane_s32(index.v, 0)], table[vgetq_lane_s32(index.v, 1)],
            table[vgetq_lane_s32(index.v, 2)], table[vgetq_lane_s32(index.v, 3)]};
        return {vld1q_f32(lanes_of)};
    }
    void store(float* p) const { vst1q_f32(p, v); }
};
inline I32 I32::truncate(F32 a) { return {vcvtq_s32_f32(a.v)}; }
inline I32 I32::nearest(F32 a) { return {vcvtnq_s32_f32(a.v)}; }
inline F32 sqrt(F32 a) { return {vsqrtq_f32(a.v)}; }
inline F32 min(F32 a, F32 b) { return {vminnmq_f32(a.v, b.v)}; }
inline F32 max(F32 a, F32 b) { return {vmaxnmq_f32(a.v, b.v)}; }
inline F32 fma(F32 a, F32 b, F32 c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
inline F32 add(F32 a, F32 b) { return {vaddq_f32(a.v, b.v)}; }
inline F32 mul(F32 a, F32 b) { return {vmulq_f32(a.v, b.v)}; }
inline F32 sub(F32 a, F32 b) { return {vsubq_f32(a.v, b.v)}; }
inline void interleave(F32 a, F32 b, F32& first, F32& second) {
    first = {vzip1q_f32(a.v, b.v)};
    second = {vzip2q_f32(a.v, b.v)};
}
inline float largest(F32 a) { return vmaxvq_f32(a.v); }
inline std::uint64_t lane_bits(uint32x4_t mask) {
    const uint32x4_t weights = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(mask, weights));
}
inline std::uint64_t at_least(F32 a, F32 b) { return lane_bits(vcgeq_f32(a.v, b.v)); }
inline std::uint64_t at_most(F32 a, F32 b) { return lane_bits(vcleq_f32(a.v, b.v)); }
inline I32 add(I32 a, I32 b) { return {vaddq_s32(a.v, b.v)}; }
inline I32 sub(I32 a, I32 b) { return {vsubq_s32(a.v, b.v)}; }
inline I32 max(I32 a, I32 b) { return {vmaxq_s32(a.v, b.v)}; }
inline I32 shift_right(I32 a, int bits) { return {vshlq_s32(a.v, vdupq_n_s32(-bits))}; }
inline std::int32_t total(I32 a) { return vaddvq_s32(a.v); }
inline std::uint64_t below_zero(I32 a) { return lane_bits(vcltzq_s32(a.v)); }
inline I32 keep(I32 a, std::uint64_t bits) {
    const int32x4_t of_lanes = {1, 2, 4, 8};
    const uint32x4_t chosen = vtstq_s32(vdupq_n_s32(static_cast<std::int32_t>(bits)), of_lanes);
    return {vandq_s32(a.v, vreinterpretq_s32_u32(chosen))};
}
inline I32 increment_below(I32 number, F32 a, F32 b) {
    return {vsubq_s32(number.v, vreinterpretq_s32_u32(vcltq_f32(a.v, b.v)))};
}

struct F64x8 {
    float64x2_t v[4];
    static F64x8 zero() {
        const float64x2_t none = vdupq_n_f64(0.0);
        return {{none, none, none, none}};
    }
    static F64x8 load(const double* p) {
        return {{vld1q_f64(p), vld1q_f64(p + 2), vld1q_f64(p + 4), vld1q_f64(p + 6)}};
    }
    static F64x8 broadcast(const double* p) {
        const float64x2_t value = vdupq_n_f64(*p);
        return {{value, value, value, value}};
    }
    void store(double* p) const {
        for (int i = 0; i < 4; ++i) vst1q_f64(p + 2 * i, v[i]);
    }
};
inline F64x8 add(F64x8 a, F64x8 b) {
    for (int i = 0; i < 4; ++i) a.v[i] = vaddq_f64(a.v[i], b.v[i]);
    return a;
}
inline F64x8 sub(F64x8 a, F64x8 b) {
    for (int i = 0; i < 4; ++i) a.v[i] = vsubq_f64(a.v[i], b.v[i]);
    return a;
}
inline F64x8 mul(F64x8 a, F64x8 b) {
    for (int i = 0; i < 4; ++i) a.v[i] = vmulq_f64(a.v[i], b.v[i]);
    return a;
}
inline double reduce(F64x8 a) {
    const float64x2_t two = vaddq_f64(vaddq_f64(a.v[0], a.v[2]), vaddq_f64(a.v[1], a.v[3]));
    return vgetq_lane_f64(two, 0) + vgetq_lane_f64(two, 1);
}

inline F64x8 widen_floats(float32x4_t low, float32x4_t high) {
    return {{vcvt_f64_f32(vget_low_f32(low)), vcvt_high_f64_f32(low),
             vcvt_f64_f32(vget_low_f32(high)), vcvt_high_f64_f32(high)}};
}
inline F64x8 widen8_float32(const void* p) noexcept {
    const float* floats = static_cast<const float*>(p);
    return widen_floats(vld1q_f32(floats), vld1q_f32(floats + 4));
}
inline F64x8 widen8_float16(const void* p) noexcept {
    const uint16x8_t bits = vreinterpretq_u16_u8(vld1q_u8(static_cast<const std::uint8_t*>(p)));
    const float16x8_t halves = vreinterpretq_f16_u16(bits);
    return widen_floats(vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves));
}
inline F64x8 widen8_bfloat16(const void* p) noexcept {
    const uint16x8_t bits = vreinterpretq_u16_u8(vld1q_u8(static_cast<const std::uint8_t*>(p)));
    return widen_floats(vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(bits), 16)),
                        vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(bits), 16)));
}

struct Codes {
    int8x16_t v;
    static Codes load(const void* p) { return {vld1q_s8(static_cast<const std::int8_t*>(p))}; }
    static Codes broadcast(const void* p) {
        std::int32_t word;
        __builtin_memcpy(&word, p, sizeof word);
        return {vreinterpretq_s8_s32(vdupq_n_s32(word))};
    }
};
inline Codes sub(Codes a, Codes b) { return {vsubq_s8(a.v, b.v)}; }

constexpr int code_levels = 127, code_offset = 0;
constexpr bool short_sums = false;
using CodeSums = I32;

}  // namespace
}  // namespace tripletmine
