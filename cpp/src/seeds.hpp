// Seeds: candidates and floors for a sweep to begin with. Every block of rows first meets the
// blocks of columns that lie nearest to it (or farthest from it) on average; the likeliest
// candidates that it finds there are decided. Their distances are floors that hold, and most of
// what would survive at the beginning of a sweep does not.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kernels/kernel_set.hpp"
#include "parallel.hpp"
#include "walk.hpp"

namespace tripletmine {

// The k-th of more candidates says little, among those few: they get no floors.
inline constexpr std::int64_t most_seeded = 24;

struct Seeds {
    // By row: a score that k candidates of the relation reach, or -inf where nothing is known.
    // Empty where looking would not pay.
    std::vector<float> floors;
    std::int64_t decided = 0;  // in float64
};

// Hears of the k candidates of a row that were decided, once, if any were; on any thread.
using TakeSeeds = std::function<void(std::int64_t row, std::span<const PairOfRows> pairs,
                                     std::span<const double> distances)>;

Seeds find_seeds(Team& team, const KernelSet& kernels, const Pairing& pairing, Relation relation,
                 const ScoreSpace& space, Sign sign, std::int64_t k, const TakeSeeds& take);

}  // namespace tripletmine
