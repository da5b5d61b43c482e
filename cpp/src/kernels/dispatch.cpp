#include "kernels/dispatch.hpp"

#include <stdexcept>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace tripletmine {
namespace {

#if defined(__x86_64__)
// __builtin_cpu_supports("f16c") is an error with clang 14. The registry asks for wide registers
// as well, which says that the operating system saves them.
bool supports_f16c() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

bool supports_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("fma") && supports_f16c();
}

// Tiles of int8 and bfloat16, which Linux (5.16 and newer) lets a process use when it asks
// (https://docs.kernel.org/arch/x86/xstate.html).
bool supports_amx() {
#if defined(__linux__)
    constexpr unsigned bfloat16 = 1u << 22, tile = 1u << 24, int8 = 1u << 25;
    constexpr unsigned wanted = bfloat16 | tile | int8;
    constexpr long request_permission = 0x1023, tile_data = 18;
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & wanted) == wanted &&
           syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
    return false;
#endif
}
#elif defined(__aarch64__)
bool supports_dot_product() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
#endif

}  // namespace

#define KERNEL_SET(name, supported, description) extern const KernelSet kernel_set_##name;
#include "kernels/registry.inc"
#undef KERNEL_SET

std::span<const RegisteredSet> registered_sets() {
    // __builtin_cpu_supports also asks whether the operating system saves the wide registers.
    static const std::vector<RegisteredSet> sets = {
#define KERNEL_SET(name, supported, description) \
    {{#name, description, static_cast<bool>(supported)}, &kernel_set_##name},
#include "kernels/registry.inc"
#undef KERNEL_SET
    };
    return sets;
}

std::vector<InstructionSet> instruction_sets() {
    std::vector<InstructionSet> infos;
    for (const RegisteredSet& set : registered_sets()) infos.push_back(set.info);
    return infos;
}

const KernelSet& choose_kernels(std::string_view name) {
    std::string supported;
    for (const RegisteredSet& set : registered_sets()) {
        if (!set.info.supported) continue;
        if (name.empty() || name == set.info.name) return *set.kernels;
        supported += (supported.empty() ? "" : ", ") + std::string(set.info.name);
    }
    throw std::invalid_argument("TRIPLETMINE_ISA: found '" + std::string(name) +
                                "', expected a kernel set that this machine runs: " + supported);
}

std::string_view name_of(Format format) {
    switch (format) {
        case Format::float32:
            return "float32";
        case Format::bfloat16:
            return "bfloat16";
        case Format::bfloat16_pair:
            return "bfloat16 pairs";
        case Format::int16:
            return "int16";
        case Format::int8:
            break;
    }
    return "int8";
}

}  // namespace tripletmine
