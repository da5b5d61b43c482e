// Counting: what it takes to count a row's candidates by their scores, for select/intervals.hpp.
//
// Made anew for each row, in memory that lasts: a table of buckets, each of which names a slot or
// casts doubt, and an integer of how many and how far for each slot. The kernels do the rest.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/kernel_set.hpp"
#include "metric.hpp"
#include "select/intervals.hpp"

namespace tripletmine {

class Counting {
public:
    // The row whose candidates come next, or goes on. `row_middle`: what is taken off its scores.
    void begin(Counts& counts, float row_middle) {
        if (counts_ == &counts) return;
        end();
        counts_ = &counts;
        const Thresholds& thresholds = counts.thresholds();
        const std::int64_t entries = thresholds.size() + 2;
        entries_.assign(static_cast<std::size_t>(entries * tally_copies), 0);
        const BucketRange range = span_of(counts.space(), thresholds);
        fill(range, thresholds, counts.half_width());
        table_ = {row_middle,
                  range.buckets(),
                  slots_.data(),
                  thresholds.beyond(),
                  thresholds.within(),
                  counts.half_width(),
                  thresholds.floor(),
                  static_cast<std::int32_t>(entries),
                  counts.space().linear_in_roots(),
                  static_cast<float>(1.0 / counts.space().sum_unit())};
    }
    void end() {
        if (counts_ != nullptr) empty();
        counts_ = nullptr;
    }

    const SlotTable& table() const { return table_; }
    // The entries, to which so many candidates may be added.
    std::uint64_t* room_for(int count) {
        if (tallied_ + count > most_tallied) empty();
        tallied_ += count;
        return entries_.data();
    }

private:
    // From the last threshold to distance 0, or to the best score there is.
    static BucketRange span_of(const ScoreSpace& space, const Thresholds& thresholds) {
        const double high = space.metric == Metric::dot ? 1.0 : 0.0, worst = space.lowest();
        double low = worst;
        if (thresholds.size() > 0) {
            low = std::clamp(space.score(thresholds[thresholds.size() - 1]), worst, high);
        }
        // Few thresholds are told apart by few buckets.
        constexpr std::int64_t least = 256, most = 8192;
        const auto count =
            static_cast<std::int32_t>(std::clamp(16 * thresholds.size(), least, most));
        const double spare = (high - low) / (count - 2) + 0x1p-40 * std::abs(high);
        return {low - spare, high + spare, count};
    }

    // A bucket lies within thresholds whose doubts end below it and beyond those whose doubts begin
    // above it.
    void fill(const BucketRange& range, const Thresholds& thresholds, float half_width) {
        const double width = static_cast<double>(half_width) * (1.0 + 0x1p-20);
        const auto buckets = static_cast<std::size_t>(range.count());
        slots_.assign(buckets, 0);
        ends_.assign(buckets, 0);
        for (std::int64_t s = 0; s < thresholds.size(); ++s) {
            ++slots_[range.first_of(static_cast<double>(thresholds.beyond()[s]) - width)];
            ++ends_[range.last_of(static_cast<double>(thresholds.within()[s]) + width)];
        }
        std::int32_t beyond = 0, not_within = 0;
        for (std::size_t b = buckets; b-- > 0;) {  // from near to far
            not_within += ends_[b];
            const std::int32_t begin = slots_[b];
            slots_[b] = beyond == not_within ? beyond : -1 - beyond;
            beyond += begin;
        }
    }

    void empty() {
        const ScoreSpace& space = counts_->space();
        for (std::int64_t s = 0; s <= counts_->thresholds().size(); ++s) {
            std::int64_t count = 0, sum = 0;
            for (int copy = 0; copy < tally_copies; ++copy) {
                std::uint64_t& entry =
                    entries_[static_cast<std::size_t>(copy * table_.copies_apart + s + 1)];
                const std::int64_t own =
                    static_cast<std::int64_t>(entry << (64 - tally_shift)) >> (64 - tally_shift);
                sum += own;
                count += static_cast<std::int64_t>((entry - static_cast<std::uint64_t>(own)) >>
                                                   tally_shift);
                entry = 0;
            }
            if (count > 0) {
                counts_->add(s, count,
                             space.distances(static_cast<double>(sum) * space.sum_unit()));
            }
        }
        tallied_ = 0;
    }

    Counts* counts_ = nullptr;
    SlotTable table_{};
    std::vector<std::int32_t> slots_;     // by bucket
    std::vector<std::int32_t> ends_;      // of doubts, by bucket
    std::vector<std::uint64_t> entries_;  // by slot
    int tallied_ = 0;                     // since they were emptied
};

}  // namespace tripletmine
