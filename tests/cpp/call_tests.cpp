// The promise made of all kernel sets together: the same answers from every set, for any number of
// threads and any memory budget.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "support.hpp"
#include "tripletmine/tripletmine.hpp"

namespace tripletmine {
namespace {

// Rows of some dtype with labels and groups; owns what its population views.
struct Data {
    std::string name;
    DType dtype = DType::float32;
    std::int64_t rows = 0, dim = 0;
    std::vector<char> bytes;
    std::vector<double> values;  // exact
    std::vector<std::int64_t> labels, groups;

    Population unlabelled() const {
        const std::ptrdiff_t item = static_cast<std::ptrdiff_t>(bytes.size()) / (rows * dim);
        return {"data", {bytes.data(), dtype, rows, dim, dim * item, item}};
    }
    Population labelled(bool grouped) const {
        Population population = unlabelled();
        population.labels = labels;
        if (grouped) population.groups = groups;
        return population;
    }
};

enum class Kind : std::uint8_t { random, tied, duplicated, sharing };

// A value of the kind as the dtype's bits; the value is always exactly representable.
Data make_data(const char* name, Kind kind, DType dtype, std::int64_t rows, std::int64_t dim,
               std::int64_t classes, std::uint64_t seed) {
    Random random(seed);
    Data data{name, dtype, rows, dim, {}, {}, {}, {}};
    const auto put = [&](auto bits) {
        char raw[sizeof bits];
        std::memcpy(raw, &bits, sizeof bits);
        data.bytes.insert(data.bytes.end(), raw, raw + sizeof bits);
    };
    for (std::int64_t i = 0; i < rows; ++i) {
        const std::int64_t original = random.below(i + 1);
        const bool copied = kind == Kind::duplicated && original < i && random.below(3) == 0;
        for (std::int64_t k = 0; k < dim; ++k) {
            double value = kind == Kind::tied ? static_cast<double>(random.below(3) - 1)
                                              : random.uniform() + random.uniform();
            if (kind == Kind::sharing) value += 3.0 * std::sin(static_cast<double>(k));
            if (copied) value = data.values[original * dim + k];
            const auto single = std::bit_cast<std::uint32_t>(static_cast<float>(value));
            switch (dtype) {
                case DType::float64:
                    put(value);
                    break;
                case DType::float32:
                    put(single);
                    value = decode(single, 8, 23);
                    break;
                case DType::bfloat16:
                    put(static_cast<std::uint16_t>(single >> 16));
                    value = decode(single >> 16, 8, 7);
                    break;
                case DType::float16: {  // sign, a normal exponent and some mantissa, or zero
                    const std::uint32_t magnitude = single & 0x7fffffffu;
                    const bool zero = magnitude < 0x38800000u;
                    const std::uint32_t half =
                        (single >> 16 & 0x8000u) | (zero ? 0 : (magnitude - 0x38000000u) >> 13);
                    put(static_cast<std::uint16_t>(half));
                    value = decode(half, 5, 10);
                    break;
                }
            }
            data.values.push_back(value);
        }
        data.labels.push_back(random.below(classes) - 1);
        data.groups.push_back(random.below(rows / 3 + 1));
    }
    return data;
}

struct Way {
    std::string_view set;
    int threads;
    std::int64_t packing_budget;
    Execution execution() const { return {threads, nullptr, packing_budget, std::string(set)}; }
    std::string name() const {
        return std::to_string(threads) + " threads, packing " +
               (packing_budget == 0 ? "each block anew" : "kept");
    }
};

std::vector<Way> ways(std::string_view set) {
    constexpr std::int64_t unlimited = std::numeric_limits<std::int64_t>::max();
    return {{set, 1, unlimited}, {set, 1, 0}, {set, 3, unlimited}, {set, 3, 0}};
}

template <typename Vector>
bool same_bytes(const Vector& a, const Vector& b) {
    return a.size() == b.size() &&
           (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof a[0]) == 0);
}

bool same(const Mined& a, const Mined& b) {
    const Report &x = a.report, &y = b.report;
    return a.count == b.count && same_bytes(a.anchors, b.anchors) &&
           same_bytes(a.positives, b.positives) && same_bytes(a.negatives, b.negatives) &&
           same_bytes(a.d_ap, b.d_ap) && same_bytes(a.d_an, b.d_an) &&
           same_bytes(a.fell_back, b.fell_back) && x.anchors == y.anchors &&
           x.anchors_without_positive == y.anchors_without_positive &&
           x.anchors_without_negative == y.anchors_without_negative && x.fell_back == y.fell_back &&
           x.zero_rows == y.zero_rows && x.pairs_considered == y.pairs_considered;
}

// The definition of the distance, on the exact values.
double distance(Metric metric, const Data& a, std::int64_t i, const Data& b, std::int64_t j) {
    const double *x = a.values.data() + i * a.dim, *y = b.values.data() + j * b.dim;
    const auto dot = [&](const double* u, const double* v) {
        return sum8(a.dim, [&](std::int64_t k) { return u[k] * v[k]; });
    };
    if (metric == Metric::dot) return -dot(x, y);
    if (metric == Metric::cosine) {
        const double norms = dot(x, x) * dot(y, y);  // of moderate size in this test, or zero
        return norms == 0.0 ? 1.0 : std::max(0.0, 1.0 - dot(x, y) / std::sqrt(norms));
    }
    const double sq = sum8(a.dim, [&](std::int64_t k) { return (x[k] - y[k]) * (x[k] - y[k]); });
    return metric == Metric::euclidean ? std::sqrt(sq) : sq;
}

constexpr Metric all_metrics[] = {Metric::cosine, Metric::dot, Metric::euclidean,
                                  Metric::sqeuclidean};

// nearest and pairwise_distances, against their definitions.
void check_distances(Tally& tally, std::string_view set, const Data& rows, const Data* references) {
    const Data& cols = references ? *references : rows;
    const auto other = references ? std::optional(references->unlabelled()) : std::nullopt;
    const std::int64_t k = std::min<std::int64_t>(7, cols.rows - 1);
    for (const Metric metric : all_metrics) {
        std::vector<float> all;
        std::vector<std::int64_t> indices;
        std::vector<double> distances;
        for (std::int64_t i = 0; i < rows.rows; ++i) {
            std::vector<std::pair<double, std::int64_t>> order;
            for (std::int64_t j = 0; j < cols.rows; ++j) {
                const double d = distance(metric, rows, i, cols, j);
                all.push_back(static_cast<float>(d));
                if (references || i != j) order.emplace_back(d, j);
            }
            std::partial_sort(order.begin(), order.begin() + k, order.end());
            for (std::int64_t rank = 0; rank < k; ++rank) {
                distances.push_back(order[rank].first);
                indices.push_back(order[rank].second);
            }
        }
        for (const Way& way : ways(set)) {
            const std::string where = " on " + rows.name + (references ? " with references" : "") +
                                      ", metric " + std::to_string(static_cast<int>(metric)) +
                                      ", " + way.name();
            const Neighbours found = nearest(rows.unlabelled(), other, k, metric, way.execution());
            tally.check(
                same_bytes(found.indices, indices) && same_bytes(found.distances, distances),
                "nearest" + where + " differs from its definition");
            tally.check(found.report.instruction_set == set,
                        "nearest ran " + std::string(found.report.instruction_set));
            std::vector<float> out(all.size());
            const auto item = static_cast<std::ptrdiff_t>(sizeof(float));
            pairwise_distances(rows.unlabelled(), other, metric, out.data(), cols.rows * item, item,
                               way.execution());
            tally.check(same_bytes(out, all),
                        "pairwise_distances" + where + " differs from its definition");
        }
    }
}

struct MineCase {
    const char* name;
    MineOptions options;
    bool grouped = false;
};

std::vector<MineCase> mine_cases() {
    using S = Strategy;
    std::vector<MineCase> cases;
    const auto with = [&](const char* name, S positive, S negative, auto change) {
        MineCase one{name, {}, false};
        one.options.positive = positive;
        one.options.negative = negative;
        change(one);
        cases.push_back(one);
    };
    const auto as_is = [](MineCase&) {};
    with("easy/hard", S::easy, S::hard, as_is);
    with("hard/easy, 5 negatives", S::hard, S::easy,
         [](MineCase& c) { c.options.num_negatives = 5; });
    with("easy/semihard, hard fallback", S::easy, S::semihard,
         [](MineCase& c) { c.options.fallback = Fallback::hard; });
    with("hard/semihard, easy fallback, ranks 1 to 3", S::hard, S::semihard, [](MineCase& c) {
        c.options.fallback = Fallback::easy;
        c.options.num_negatives = 3;
        c.options.range_min = 1;
    });
    with("semihard/hard, groups", S::semihard, S::hard, [](MineCase& c) { c.grouped = true; });
    with("semihard/easy", S::semihard, S::easy, as_is);
    with("random/random", S::random, S::random, [](MineCase& c) {
        c.options.num_negatives = 4;
        c.options.seed = 99;
    });
    with("random/semihard, margin, groups", S::random, S::semihard, [](MineCase& c) {
        c.options.margin = 0.5;
        c.options.type = TripletType::semihard;
        c.grouped = true;
    });
    with("easy/hard, ranges", S::easy, S::hard, [](MineCase& c) {
        c.options.positive_range = {0.25, 4.0};
        c.options.negative_range = {0.5, 3.0};
        c.options.num_negatives = 2;
    });
    with("all/semihard, easy fallback", S::all, S::semihard,
         [](MineCase& c) { c.options.fallback = Fallback::easy; });
    with("all/all, margin", S::all, S::all, [](MineCase& c) { c.options.margin = 0.01; });
    with("easy/all", S::easy, S::all, as_is);
    return cases;
}

Mined mine_one(const MineCase& one, Metric metric, const Data& rows, const Data* references,
               const std::vector<std::int64_t>* anchors, const Execution& execution) {
    MineOptions options = one.options;
    options.metric = metric;
    const auto other = references ? std::optional(references->labelled(one.grouped)) : std::nullopt;
    const auto some =
        anchors ? std::optional(std::span<const std::int64_t>(*anchors)) : std::nullopt;
    return mine(rows.labelled(one.grouped), other, some, options, execution);
}

// The same in blocks, joined again; an empty result where a block has not the size that it must.
Mined mine_in_blocks(const MineCase& one, Metric metric, const Data& rows, const Data* references,
                     const std::vector<std::int64_t>* anchors, const Execution& execution) {
    MineOptions options = one.options;
    options.metric = metric;
    options.max_triplets = 37;
    const auto other = references ? std::optional(references->labelled(one.grouped)) : std::nullopt;
    const auto some =
        anchors ? std::optional(std::span<const std::int64_t>(*anchors)) : std::nullopt;
    BlockMiner miner(rows.labelled(one.grouped), other, some, options, execution);
    const auto append = [](auto& to, const auto& from) {
        to.insert(to.end(), from.begin(), from.end());
    };
    std::optional<Mined> whole = miner.next();
    for (std::optional<Mined> block; (block = miner.next());) {
        if (whole->count % options.max_triplets != 0 || block->count == 0) return {};
        whole->count += block->count;
        append(whole->anchors, block->anchors);
        append(whole->positives, block->positives);
        append(whole->negatives, block->negatives);
        append(whole->d_ap, block->d_ap);
        append(whole->d_an, block->d_an);
        append(whole->fell_back, block->fell_back);
        Report &sum = whole->report, &part = block->report;
        sum.anchors += part.anchors;
        sum.anchors_without_positive += part.anchors_without_positive;
        sum.anchors_without_negative += part.anchors_without_negative;
        sum.fell_back += part.fell_back;
        sum.pairs_considered += part.pairs_considered;
    }
    return std::move(*whole);
}

// mine, the same in every way: the portable set on one thread is what the others are held to.
void check_mining(Tally& tally, std::string_view set, const Data& rows, const Data* references,
                  const std::vector<std::int64_t>* anchors) {
    std::int64_t triplets = 0;
    for (const MineCase& one : mine_cases()) {
        for (const Metric metric : all_metrics) {
            const Mined expected = mine_one(one, metric, rows, references, anchors,
                                            {.n_threads = 1, .instruction_set = "portable"});
            triplets += expected.count;
            for (const Way& way : ways(set)) {
                const Mined found =
                    mine_one(one, metric, rows, references, anchors, way.execution());
                tally.check(same(found, expected),
                            std::string("mine ") + one.name + " on " + rows.name +
                                (references ? " with references" : "") +
                                (anchors ? " for some anchors" : "") + ", metric " +
                                std::to_string(static_cast<int>(metric)) + ", " + way.name() +
                                ": " + std::to_string(found.count) +
                                " triplets are not portable's " + std::to_string(expected.count));
            }
            const Mined blocks =
                mine_in_blocks(one, metric, rows, references, anchors,
                               {.n_threads = 2, .instruction_set = std::string(set)});
            tally.check(same(blocks, expected), std::string("mine in blocks ") + one.name + " on " +
                                                    rows.name + ", " + std::string(set));
        }
    }
    tally.check(triplets > 0, "mine finds nothing at all on " + rows.name);
}

struct NegativesCase {
    const char* name;
    NegativeOptions options;
};

std::vector<NegativesCase> negatives_cases() {
    std::vector<NegativesCase> cases;
    const auto with = [&](const char* name, auto change) {
        NegativesCase one{name, {}};
        one.options.num_negatives = 4;
        change(one.options);
        cases.push_back(one);
    };
    with("top", [](NegativeOptions&) {});
    with("margins, mean of the positives", [](NegativeOptions& o) {
        o.absolute_margin = 0.1;
        o.relative_margin = 0.05;
        o.positive_score = PositiveScore::mean;
        o.range_min = 2;
    });
    with("scores, ranks among all", [](NegativeOptions& o) {
        o.max_score = 0.5;
        o.min_score = -2.0;
        o.rank_among = RankAmong::all;
        o.range_min = 3;
    });
    with("random in a window", [](NegativeOptions& o) {
        o.sampling = Sampling::random;
        o.relative_margin = 0.05;
        o.range_max = 20;
    });
    with("random of all but the first", [](NegativeOptions& o) {
        o.sampling = Sampling::random;
        o.max_score = 0.2;
        o.range_min = 5;
    });
    return cases;
}

bool same(const MinedNegatives& a, const MinedNegatives& b) {
    const auto counts = [](const MinedNegatives& mined) {
        return std::vector<std::int64_t>{mined.rejected.absolute_margin,
                                         mined.rejected.relative_margin,
                                         mined.rejected.max_score,
                                         mined.rejected.min_score,
                                         mined.short_queries,
                                         mined.report.pairs_considered};
    };
    return same_bytes(a.indices, b.indices) && same_bytes(a.scores, b.scores) &&
           same_bytes(a.positive_scores, b.positive_scores) && counts(a) == counts(b);
}

// mine_negatives, the same in every way. Query i has i modulo 3, plus 1, positives.
void check_negatives(Tally& tally, std::string_view set, const Data& queries, const Data& corpus) {
    std::vector<std::int64_t> begins{0}, indices;
    for (std::int64_t i = 0; i < queries.rows; ++i) {
        for (std::int64_t j = 0; j <= i % 3; ++j) indices.push_back((i + 7 * j) % corpus.rows);
        std::sort(indices.begin() + begins.back(), indices.end());
        begins.push_back(static_cast<std::int64_t>(indices.size()));
    }
    const RowLists positives{begins, indices};
    for (const NegativesCase& one : negatives_cases()) {
        for (const Metric metric : all_metrics) {
            NegativeOptions options = one.options;
            options.metric = metric;
            const auto mined = [&](const Execution& execution) {
                return mine_negatives(queries.unlabelled(), corpus.unlabelled(), positives,
                                      positives, options, execution);
            };
            const MinedNegatives expected = mined({.n_threads = 1, .instruction_set = "portable"});
            tally.check(expected.positive_scores.size() == indices.size(),
                        "mine_negatives scores every positive");
            for (const Way& way : ways(set)) {
                tally.check(same(mined(way.execution()), expected),
                            std::string("mine_negatives, ") + one.name + ", on " + queries.name +
                                ", metric " + std::to_string(static_cast<int>(metric)) + ", " +
                                way.name() + ", is not portable's");
            }
        }
    }
}

// A small self-join scores each pair once, where rows are long enough for its kernel set and there
// is enough for all threads. Anchors that are named, all of them here, are rows of their own.
void check_scored_once(Tally& tally, std::string_view set) {
    for (const std::int64_t rows : {64, 97, 203, 300}) {  // across blocks, tiles and granules
        const Data data = make_data("long rows", Kind::random, DType::float32, rows, 520, 9, 18);
        std::vector<std::int64_t> anchors(static_cast<std::size_t>(rows));
        std::iota(anchors.begin(), anchors.end(), std::int64_t{0});
        for (const std::int64_t num_negatives : {1, 3}) {
            for (const bool grouped : {false, true}) {
                MineCase one{"hard/hard", {}, grouped};
                one.options.positive = one.options.negative = Strategy::hard;
                one.options.num_negatives = num_negatives;
                const auto mined = [&](const std::vector<std::int64_t>* some) {
                    Execution how;
                    how.n_threads = rows < 300 ? 1 : 2;
                    how.packing_budget = rows == 97 ? 0 : how.packing_budget;
                    how.instruction_set = set;
                    return mine_one(one, Metric::cosine, data, nullptr, some, how);
                };
                tally.check(same(mined(nullptr), mined(&anchors)),
                            "each pair scored once, of " + std::to_string(rows) + " rows, " +
                                std::to_string(num_negatives) + " negatives" +
                                (grouped ? ", grouped" : ""));
            }
        }
    }
}

// A large sweep begins with seeds for few candidates; more of them are found in another way, and
// the first ones are the same.
void check_seeded(Tally& tally, std::string_view set) {
    constexpr std::int64_t rows = 9300, many = 25;
    Data data = make_data("many rows", Kind::duplicated, DType::float32, rows, 5, 40, 21);
    std::vector<std::int64_t> anchors;
    for (std::int64_t i = 0; i < rows; i += 1 + i % 3 / 2) anchors.push_back(i);
    const Execution how{.n_threads = 2, .instruction_set = std::string(set)};
    const auto check = [&](const Data& from, Strategy negative, std::int64_t wanted, Metric metric,
                           bool grouped, const Data* references = nullptr,
                           const std::vector<std::int64_t>* some = nullptr) {
        MineCase one{"hard", {}, grouped};
        one.options.positive = Strategy::hard;
        one.options.negative = negative;
        one.options.num_negatives = wanted;
        const Mined found = mine_one(one, metric, from, references, some, how);
        one.options.num_negatives = many;
        const Mined more = mine_one(one, metric, from, references, some, how);
        bool right = more.count == many * more.report.anchors &&
                     found.count == wanted * found.report.anchors &&
                     found.report.anchors == more.report.anchors;
        for (std::int64_t i = 0; right && i < found.count; ++i) {
            const std::int64_t j = i / wanted * many + i % wanted;
            right = found.anchors[i] == more.anchors[j] && found.d_an[i] == more.d_an[j] &&
                    found.negatives[i] == more.negatives[j] &&
                    found.positives[i] == more.positives[j];
        }
        tally.check(right, "the first " + std::to_string(wanted) + " of " + std::to_string(many) +
                               " negatives of " + from.name + ", metric " +
                               std::to_string(static_cast<int>(metric)) +
                               (grouped ? ", grouped" : "") + (some ? ", for some anchors" : "") +
                               (references ? ", with references" : ""));
    };
    check(data, Strategy::hard, 3, Metric::cosine, true);
    check(data, Strategy::easy, 3, Metric::euclidean, false);
    check(data, Strategy::hard, 1, Metric::euclidean, true);
    check(data, Strategy::hard, 1, Metric::dot, false, nullptr, &anchors);
    // Rows of int8.
    const Data longer =
        make_data("longer rows", Kind::duplicated, DType::float32, rows, 65, 40, 22);
    check(longer, Strategy::hard, 3, Metric::cosine, false);
    // Groups so large that no row's scores are looked at together.
    Data references = make_data("references", Kind::duplicated, DType::float32, rows, 5, 40, 23);
    for (Data* one : {&data, &references}) {
        for (std::int64_t& group : one->groups) group %= 10;
    }
    check(data, Strategy::hard, 3, Metric::sqeuclidean, true, &references);
    // Most rows are of a class beside which there is little to meet.
    for (std::int64_t i = 0; i < rows; ++i) data.labels[i] = i % 31 == 0;
    check(data, Strategy::hard, 3, Metric::cosine, false);
}

}  // namespace

void check_calls(Tally& tally, std::string_view set) {
    // Sizes around the tiles', dims around the partial sums and the chains of 64.
    const Data random = make_data("random rows", Kind::random, DType::float32, 131, 130, 7, 11);
    const Data chained =
        make_data("rows of a chain and one", Kind::random, DType::float32, 67, 65, 5, 20);
    const Data long_rows = make_data("long rows", Kind::random, DType::float64, 49, 257, 4, 12);
    const Data tied = make_data("tied rows", Kind::tied, DType::float16, 97, 3, 5, 13);
    const Data duplicated =
        make_data("duplicated rows", Kind::duplicated, DType::bfloat16, 113, 9, 6, 14);
    const Data halves = make_data("half rows", Kind::random, DType::float16, 65, 17, 9, 15);
    const Data sharing =
        make_data("rows that share a part", Kind::sharing, DType::float32, 150, 96, 7, 19);
    for (const Data* data :
         {&random, &chained, &long_rows, &tied, &duplicated, &halves, &sharing}) {
        check_distances(tally, set, *data, nullptr);
        check_mining(tally, set, *data, nullptr, nullptr);
        const Kind kind = data == &tied      ? Kind::tied
                          : data == &sharing ? Kind::sharing
                                             : Kind::random;
        const Data references = make_data("references", kind, DType::float32, 53, data->dim, 8, 16);
        check_distances(tally, set, *data, &references);
        check_mining(tally, set, *data, &references, nullptr);
        check_negatives(tally, set, *data, references);
    }
    std::vector<std::int64_t> anchors;
    for (std::int64_t i = 1; i < random.rows; i += 3) anchors.push_back(i);
    check_mining(tally, set, random, nullptr, &anchors);
    check_scored_once(tally, set);
    check_seeded(tally, set);
    const Data single =
        make_data("a single row and one reference", Kind::random, DType::float32, 2, 1, 1, 17);
    check_distances(tally, set, single, nullptr);
}

}  // namespace tripletmine
