#include "kernels/dispatch.hpp"

#include <stdexcept>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace tripletmine {

#if defined(__x86_64__)
namespace {

// __builtin_cpu_supports("f16c") is an error with clang 14. The registry asks for wide registers
// as well, which says that the operating system saves them.
bool supports_f16c() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

}  // namespace
#endif

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

}  // namespace tripletmine
