// What a sweep filters with: plain data, decided before it begins, and when it goes on to closer
// scores.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "kernels/kernel_set.hpp"
#include "walk.hpp"

namespace tripletmine {

// Coarse scores are fast, those of projected rows faster still, and fine ones let the fewest pairs
// through.
enum class Precision : std::uint8_t { projected, coarse, medium, fine };
inline constexpr std::size_t precisions = 4;

// A sweep goes on to the next stage, and never back, where that saves more than it costs.
struct FilterStage {
    Precision precision;
    // Doubts are pairs that survive for want of closer bounds. With so many, as a part of all
    // pairs, the next scorer is as good; and packing the rows for it takes as long as so many more.
    double most_doubts = 1.0, worth_packing = 0.0;

    // Whether this scorer does for so many doubts, of so many pairs that are still to come.
    bool suits(double doubts, double pairs_left) const {
        return (doubts - most_doubts) * pairs_left <= worth_packing;
    }
};
using FilterPlan = std::vector<FilterStage>;  // not empty

const Scorer& scorer_of(const KernelSet& kernels, Precision precision);

// Packs both sides for a scorer.
using Pack = std::function<Pairing(Precision)>;

// A question, as far as its plan depends on it.
struct FilterCase {
    const KernelSet& kernels;
    std::int64_t rows, cols, dim;
    double pairs;   // that are scored
    bool one_side;  // the rows are the columns, and packed once
    Relation relation;
    std::int64_t k;                       // candidates of a row that are wanted
    std::array<bool, precisions> packed;  // for which precisions the rows are packed already

    // Whether it can be filtered with that.
    bool has(Precision precision) const;
};

// For tests and benchmarks the environment variable TRIPLETMINE_FILTER chooses the only stage, and
// changes nothing else: "projected" (to half of the dimensions; where scores are made of float32),
// "coarse", "medium" or "fine". Whatever a question cannot be filtered with is "fine".
std::optional<Precision> chosen_filter();

// The stages for whole rows.
FilterPlan plan_stages(const FilterCase& asked);

// Whether, and to how many directions, rows may be projected so that it pays: at most `most`, if
// these leave out no more than a part `left` of the mean squared norm.
struct FewDirections {
    std::int64_t most;
    double left;
};
std::optional<FewDirections> few_directions(const FilterCase& asked, double packing_budget);
// The stage before all others, with so many.
FilterStage projected_stage(const FilterCase& asked, std::int64_t directions);

}  // namespace tripletmine
