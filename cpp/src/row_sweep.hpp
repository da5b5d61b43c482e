// RowSweep: the sweep of small inputs. A task has its rows to itself and sees all scores of a row
// at once, so that a row's floor is known before any of its candidates is looked at.
//
//   for each block of rows, for each row
//     contend     all its scores → what k of them surely reach, and the few that may reach it too
//   for each block of rows
//     decide      canonical distances → selectors
//
// For the first few candidates of every row and no other question; but questions may be put
// together, and share the scores. No floors to keep, nothing locked. The price is that a self-join
// scores each unordered pair twice.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kernels/kernel_set.hpp"
#include "parallel.hpp"
#include "select/choice.hpp"
#include "sweep.hpp"
#include "walk.hpp"

namespace tripletmine {

class RowSweep {
public:
    // How many candidates of a row are wanted, and who takes those that may be among them.
    struct Question {
        Relation relation;
        Sign sign;
        std::int64_t k;
        std::function<void(std::int64_t row, const Candidate& candidate)> offer;
    };
    using Pack = std::function<Pairing(Precision)>;

    // Whether this is the better sweep for so many pairs, of which k are wanted of every row.
    static bool suits(std::int64_t rows, std::int64_t cols, std::int64_t k) {
        constexpr double few = 1 << 20;
        return 0 < k && k <= most_contended &&
               static_cast<double>(rows) * static_cast<double>(cols) <= few;
    }

    RowSweep(Team& team, const KernelSet& kernels, Pack pack, const FilterPlan& plan,
             std::span<const Question> questions);

    // Visits every pair of the relations; returns how many were decided in float64.
    std::int64_t run();

private:
    struct Contender {
        std::uint32_t row, col;  // positions
        std::uint32_t question;
        float upper;
    };
    using Contenders = std::vector<Contender>;  // row by row
    struct Worker;

    template <typename Visit>
    void for_blocks(Visit visit);
    void contend();
    void contend(const Walk::Task& task, int id, Worker& worker, Contenders& block);
    template <typename Visit>
    void each_part(const Question& question, std::int64_t row, const Interval& cols,
                   Visit visit) const;
    bool too_many() const;
    std::int64_t decide(const Contenders& block) const;

    Team& team_;
    const KernelSet& kernels_;
    Pack pack_;
    const FilterPlan plan_;
    const std::span<const Question> questions_;
    Pairing pairing_;
    Walk walk_;
    std::vector<Interval> classes_;   // of each row: the columns that share its label
    std::vector<Contenders> blocks_;  // that each task leaves
};

}  // namespace tripletmine
