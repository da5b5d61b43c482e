// Wrappers of the calls that select triplets. Every wrapper has the same shape: views first, then
// the call in a block without the GIL, then the result.
#include "convert.hpp"

namespace tripletmine::python {
namespace {

// (count, arrays or None, report); None when there are more than max_triplets.
py::tuple mine(const py::array& embeddings, const Int64s& labels,
               const std::optional<py::array>& ref_emb, const std::optional<Int64s>& ref_labels,
               const std::string& pos_strategy, const std::string& neg_strategy,
               const std::string& metric, std::optional<double> margin,
               const std::string& type_of_triplets, const std::string& fallback,
               std::int64_t num_negatives, std::int64_t range_min,
               std::pair<double, double> pos_range, std::pair<double, double> neg_range,
               const std::optional<Int64s>& groups, const std::optional<Int64s>& ref_groups,
               const std::optional<Int64s>& anchors, std::int64_t max_triplets, std::uint64_t seed,
               int n_threads, py::object progress, const std::string& isa,
               std::int64_t packing_budget) {
    const auto rows = population("embeddings", embeddings, labels, groups);
    const auto references = population("ref_emb", ref_emb, ref_labels, ref_groups);
    std::optional<std::span<const std::int64_t>> subset;
    if (anchors) subset = int64_view(anchors);
    MineOptions options;
    options.positive = strategy_named("pos_strategy", pos_strategy);
    options.negative = strategy_named("neg_strategy", neg_strategy);
    options.metric = metric_named(metric);
    options.fallback = named<Fallback>(
        "fallback", fallback,
        {{"drop", Fallback::drop}, {"easy", Fallback::easy}, {"hard", Fallback::hard}});
    options.type = triplet_type_named(type_of_triplets);
    options.margin = margin;
    options.num_negatives = num_negatives;
    options.range_min = range_min;
    options.positive_range = {pos_range.first, pos_range.second};
    options.negative_range = {neg_range.first, neg_range.second};
    options.max_triplets = max_triplets;
    options.seed = seed;
    PythonMonitor monitor(std::move(progress));
    Mined mined;
    {
        const py::gil_scoped_release release;
        mined = tripletmine::mine(rows, references, subset, options,
                                  {n_threads, isa, &monitor, packing_budget});
    }
    py::object arrays = py::none();
    if (mined.count <= max_triplets) {
        arrays =
            py::make_tuple(to_numpy(std::move(mined.anchors)), to_numpy(std::move(mined.positives)),
                           to_numpy(std::move(mined.negatives)), to_numpy(std::move(mined.d_ap)),
                           to_numpy(std::move(mined.d_an)), to_numpy(std::move(mined.fell_back)));
    }
    return py::make_tuple(mined.count, arrays, to_dict(mined.report));
}

}  // namespace

void add_mining(py::module_& module) {
    module.def("mine", &mine, py::kw_only(), "embeddings"_a, "labels"_a, "ref_emb"_a,
               "ref_labels"_a, "pos_strategy"_a, "neg_strategy"_a, "metric"_a, "margin"_a,
               "type_of_triplets"_a, "fallback"_a, "num_negatives"_a, "range_min"_a, "pos_range"_a,
               "neg_range"_a, "groups"_a, "ref_groups"_a, "anchors"_a, "max_triplets"_a, "seed"_a,
               "n_threads"_a, "progress"_a, "isa"_a, "packing_budget"_a);
}

}  // namespace tripletmine::python
