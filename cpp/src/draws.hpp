// What random choices are made of: a counter-based generator, shares of a whole, and the candidates
// of an anchor by rank. Used by select/random.cpp and sample.cpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "dataset.hpp"
#include "walk.hpp"

namespace tripletmine {

__extension__ typedef unsigned __int128 Wide;

inline constexpr std::uint64_t golden = 0x9e3779b97f4a7c15u;

// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
inline std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

// A counter-based generator: bits(t) depends on the key and t alone, and draw(t, bound) is uniform
// in [0, bound).
class Draws {
public:
    Draws(std::uint64_t seed, Relation relation, std::int64_t anchor)
        : key_(mix(mix(seed + golden) + golden * (2 * static_cast<std::uint64_t>(anchor) +
                                                  (relation == Relation::negatives ? 2 : 1)))) {}

    // Those of one triplet of a sample.
    Draws(std::uint64_t seed, std::int64_t number)
        : key_(mix(mix(seed + 2 * golden) + golden * (static_cast<std::uint64_t>(number) + 1))) {}

    // Those of one (anchor, positive) pair.
    Draws of_pair(std::int64_t positive) const {
        Draws draws(*this);
        draws.key_ = mix(key_ ^ (golden * (static_cast<std::uint64_t>(positive) + 1)));
        return draws;
    }

    std::uint64_t bits(std::int64_t t) const {
        return mix(key_ + golden * (static_cast<std::uint64_t>(t) + 1));
    }
    std::int64_t operator()(std::int64_t t, std::int64_t bound) const {
        return static_cast<std::int64_t>(
            static_cast<Wide>(bits(t)) * static_cast<std::uint64_t>(bound) >> 64);
    }

private:
    std::uint64_t key_;
};

// Picks entries with probability proportional to their weight, to 2⁻⁶⁴ each: entry e is picked by
// bits below ⌊2⁶⁴·(sum of the weights up to e) / (sum of all)⌋ and not below that of e − 1.
class Shares {
public:
    // The sum of the weights is below 2¹²⁷.
    explicit Shares(const std::vector<Wide>& weights) {
        Wide whole = 0, part = 0;
        for (const Wide weight : weights) whole += weight;
        for (std::size_t e = 0; e < weights.size(); ++e) {
            part += weights[e];
            if (weights[e] == 0) continue;
            entries_.push_back(static_cast<std::int64_t>(e));
            ends_.push_back(share(part, whole));
        }
        if (!ends_.empty()) ends_.pop_back();  // 2⁶⁴, of the last entry
    }
    bool empty() const { return entries_.empty(); }
    std::int64_t pick(std::uint64_t bits) const {
        return entries_[static_cast<std::size_t>(
            std::upper_bound(ends_.begin(), ends_.end(), bits) - ends_.begin())];
    }

private:
    // ⌊2⁶⁴·part / whole⌋ by long division, for part < whole.
    static std::uint64_t share(Wide part, Wide whole) {
        std::uint64_t quotient = 0;
        for (int bit = 0; bit < 64; ++bit) {
            part <<= 1;
            quotient = quotient << 1 | (part >= whole);
            if (part >= whole) part -= whole;
        }
        return quotient;
    }

    std::vector<std::int64_t> entries_;  // those of any weight
    std::vector<std::uint64_t> ends_;
};

// The position of every row of a dataset that holds all rows.
inline std::vector<std::int64_t> positions_of(const Dataset& dataset) {
    std::vector<std::int64_t> positions(static_cast<std::size_t>(dataset.size()));
    for (std::int64_t p = 0; p < dataset.size(); ++p) {
        positions[static_cast<std::size_t>(dataset.row(p))] = p;
    }
    return positions;
}

// The candidates of one anchor, by rank in ascending index order, as positions.
class Candidates {
public:
    // `self` is the anchor's own row among the candidates, or -1.
    Candidates(const Dataset& cols, const std::vector<std::int64_t>& position_of, Relation relation,
               std::int64_t label, std::int64_t self)
        : cols_(cols),
          position_of_(position_of),
          relation_(relation),
          class_(cols.class_of(label)) {
        if (relation_ == Relation::negatives) {
            size_ = cols.size() - class_.size();
        } else {
            size_ = class_.size() - (self >= 0 ? 1 : 0);
            self_position_ = self >= 0 ? position_of[static_cast<std::size_t>(self)] : cols.size();
        }
    }

    std::int64_t size() const { return size_; }

    std::int64_t position(std::int64_t rank) const {
        if (relation_ == Relation::positives) {
            const std::int64_t position = class_.begin + rank;
            return position < self_position_ ? position : position + 1;
        }
        // The rank-th index outside the class: `rank` plus the class members that lie before it,
        // where member t lies before it if member(t) − t ≤ rank.
        std::int64_t low = 0, high = class_.size();
        while (low < high) {
            const std::int64_t middle = (low + high) / 2;
            if (cols_.row(class_.begin + middle) - middle <= rank) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return position_of_[static_cast<std::size_t>(rank + low)];
    }

private:
    const Dataset& cols_;
    const std::vector<std::int64_t>& position_of_;
    Relation relation_;
    Interval class_;
    std::int64_t self_position_ = 0;
    std::int64_t size_ = 0;
};

}  // namespace tripletmine
