// census: how many triplets of each kind there are, and their loss, without listing any.
//
// A margin becomes a distance: with a positive at d_ap, t = d_an − d_ap <= margin says the same as
// d_an <= reach(d_ap, margin). So one pass over the negatives of an anchor, counted within such
// distances, settles all its triplets for all margins; the loss follows from the counts and from
// the sums of the distances counted.
//
// Counts are exact. Sums are of distances that come, for most pairs, from float32 scores, which is
// good enough for a mean unless what is summed is about as small as their error (the anchors of
// which that is so are summed again in float64), or a few rows make up the mean (all are), or the
// errors of many anchors might show in the mean of all (those of the largest are). Where few
// negatives are within reach of any margin, all that are summed are decided in float64; and where
// there are few candidates at all, as in a batch, every distance is, and nothing else is counted.
#include "census.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <optional>

#include "kernels/dispatch.hpp"

namespace tripletmine {
namespace {

// What is held of the anchors under way: a candidate for each positive, and for each distance of
// interest that distance, a threshold, its two scores and its total.
constexpr double under_way_bytes = 256.0 * 1024 * 1024, pair_bytes = 24.0, distance_bytes = 48.0;
// What is held of anchors whose negatives are listed, and of each negative.
constexpr double block_bytes = 64.0 * 1024 * 1024, negative_bytes = 24.0;

// Below so many candidates, or if the largest of their squared norms is so many times the mean, the
// errors of scores do not average out.
constexpr std::int64_t few = 1000;
constexpr double uneven = 16.0;
// The part of an anchor's losses with a margin that their errors may make up, if these are as large
// as they usually are at most; and the part of all losses, where those of anchors are independent.
// (On average errors are seven to forty times smaller.) And the part of its largest loss that the
// error of a single distance may be.
constexpr double tolerance = 0x1p-11, tolerance_in_all = 0x1p-19, tolerance_of_one = 0x1p-14;

// How many of an anchor's negatives lie within a distance, and how much farther than the nearest of
// all these are: such differences keep the digits that large sums lose. For many questions they are
// sorted.
class NegativesWithin {
public:
    NegativesWithin(std::span<const Candidate> negatives, std::size_t questions) {
        constexpr std::size_t few_questions = 32;
        distances_.reserve(negatives.size());
        for (const Candidate& negative : negatives) distances_.push_back(negative.distance);
        if (distances_.empty()) return;
        if (questions <= few_questions) {
            nearest_ = *std::min_element(distances_.begin(), distances_.end());
            return;
        }
        std::sort(distances_.begin(), distances_.end());
        nearest_ = distances_.front();
        sums_.push_back(0.0);
        for (const double distance : distances_) {
            sums_.push_back(sums_.back() + (distance - nearest_));
        }
    }

    double nearest() const { return nearest_; }

    Counts::Total operator()(double reach) const {
        if (!sums_.empty()) {
            const auto count =
                std::upper_bound(distances_.begin(), distances_.end(), reach) - distances_.begin();
            return {count, sums_[static_cast<std::size_t>(count)]};
        }
        Counts::Total total;
        for (const double distance : distances_) {
            const bool within = distance <= reach;
            total.count += within ? 1 : 0;
            total.sum += within ? distance - nearest_ : 0.0;
        }
        return total;
    }

private:
    std::vector<double> distances_;
    double nearest_ = 0.0;
    std::vector<double> sums_;  // of the first ones, if they are sorted
};

class Counter {
public:
    Counter(Team& team, Join& join, Metric metric, std::span<const double> margins, Census& census)
        : team_(team),
          join_(join),
          metric_(metric),
          largest_norm2_(join.cols().largest_norm2()),
          unit_(std::abs(join.space().distances(join.space().sum_unit()))),
          few_(metric != Metric::cosine && largest_norm2_ > uneven * join.cols().mean_norm2()),
          margins_(margins),
          census_(census) {}

    void run() {
        const auto rows = static_cast<std::size_t>(join_.rows().size());
        census_.triplets.resize(rows);
        census_.hard.resize(rows);
        census_.with_loss.resize(rows * margins_.size());
        census_.loss.resize(rows * margins_.size());
        rows_.resize(rows);
        coarse_.resize(rows);
        doubts_.resize(rows * margins_.size());
        const bool counts = join_.cols().size() >= few;
        if (counts) {
            count();
        } else {
            for (std::size_t p = 0; p < rows; ++p) {
                rows_[p] = join_.rows().row(static_cast<std::int64_t>(p));
            }
            std::sort(rows_.begin(), rows_.end());
            coarse_.assign(rows, 1);
        }
        settle(counts);
        census_.report.anchors = join_.rows().size();
        census_.report.anchors_without_positive = without_positive_;
        census_.report.anchors_without_negative = without_negative_;
    }

private:
    // All counts, and the losses as far as scores tell them.
    void count() {
        count_by_anchor(
            join_, static_cast<std::int64_t>(margins_.size() + 2), true,
            [&](double norm2, std::span<const Candidate> positives,
                std::vector<double>& distances) { reaches(norm2, positives, distances); },
            [&](std::int64_t anchor, const AnchorCounts& own) {
                take(static_cast<std::size_t>(anchor), own);
            });
        for (std::size_t m = 0; m < margins_.size(); ++m) settle_mean(m);
    }

    // How far a distance is off, usually, that comes from a score; its square, if it is euclidean.
    // Where rows are measured from a point near their middle, the less so the closer they lie.
    double usual_error(double norm2) const {
        const double error = join_.score_error(), scale = join_.space().scale;
        constexpr double canonical = 0x1p-50;
        const double of_score = error * join_.space().longest2 + canonical;
        if (metric_ == Metric::cosine) return of_score;
        if (metric_ == Metric::dot) return error * std::sqrt(norm2) * std::sqrt(largest_norm2_);
        return std::min(error * (norm2 + largest_norm2_), 2.0 * of_score / scale / scale);
    }

    // Of the distances of some negatives, each.
    double error_of_each(double norm2, const Counts::Total& negatives, bool exact) const {
        const auto count = static_cast<double>(negatives.count);
        const double mean = negatives.sum / count;
        if (exact) {  // of their addition, and eight times as much, for it is not only usual
            const bool signs = metric_ == Metric::dot;
            return 0x1p-50 * count *
                   (signs ? std::sqrt(norm2) * std::sqrt(largest_norm2_) : std::abs(mean));
        }
        if (metric_ != Metric::euclidean) return usual_error(norm2) + unit_;
        return usual_error(norm2) / (2.0 * mean) + unit_;
    }

    // Negatives of an anchor that lie within this distance are too near to be summed by their
    // scores; `farthest` is the largest distance at which a negative has a loss.
    double coarse_within(double norm2, double farthest) const {
        if (few_) return farthest;
        if (metric_ != Metric::euclidean) return -INFINITY;
        // Of the root of a square, at the distance; and so the distance of an error.
        return std::min(farthest, usual_error(norm2) / (2.0 * tolerance_of_one * farthest));
    }

    // The distances of the positives, ascending; for every margin their reaches; then, once, the
    // distance within which scores are too coarse.
    void reaches(double norm2, std::span<const Candidate> positives,
                 std::vector<double>& distances) const {
        if (positives.empty()) return;
        const std::size_t count = positives.size();
        distances.reserve(count * (margins_.size() + 1) + 1);
        for (const Candidate& positive : positives) distances.push_back(positive.distance);
        std::sort(distances.begin(), distances.end());
        double coarse = -INFINITY;
        for (const double margin : margins_) {
            coarse = std::max(coarse, coarse_within(norm2, distances[count - 1] + margin));
            for (std::size_t i = 0; i < count; ++i) {
                distances.push_back(reach(distances[i], margin));
            }
        }
        distances.push_back(coarse);
    }

    void take(std::size_t anchor, const AnchorCounts& own) {
        const std::size_t count = own.positives.size();
        note(anchor, count, own.counts.in_all());
        if (count == 0) return;
        std::int64_t* with_loss = census_.with_loss.data() + anchor * margins_.size();
        const Thresholds& thresholds = own.counts.thresholds();
        std::int64_t slot = 0;
        for (std::size_t i = 0; i < count; ++i) {
            slot = thresholds.slot_from(slot, own.reaches[i]);
            census_.hard[anchor] += own.counts.within_slot(slot).count;
        }
        const bool exact = own.counts.exact_sums();
        bool coarse = !exact && own.counts.within(own.reaches.back()).count > 0;
        for (std::size_t m = 0; m < margins_.size(); ++m) {
            double doubt = 0.0;
            slot = 0;
            for (std::size_t i = 0; i < count; ++i) {
                slot = thresholds.slot_from(slot, own.reaches[(m + 1) * count + i]);
                const Counts::Total& total = own.counts.within_slot(slot);
                with_loss[m] += total.count;
                add_loss(anchor, m, own.reaches[i], total.count, total.sum);
                if (total.count == 0) continue;
                // All of one sign: a row has its own rounding in all its scores.
                doubt += error_of_each(own.norm2, total, exact) * static_cast<double>(total.count);
            }
            doubts_[anchor * margins_.size() + m] = static_cast<float>(doubt);
            coarse = coarse || doubt > tolerance * census_.loss[anchor * margins_.size() + m];
        }
        rows_[anchor] = own.row;
        coarse_[anchor] = coarse;
    }

    // Of a positive and the `count` negatives within its reach, whose distances sum to `sum`; both
    // distances may be measured from anywhere.
    void add_loss(std::size_t anchor, std::size_t m, double d_ap, std::int64_t count, double sum) {
        const double loss = (margins_[m] + d_ap) * static_cast<double>(count) - sum;
        // Rounding must not make a loss negative, nor overflow make it small.
        census_.loss[anchor * margins_.size() + m] +=
            std::isfinite(loss) ? std::max(0.0, loss) : INFINITY;
    }

    // Leaves so many anchors to be summed again, those of the largest doubts, that the doubts of
    // the others hardly show in the mean of a margin.
    void settle_mean(std::size_t m) {
        const std::size_t step = margins_.size();
        double in_all = 0.0, doubt2 = 0.0;
        std::vector<std::size_t> doubtful;
        for (std::size_t anchor = 0; anchor < coarse_.size(); ++anchor) {
            in_all += census_.loss[anchor * step + m];
            const double doubt = doubts_[anchor * step + m];
            if (coarse_[anchor] != 0 || doubt == 0.0) continue;
            doubt2 += doubt * doubt;
            doubtful.push_back(anchor);
        }
        const double most = tolerance_in_all * in_all;
        if (!(doubt2 > most * most)) return;
        std::sort(doubtful.begin(), doubtful.end(), [&](std::size_t a, std::size_t b) {
            return doubts_[a * step + m] < doubts_[b * step + m];
        });
        double left2 = 0.0;  // of the smallest
        for (const std::size_t anchor : doubtful) {
            const double doubt = doubts_[anchor * step + m];
            left2 += doubt * doubt;
            if (left2 > most * most) coarse_[anchor] = 1;
        }
    }

    // The losses of the anchors that need it, from the distances of all their negatives; and where
    // nothing is `counted` yet, their counts.
    void settle(bool counted) {
        std::vector<std::int64_t> rows, anchors;
        const double each = negative_bytes * static_cast<double>(join_.cols().size());
        const auto most = static_cast<std::size_t>(std::max(1.0, block_bytes / each));
        for (std::size_t anchor = 0; anchor <= coarse_.size(); ++anchor) {
            if (rows.size() == most || (anchor == coarse_.size() && !rows.empty())) {
                settle_block(rows, anchors, counted);
                rows.clear();
                anchors.clear();
            }
            if (anchor == coarse_.size() || !coarse_[anchor]) continue;
            rows.push_back(rows_[anchor]);
            anchors.push_back(static_cast<std::int64_t>(anchor));
        }
    }

    void settle_block(const std::vector<std::int64_t>& rows,
                      const std::vector<std::int64_t>& anchors, bool counted) {
        Join narrowed = join_.narrowed(rows);
        const Choice positives = narrowed.list_positives({});
        const Choice negatives = narrowed.list_negatives();
        team_.for_each(narrowed.rows().size(), [&](std::int64_t p, int worker) {
            team_.poll(worker);
            const auto place = std::lower_bound(rows.begin(), rows.end(), narrowed.rows().row(p));
            const auto anchor =
                static_cast<std::size_t>(anchors[static_cast<std::size_t>(place - rows.begin())]);
            const auto own = positives.of(p);
            const NegativesWithin within(negatives.of(p), own.size() * (margins_.size() + 1));
            if (!counted) {
                note(anchor, own.size(), static_cast<std::int64_t>(negatives.of(p).size()));
                for (const Candidate& positive : own) {
                    census_.hard[anchor] += within(positive.distance).count;
                }
            }
            for (std::size_t m = 0; m < margins_.size(); ++m) {
                const std::size_t at = anchor * margins_.size() + m;
                census_.loss[at] = 0.0;
                for (const Candidate& positive : own) {
                    const Counts::Total total = within(reach(positive.distance, margins_[m]));
                    census_.with_loss[at] += counted ? 0 : total.count;
                    add_loss(anchor, m, positive.distance - within.nearest(), total.count,
                             total.sum);
                }
            }
        });
        join_.include(narrowed);
    }

    // What the labels and groups allow an anchor.
    void note(std::size_t anchor, std::size_t positives, std::int64_t negatives) {
        without_positive_ += positives == 0;
        without_negative_ += negatives == 0;
        census_.triplets[anchor] = static_cast<std::int64_t>(positives) * negatives;
    }

    Team& team_;
    Join& join_;
    Metric metric_;
    double largest_norm2_;  // of the candidates
    double unit_;           // what distances are summed in, or their squares
    bool few_;              // of them make up the mean: errors do not average out
    std::span<const double> margins_;
    Census& census_;
    // By anchor: its row, and whether its losses need float64.
    std::vector<std::int64_t> rows_;
    std::vector<std::uint8_t> coarse_;
    std::vector<float> doubts_;  // by margin too: how far its losses may be off, usually
    std::atomic<std::int64_t> without_positive_ = 0, without_negative_ = 0;
};

// All anchors, or blocks of them where those under way at once may be too many to hold.
std::vector<std::vector<std::int64_t>> blocks_under_way(const Join& join, std::int64_t each) {
    const double of_pair =
        (pair_bytes + distance_bytes * static_cast<double>(each)) / under_way_bytes;
    std::int64_t largest = 0;
    for (std::int64_t p = 0; p < join.rows().size(); ++p) {
        largest = std::max(largest, join.cols().class_of(join.rows().label(p)).size());
    }
    const auto at_once =
        static_cast<double>(std::min(join.rows().size(), join.workers() * most_own_rows));
    const bool fit = at_once * static_cast<double>(largest) * of_pair <= 1.0;
    return join.blocks([&](std::int64_t positives) {
        return fit ? 0.0 : static_cast<double>(positives) * of_pair;
    });
}

// Which part of the negatives lies within reach, about: as some say of some anchors.
double share_within_reach(Join& join, const Reaches& reaches) {
    constexpr std::int64_t rows_asked = 256;
    Join some = join.some_rows(rows_asked);
    // The farthest positive reaches farthest.
    std::vector<std::vector<Candidate>> positives(static_cast<std::size_t>(some.rows().size()));
    some.each_positive([&](std::int64_t p, const Candidate& positive) {
        std::vector<Candidate>& farthest = positives[static_cast<std::size_t>(p)];
        if (farthest.empty()) farthest = {positive};
        if (farthest[0].distance < positive.distance) farthest[0] = positive;
    });
    const std::vector<std::vector<double>> negatives = some.some_negatives();
    double within = 0.0, in_all = 0.0;
    for (std::int64_t p = 0; p < some.rows().size(); ++p) {
        std::vector<double> distances;
        reaches(some.rows().norm2(p), positives[static_cast<std::size_t>(p)], distances);
        double reach = -INFINITY;
        for (const double distance : distances) reach = std::max(reach, distance);
        for (const double distance : negatives[static_cast<std::size_t>(p)]) {
            within += distance <= reach ? 1.0 : 0.0;
            in_all += 1.0;
        }
    }
    join.include(some);
    return in_all > 0.0 ? within / in_all : 1.0;
}

}  // namespace

void count_by_anchor(Join& join, std::int64_t each, bool sums, const Reaches& reaches,
                     const std::function<void(std::int64_t anchor, const AnchorCounts&)>& take) {
    // Of an anchor under way, from the beginning of its block of rows to its own end.
    struct UnderWay {
        std::vector<Candidate> positives;
        std::vector<double> distances;
    };
    const double share = join.counts_few(0.0) ? share_within_reach(join, reaches) : 1.0;
    std::int64_t before = 0;
    for (const std::vector<std::int64_t>& block : blocks_under_way(join, each)) {
        std::optional<Join> narrowed;
        if (std::ssize(block) < join.rows().size()) narrowed.emplace(join.narrowed(block));
        Join& part = narrowed ? *narrowed : join;
        std::vector<std::unique_ptr<UnderWay>> under_way(block.size());
        const auto of = [&](std::int64_t p) -> std::unique_ptr<UnderWay>& {
            return under_way[static_cast<std::size_t>(p)];
        };
        std::vector<Join::Listing> listings = part.listings();
        part.count_negatives(
            [&](std::int64_t p) {
                UnderWay& own = *of(p);
                reaches(part.rows().norm2(p), own.positives, own.distances);
                return own.distances;
            },
            [&](std::int64_t p, const Counts& counts) {
                const std::int64_t row = part.rows().row(p);
                const auto place =
                    std::lower_bound(block.begin(), block.end(), row) - block.begin();
                const auto own = std::move(of(p));
                take(before + place,
                     {row, part.rows().norm2(p), own->positives, own->distances, counts});
            },
            [&](const Interval& rows, int worker) {
                for (std::int64_t p = rows.begin; p < rows.end; ++p) {
                    of(p) = std::make_unique<UnderWay>();
                }
                part.list_positives(rows, worker, listings[static_cast<std::size_t>(worker)],
                                    [&](std::int64_t p, const Candidate& positive) {
                                        of(p)->positives.push_back(positive);
                                    });
            },
            share, sums);
        part.include(listings);
        if (narrowed) join.include(*narrowed);
        before += static_cast<std::int64_t>(block.size());
    }
}

Census census(const Population& embeddings, const std::optional<Population>& references,
              const std::optional<std::span<const std::int64_t>>& anchors,
              std::span<const double> margins, Metric metric, const Execution& execution) {
    const KernelSet& kernels = choose_kernels(execution.instruction_set);
    Census census;
    run_team(threads_for(execution, embeddings, references), execution.monitor, [&](Team& team) {
        const Stopwatch stopwatch;
        Join join(team, kernels, embeddings, references, anchors, metric, execution.packing_budget);
        if (join.cols().size() >= few) join.measure_lengths();
        Counter(team, join, metric, margins, census).run();
        join.describe(census.report, stopwatch);
    });
    return census;
}

}  // namespace tripletmine
