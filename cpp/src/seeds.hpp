// Seeds: floors for a sweep to begin with. Every block of rows first meets the few blocks of
// columns that lie nearest to it (or farthest from it) on average; the lower bounds of these
// candidates are floors that hold, and most of what would survive at the beginning of a sweep does
// not.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernel_set.hpp"
#include "parallel.hpp"
#include "walk.hpp"

namespace tripletmine {

// By row: a score that k candidates of the relation reach, or -inf where nothing is known. Empty
// where looking would not pay.
std::vector<float> seed_floors(Team& team, Pairing pairing, Relation relation, Sign sign,
                               std::int64_t k);

}  // namespace tripletmine
