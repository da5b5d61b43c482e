// sample: triplets drawn at random from all triplets of a kind, without listing them.
//
// Every draw is uniform, in one of two ways. It may be *proposed*: a triplet drawn from the labels
// alone, kept if groups allow it and its distances make it of the kind, drawn anew otherwise, a
// limited number of times. Or it is *ranked*: all triplets of the kind are counted, by anchor; the
// draw falls on an anchor, then on one of its positives, in proportion to those counts (which are
// kept meanwhile, if that takes little memory), and then on one of the negatives. The first way is
// the cheap one where the kind is common, the second where it is rare. What a draw becomes depends
// on the seed and its number, and on whether proposing paid for the first `pilot` draws: never on
// how many draws there are, on threads or on kernels.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

#include "census.hpp"
#include "draws.hpp"
#include "exact.hpp"
#include "kernels/dispatch.hpp"
#include "select/race.hpp"

namespace tripletmine {
namespace {

constexpr std::int64_t proposals = 256;  // for a draw, at most
constexpr std::int64_t pilot = 1024;
constexpr std::int64_t draws_per_task = 64;
// Random bits that a proposal takes: class, anchor, positive, negative.
constexpr std::int64_t bits_of_proposal = 4;
constexpr std::int64_t bits_of_ranks = bits_of_proposal * proposals;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double norm_tolerance = 1e-3;  // of rows that have to have norm 1

class Sampler {
public:
    Sampler(Team& team, Join& join, const SampleOptions& options, Mined& mined)
        : team_(team), join_(join), options_(options), mined_(mined) {
        if (!options.weights) return;
        weight_ = Weight(join.rows().dim(), options.weights->cutoff, of_kind(0.0).high);
    }

    void run() {
        find_classes();
        mined_.resize(options_.draws);
        std::fill(mined_.fell_back.begin(), mined_.fell_back.end(), std::uint8_t{0});
        std::fill(mined_.anchors.begin(), mined_.anchors.end(), std::int64_t{-1});
        if (!options_.weights && !shares_->empty()) {
            const std::int64_t first = std::min(pilot, options_.draws);
            propose(0, first);
            if (2 * std::count(mined_.anchors.begin(), mined_.anchors.begin() + first, -1) <=
                first) {
                propose(first, options_.draws);
            }
        }
        std::vector<std::int64_t> left;
        for (std::int64_t number = 0; number < options_.draws; ++number) {
            if (mined_.anchors[static_cast<std::size_t>(number)] < 0) left.push_back(number);
        }
        mined_.count = options_.draws;
        if (!left.empty() && !rank(left)) {
            mined_.count = 0;
            mined_.clear();
        }
    }

private:
    // A draw that falls on an anchor by counts.
    struct Pick {
        std::int64_t anchor;  // its place among the anchors in ascending order
        std::int64_t number;
        std::int64_t rank;          // among the anchor's triplets of the kind, by positive
        std::int64_t positive = 0;  // its number among the anchor's, ascending by index
        Entry entry = {};
    };

    // The draws that fall on the same anchor, for each that any falls on: by its place among these.
    class Picks {
    public:
        explicit Picks(std::vector<Pick> picks) : picks_(std::move(picks)) {
            std::sort(picks_.begin(), picks_.end(), [](const Pick& a, const Pick& b) {
                return std::tuple(a.anchor, a.rank, a.number) <
                       std::tuple(b.anchor, b.rank, b.number);
            });
            for (std::size_t i = 0; i < picks_.size(); ++i) {
                if (i == 0 || picks_[i].anchor != picks_[i - 1].anchor) begins_.push_back(i);
            }
            begins_.push_back(picks_.size());
        }
        std::int64_t size() const { return std::ssize(begins_) - 1; }
        // By rank, and so by positive.
        std::span<Pick> of(std::int64_t place) {
            const auto i = static_cast<std::size_t>(place);
            return std::span(picks_).subspan(begins_[i], begins_[i + 1] - begins_[i]);
        }
        std::int64_t anchor(std::int64_t place) const {
            return picks_[begins_[static_cast<std::size_t>(place)]].anchor;
        }

    private:
        std::vector<Pick> picks_;
        std::vector<std::size_t> begins_;
    };

    std::int64_t self(std::int64_t p) const {
        return join_.self_join() ? join_.rows().row(p) : std::int64_t{-1};
    }

    // The anchors by class, each class with a share for all the triplets that its labels allow.
    void find_classes() {
        const Dataset& rows = join_.rows();
        position_of_ = positions_of(join_.cols());
        std::vector<Wide> triplets;
        for (std::int64_t begin = 0, end; begin < rows.size(); begin = end) {
            end = rows.class_of(rows.label(begin)).end;
            const std::int64_t same = join_.cols().class_of(rows.label(begin)).size();
            const std::int64_t positives = same - (join_.self_join() ? 1 : 0);
            const std::int64_t negatives = join_.cols().size() - same;
            classes_.push_back({begin, end});
            triplets.push_back(static_cast<Wide>(end - begin) * static_cast<Wide>(positives) *
                               static_cast<Wide>(negatives));
            mined_.report.anchors_without_positive += positives == 0 ? end - begin : 0;
            mined_.report.anchors_without_negative += negatives == 0 ? end - begin : 0;
        }
        mined_.report.anchors = rows.size();
        shares_.emplace(triplets);
    }

    void propose(std::int64_t first, std::int64_t last) {
        std::vector<ExactDistance> exact(static_cast<std::size_t>(team_.size()),
                                         join_.exact_distance());
        team_.for_each((last - first + draws_per_task - 1) / draws_per_task,
                       [&](std::int64_t task, int worker) {
                           const std::int64_t begin = first + task * draws_per_task;
                           for (std::int64_t number = begin;
                                number < std::min(last, begin + draws_per_task); ++number) {
                               team_.poll(worker);
                               propose(number, exact[static_cast<std::size_t>(worker)]);
                           }
                       });
        for (const ExactDistance& distance : exact) join_.include(distance);
    }

    void propose(std::int64_t number, ExactDistance& distance) {
        const Draws draws(options_.seed, number);
        const Dataset &rows = join_.rows(), &cols = join_.cols();
        for (std::int64_t t = 0; t < bits_of_ranks; t += bits_of_proposal) {
            const Interval anchors =
                classes_[static_cast<std::size_t>(shares_->pick(draws.bits(t)))];
            const std::int64_t p = anchors.begin + draws(t + 1, anchors.size());
            const auto drawn = [&](Relation relation, std::int64_t bits) {
                const Candidates all(cols, position_of_, relation, rows.label(p), self(p));
                return all.position(draws(bits, all.size()));
            };
            const std::int64_t positive = drawn(Relation::positives, t + 2);
            const std::int64_t negative = drawn(Relation::negatives, t + 3);
            if (rows.same_group(p, cols, positive) || rows.same_group(p, cols, negative)) continue;
            const double d_ap = distance(p, positive), d_an = distance(p, negative);
            const Range kind = of_kind(d_ap);
            if (!(kind.low < d_an && d_an <= kind.high)) continue;
            const auto to = static_cast<std::size_t>(number);
            mined_.anchors[to] = rows.row(p);
            mined_.positives[to] = cols.row(positive);
            mined_.negatives[to] = cols.row(negative);
            mined_.d_ap[to] = d_ap;
            mined_.d_an[to] = d_an;
            return;
        }
    }

    // The negatives of the kind, for a positive: low < d <= high.
    Range of_kind(double d_ap) const {
        if (options_.weights) {
            return {-infinity, std::nextafter(options_.weights->nonzero_loss_cutoff, -infinity)};
        }
        switch (options_.type) {
            case TripletType::hard:
                return {-infinity, d_ap};
            case TripletType::semihard:
                return {d_ap, reach(d_ap, *options_.margin)};
            case TripletType::easy:
                return {reach(d_ap, *options_.margin), infinity};
            case TripletType::all:
                break;
        }
        return {-infinity, options_.margin ? reach(d_ap, *options_.margin) : infinity};
    }

    // The place of each row of a join among these in ascending order.
    static std::vector<std::int64_t> places_of(const Join& join) {
        std::vector<std::int64_t> rows;
        for (std::int64_t p = 0; p < join.rows().size(); ++p) rows.push_back(join.rows().row(p));
        std::vector<std::int64_t> ascending = rows;
        std::sort(ascending.begin(), ascending.end());
        for (std::int64_t& row : rows) {
            row = std::lower_bound(ascending.begin(), ascending.end(), row) - ascending.begin();
        }
        return rows;
    }

    // With distance weights: whether a negative is within reach of an anchor, for each positive.
    template <typename Take>
    void find_reachable(Join& join, Take take) const {
        const Choice nearest = join.rank(Relation::negatives, Sign::nearest, 1, {});
        const std::vector<std::int64_t> places = places_of(join);
        std::vector<std::uint32_t> positives(places.size());
        join.each_positive(
            [&](std::int64_t p, const Candidate&) { ++positives[static_cast<std::size_t>(p)]; });
        for (std::int64_t p = 0; p < join.rows().size(); ++p) {
            const auto at = static_cast<std::size_t>(p);
            const auto found = nearest.of(p);
            const bool within = !found.empty() && found[0].distance <= of_kind(0.0).high;
            take(places[at], std::vector<std::uint32_t>(positives[at], within ? 1 : 0));
        }
    }

    // Calls take(anchor, counts) for every anchor of a join: what each positive counts for.
    template <typename Take>
    void count(Join& join, Take take) const {
        if (options_.weights) return find_reachable(join, take);
        count_by_anchor(
            join, 2, false,
            [&](double, std::span<const Candidate> positives, std::vector<double>& distances) {
                for (const Candidate& positive : positives) {
                    const Range kind = of_kind(positive.distance);
                    distances.insert(distances.end(), {kind.low, kind.high});
                }
            },
            [&](std::int64_t anchor, const AnchorCounts& own) {
                std::vector<std::uint32_t> counts;
                for (std::size_t i = 0; i < own.positives.size(); ++i) {
                    const Range kind{own.reaches[2 * i], own.reaches[2 * i + 1]};
                    const std::int64_t nearer =
                        kind.low == -infinity ? 0 : own.counts.within(kind.low).count;
                    const std::int64_t negatives = own.counts.within(kind.high).count - nearer;
                    counts.push_back(static_cast<std::uint32_t>(negatives));
                }
                take(anchor, std::move(counts));
            });
    }

    // Whether the counts of all positives take no more memory than the rows.
    bool may_keep_counts() const {
        double positives = 0.0;
        for (std::int64_t p = 0; p < join_.rows().size(); ++p) {
            positives += static_cast<double>(join_.cols().class_of(join_.rows().label(p)).size());
        }
        return positives <=
               static_cast<double>(join_.cols().size()) * static_cast<double>(join_.cols().dim());
    }

    // Places these draws by counts; false if there is nothing of the kind.
    bool rank(const std::vector<std::int64_t>& left) {
        std::vector<std::int64_t> rows(static_cast<std::size_t>(join_.rows().size()));
        for (std::size_t p = 0; p < rows.size(); ++p) {
            rows[p] = join_.rows().row(static_cast<std::int64_t>(p));
        }
        std::sort(rows.begin(), rows.end());
        std::vector<Wide> totals(rows.size());
        std::vector<std::vector<std::uint32_t>> kept(may_keep_counts() ? rows.size() : 0);
        count(join_, [&](std::int64_t anchor, std::vector<std::uint32_t> counts) {
            const auto at = static_cast<std::size_t>(anchor);
            totals[at] = std::accumulate(counts.begin(), counts.end(), Wide{0});
            if (!kept.empty()) kept[at] = std::move(counts);
        });
        const Shares shares(totals);
        if (shares.empty()) return false;

        std::vector<Pick> drawn;
        for (const std::int64_t number : left) {
            const Draws draws(options_.seed, number);
            const std::int64_t anchor = shares.pick(draws.bits(bits_of_ranks));
            const auto total = static_cast<std::int64_t>(totals[static_cast<std::size_t>(anchor)]);
            drawn.push_back({anchor, number, draws(bits_of_ranks + 1, total)});
        }
        Picks picks(std::move(drawn));
        std::vector<std::int64_t> chosen;
        for (std::int64_t place = 0; place < picks.size(); ++place) {
            chosen.push_back(rows[static_cast<std::size_t>(picks.anchor(place))]);
        }
        Join narrowed = join_.narrowed(chosen);
        const auto find = [&](std::int64_t place, const std::vector<std::uint32_t>& counts) {
            find_positives(picks.of(place), counts);
        };
        if (kept.empty()) count(narrowed, find);
        for (std::int64_t place = 0; !kept.empty() && place < picks.size(); ++place) {
            find(place, kept[static_cast<std::size_t>(picks.anchor(place))]);
        }
        kept = {};
        draw_triplets(narrowed, picks);
        join_.include(narrowed);
        return true;
    }

    // Of draws that fall on an anchor, from what each of its positives counts for.
    static void find_positives(std::span<Pick> picks, const std::vector<std::uint32_t>& counts) {
        std::size_t next = 0;
        std::int64_t upto = 0;
        for (Pick& pick : picks) {
            while (pick.rank >= upto && next < counts.size()) upto += counts[next++];
            pick.positive = static_cast<std::int64_t>(next) - 1;
        }
    }

    // Of a join of the chosen rows, whose draws know their positives: these, and the negatives.
    void draw_triplets(Join& join, Picks& picks) {
        const std::vector<std::int64_t> places = places_of(join);
        std::vector<std::int64_t> positives(places.size());
        std::vector<std::size_t> done(places.size());
        const auto picks_of = [&](std::int64_t p) {
            return picks.of(places[static_cast<std::size_t>(p)]);
        };
        join.each_positive([&](std::int64_t p, const Candidate& positive) {
            const auto row = static_cast<std::size_t>(p);
            const std::span<Pick> own = picks_of(p);
            for (; done[row] < own.size() && own[done[row]].positive == positives[row];
                 ++done[row]) {
                Pick& pick = own[done[row]];
                const auto to = static_cast<std::size_t>(pick.number);
                mined_.anchors[to] = join.rows().row(p);
                mined_.positives[to] = positive.row;
                mined_.d_ap[to] = positive.distance;
                const Range kind = of_kind(positive.distance);
                pick.entry = {Draws(options_.seed, pick.number).bits(bits_of_ranks + 2), kind.low,
                              kind.high};
            }
            ++positives[row];
        });
        join.race(
            weight_,
            [&](std::int64_t p) {
                std::vector<Entry> entries;
                for (const Pick& pick : picks_of(p)) entries.push_back(pick.entry);
                return entries;
            },
            [&](std::int64_t p, const std::vector<Candidate>& winners) {
                const std::span<const Pick> own = picks_of(p);
                for (std::size_t i = 0; i < own.size(); ++i) {
                    const auto to = static_cast<std::size_t>(own[i].number);
                    mined_.negatives[to] = winners[i].row;
                    mined_.d_an[to] = winners[i].distance;
                }
            });
    }

    Team& team_;
    Join& join_;
    const SampleOptions& options_;
    Mined& mined_;
    Weight weight_;
    std::vector<std::int64_t> position_of_;
    std::vector<Interval> classes_;  // of the anchors
    std::optional<Shares> shares_;   // of the classes
};

void require_norm_1(const Dataset& dataset, std::string_view name) {
    std::int64_t bad = -1;
    double norm = 1.0;
    for (std::int64_t p = 0; p < dataset.size(); ++p) {
        const double own = std::sqrt(dataset.norm2(p));
        if (std::abs(own - 1.0) <= norm_tolerance) continue;
        if (bad >= 0 && bad < dataset.row(p)) continue;
        bad = dataset.row(p);
        norm = own;
    }
    if (bad < 0) return;
    throw std::invalid_argument(
        std::string(name) + ": row " + std::to_string(bad) + " has norm " + std::to_string(norm) +
        ", expected 1 with weights 'distance'; divide every row by its norm");
}

}  // namespace

Mined sample(const Population& embeddings, const std::optional<Population>& references,
             const std::optional<std::span<const std::int64_t>>& anchors,
             const SampleOptions& options, const Execution& execution) {
    const KernelSet& kernels = choose_kernels(execution.instruction_set);
    Mined mined;
    run_team(threads_for(execution, embeddings, references), execution.monitor, [&](Team& team) {
        const Stopwatch stopwatch;
        Join join(team, kernels, embeddings, references, anchors, options.metric,
                  execution.packing_budget);
        if (options.weights) {
            require_norm_1(join.rows(), embeddings.name);
            require_norm_1(join.cols(), references ? references->name : embeddings.name);
        }
        Sampler(team, join, options, mined).run();
        join.describe(mined.report, stopwatch);
    });
    return mined;
}

}  // namespace tripletmine
