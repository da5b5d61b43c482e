// Which kernel sets there are, which run here, and the choice of one.
#pragma once

#include <span>
#include <string_view>

#include "kernels/kernel_set.hpp"
#include "tripletmine/tripletmine.hpp"

namespace tripletmine {

struct RegisteredSet {
    InstructionSet info;
    const KernelSet* kernels;
};

// Every compiled set, best first.
std::span<const RegisteredSet> registered_sets();

// The set of that name, or the best supported one for an empty name. An unknown or unsupported name
// is an std::invalid_argument that lists the supported ones.
const KernelSet& choose_kernels(std::string_view name);

// What scores of that format are called in reports.
std::string_view name_of(Format format);

}  // namespace tripletmine
