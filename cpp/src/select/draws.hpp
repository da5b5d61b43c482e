// What every random choice is made of: 64 random bits for each (seed, anchor, draw), and the
// shuffle that they drive. The numbers depend on nothing else, so that no thread count, partition
// or k changes a choice.
#pragma once

#include <cstdint>
#include <numeric>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tripletmine {

// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
inline std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

constexpr std::uint64_t golden = 0x9e3779b97f4a7c15u;

__extension__ typedef unsigned __int128 Wide;

// A counter-based generator: draw(t, bound) is uniform in [0, bound).
class Draws {
public:
    // Those of one anchor: stream 1 for its positives, 2 for its negatives.
    Draws(std::uint64_t seed, std::int64_t anchor, std::uint64_t stream)
        : key_(mix(mix(seed + golden) +
                   golden * (2 * static_cast<std::uint64_t>(anchor) + stream))) {}

    // Those of one (anchor, positive) pair.
    Draws of_pair(std::int64_t positive) const {
        Draws draws(*this);
        draws.key_ = mix(key_ ^ (golden * (static_cast<std::uint64_t>(positive) + 1)));
        return draws;
    }

    std::int64_t operator()(std::int64_t t, std::int64_t bound) const {
        const std::uint64_t bits = mix(key_ + golden * (static_cast<std::uint64_t>(t) + 1));
        return static_cast<std::int64_t>(
            static_cast<Wide>(bits) * static_cast<std::uint64_t>(bound) >> 64);
    }

private:
    std::uint64_t key_;
};

// The t-th element of a Fisher–Yates shuffle of 0 ... size-1, for t = 0, 1, 2, ... As long as few
// elements have moved, only they are remembered.
class LazyShuffle {
public:
    LazyShuffle(const Draws& draws, std::int64_t size) : draws_(draws), size_(size) {}
    bool done() const { return t_ == size_; }
    std::int64_t next() {
        if (elements_.empty() && t_ > size_ / 32) remember_all();
        const std::int64_t chosen = t_ + draws_(t_, size_ - t_);
        if (!elements_.empty()) {
            std::swap(elements_[static_cast<std::size_t>(t_)],
                      elements_[static_cast<std::size_t>(chosen)]);
            return elements_[static_cast<std::size_t>(t_++)];
        }
        const std::int64_t value = at(chosen);
        moved_[chosen] = at(t_);
        ++t_;
        return value;
    }

private:
    std::int64_t at(std::int64_t place) const {
        const auto found = moved_.find(place);
        return found == moved_.end() ? place : found->second;
    }
    void remember_all() {
        elements_.resize(static_cast<std::size_t>(size_));
        std::iota(elements_.begin(), elements_.end(), std::int64_t{0});
        for (const auto& [place, element] : moved_) {
            elements_[static_cast<std::size_t>(place)] = element;
        }
        moved_.clear();
    }

    Draws draws_;
    std::int64_t size_;
    std::int64_t t_ = 0;
    std::unordered_map<std::int64_t, std::int64_t> moved_;
    std::vector<std::int64_t> elements_;  // all of them, once more than a few have moved
};

}  // namespace tripletmine
