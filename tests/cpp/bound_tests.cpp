// The soundness of the filter: for every pair of awkward data, in every metric and both directions,
// the bounds of its score must let the pair's canonical distance through. A bound that is
// too tight by one rounding would fail here on cancelling sums or near-duplicates long before a
// user saw a wrong triplet. And the bounds must not be vacuous: on ordinary data they are narrow.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dataset.hpp"
#include "exact.hpp"
#include "operand.hpp"
#include "seeds.hpp"
#include "support.hpp"
#include "walk.hpp"

namespace tripletmine {
namespace {

struct Rows {
    std::string name;
    std::int64_t count, dim;
    std::vector<double> values;
    Population population() const {
        return {
            "rows",
            {values.data(), DType::float64, count, dim, static_cast<std::ptrdiff_t>(8 * dim), 8}};
    }
};

template <typename Value>
Rows make_rows(const char* name, std::int64_t count, std::int64_t dim, Value value) {
    Rows rows{name, count, dim, {}};
    for (std::int64_t i = 0; i < count; ++i) {
        for (std::int64_t k = 0; k < dim; ++k) rows.values.push_back(value(i, k));
    }
    return rows;
}

std::vector<Rows> awkward_rows() {
    Random random(77);
    const auto uniform = [&](std::int64_t, std::int64_t) { return random.uniform(); };
    std::vector<Rows> all;
    for (const std::int64_t dim : {1, 2, 17, 63, 64, 65, 128, 129, 500}) {
        all.push_back(make_rows("uniform", 51, dim, uniform));
    }
    all.push_back(make_rows("huge dynamic range", 51, 40, [&](std::int64_t, std::int64_t) {
        return std::ldexp(random.uniform(), static_cast<int>(random.below(400)) - 200);
    }));
    all.push_back(
        make_rows("rows of very different norms", 51, 33, [&](std::int64_t i, std::int64_t) {
            return std::ldexp(random.uniform(), static_cast<int>(i % 7) * 12 - 36);
        }));
    all.push_back(make_rows("one giant coordinate", 51, 60, [&](std::int64_t, std::int64_t k) {
        return k == 31 ? 1e7 + random.uniform() : random.uniform();
    }));
    all.push_back(make_rows("near-duplicates", 51, 300, [&](std::int64_t, std::int64_t k) {
        return std::sin(static_cast<double>(k)) + 1e-9 * random.uniform();
    }));
    all.push_back(make_rows("close together", 51, 100, [&](std::int64_t i, std::int64_t) {
        return 0.3 + std::ldexp(random.uniform(), -static_cast<int>(i % 32));
    }));
    all.push_back(make_rows("constant", 51, 64, [&](std::int64_t, std::int64_t) { return 0.1; }));
    all.push_back(make_rows("cancelling sums", 51, 256, [&](std::int64_t i, std::int64_t k) {
        return ((k + i) % 2 == 0 ? 1.0 : -1.0) * (1.0 + 1e-7 * random.uniform());
    }));
    // Sums that drift: every addition rounds the same way.
    all.push_back(make_rows("one-sided rounding", 51, 500, [&](std::int64_t i, std::int64_t k) {
        return (k == 0 ? 1.0 : 0x1p-12) * (1.0 + static_cast<double>(i) * 0x1p-20);
    }));
    all.push_back(make_rows("subnormal float32", 51, 30,
                            [&](std::int64_t, std::int64_t) { return 1e-40 * random.uniform(); }));
    all.push_back(make_rows("subnormal squares", 51, 30,
                            [&](std::int64_t, std::int64_t) { return 1e-161 * random.uniform(); }));
    all.push_back(make_rows("near the largest norm", 51, 30,
                            [&](std::int64_t, std::int64_t) { return 1e152 * random.uniform(); }));
    all.push_back(make_rows("some zero rows", 51, 30, [&](std::int64_t i, std::int64_t) {
        return i % 3 == 0 ? 0.0 : random.uniform();
    }));
    return all;
}

// All scores of the operand with itself, as a walk computes them.
std::vector<float> all_scores(Team& team, const Dataset& dataset, const Operand& operand,
                              Metric metric) {
    const std::int64_t size = dataset.size();
    std::vector<float> scores(static_cast<std::size_t>(size * size));
    const Pairing pairing{&dataset, &dataset, &operand, &operand, false, false, metric};
    Walk walk(team, pairing, Relation::any, plan_shared(pairing, 1));
    Walk::Scratch scratch;
    const Scorer& scorer = operand.scorer();
    for (const Walk::Task& task : walk.tasks()) {
        walk.run(
            task, 0, scratch, [](const Walk::Strip&) {},
            [&](const Walk::Strip& strip, const Walk::Tile& tile) {
                for (std::int64_t r = 0; r < scorer.tile_rows; ++r) {
                    const std::int64_t row = tile.row_begin + r;
                    if (row >= task.row_end) continue;
                    const auto of_row = pairing.row_scores(tile.scores, row, r, strip.col_begin);
                    for (std::int64_t c = strip.col_begin; c < strip.col_end; ++c) {
                        scores[static_cast<std::size_t>(row * size + c)] =
                            of_row(c - strip.col_begin);
                    }
                }
            });
    }
    return scores;
}

// What is chosen for the rows, and what nobody would choose.
std::vector<Origin> origins_for(const Dataset& dataset, const ScoreSpace& space,
                                const Scorer& scorer) {
    std::vector<Origin> origins{origin_of(dataset, space, scorer)};
    origins.push_back({{}, 0.0, 1e-3});
    for (const double length : {0.01, 1.3}) {
        Random random(5);
        std::vector<double> point(static_cast<std::size_t>(padded(dataset.dim())));
        double norm2 = 0.0;
        for (std::int64_t k = 0; k < dataset.dim(); ++k) {
            point[static_cast<std::size_t>(k)] = length * random.uniform();
            norm2 += point[static_cast<std::size_t>(k)] * point[static_cast<std::size_t>(k)];
        }
        origins.push_back({std::move(point), std::sqrt(norm2), 0.3});
    }
    return origins;
}

// None; for codes half of the directions, learned, and one and a half that lie askew.
std::vector<std::shared_ptr<const Projection>> projections_for(Team& team, const Dataset& dataset,
                                                               const ScoreSpace& space,
                                                               const Scorer& scorer,
                                                               const Origin& origin,
                                                               const KernelSet& kernels) {
    std::vector<std::shared_ptr<const Projection>> projections{nullptr};
    if (scorer.format != Format::int8 || kernels.fine.format != Format::float32) return projections;
    const std::int64_t dim = dataset.dim(), width = padded(dim);
    if (auto learned = Projection::learn(team, dataset, space, origin, kernels, (dim + 1) / 2, 0)) {
        projections.push_back(std::move(learned));
    }
    std::vector<double> askew(static_cast<std::size_t>(2 * width));
    for (std::int64_t k = 0; k < dim; ++k) {
        const auto at = static_cast<std::size_t>(k);
        askew[at] = 1.1 / std::sqrt(static_cast<double>(dim));
        askew[at + static_cast<std::size_t>(width)] = k % 2 == 0 ? 0.3 * askew[at] : 0.0;
    }
    projections.push_back(std::make_shared<const Projection>(team, kernels, dim, 2, askew.data()));
    return projections;
}

void check_rows(Tally& tally, const KernelSet& kernels, const Scorer& scorer, const Rows& rows,
                Metric metric) {
    run_team(1, nullptr, [&](Team& team) {
        Dataset dataset(rows.population(), std::nullopt, kernels);
        dataset.measure(team);
        const ScoreSpace space = score_space(metric, dataset.largest_norm2());
        ExactDistance exact(dataset, dataset, kernels, metric);
        const auto check = [&](const Origin& origin,
                               const std::shared_ptr<const Projection>& projection, bool chosen) {
            const Operand operand(team, dataset, kernels, scorer, space, origin, projection, true);
            const std::vector<float> scores = all_scores(team, dataset, operand, metric);
            float widest = 0.0f;
            std::int64_t outside = 0;
            for (std::int64_t i = 0; i < rows.count; ++i) {
                for (std::int64_t j = 0; j < rows.count; ++j) {
                    const double distance = exact(i, j);
                    const float score = scores[static_cast<std::size_t>(i * rows.count + j)];
                    for (const Sign sign : {Sign::nearest, Sign::farthest}) {
                        const float* bias = operand.bias(sign);
                        const float upper =
                            (sign == Sign::nearest ? score : -score) - bias[i] - bias[j];
                        const float lower = upper - operand.width()[i] - operand.width()[j];
                        outside += !(upper >= space.floor(sign, distance));
                        outside += !(lower <= space.ceiling(sign, distance));
                        widest = std::max(widest, upper - lower);
                    }
                }
            }
            const std::string what =
                rows.name + ", " + std::to_string(rows.dim) + " dimensions, metric " +
                std::to_string(static_cast<int>(metric)) + ", format " +
                std::to_string(static_cast<int>(scorer.format)) + ", origin at " +
                text(origin.norm) +
                (projection ? ", " + std::to_string(projection->size()) + " directions" : "");
            tally.check(outside == 0, what + ": " + std::to_string(outside) + " bounds are wrong");
            if (rows.name == "uniform" && chosen) {
                const float narrow = of_codes(scorer.format)             ? 20.0f / scorer.levels
                                     : scorer.format == Format::bfloat16 ? 1e-2f
                                                                         : 1e-4f;
                tally.check(widest < narrow, what + ": the bounds are as wide as " + text(widest));
            }
        };
        const std::vector<Origin> origins = origins_for(dataset, space, scorer);
        for (const Origin& origin : origins) {
            for (const auto& projection :
                 projections_for(team, dataset, space, scorer, origin, kernels)) {
                check(origin, projection, &origin == origins.data() && projection == nullptr);
            }
        }
    });
}

// Codes of rows that share a large part are measured from that part, and are the closer for it,
// however much that is, where it is no part of distances; those of rows that share little are not.
void check_origin(Tally& tally, const KernelSet& kernels, Metric metric) {
    constexpr std::int64_t count = 700, dim = 100;
    Random random(23);
    for (const double common : {0.0, 3.0, 3e3}) {
        const Rows rows = make_rows("rows", count, dim, [&](std::int64_t, std::int64_t k) {
            return common * std::sin(static_cast<double>(k)) + random.uniform();
        });
        run_team(1, nullptr, [&](Team& team) {
            Dataset dataset(rows.population(), std::nullopt, kernels);
            dataset.measure(team);
            const ScoreSpace space = score_space(metric, dataset.largest_norm2());
            const Origin chosen = origin_of(dataset, space, kernels.coarse);
            const Origin zero{{}, 0.0, chosen.coarseness};
            const auto mean_width = [&](const Origin& origin) {
                const Operand operand(team, dataset, kernels, kernels.coarse, space, origin,
                                      nullptr, true);
                double sum = 0.0;
                for (std::int64_t p = 0; p < count; ++p) {
                    sum += static_cast<double>(operand.width()[p]);
                }
                return sum / count;
            };
            const std::string what = "origin of metric " + std::to_string(static_cast<int>(metric));
            tally.check(chosen.point.empty() == (common == 0.0), what + ": not where it should be");
            if (common == 0.0) return;
            const double near = mean_width(chosen), far = mean_width(zero);
            const bool alone = common < 1e3 || metric == Metric::dot;
            tally.check(near < (alone ? 0.3 : 1e-6) * far,
                        what + ": widths " + text(near) + ", without " + text(far));
        });
    }
}

// Rows near a plane are told by few directions, within narrow bounds; for rows that differ in all
// directions alike there are none.
void check_projection(Tally& tally, const KernelSet& kernels, Metric metric) {
    if (kernels.fine.format != Format::float32) return;
    constexpr std::int64_t count = 900, dim = 150, few = 6;
    Random random(29);
    const Rows plane = make_rows(
        "plane", few, dim, [&](std::int64_t, std::int64_t) { return random.uniform() - 0.5; });
    for (const double rest : {0.1, 100.0}) {
        std::vector<double> along(few);
        const Rows rows = make_rows("rows", count, dim, [&](std::int64_t, std::int64_t k) {
            for (double& one : along) one = k == 0 ? random.uniform() - 0.5 : one;
            double sum = rest * (random.uniform() - 0.5);
            for (std::size_t j = 0; j < few; ++j) {
                sum += along[j] * plane.values[j * dim + static_cast<std::size_t>(k)];
            }
            return sum;
        });
        run_team(1, nullptr, [&](Team& team) {
            Dataset dataset(rows.population(), std::nullopt, kernels);
            dataset.measure(team);
            const ScoreSpace space = score_space(metric, dataset.largest_norm2());
            const Origin origin = origin_of(dataset, space, kernels.coarse);
            const auto projection =
                Projection::learn(team, dataset, space, origin, kernels, 75, 0.1);
            const std::string what =
                "projection of metric " + std::to_string(static_cast<int>(metric));
            tally.check((projection != nullptr) == (rest < 1.0), what + ": whether there is one");
            if (projection == nullptr) return;
            const Operand operand(team, dataset, kernels, kernels.coarse, space, origin, projection,
                                  true);
            const float widest =
                *std::max_element(operand.width(), operand.width() + dataset.size());
            tally.check(widest < 0.3f, what + ": the bounds are as wide as " + text(widest));
        });
    }
}

// Every seed is reached by as many candidates of the row as are wanted; those that were decided are
// candidates, each once; and seeds are worth having.
void check_seeds(Tally& tally, const KernelSet& kernels, Metric metric, bool labelled, Sign sign,
                 std::int64_t k, std::int64_t count = 9300) {
    constexpr std::int64_t dim = 7, classes = 60;
    const std::int64_t step = count / 96;
    Random random(19);
    const Rows centres = make_rows("centres", classes, dim, [&](std::int64_t, std::int64_t) {
        return 2.0 * random.uniform();
    });
    const Rows rows = make_rows("rows", count, dim, [&](std::int64_t i, std::int64_t c) {
        return centres.values[static_cast<std::size_t>(i % classes * dim + c)] + random.uniform();
    });
    std::vector<std::int64_t> labels, groups;
    for (std::int64_t i = 0; i < count; ++i) {
        labels.push_back(i % classes);
        groups.push_back(random.below(300));
    }
    Population population = rows.population();
    if (labelled) {
        population.labels = labels;
        population.groups = groups;
    }
    run_team(1, nullptr, [&](Team& team) {
        Dataset dataset(population, std::nullopt, kernels);
        dataset.measure(team);
        const ScoreSpace space = score_space(metric, dataset.largest_norm2());
        const Operand operand(team, dataset, kernels, kernels.coarse, space,
                              origin_of(dataset, space, kernels.coarse), nullptr, true);
        const Pairing pairing{&dataset, &dataset, &operand, &operand, true, true, metric};
        const Relation relation = labelled ? Relation::negatives : Relation::any;
        ExactDistance exact(dataset, dataset, kernels, metric);
        const auto is_candidate = [&](std::int64_t p, std::int64_t q) {
            return p != q && !(labelled && dataset.label(p) == dataset.label(q)) &&
                   !dataset.same_group(p, dataset, q);
        };
        std::set<std::pair<std::int64_t, std::int64_t>> decided;
        std::int64_t no_candidates = 0;
        const auto take = [&](std::int64_t row, std::span<const PairOfRows> pairs,
                              std::span<const double> distances) {
            no_candidates += std::ssize(pairs) != k;
            for (std::size_t i = 0; i < pairs.size(); ++i) {
                const bool right = pairs[i].row == row && is_candidate(row, pairs[i].col) &&
                                   distances[i] == exact(row, pairs[i].col) &&
                                   decided.emplace(row, pairs[i].col).second;
                no_candidates += !right;
            }
        };
        const std::vector<float> seeds =
            find_seeds(team, kernels, pairing, relation, space, sign, k, take).floors;
        const std::string what = "seeds of metric " + std::to_string(static_cast<int>(metric)) +
                                 (labelled ? ", negatives, " : ", any, ") +
                                 (sign == Sign::nearest ? "nearest " : "farthest ") +
                                 std::to_string(k);
        if (static_cast<std::int64_t>(seeds.size()) != count) {
            return tally.check(false, what + ": there are none");
        }
        std::int64_t wrong = 0, known = 0, reached_in_all = 0, looked_at = 0;
        for (std::int64_t p = 0; p < count; p += step, ++looked_at) {
            std::int64_t reached = 0;
            for (std::int64_t q = 0; q < count; ++q) {
                reached += is_candidate(p, q) &&
                           space.ceiling(sign, exact(p, q)) >= seeds[static_cast<std::size_t>(p)];
            }
            wrong += reached < k;
            known += std::isfinite(seeds[static_cast<std::size_t>(p)]);
            reached_in_all += reached;
        }
        tally.check(wrong == 0, what + ": " + std::to_string(wrong) + " are wrong");
        tally.check(no_candidates == 0 && std::ssize(decided) == count * k,
                    what + ": " + std::to_string(no_candidates) + " decided are no candidates");
        tally.check(known == looked_at && reached_in_all < count / 10 * looked_at,
                    what + ": they exclude little");
    });
}

}  // namespace

void check_bounds(Tally& tally, const KernelSet& kernels) {
    for (const Rows& rows : awkward_rows()) {
        for (const Metric metric :
             {Metric::cosine, Metric::dot, Metric::euclidean, Metric::sqeuclidean}) {
            for (const Scorer* scorer : {&kernels.fine, &kernels.medium, &kernels.coarse}) {
                if (scorer->score != nullptr) check_rows(tally, kernels, *scorer, rows, metric);
            }
        }
    }
    for (const Metric metric : {Metric::cosine, Metric::dot, Metric::euclidean}) {
        check_origin(tally, kernels, metric);
        check_projection(tally, kernels, metric);
    }
    for (const Metric metric : {Metric::cosine, Metric::sqeuclidean}) {
        for (const Sign sign : {Sign::nearest, Sign::farthest}) {
            check_seeds(tally, kernels, metric, true, sign, 1);
            check_seeds(tally, kernels, metric, true, sign, 10);
            check_seeds(tally, kernels, metric, false, sign, 3);
        }
    }
    // So many that their means are several chunks.
    check_seeds(tally, kernels, Metric::cosine, true, Sign::nearest, 1, 75'000);
    check_seeds(tally, kernels, Metric::cosine, false, Sign::nearest, 1, 75'000);
}

}  // namespace tripletmine
