// Wrapper of the call that finds negatives for known positives.
#include "convert.hpp"

namespace tripletmine::python {
namespace {

// A pair (begins (queries + 1,), indices).
RowLists row_lists(const std::pair<Int64s, Int64s>& lists) {
    return {int64_view(lists.first), int64_view(lists.second)};
}

// (indices (queries * num_negatives,), scores, positive_scores, rejected, short queries, report)
py::tuple mine_negatives(const py::array& queries, const py::array& corpus,
                         const std::pair<Int64s, Int64s>& positives,
                         const std::pair<Int64s, Int64s>& excluded, std::int64_t num_negatives,
                         std::int64_t range_min, std::optional<std::int64_t> range_max,
                         std::optional<double> max_score, std::optional<double> min_score,
                         std::optional<double> absolute_margin,
                         std::optional<double> relative_margin, const std::string& positive_score,
                         const std::string& rank_among, const std::string& sampling,
                         const std::string& metric, std::uint64_t seed, int n_threads,
                         py::object progress, std::int64_t packing_budget) {
    const auto rows = population("queries", queries, std::nullopt, std::nullopt);
    const auto candidates = population("corpus", corpus, std::nullopt, std::nullopt);
    NegativeOptions options;
    options.metric = metric_named(metric);
    options.num_negatives = num_negatives;
    options.range_min = range_min;
    options.range_max = range_max;
    options.max_score = max_score;
    options.min_score = min_score;
    options.absolute_margin = absolute_margin;
    options.relative_margin = relative_margin;
    options.positive_score = named<PositiveScore>(
        "positive_score", positive_score,
        {{"min", PositiveScore::min}, {"max", PositiveScore::max}, {"mean", PositiveScore::mean}});
    options.rank_among = named<RankAmong>(
        "rank_among", rank_among, {{"survivors", RankAmong::survivors}, {"all", RankAmong::all}});
    options.sampling = named<Sampling>("sampling", sampling,
                                       {{"top", Sampling::top}, {"random", Sampling::random}});
    options.seed = seed;
    const RowLists own = row_lists(positives), refused = row_lists(excluded);
    PythonMonitor monitor(std::move(progress));
    MinedNegatives mined;
    const Execution how = execution(n_threads, monitor, packing_budget);
    {
        const WithoutGil released(monitor);
        mined = tripletmine::mine_negatives(rows, candidates, own, refused, options, how);
    }
    const py::dict rejected("absolute_margin"_a = mined.rejected.absolute_margin,
                            "relative_margin"_a = mined.rejected.relative_margin,
                            "max_score"_a = mined.rejected.max_score,
                            "min_score"_a = mined.rejected.min_score);
    return py::make_tuple(to_numpy(std::move(mined.indices)), to_numpy(std::move(mined.scores)),
                          to_numpy(std::move(mined.positive_scores)), rejected, mined.short_queries,
                          to_dict(mined.report));
}

}  // namespace

void add_negatives(py::module_& module) {
    module.def("mine_negatives", &mine_negatives, py::kw_only(), "queries"_a, "corpus"_a,
               "positives"_a, "excluded"_a, "num_negatives"_a, "range_min"_a, "range_max"_a,
               "max_score"_a, "min_score"_a, "absolute_margin"_a, "relative_margin"_a,
               "positive_score"_a, "rank_among"_a, "sampling"_a, "metric"_a, "seed"_a,
               "n_threads"_a, "progress"_a, "packing_budget"_a);
}

}  // namespace tripletmine::python
