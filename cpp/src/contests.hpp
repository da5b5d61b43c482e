// Contests: the candidates of many rows that are still to be decided, the likeliest of each first:
// what these turn out to be, few of the others reach.
//
//   add, close    a row's contenders, row by row
//   decide        the k best of every row, then those that still reach its floor
//
// Each pass is over all rows, so that none waits for what the row before needs, and the memory of
// each is asked for in time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "dataset.hpp"
#include "exact.hpp"
#include "select/choice.hpp"

namespace tripletmine {

// A column that may be among a row's first candidates, and its proven upper bound.
struct Contender {
    std::uint32_t col;  // position
    float upper;
};

// The best `count` to the front, in any order.
inline void bring_forward(std::span<Contender> contenders, std::size_t count) {
    if (count >= contenders.size()) return;
    if (count == 1) {
        std::size_t best = 0;
        for (std::size_t i = 1; i < contenders.size(); ++i) {
            best = contenders[i].upper > contenders[best].upper ? i : best;
        }
        std::swap(contenders[0], contenders[best]);
    } else {
        std::nth_element(contenders.begin(),
                         contenders.begin() + static_cast<std::ptrdiff_t>(count), contenders.end(),
                         [](const Contender& a, const Contender& b) { return a.upper > b.upper; });
    }
}

// Those that reach the floor to the front; returns how many they are.
inline std::size_t bring_forward_above(std::span<Contender> contenders, float floor) {
    std::size_t count = 0;
    for (const Contender& one : contenders) {
        contenders[count] = one;
        count += one.upper >= floor ? 1 : 0;
    }
    return count;
}

class Contests {
public:
    struct Contest {
        std::int64_t row;
        std::size_t entry;       // whatever the caller knows it by
        std::size_t begin, end;  // of its contenders
        std::size_t now;         // how many, the first ones, are decided next
    };

    void clear() {
        contenders_.clear();
        contests_.clear();
        closed_ = 0;
    }
    void add(const Contender& contender) { contenders_.push_back(contender); }
    // What was added since the last one is a contest; if anything was.
    void close(std::int64_t row, std::size_t entry) {
        if (closed_ == contenders_.size()) return;
        contests_.push_back({row, entry, closed_, contenders_.size(), 0});
        closed_ = contenders_.size();
    }
    // How many contenders there is memory for; and how many of them are left.
    std::size_t added() const { return contenders_.size(); }
    std::size_t size() const {
        return std::accumulate(contests_.begin(), contests_.end(), std::size_t{0},
                               [](std::size_t sum, const Contest& contest) {
                                   return sum + contest.end - contest.begin;
                               });
    }

    // Leaves those that reach their floor. k(contest) is how many are wanted, floor(contest) its
    // floor, offer(contest, candidates) takes those that were decided, and poll() is called in
    // between.
    template <typename K, typename Floor, typename Offer, typename Poll>
    void decide(ExactDistance& exact, const Dataset& cols, K k, Floor floor, Offer offer,
                Poll poll) {
        for (Contest& contest : contests_) {
            const std::span<Contender> all = contenders_of(contest);
            contest.now = std::min(all.size(), k(contest));
            bring_forward(all, contest.now);
        }
        decide_next(exact, cols, offer, poll);
        drop_hopeless(floor);
        decide_next(exact, cols, offer, poll);
    }

    // Makes one contest of those of an entry, and leaves those that reach their floor.
    template <typename Floor>
    void gather(Floor floor) {
        drop_hopeless(floor);
        std::stable_sort(contests_.begin(), contests_.end(),
                         [](const Contest& a, const Contest& b) { return a.entry < b.entry; });
        std::vector<Contest> whole;
        gathered_.clear();
        for (const Contest& contest : contests_) {
            const std::size_t begin = gathered_.size();
            if (whole.empty() || whole.back().entry != contest.entry) {
                whole.push_back({contest.row, contest.entry, begin, begin, 0});
            }
            const std::span<Contender> some = contenders_of(contest);
            gathered_.insert(gathered_.end(), some.begin(), some.end());
            whole.back().end = gathered_.size();
        }
        contests_.swap(whole);
        contenders_.swap(gathered_);
        closed_ = contenders_.size();
    }

private:
    // Leaves those that reach their floor.
    template <typename Floor>
    void drop_hopeless(Floor floor) {
        for (Contest& contest : contests_) {
            contest.now = bring_forward_above(contenders_of(contest), floor(contest));
            contest.end = contest.begin + contest.now;
        }
        std::erase_if(contests_, [](const Contest& contest) { return contest.now == 0; });
    }

    std::span<Contender> contenders_of(const Contest& contest) {
        return std::span(contenders_).subspan(contest.begin, contest.end - contest.begin);
    }

    template <typename Offer, typename Poll>
    void decide_next(ExactDistance& exact, const Dataset& cols, Offer offer, Poll poll) {
        constexpr std::size_t pairs_at_once = 1024;
        pairs_.clear();
        for (const Contest& contest : contests_) {
            for (const Contender& one : contenders_of(contest).first(contest.now)) {
                pairs_.push_back({static_cast<std::uint32_t>(contest.row), one.col});
            }
        }
        distances_.resize(pairs_.size());
        for (std::size_t i = 0; i < pairs_.size(); i += pairs_at_once) {
            poll();
            const std::size_t count = std::min(pairs_at_once, pairs_.size() - i);
            exact.many(std::span(pairs_).subspan(i, count), distances_.data() + i);
        }
        std::size_t next = 0;
        for (Contest& contest : contests_) {
            candidates_.clear();
            for (const std::size_t end = next + contest.now; next < end; ++next) {
                candidates_.push_back({distances_[next], cols.row(pairs_[next].col)});
            }
            offer(contest, std::span<const Candidate>(candidates_));
            contest.begin += contest.now;
        }
    }

    std::vector<Contender> contenders_, gathered_;
    std::size_t closed_ = 0;  // how many of them belong to a contest
    std::vector<Contest> contests_;
    std::vector<PairOfRows> pairs_;
    std::vector<double> distances_;
    std::vector<Candidate> candidates_;
};

}  // namespace tripletmine
