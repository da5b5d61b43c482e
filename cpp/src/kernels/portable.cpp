// Portable: the compiler's generic vectors, on the baseline of whatever machine it builds for.
// Multiplications and additions are rounded one by one (-ffp-contract=off).
#include "kernels/float16.hpp"
#include "kernels/kernel_set.hpp"

namespace tripletmine {
namespace {

constexpr int tile_rows = 2, tile_cols = 16, float_rows = 2, code_rows = 2;
constexpr int exact_rows = 2, exact_panels = 1;
constexpr int never = 1 << 30;  // baseline instructions sum floats as fast as bytes

struct F32;

struct I32 {
    static constexpr int width = 4;
    std::int32_t v[4];
    static I32 load(const std::int32_t* p) { return {{p[0], p[1], p[2], p[3]}}; }
    static I32 fill(std::int32_t value) { return {{value, value, value, value}}; }
    static I32 sequence(std::int32_t first) { return {{first, first + 1, first + 2, first + 3}}; }
    static I32 truncate(const F32& a);
    static I32 nearest(const F32& a);
    static I32 gather(const std::int32_t* table, const I32& index) {
        return {{table[index.v[0]], table[index.v[1]], table[index.v[2]], table[index.v[3]]}};
    }
    void store(std::int32_t* p) const {
        for (int i = 0; i < 4; ++i) p[i] = v[i];
    }
    void store_bytes(std::uint8_t* p) const {
        for (int i = 0; i < 4; ++i) p[i] = static_cast<std::uint8_t>(v[i]);
    }
    void store_halves(std::int16_t* p) const {
        for (int i = 0; i < 4; ++i) p[i] = static_cast<std::int16_t>(v[i]);
    }
};

struct F32 {
    static constexpr int width = 4;
    typedef float Vector __attribute__((vector_size(16)));
    typedef float Unaligned __attribute__((vector_size(16), aligned(1), may_alias));
    Vector v;
    static F32 zero() { return {Vector{}}; }
    static F32 load(const float* p) { return {*reinterpret_cast<const Unaligned*>(p)}; }
    static F32 broadcast(const float* p) { return {Vector{*p, *p, *p, *p}}; }
    static F32 from_int32(const std::int32_t* p) {
        return {Vector{static_cast<float>(p[0]), static_cast<float>(p[1]), static_cast<float>(p[2]),
                       static_cast<float>(p[3])}};
    }
    static F32 gather(const float* table, const I32& index) {
        return {Vector{table[index.v[0]], table[index.v[1]], table[index.v[2]], table[index.v[3]]}};
    }
    void store(float* p) const { *reinterpret_cast<Unaligned*>(p) = v; }
};
inline I32 I32::truncate(const F32& a) {
    I32 r;
    for (int i = 0; i < 4; ++i) r.v[i] = static_cast<std::int32_t>(a.v[i]);
    return r;
}
inline I32 I32::nearest(const F32& a) {
    I32 r;
    for (int i = 0; i < 4; ++i) {
        const double half = a.v[i] < 0.0f ? -0.5 : 0.5;
        r.v[i] = static_cast<std::int32_t>(static_cast<double>(a.v[i]) + half);
    }
    return r;
}
inline F32 sqrt(F32 a) {
    for (int i = 0; i < 4; ++i) a.v[i] = __builtin_sqrtf(a.v[i]);
    return a;
}
inline F32 min(F32 a, F32 b) {
    for (int i = 0; i < 4; ++i) a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
    return a;
}
inline F32 max(F32 a, F32 b) {
    for (int i = 0; i < 4; ++i) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
    return a;
}
inline F32 fma(F32 a, F32 b, F32 c) { return {a.v * b.v + c.v}; }
inline F32 add(F32 a, F32 b) { return {a.v + b.v}; }
inline F32 mul(F32 a, F32 b) { return {a.v * b.v}; }
inline F32 sub(F32 a, F32 b) { return {a.v - b.v}; }
inline void interleave(F32 a, F32 b, F32& first, F32& second) {
    first = {F32::Vector{a.v[0], b.v[0], a.v[1], b.v[1]}};
    second = {F32::Vector{a.v[2], b.v[2], a.v[3], b.v[3]}};
}
inline float largest(F32 a) {
    float most = a.v[0];
    for (int i = 1; i < 4; ++i) most = a.v[i] > most ? a.v[i] : most;
    return most;
}
inline std::uint64_t at_least(F32 a, F32 b) {
    const auto mask = a.v >= b.v;
    return static_cast<std::uint64_t>((mask[0] & 1) | (mask[1] & 2) | (mask[2] & 4) |
                                      (mask[3] & 8));
}
inline std::uint64_t at_most(F32 a, F32 b) { return at_least(b, a); }
inline I32 add(I32 a, const I32& b) {
    for (int i = 0; i < I32::width; ++i) a.v[i] += b.v[i];
    return a;
}
inline I32 sub(I32 a, const I32& b) {
    for (int i = 0; i < 4; ++i) a.v[i] -= b.v[i];
    return a;
}
inline I32 max(I32 a, const I32& b) {
    for (int i = 0; i < 4; ++i) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
    return a;
}
[[maybe_unused]] inline I32 shift_right(I32 a, int bits) {
    for (int i = 0; i < I32::width; ++i) a.v[i] >>= bits;
    return a;
}
inline std::int32_t total(const I32& a) {
    std::int32_t sum = 0;
    for (int i = 0; i < I32::width; ++i) sum += a.v[i];
    return sum;
}
inline std::uint64_t below_zero(const I32& a) {
    std::uint64_t bits = 0;
    for (int i = 0; i < 4; ++i) bits |= static_cast<std::uint64_t>(a.v[i] < 0) << i;
    return bits;
}
inline I32 keep(I32 a, std::uint64_t bits) {
    for (int i = 0; i < 4; ++i) a.v[i] = bits >> i & 1 ? a.v[i] : 0;
    return a;
}
inline I32 increment_below(I32 number, F32 a, F32 b) {
    for (int i = 0; i < 4; ++i) number.v[i] += a.v[i] < b.v[i];
    return number;
}

struct F64x8 {
    typedef double Vector __attribute__((vector_size(16)));
    Vector v[4];
    static F64x8 zero() { return {}; }
    // A caller's float64 rows may lie at any address.
    static F64x8 load(const double* p) {
        F64x8 r;
        __builtin_memcpy(r.v, p, sizeof r.v);
        return r;
    }
    static F64x8 broadcast(const double* p) {
        const Vector value{*p, *p};
        return {{value, value, value, value}};
    }
    void store(double* p) const { __builtin_memcpy(p, v, sizeof v); }
};
inline F64x8 add(F64x8 a, F64x8 b) {
    return {{a.v[0] + b.v[0], a.v[1] + b.v[1], a.v[2] + b.v[2], a.v[3] + b.v[3]}};
}
inline F64x8 sub(F64x8 a, F64x8 b) {
    return {{a.v[0] - b.v[0], a.v[1] - b.v[1], a.v[2] - b.v[2], a.v[3] - b.v[3]}};
}
inline F64x8 mul(F64x8 a, F64x8 b) {
    return {{a.v[0] * b.v[0], a.v[1] * b.v[1], a.v[2] * b.v[2], a.v[3] * b.v[3]}};
}
inline double reduce(F64x8 a) {
    const F64x8::Vector two = (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]);
    return two[0] + two[1];
}

struct Codes {
    signed char v[16];
    static Codes load(const void* p) {
        Codes r;
        __builtin_memcpy(r.v, p, sizeof r.v);
        return r;
    }
    static Codes broadcast(const void* p) {
        Codes r;
        for (int i = 0; i < 4; ++i) __builtin_memcpy(r.v + 4 * i, p, 4);
        return r;
    }
};
inline Codes sub(const Codes& a, const Codes& b) {
    Codes r;
    for (int i = 0; i < 16; ++i) r.v[i] = static_cast<signed char>(a.v[i] - b.v[i]);
    return r;
}

constexpr int code_levels = 127, code_offset = 0;
constexpr bool short_sums = false;
using CodeSums = I32;
inline I32 add_products(I32 sums, const Codes& col, const Codes& row) {
    for (int i = 0; i < 16; ++i) sums.v[i / 4] += col.v[i] * row.v[i];
    return sums;
}

template <typename Element, double convert(Element)>
F64x8 widen8(const void* p) noexcept {
    double values[8];
    for (int i = 0; i < 8; ++i) {
        Element element;
        __builtin_memcpy(&element, static_cast<const char*>(p) + i * sizeof element,
                         sizeof element);
        values[i] = convert(element);
    }
    return F64x8::load(values);
}
double exact_float(float value) { return value; }
constexpr auto widen8_float16 = widen8<std::uint16_t, float16_value>;
constexpr auto widen8_bfloat16 = widen8<std::uint16_t, bfloat16_value>;
constexpr auto widen8_float32 = widen8<float, exact_float>;

}  // namespace

#include "kernels/algorithms.inl"

extern const KernelSet kernel_set_portable;
constinit const KernelSet kernel_set_portable =
    make_kernel_set("portable", fine_scorer, coarse_scorer, never, 0, 0.0, 0.06);

}  // namespace tripletmine
