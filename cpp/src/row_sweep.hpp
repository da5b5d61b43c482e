// RowSweep: the sweep of small inputs, and of questions for many candidates of every row. A task
// has its rows to itself and sees all scores of a row, or a good part of them, at once: a floor is
// known before any candidate is looked at.
//
//   for each block of rows
//     contend     scores of a row → what k of them surely reach, and those that may too
//     decide      canonical distances → selectors, from the best on until the others cannot win
//                 (where too many contend: closer scores first)
//
// For the first k candidates of every row, of small inputs also from a distance on, and for no
// other question; but questions may be put together, and share the scores. No floors to keep,
// nothing locked; but a pair of a large self-join is scored for each of its rows. In a small one
// all scores are made before any is looked at, so that a pair needs one for both of them, where
// that is quicker.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "contests.hpp"
#include "exact.hpp"
#include "filter.hpp"
#include "kernels/kernel_set.hpp"
#include "parallel.hpp"
#include "seeds.hpp"
#include "select/choice.hpp"
#include "walk.hpp"

namespace tripletmine {

class RowSweep {
public:
    // How many candidates of a row are wanted, and who takes those that may be among them: the
    // answer is the row's floor, below which upper bounds need no longer be offered.
    struct Question {
        Relation relation;
        Sign sign;
        std::int64_t k;
        std::function<float(std::int64_t row, std::span<const Candidate> candidates)> offer;
        // Where rows refuse candidates for being too good, two scores of each: those whose lower
        // bound is above the ceiling are refused, those whose upper bound is not above the other
        // are not.
        std::vector<float> ceilings = {}, surely_taken = {};
    };

    // Whether all scores of a row are there at once.
    static bool is_small(std::int64_t rows, std::int64_t cols);

    // Whether this is the better sweep, unless rows can be projected.
    static bool suits(const FilterCase& asked, const Dataset& cols);

    RowSweep(Team& team, const KernelSet& kernels, Pack pack, const FilterPlan& plan,
             std::span<const Question> questions);

    // Visits every pair of the relations; returns how many were decided in float64.
    std::int64_t run();

private:
    // The columns' bias, infinite where one is left out: in a gap, and of the row's group.
    struct Bias {
        std::vector<float> values;
        Interval gap;
        std::span<const std::int64_t> of_group;
    };
    // A part of a row's columns, without some of them.
    struct Part {
        Interval cols, gap;
    };
    struct alignas(64) Worker {  // no cache line belongs to two
        Walk::Scratch walk;
        std::vector<float> uppers;
        std::vector<float> floors, best;  // of each row and question, and of each hand of these
        std::vector<std::int32_t> places;
        std::vector<Bias> biases;  // of each question
        Contests contests;         // by row and question; a row's parts apart
        std::optional<ExactDistance> distance;
    };

    std::vector<std::size_t> settle(const std::vector<std::size_t>& blocks,
                                    const FilterStage& stage, bool last);
    bool contend(const Walk::Task& task, int id, Worker& worker, bool last);
    const float* leave_out(std::int64_t row, const Part& part, Sign sign, Bias& bias) const;
    Part part_of(const Question& question, std::int64_t row, const Interval& cols) const;
    Interval self_among(std::int64_t row, const Interval& cols) const;
    bool too_many(const Walk::Task& task, std::size_t contenders, const FilterStage& stage) const;
    void decide(Worker& worker, int id) const;

    Team& team_;
    const KernelSet& kernels_;
    Pack pack_;
    const FilterPlan plan_;
    const std::span<const Question> questions_;
    Pairing pairing_;
    const bool in_parts_;  // whether a row's scores are not there all at once
    const std::size_t hands_;
    const bool once_;  // whether each pair of a self-join is scored once, at first
    Walk walk_;
    std::optional<Walk::Matrix> matrix_;
    std::vector<Interval> classes_;  // of each row: the columns that share its label
    std::vector<Worker> workers_;
};

}  // namespace tripletmine
