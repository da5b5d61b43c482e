// The public C++ interface: views of the caller's memory, options, results, entry points.
//
// Knows no Python. Views are read, never kept after the call; results own their memory. Wrong
// values raise std::invalid_argument with the argument's name, the value found and what was
// expected.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tripletmine {

enum class DType : std::uint8_t { float16, bfloat16, float32, float64 };
enum class Metric : std::uint8_t { cosine, dot, euclidean, sqeuclidean };

// What is chosen for an anchor: see "What every call means" in docs/semantics.md.
enum class Strategy : std::uint8_t { easy, hard, semihard, random, all };
enum class Fallback : std::uint8_t { drop, easy, hard };
enum class TripletType : std::uint8_t { all, hard, semihard, easy };

// Rows of floating-point numbers anywhere in memory; strides are in bytes and may be negative.
struct MatrixView {
    const void* data = nullptr;
    DType dtype = DType::float32;
    std::int64_t rows = 0;
    std::int64_t cols = 0;
    std::ptrdiff_t row_stride = 0;
    std::ptrdiff_t col_stride = 0;
};

// One side of the pairs. `labels` has a value for each row, `groups` too unless it is empty.
struct Population {
    std::string_view name;  // of the argument, for messages
    MatrixView matrix;
    std::span<const std::int64_t> labels = {};
    std::span<const std::int64_t> groups = {};
};

// Called on the thread that made the call, about 20 times a second. Throwing stops the call.
class Monitor {
public:
    virtual ~Monitor() = default;
    virtual void tick(double pairs_done, double pairs_in_all) = 0;
};

struct Execution {
    int n_threads = 0;  // 0: as many as OpenMP would use now
    Monitor* monitor = nullptr;
    // Packed rows beyond this many bytes are packed again for each block instead of being kept.
    std::int64_t packing_budget = std::numeric_limits<std::int64_t>::max();
    std::string instruction_set = {};  // empty: the best one
};

struct Range {
    double low = -std::numeric_limits<double>::infinity();
    double high = std::numeric_limits<double>::infinity();
    bool holds(double distance) const { return low <= distance && distance <= high; }
};

struct MineOptions {
    Strategy positive = Strategy::easy;
    Strategy negative = Strategy::semihard;
    Metric metric = Metric::cosine;
    Fallback fallback = Fallback::drop;
    TripletType type = TripletType::all;
    std::optional<double> margin = {};
    std::int64_t num_negatives = 1;
    std::int64_t range_min = 0;
    Range positive_range = {};
    Range negative_range = {};
    std::int64_t max_triplets = std::numeric_limits<std::int64_t>::max();
    std::uint64_t seed = 0;
};

// For each query a run of corpus rows: those of query i are indices[begins[i] ... begins[i + 1]).
struct RowLists {
    std::span<const std::int64_t> begins;
    std::span<const std::int64_t> indices;

    std::span<const std::int64_t> of(std::int64_t query) const {
        const auto begin = static_cast<std::size_t>(begins[static_cast<std::size_t>(query)]);
        const auto end = static_cast<std::size_t>(begins[static_cast<std::size_t>(query) + 1]);
        return indices.subspan(begin, end - begin);
    }
};

enum class PositiveScore : std::uint8_t { min, max, mean };
enum class RankAmong : std::uint8_t { survivors, all };
enum class Sampling : std::uint8_t { top, random };

// Scores are similarities: 1 - d for cosine, -d for the other metrics.
struct NegativeOptions {
    Metric metric = Metric::cosine;
    std::int64_t num_negatives = 3;
    std::int64_t range_min = 0;
    std::optional<std::int64_t> range_max = {};
    std::optional<double> max_score = {}, min_score = {};
    std::optional<double> absolute_margin = {}, relative_margin = {};
    PositiveScore positive_score = PositiveScore::min;
    RankAmong rank_among = RankAmong::survivors;
    Sampling sampling = Sampling::top;
    std::uint64_t seed = 0;
};

// Of negatives, by their distance: see select/race.hpp.
struct DistanceWeights {
    double cutoff = 0.5;               // nearer ones weigh as much as those at this distance
    double nonzero_loss_cutoff = 1.4;  // farther ones weigh nothing
};

struct SampleOptions {
    std::int64_t draws = 1;
    Metric metric = Metric::cosine;
    TripletType type = TripletType::all;  // without a margin: any triplet
    std::optional<double> margin = {};
    std::optional<DistanceWeights> weights = {};  // else every triplet of the type is as likely
    std::uint64_t seed = 0;
};

struct Report {
    std::int64_t anchors = 0;
    std::int64_t anchors_without_positive = 0;
    std::int64_t anchors_without_negative = 0;
    std::int64_t fell_back = 0;
    std::int64_t zero_rows = 0;
    std::int64_t pairs_considered = 0;
    std::int64_t pairs_decided = 0;  // in float64
    double seconds = 0.0;
    int threads = 0;
    std::string_view instruction_set = {};
    // The scores that filtered, in the order of their first use.
    std::string plan = {};
};

// A vector whose new elements are not initialised: whoever makes room fills it, on many threads.
template <typename Element>
struct Uninitialised : std::allocator<Element> {
    template <typename Other>
    struct rebind {
        using other = Uninitialised<Other>;
    };
    template <typename Other>
    void construct(Other* place) {
        ::new (static_cast<void*>(place)) Other;
    }
    template <typename Other, typename... Arguments>
    void construct(Other* place, Arguments&&... arguments) {
        ::new (static_cast<void*>(place)) Other(std::forward<Arguments>(arguments)...);
    }
};
template <typename Element>
using Column = std::vector<Element, Uninitialised<Element>>;

// Arrays of one length, a triplet an entry. When there are more than max_triplets, only `count` is
// set and the arrays stay empty.
struct Mined {
    std::int64_t count = 0;
    Column<std::int64_t> anchors, positives, negatives;
    Column<double> d_ap, d_an;
    Column<std::uint8_t> fell_back;
    Report report;

    void reserve(std::int64_t triplets);
    void resize(std::int64_t triplets);
    void clear();  // the arrays, and their memory
};

// Candidates by the first rule that refused them.
struct Rejected {
    std::int64_t absolute_margin = 0;
    std::int64_t relative_margin = 0;
    std::int64_t max_score = 0;
    std::int64_t min_score = 0;
};

// (queries, num_negatives), row-major; -1 and NaN where a query has fewer.
struct MinedNegatives {
    std::vector<std::int64_t> indices;
    std::vector<double> scores;
    std::vector<double> positive_scores;  // of every entry of the positives
    Rejected rejected;
    std::int64_t short_queries = 0;
    Report report;
};

// Of each anchor, ascending: all its triplets, and those with t = d_an − d_ap <= 0. For each margin
// (anchors, margins, row-major): those with t <= margin, and their loss, the sum of margin − t.
struct Census {
    std::vector<std::int64_t> triplets, hard, with_loss;
    std::vector<double> loss;
    Report report;
};

// (rows, k), row-major.
struct Neighbours {
    std::vector<std::int64_t> indices;
    std::vector<double> distances;
    Report report;
};

// Where a gradient goes: as many rows and columns as the embeddings, row-major, float32 or float64.
struct GradientView {
    void* data = nullptr;  // null: no gradient is wanted
    DType dtype = DType::float32;
};

// The gradient of Σ weight · loss. `weights` has one value for each entry, or one for all.
struct Differentiation {
    std::span<const double> weights = {};
    GradientView gradient = {};  // rows without a loss are left as they are

    double weight(std::int64_t entry) const {
        return weights[weights.size() == 1 ? 0 : static_cast<std::size_t>(entry)];
    }
};

struct Losses {
    std::vector<double> each;
    double sum = 0.0;
};

struct InstructionSet {
    std::string_view name;
    std::string_view description;
    bool supported = false;
};

// Triplets whose anchors are the rows of `embeddings` (or the given ascending ones among them) and
// whose positives and negatives are the rows of `references`, or other rows of `embeddings`.
Mined mine(const Population& embeddings, const std::optional<Population>& references,
           const std::optional<std::span<const std::int64_t>>& anchors, const MineOptions& options,
           const Execution& execution);

// Of every query the corpus rows that are negatives beside its positives. `excluded`, ascending for
// each query, are no candidates: the positives among them.
MinedNegatives mine_negatives(const Population& queries, const Population& corpus,
                              const RowLists& positives, const RowLists& excluded,
                              const NegativeOptions& options, const Execution& execution);

// Counts all triplets of these anchors.
Census census(const Population& embeddings, const std::optional<Population>& references,
              const std::optional<std::span<const std::int64_t>>& anchors,
              std::span<const double> margins, Metric metric, const Execution& execution);

// Draws triplets with replacement. The result is empty, with a count of 0, if there is none of the
// type.
Mined sample(const Population& embeddings, const std::optional<Population>& references,
             const std::optional<std::span<const std::int64_t>>& anchors,
             const SampleOptions& options, const Execution& execution);

// mine a block at a time: the same triplets in the same order, in memory that does not grow with
// their number. Rows are measured at the start (what mine refuses is refused there) and packed
// once. The populations' memory and the monitor must outlive it.
class BlockMiner {
public:
    BlockMiner(const Population& embeddings, const std::optional<Population>& references,
               const std::optional<std::span<const std::int64_t>>& anchors,
               const MineOptions& options, const Execution& execution);
    ~BlockMiner();

    // The next max_triplets triplets, or as many as are left; after the last block nothing. The
    // first block is there even if it is empty. A block's report counts the anchors that end in it,
    // so that the counts of all blocks add up to those of mine.
    std::optional<Mined> next();

private:
    struct State;
    std::unique_ptr<State> state_;
};

// The k smallest (distance, index) of every row. Without `references`, among the other rows.
Neighbours nearest(const Population& rows, const std::optional<Population>& references,
                   std::int64_t k, Metric metric, const Execution& execution);

// Every distance, rounded to float32, to out + i * row_stride + j * col_stride (bytes).
void pairwise_distances(const Population& rows, const std::optional<Population>& references,
                        Metric metric, float* out, std::ptrdiff_t row_stride,
                        std::ptrdiff_t col_stride, const Execution& execution);

// max(0, margin + d_ap − d_an) of each (anchor, positive, negative), three rows an entry.
Losses triplet_loss(const Population& embeddings, std::span<const std::int64_t> triplets,
                    Metric metric, double margin, const Differentiation& wanted,
                    const Execution& execution);

// d² of each pair of the same kind, max(0, margin − d)² of the others, two rows an entry.
Losses contrastive_loss(const Population& embeddings, std::span<const std::int64_t> pairs,
                        std::span<const std::uint8_t> same, Metric metric, double margin,
                        const Differentiation& wanted, const Execution& execution);

// The gradient of Σ weight · max(0, margin + d_ap − d_an) over every triplet of labelled rows.
void batch_all_gradient(const Population& embeddings, Metric metric, double margin, double weight,
                        const GradientView& gradient, const Execution& execution);

// The compiled kernel sets, best first.
std::vector<InstructionSet> instruction_sets();

// The threads a call uses by default: what OpenMP says now, and one in a forked child.
int default_threads();

}  // namespace tripletmine
