// What the C++ tests share: counting, random numbers that are the same everywhere, scalar
// references, and the list of the tests.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <random>
#include <string>
#include <string_view>

#include "kernels/kernel_set.hpp"

namespace tripletmine {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr float infinity32 = std::numeric_limits<float>::infinity();

class Tally {
public:
    void begin(std::string_view subject) { subject_ = subject; }
    void check(bool passed, const std::string& what) {
        ++(passed ? passed_ : failed_);
        if (!passed && failed_ <= most_messages) {
            std::fprintf(stderr, "FAILED  %s: %s\n", subject_.c_str(), what.c_str());
        }
    }
    std::int64_t passed() const { return passed_; }
    std::int64_t failed() const { return failed_; }
    std::int64_t run() const { return passed_ + failed_; }

private:
    static constexpr std::int64_t most_messages = 30;
    std::string subject_;
    std::int64_t passed_ = 0, failed_ = 0;
};

inline std::string text(double value) {
    char buffer[64];
    std::snprintf(buffer, sizeof buffer, "%.17g (%a)", value, value);
    return buffer;
}

inline bool same_bits(double a, double b) {
    return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}
inline bool same_value(double a, double b) {
    return (std::isnan(a) && std::isnan(b)) || same_bits(a, b);
}

class Random {
public:
    explicit Random(std::uint64_t seed) : engine_(seed) {}
    std::uint64_t bits() { return engine_(); }
    std::int64_t below(std::int64_t bound) {
        return static_cast<std::int64_t>(engine_() % static_cast<std::uint64_t>(bound));
    }
    // In [-1, 1), made from bits: the standard distributions differ from library to library.
    double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-52 - 1.0; }

private:
    std::mt19937_64 engine_;
};

// The value of a binary floating-point number of that layout.
inline double decode(std::uint32_t bits, int exponent_bits, int mantissa_bits) {
    const int mantissa = static_cast<int>(bits & ((1u << mantissa_bits) - 1));
    const int exponent = static_cast<int>(bits >> mantissa_bits & ((1u << exponent_bits) - 1));
    const bool negative = (bits >> (mantissa_bits + exponent_bits) & 1u) != 0;
    const int largest = (1 << exponent_bits) - 1, bias = largest / 2;
    double value = 0.0;
    if (exponent == largest) {
        value = mantissa != 0 ? std::numeric_limits<double>::quiet_NaN() : infinity;
    } else if (exponent == 0) {
        value = std::ldexp(mantissa, 1 - bias - mantissa_bits);
    } else {
        value = std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
    }
    return negative ? -value : value;
}

// The canonical sum of term(0) ... term(dim - 1).
template <typename Term>
double sum8(std::int64_t dim, Term term) {
    double p[8] = {};
    for (std::int64_t k = 0; k < dim; ++k) p[k % 8] += term(k);
    return ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]));
}

// Whatever the kernels (team_tests.cpp).
void check_teams(Tally& tally);

// Each primitive of a set against plain scalar arithmetic (primitive_tests.cpp, scorer_tests.cpp).
void check_primitives(Tally& tally, const KernelSet& kernels);
void check_scorers(Tally& tally, const KernelSet& kernels);

// No true distance ever lies outside the bounds of its score (bound_tests.cpp).
void check_bounds(Tally& tally, const KernelSet& kernels);

// Whole calls: the same answers from every set, thread count and memory budget (call_tests.cpp).
void check_calls(Tally& tally, std::string_view set);

}  // namespace tripletmine
