// What was chosen: for each row (or each pair) a run of candidates, first to last.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "tripletmine/tripletmine.hpp"

namespace tripletmine {

struct Candidate {
    double distance;
    std::int64_t row;
};

// What a selector may say of a candidate instead of where it belongs.
inline constexpr std::int64_t no_matter = std::numeric_limits<std::int32_t>::min();

inline constexpr float no_limit = std::numeric_limits<float>::infinity();

struct Choice {
    std::vector<std::int64_t> begins, counts;
    Column<Candidate> candidates;

    std::span<const Candidate> of(std::int64_t row) const {
        return {candidates.data() + begins[row], static_cast<std::size_t>(counts[row])};
    }

    // How many candidates there is room for in a run, on average.
    std::int64_t room() const {
        const auto runs = static_cast<std::int64_t>(begins.size());
        return runs == 0 ? 0 : static_cast<std::int64_t>(candidates.size()) / runs;
    }

    // Room for `each` candidates a row, none there yet.
    static Choice with_room(std::int64_t rows, std::int64_t each) {
        Choice choice;
        choice.begins.resize(static_cast<std::size_t>(rows));
        for (std::int64_t row = 0; row < rows; ++row) choice.begins[row] = row * each;
        choice.counts.resize(static_cast<std::size_t>(rows));
        choice.candidates.resize(static_cast<std::size_t>(rows * each));
        return choice;
    }
    void add(std::int64_t row, const Candidate& candidate) {
        candidates[begins[row] + counts[row]++] = candidate;
    }
};

}  // namespace tripletmine
