// Selectors that divide a row's candidates by a list of distances T_0 <= T_1 <= ... <= T_{m-1}:
// candidate d lies in slot #{s : T_s < d}, from 0 (d <= T_0) to m (d > T_{m-1}).
//
//   Successors   the first k of every slot: the nearest candidates beyond each T_s
//   Counts       how many candidates lie in every slot, and the sum of their distances
//   CountsOfFew  the same, where nearly all candidates are beyond the last threshold
//
// For most candidates the bounds of the score lie between two neighbouring thresholds and name the
// slot without a float64 distance; and for most of those a *bucket* does, one of 512 equal
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
        beyond_.reserve(distances_.size() + 1);
        within_.reserve(distances_.size() + 1);
        for (const double distance : distances_) {
            beyond_.push_back(space.floor(Sign::nearest, distance));
            within_.push_back(space.ceiling(Sign::nearest, next_above(distance)));
        }
        beyond_.push_back(-std::numeric_limits<float>::infinity());
        within_.push_back(-std::numeric_limits<float>::infinity());
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

    // The slot of a candidate whose score lies in [lower, upper], or -1 - the first if it may be
    // one of several. `known` as above.
    std::int64_t slot(float lower, float upper, std::int64_t known = 0) const {
        const std::int64_t below = certainly_beyond(upper, known);
        return certainly_within(lower, below) ? below : -1 - below;
    }

    // The same, where nothing is known.
    std::int64_t find(float lower, float upper) const {
        const auto end = beyond_.end() - 1;
        const auto first = std::partition_point(beyond_.begin(), end,
                                                [&](float beyond) { return upper < beyond; });
        return slot(lower, upper, first - beyond_.begin());
    }

    std::int64_t slot(double distance) const {
        return std::lower_bound(distances_.begin(), distances_.end(), distance) -
               distances_.begin();
    }
    // The same, if the candidate lies in this slot or one of the next.
    std::int64_t slot_from(std::int64_t slot, double distance) const {
        while (slot < size() && (*this)[slot] < distance) ++slot;
        return slot;
    }

    // A candidate whose score is at most below this is beyond all thresholds.
    float floor() const {
        return size() > 0 ? beyond_[static_cast<std::size_t>(size() - 1)] : no_limit;
    }

    // The scores themselves, of a candidate beyond or within each; -inf for the last slot.
    const float* beyond() const { return beyond_.data(); }
    const float* within() const { return within_.data(); }

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
          per_score_(static_cast<float>(count / std::max(high - low, 0x1p-60))),
          width_(1.0 / static_cast<double>(per_score_)) {}

    Buckets buckets() const { return {origin_, per_score_, count_}; }

    std::int32_t count() const { return count_; }
    std::int32_t of(float score) const {
        const float place = (score - origin_) * per_score_;
        return static_cast<std::int32_t>(
            std::min(std::max(0.0f, place), static_cast<float>(count_ - 1)));
    }
    // The first (last) bucket that a score of this or more (less) may be put into.
    std::int32_t first_of(double score) const { return whole(place(score) - unsure); }
    std::int32_t last_of(double score) const { return whole(place(score) + unsure); }
    // No score of the bucket is below (above) this.
    float least(std::int32_t bucket) const {
        return bucket == 0 ? -std::numeric_limits<float>::infinity() : edge(bucket - unsure);
    }
    float most(std::int32_t bucket) const {
        return bucket == count_ - 1 ? std::numeric_limits<float>::infinity()
                                    : edge(bucket + 1.0 + unsure);
    }

private:
    // The kernels compute a place with a smaller error than this, in buckets.
    static constexpr double unsure = 0.01;

    double place(double score) const {
        return (score - static_cast<double>(origin_)) * static_cast<double>(per_score_);
    }
    // What is no number, as a row may become that is changed during the call, is of the first.
    std::int32_t whole(double place) const {
        return static_cast<std::int32_t>(
            std::min(std::max(0.0, place), static_cast<double>(count_ - 1)));
    }
    // The score at a place.
    float edge(double place) const {
        return static_cast<float>(static_cast<double>(origin_) + place * width_);
    }

    std::int32_t count_;
    float origin_, per_score_;
    double width_;  // of a bucket
};

// The nearest candidates strictly beyond each of a row's thresholds.
class Successors {
public:
    static constexpr bool selective = true, learns_from_bounds = true;

    // `widest`: no candidate's bounds lie further apart.
    Successors(const ScoreSpace& space, std::vector<double> thresholds, std::int64_t k,
               const Range& range, float widest)
        : thresholds_(space, std::move(thresholds)),
          k_(k),
          range_(range),
          ranged_(range.low > -infinity || range.high < infinity),
          slots_(thresholds_.size() + 1, k, space, {}),
          floors_(static_cast<std::size_t>(thresholds_.size() + 1),
                  space.floor(Sign::nearest, range.high)),
          widest_(widest),
          bucket_range_(span_of(space, thresholds_)) {
        // Slot 0 is never asked for.
        floors_[0] = std::numeric_limits<float>::infinity();
        const std::int32_t buckets = bucket_range_.count();
        first_.resize(static_cast<std::size_t>(buckets));
        last_.resize(static_cast<std::size_t>(buckets));
        least_.resize(static_cast<std::size_t>(buckets));
        most_.resize(static_cast<std::size_t>(buckets));
        std::int64_t first = 0, last = 0;
        for (std::int32_t b = buckets - 1; b >= 0; --b) {  // from near to far
            first = thresholds_.certainly_beyond(bucket_range_.most(b), first);
            const float lowest = bucket_range_.least(b) - widest;
            last = std::max(first, last);
            while (!thresholds_.certainly_within(lowest, last)) ++last;
            first_[static_cast<std::size_t>(b)] = static_cast<std::int32_t>(first);
            last_[static_cast<std::size_t>(b)] = static_cast<std::int32_t>(last);
            limit(b);
        }
    }

    // A candidate whose upper bound is beyond the limits of its bucket does not matter. That
    // of the farthest bucket is the floor of the last slot, the lowest of all.
    Buckets buckets() const { return bucket_range_.buckets(); }
    Limits limits() const { return {least_.data(), most_.data(), least_[0]}; }

    // What the bounds say of a candidate (a row): of no matter, or its slot, or -1 - the first one
    // if it may be one of several.
    std::int64_t expect(std::int64_t, float lower, float upper) {
        const auto bucket = static_cast<std::size_t>(bucket_range_.of(upper));
        const std::int64_t slot = thresholds_.slot(lower, upper, first_[bucket]);
        if (slot < 0) return slot;
        if (settles(slot, upper)) return no_matter;
        if (ranged_) return slot;
        if (k_ == 1) {
            raise(slot, lower);
        } else {
            slots_.expect(slot, lower, upper);
            raise(slot, slots_.floor(slot));
        }
        return slot;
    }
    // Whether this alone says that the candidate does not matter.
    bool settles(std::int64_t slot, float upper) const {
        return slot >= 0 && upper < floors_[static_cast<std::size_t>(slot)];
    }

    // Takes a candidate of which expect said that.
    void offer(std::int64_t slot, const Candidate& candidate) {
        if (!range_.holds(candidate.distance)) return;
        if (slot < 0) slot = thresholds_.slot_from(-1 - slot, candidate.distance);
        if (slot == 0) return;
        slots_.offer(slot, candidate);
        if (ranged_) raise(slot, slots_.floor(slot));
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
        constexpr std::int32_t count = 512;
        if (thresholds.size() == 0) return {-1.0, 1.0, 1};
        const double low = space.score(thresholds[thresholds.size() - 1]);
        const double high = space.score(thresholds[0]);
        const double spare = (high - low) / (count - 2) + 0x1p-40 * std::abs(high);
        return {low - spare, high + spare, count};
    }

    // Which candidates of a bucket still matter: those that may be in a slot whose floor they may
    // reach. Floors fall from slot to slot.
    void limit(std::int32_t bucket) {
        const auto at = static_cast<std::size_t>(bucket);
        const float highest = bucket_range_.most(bucket);
        std::int32_t slot = first_[at];
        while (slot < last_[at] && floor_of(slot) > highest) ++slot;
        least_[at] = floor_of(last_[at]);  // beyond the bucket if none of its slots is of interest
        most_[at] = slot == first_[at] ? no_limit : most_in(slot);
    }

    // No candidate with a lower upper bound is in this slot and of interest. What is kept in a slot
    // is beyond the one before it for certain, and so are lower bounds; hence floors fall.
    float floor_of(std::int64_t slot) const {
        return std::max(floors_[static_cast<std::size_t>(slot)], thresholds_.beyond()[slot]);
    }

    // No candidate with a higher upper bound may be in this slot.
    float most_in(std::int32_t slot) const {
        const float within = thresholds_.within()[slot - 1];
        if (!std::isfinite(within)) return no_limit;
        return within + widest_ + (std::abs(within) + widest_) * 0x1p-20f;  // and roundings
    }

    void raise(std::int64_t slot, float raised) {
        if (!(raised > floors_[static_cast<std::size_t>(slot)])) return;
        // Beyond the buckets of the two floors as much of the slot matters as before.
        const std::int32_t begin = bucket_range_.first_of(static_cast<double>(floor_of(slot)));
        const std::int32_t end = bucket_range_.last_of(static_cast<double>(raised));
        floors_[static_cast<std::size_t>(slot)] = raised;
        for (std::int32_t bucket = begin; bucket <= end; ++bucket) limit(bucket);
    }

    Thresholds thresholds_;
    std::int64_t k_;
    Range range_;
    bool ranged_;  // whether it refuses any distance
    Ranked<Sign::nearest> slots_;
    std::vector<float> floors_;  // of each slot
    float widest_;
    BucketRange bucket_range_;
    // Of each bucket: the slots that its candidates may be in, and which of them matter.
    std::vector<std::int32_t> first_, last_;
    std::vector<float> least_, most_;
};

// How many candidates are within each of a row's thresholds, and the sum of their distances.
class Counts {
public:
    static constexpr bool selective = false, learns_from_bounds = true;

    struct Total {
        std::int64_t count = 0;
        double sum = 0.0;  // of the distances, as the scores tell them
    };

    // `widest`: no candidate's bounds lie further apart.
    Counts(const ScoreSpace& space, std::vector<double> thresholds, float widest,
           bool exact_sums = false)
        : space_(space),
          thresholds_(space, std::move(thresholds)),
          exact_sums_(exact_sums),
          half_width_(0.5f * widest * (1.0f + 0x1p-20f)),
          totals_(static_cast<std::size_t>(thresholds_.size() + 1)) {}

    const ScoreSpace& space() const { return space_; }
    const Thresholds& thresholds() const { return thresholds_; }
    // The score of a candidate is off by at most this.
    float half_width() const { return half_width_; }

    void add(std::int64_t slot, std::int64_t count, double distances) {
        Total& total = totals_[static_cast<std::size_t>(slot)];
        total.count += count;
        total.sum += distances;
    }
    // Takes one by its distance; -1 - slot is the first slot that it may be in.
    void offer(std::int64_t slot, const Candidate& candidate) {
        add(thresholds_.slot_from(-1 - slot, candidate.distance), 1, candidate.distance);
    }

    // Whether sums are of canonical distances alone.
    bool exact_sums() const { return exact_sums_; }

    // From slots to "within": call once, after the last candidate.
    void accumulate() {
        for (std::size_t s = 1; s < totals_.size(); ++s) {
            totals_[s].count += totals_[s - 1].count;
            totals_[s].sum += totals_[s - 1].sum;
        }
    }
    // Of all candidates with d <= threshold, one of the row's thresholds.
    const Total& within(double threshold) const { return within_slot(thresholds_.slot(threshold)); }
    const Total& within_slot(std::int64_t slot) const {
        return totals_[static_cast<std::size_t>(slot)];
    }
    std::int64_t in_all() const { return totals_.back().count; }

protected:
    ScoreSpace space_;
    Thresholds thresholds_;
    bool exact_sums_;
    float half_width_;
    std::vector<Total> totals_;  // of each slot
};

// The same for a row of which nearly all candidates (`in_all` there are) lie beyond the last
// threshold. These are not looked at; of the others every distance is decided, if they are to be
// summed.
class CountsOfFew : public Counts {
public:
    static constexpr bool selective = true;

    CountsOfFew(const ScoreSpace& space, std::vector<double> thresholds, std::int64_t in_all,
                bool sums)
        : Counts(space, std::move(thresholds), 0.0f, sums),
          floor_(thresholds_.floor()),
          in_all_(in_all) {}

    // One bucket for all scores.
    Buckets buckets() const { return {0.0f, 1.0f, 1}; }
    Limits limits() const { return {&floor_, &no_limit, floor_}; }

    std::int64_t expect(std::int64_t, float lower, float upper) {
        if (upper < floor_) return no_matter;
        const std::int64_t slot = thresholds_.find(lower, upper);
        if (slot < 0) return slot;
        if (exact_sums_) return -1 - slot;
        add(slot, 1, 0.0);
        return no_matter;
    }
    bool settles(std::int64_t, float) const { return false; }

    void accumulate() {
        Counts::accumulate();
        totals_.back() = {in_all_, 0.0};
    }

private:
    float floor_;
    std::int64_t in_all_;
};

}  // namespace tripletmine
