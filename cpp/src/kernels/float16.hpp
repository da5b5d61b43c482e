// The exact values of the 16-bit floats, from their bits. Internal linkage: this header is included
// by an instruction-set file.
#pragma once

#include <cstdint>

namespace tripletmine {
namespace {

[[maybe_unused]] inline double bfloat16_value(std::uint16_t bits) {
    const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
    float value;
    __builtin_memcpy(&value, &wide, sizeof value);
    return static_cast<double>(value);
}

// A float16's exponent and mantissa, read as a float32's, are too small by 2^112 for normal and
// subnormal numbers alike; the largest exponent means infinity or NaN.
[[maybe_unused]] inline double float16_value(std::uint16_t bits) {
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
    const std::uint32_t magnitude = bits & 0x7fffu;
    const std::uint32_t wide =
        sign | (magnitude >= 0x7c00u ? 0x7f800000u | (magnitude & 0x3ffu) << 13 : magnitude << 13);
    float value;
    __builtin_memcpy(&value, &wide, sizeof value);
    const double scale = magnitude >= 0x7c00u ? 1.0 : 0x1p112;
    return static_cast<double>(value) * scale;
}

}  // namespace
}  // namespace tripletmine
