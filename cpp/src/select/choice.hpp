// What was chosen: for each row (or each pair) a run of candidates, first to last.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>
#include <span>
#include <utility>
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
    std::vector<std::uint32_t> counts;  // of the candidates of each run: fewer than positions
    Column<Candidate> candidates;
    std::int64_t each = 0;             // a run has room for so many,
    std::vector<std::int64_t> begins;  // unless it says here where each begins

    static Choice with_room(std::int64_t runs, std::int64_t each) {
        Choice choice;
        choice.each = each;
        choice.counts.resize(static_cast<std::size_t>(runs));
        choice.candidates.resize(static_cast<std::size_t>(runs * each));
        return choice;
    }
    static Choice with_rooms(std::vector<std::int64_t> rooms) {
        Choice choice;
        choice.counts.resize(rooms.size());
        std::int64_t end = 0;
        for (std::int64_t& room : rooms) room = std::exchange(end, end + room);
        choice.begins = std::move(rooms);
        choice.candidates.resize(static_cast<std::size_t>(end));
        return choice;
    }

    static Choice of_runs(std::vector<std::vector<Candidate>> runs) {
        std::vector<std::int64_t> sizes;
        for (const std::vector<Candidate>& run : runs) sizes.push_back(std::ssize(run));
        Choice choice = with_rooms(std::move(sizes));
        for (std::size_t i = 0; i < runs.size(); ++i) {
            const auto run = static_cast<std::int64_t>(i);
            std::copy(runs[i].begin(), runs[i].end(),
                      choice.candidates.begin() + choice.begin_of(run));
            choice.counts[i] = static_cast<std::uint32_t>(runs[i].size());
            runs[i] = {};
        }
        return choice;
    }

    std::int64_t begin_of(std::int64_t run) const {
        return begins.empty() ? run * each : begins[static_cast<std::size_t>(run)];
    }
    std::span<const Candidate> of(std::int64_t run) const {
        return {candidates.data() + begin_of(run), counts[static_cast<std::size_t>(run)]};
    }
    void add(std::int64_t run, const Candidate& candidate) {
        candidates[begin_of(run) + counts[static_cast<std::size_t>(run)]++] = candidate;
    }

    // How many candidates there is room for in a run, on average.
    std::int64_t room() const {
        return counts.empty() ? 0 : std::ssize(candidates) / std::ssize(counts);
    }
};

}  // namespace tripletmine
