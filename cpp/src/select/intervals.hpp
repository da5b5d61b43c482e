// Selectors that divide a row's candidates by a list of distances T_0 <= T_1 <= ... <= T_{m-1}:
// candidate d lies in slot #{s : T_s < d}, from 0 (d <= T_0) to m (d > T_{m-1}).
//
//   Successors   the first k of every slot: the nearest candidates beyond each T_s
//   Counts       how many candidates lie in every slot, and the sum of their distances
//
// For most candidates the bounds of the score lie between two neighbouring thresholds and name the
// slot without a float64 distance; and for most of those a *bucket* does, one of some hundred equal
// parts of the range of scores, so that a candidate costs a few instructions and no search. A row
// is asked by one thread only, from beginning to end.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "metric.hpp"
#include "select/choice.hpp"
#include "select/ranked.hpp"

namespace tripletmine {

// The thresholds of one row, as distances and as scores. Scores fall where distances rise.
class Thresholds {
public:
    // `distances` ascending.
    Thresholds(const ScoreSpace& space, std::vector<double> distances)
        : distances_(std::move(distances)) {
        constexpr double infinity = std::numeric_limits<double>::infinity();
        beyond_.reserve(distances_.size());
        within_.reserve(distances_.size());
        for (const double distance : distances_) {
            beyond_.push_back(space.floor(Sign::nearest, distance));
            within_.push_back(space.ceiling(Sign::nearest, std::nextafter(distance, infinity)));
        }
    }

    std::int64_t size() const { return static_cast<std::int64_t>(distances_.size()); }
    double operator[](std::int64_t s) const { return distances_[static_cast<std::size_t>(s)]; }

    // How many thresholds a candidate is certainly beyond, whose score is at most `upper`; at least
    // `known` of them. d > T_s is certain where upper < beyond_[s].
    std::int64_t certainly_beyond(float upper, std::int64_t known = 0) const {
        while (known < size() && upper < beyond_[static_cast<std::size_t>(known)]) ++known;
        return known;
    }
    // Whether a candidate whose score is at least `lower` is certainly within the threshold:
    // d <= T_s is certain where lower > within_[s].
    bool certainly_within(float lower, std::int64_t s) const {
        return s == size() || lower > within_[static_cast<std::size_t>(s)];
    }

    // The slot of a candidate whose score lies in [lower, upper], or -1 if it may be one of
    // several. `known` as above.
    std::int64_t slot(float lower, float upper, std::int64_t known = 0) const {
        const std::int64_t below = certainly_beyond(upper, known);
        return certainly_within(lower, below) ? below : -1;
    }

    std::int64_t slot(double distance) const {
        return std::lower_bound(distances_.begin(), distances_.end(), distance) -
               distances_.begin();
    }

private:
    std::vector<double> distances_;
    std::vector<float> beyond_, within_;
};

// Equal parts of the scores from `low` to `high`. Scores beyond are of the first or last bucket.
class BucketRange {
public:
    BucketRange(double low, double high, std::int32_t count)
        : count_(count),
          origin_(static_cast<float>(low)),
          per_score_(static_cast<float>(count / std::max(high - low, 0x1p-60))) {}

    Buckets buckets(float row_bias) const { return {row_bias, origin_, per_score_, count_}; }

    std::int32_t count() const { return count_; }
    std::int32_t of(float score) const {
        const float place = (score - origin_) * per_score_;
        return static_cast<std::int32_t>(
            std::min(std::max(place, 0.0f), static_cast<float>(count_ - 1)));
    }
    // No score of the bucket is below (above) this. The kernels compute a place with an error of
    // less than a hundredth of a bucket.
    float least(std::int32_t bucket) const {
        return bucket == 0 ? -std::numeric_limits<float>::infinity() : edge(bucket - 0.01);
    }
    float most(std::int32_t bucket) const {
        return bucket == count_ - 1 ? std::numeric_limits<float>::infinity() : edge(bucket + 1.01);
    }

private:
    // The score at a place, in buckets.
    float edge(double place) const {
        return static_cast<float>(static_cast<double>(origin_) +
                                  place / static_cast<double>(per_score_));
    }

    std::int32_t count_;
    float origin_, per_score_;
};

// The nearest candidates strictly beyond each of a row's thresholds.
class Successors {
public:
    static constexpr bool selective = true;

    // `widest`: no candidate's bounds lie further apart.
    Successors(const ScoreSpace& space, std::vector<double> thresholds, std::int64_t k,
               const Range& range, float widest)
        : space_(space),
          thresholds_(space, std::move(thresholds)),
          range_(range),
          slots_(thresholds_.size() + 1, k, space, {}),
          floors_(static_cast<std::size_t>(thresholds_.size() + 1),
                  space.floor(Sign::nearest, range.high)),
          bucket_range_(span_of(space, thresholds_)) {
        // Slot 0 is never asked for.
        floors_[0] = std::numeric_limits<float>::infinity();
        const std::int32_t buckets = bucket_range_.count();
        first_.resize(static_cast<std::size_t>(buckets));
        last_.resize(static_cast<std::size_t>(buckets));
        limits_.resize(static_cast<std::size_t>(buckets));
        std::int64_t first = 0, last = 0;
        for (std::int32_t b = buckets - 1; b >= 0; --b) {  // from near to far
            const auto at = static_cast<std::size_t>(b);
            first = thresholds_.certainly_beyond(bucket_range_.most(b), first);
            const float lowest = bucket_range_.least(b) - widest;
            while (!thresholds_.certainly_within(lowest, last)) ++last;
            first_[at] = static_cast<std::int32_t>(first);
            last_[at] = static_cast<std::int32_t>(std::max(first, last));
            limits_[at] = limit(at);
        }
    }

    // A candidate whose upper bound is below the limit of its bucket does not matter.
    Buckets buckets(float row_bias) const { return bucket_range_.buckets(row_bias); }
    const float* limits() const { return limits_.data(); }

    // What the bounds say of a candidate (a row): of no matter, or its slot, or -1 for one of
    // several.
    static constexpr std::int64_t no_matter = -2;
    std::int64_t expect(std::int64_t, float lower, float upper) {
        const auto bucket = static_cast<std::size_t>(bucket_range_.of(upper));
        const std::int64_t slot = thresholds_.slot(lower, upper, first_[bucket]);
        if (slot < 0) return slot;
        if (settles(slot, upper)) return no_matter;
        if (range_.low > -infinity || range_.high < infinity) return slot;
        slots_.expect(slot, lower, upper);
        raise(slot);
        return slot;
    }
    // Whether this alone says that the candidate does not matter.
    bool settles(std::int64_t slot, float upper) const {
        return slot >= 0 && upper < floors_[static_cast<std::size_t>(slot)];
    }

    void offer(const Candidate& candidate) {
        if (!range_.holds(candidate.distance)) return;
        const std::int64_t slot = thresholds_.slot(candidate.distance);
        if (slot == 0) return;
        slots_.offer(slot, candidate);
        raise(slot);
    }

    // Calls add(s, candidate) for the first k beyond T_s, in order, for every s.
    template <typename Add>
    void each(std::int64_t k, Add add) {
        slots_.sort(0, thresholds_.size() + 1);
        for (std::int64_t s = 0; s < thresholds_.size(); ++s) {
            // Equal thresholds leave the slots between them empty.
            std::int64_t left = k;
            for (std::int64_t slot = s + 1; slot <= thresholds_.size() && left > 0; ++slot) {
                for (const Candidate& candidate : slots_.choice().of(slot)) {
                    if (left-- > 0) add(s, candidate);
                }
            }
        }
    }

private:
    static constexpr double infinity = std::numeric_limits<double>::infinity();

    // From the last threshold to the first, and a bucket to spare on both sides.
    static BucketRange span_of(const ScoreSpace& space, const Thresholds& thresholds) {
        constexpr std::int32_t count = 1024;
        if (thresholds.size() == 0) return {-1.0, 1.0, 1};
        const double low = space.score(thresholds[thresholds.size() - 1]);
        const double high = space.score(thresholds[0]);
        const double spare = (high - low) / (count - 2) + 0x1p-40 * std::abs(high);
        return {low - spare, high + spare, count};
    }

    float limit(std::size_t bucket) const {
        return *std::min_element(floors_.begin() + first_[bucket],
                                 floors_.begin() + last_[bucket] + 1);
    }

    void raise(std::int64_t slot) {
        float& floor = floors_[static_cast<std::size_t>(slot)];
        const float raised = slots_.floor(slot);
        if (!(raised > floor)) return;
        floor = raised;
        // The buckets of the slot: first_ and last_ fall where buckets rise.
        const auto begin = std::partition_point(first_.begin(), first_.end(),
                                                [&](std::int32_t first) { return first > slot; });
        for (auto b = static_cast<std::size_t>(begin - first_.begin());
             b < limits_.size() && last_[b] >= slot; ++b) {
            limits_[b] = limit(b);
        }
    }

    ScoreSpace space_;
    Thresholds thresholds_;
    Range range_;
    Ranked<Sign::nearest> slots_;
    std::vector<float> floors_;  // of each slot
    BucketRange bucket_range_;
    std::vector<std::int32_t> first_, last_;  // slots that a candidate of the bucket may be in
    std::vector<float> limits_;               // of each bucket: the least of their floors
};

// How many candidates are within each of a row's thresholds, and the sum of their distances.
class Counts {
public:
    static constexpr bool selective = false;

    struct Total {
        std::int64_t count = 0;
        double sum = 0.0;  // of the distances, as the scores tell them
    };

    // `widest`: no candidate's bounds lie further apart.
    Counts(const ScoreSpace& space, std::vector<double> thresholds, float widest)
        : space_(space),
          thresholds_(space, std::move(thresholds)),
          half_width_(0.5f * widest * (1.0f + 0x1p-20f)),
          bucket_range_(span_of(space, thresholds_)),
          totals_(static_cast<std::size_t>(thresholds_.size() + 1)),
          heaps_(static_cast<std::size_t>(bucket_range_.count())) {
        std::int64_t slot = 0;
        for (std::int32_t b = bucket_range_.count() - 1; b >= 0; --b) {  // from near to far
            slot = thresholds_.certainly_beyond(bucket_range_.most(b) + half_width_, slot);
            const bool certain =
                thresholds_.certainly_within(bucket_range_.least(b) - half_width_, slot);
            heaps_[static_cast<std::size_t>(b)].slot =
                static_cast<std::int32_t>(certain ? slot : -1 - slot);
        }
    }

    Buckets buckets(float row_middle) const { return bucket_range_.buckets(row_middle); }

    // Takes candidates by the buckets of their scores, with what their distances are linear in.
    // Writes the places of those whose bucket does not name their slot, and returns how many.
    bool roots() const { return space_.linear_in_roots(); }
    int take(const std::int32_t* buckets, const float* values, int count, std::int32_t* places) {
        int open = 0;
        for (int i = 0; i < count; ++i) {
            Heap& heap = heaps_[static_cast<std::size_t>(buckets[i])];
            heap.sum += static_cast<double>(values[i]);
            ++heap.count;
            places[open] = i;
            open += heap.slot < 0;
        }
        return open;
    }
    // Takes one of those by its score; returns whether that was enough.
    bool settles(float middle, float value) {
        const Heap& heap = heaps_[static_cast<std::size_t>(bucket_range_.of(middle))];
        const std::int64_t slot =
            thresholds_.slot(middle - half_width_, middle + half_width_, -1 - heap.slot);
        if (slot < 0) return false;
        add(slot, 1, space_.distances(1.0, static_cast<double>(value)));
        return true;
    }
    // Takes one by its distance.
    void offer(const Candidate& candidate) {
        add(thresholds_.slot(candidate.distance), 1, candidate.distance);
    }

    // From slots to "within": call once, after the last candidate.
    void accumulate() {
        empty_heaps();
        for (std::size_t s = 1; s < totals_.size(); ++s) {
            totals_[s].count += totals_[s - 1].count;
            totals_[s].sum += totals_[s - 1].sum;
        }
    }
    // Of all candidates with d <= threshold, one of the row's thresholds.
    const Total& within(double threshold) const {
        return totals_[static_cast<std::size_t>(thresholds_.slot(threshold))];
    }
    // The same for ascending thresholds: the slot of the next one, from that of the one before.
    std::int64_t slot_from(std::int64_t slot, double threshold) const {
        while (slot < thresholds_.size() && thresholds_[slot] < threshold) ++slot;
        return slot;
    }
    const Total& within_slot(std::int64_t slot) const {
        return totals_[static_cast<std::size_t>(slot)];
    }
    std::int64_t in_all() const { return totals_.back().count; }

private:
    static constexpr std::int32_t most_buckets = 2048;

    // The candidates of a bucket.
    struct Heap {
        double sum = 0.0;
        std::int32_t count = 0;
        std::int32_t slot = 0;  // theirs, or -1 - the least that it may be
    };

    // From the last threshold to distance 0, or to the best score there is.
    static BucketRange span_of(const ScoreSpace& space, const Thresholds& thresholds) {
        constexpr double best = 1.0, worst = -2.0;  // of rows of norm 1, but for rounding
        const double high = from_differences(space.metric) ? 0.0 : best;
        double low = worst;
        if (thresholds.size() > 0) {
            low = std::clamp(space.score(thresholds[thresholds.size() - 1]), worst, high);
        }
        const double spare = (high - low) / (most_buckets - 2) + 0x1p-20;
        return {low - spare, high + spare, most_buckets};
    }

    void empty_heaps() {
        for (Heap& heap : heaps_) {
            if (heap.slot >= 0) {
                add(heap.slot, heap.count, space_.distances(heap.count, heap.sum));
            }
            heap.sum = 0.0;
            heap.count = 0;
        }
    }

    void add(std::int64_t slot, std::int64_t count, double distances) {
        Total& total = totals_[static_cast<std::size_t>(slot)];
        total.count += count;
        total.sum += distances;
    }

    ScoreSpace space_;
    Thresholds thresholds_;
    float half_width_;
    BucketRange bucket_range_;
    std::vector<Total> totals_;  // of each slot
    std::vector<Heap> heaps_;    // of each bucket
};

}  // namespace tripletmine
