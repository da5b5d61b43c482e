// Wrappers of the calls that look at all triplets of a set.
#include "convert.hpp"

namespace tripletmine::python {
namespace {

// (triplets (anchors,), hard (anchors,), with_loss (anchors * margins,), loss (anchors * margins,),
// report)
py::tuple census(const py::array& embeddings, const Int64s& labels,
                 const std::optional<py::array>& ref_emb, const std::optional<Int64s>& ref_labels,
                 const std::vector<double>& margins, const std::string& metric,
                 const std::optional<Int64s>& groups, const std::optional<Int64s>& ref_groups,
                 const std::optional<Int64s>& anchors, int n_threads, py::object progress,
                 std::int64_t packing_budget) {
    const auto rows = population("embeddings", embeddings, labels, groups);
    const auto references = population("ref_emb", ref_emb, ref_labels, ref_groups);
    std::optional<std::span<const std::int64_t>> subset;
    if (anchors) subset = int64_view(anchors);
    const auto measure = metric_named(metric);
    PythonMonitor monitor(std::move(progress));
    Census counted;
    const Execution how = execution(n_threads, monitor, packing_budget);
    {
        const WithoutGil released(monitor);
        counted = tripletmine::census(rows, references, subset, margins, measure, how);
    }
    return py::make_tuple(to_numpy(std::move(counted.triplets)), to_numpy(std::move(counted.hard)),
                          to_numpy(std::move(counted.with_loss)), to_numpy(std::move(counted.loss)),
                          to_dict(counted.report));
}

// (anchors, positives, negatives, d_ap, d_an) or None, report; None when there is no such triplet.
py::tuple sample(const py::array& embeddings, const Int64s& labels,
                 const std::optional<py::array>& ref_emb, const std::optional<Int64s>& ref_labels,
                 std::int64_t draws, const std::string& type_of_triplets,
                 std::optional<double> margin, const std::string& metric,
                 std::optional<std::pair<double, double>> cutoffs,
                 const std::optional<Int64s>& groups, const std::optional<Int64s>& ref_groups,
                 const std::optional<Int64s>& anchors, std::uint64_t seed, int n_threads,
                 py::object progress, std::int64_t packing_budget) {
    const auto rows = population("embeddings", embeddings, labels, groups);
    const auto references = population("ref_emb", ref_emb, ref_labels, ref_groups);
    std::optional<std::span<const std::int64_t>> subset;
    if (anchors) subset = int64_view(anchors);
    SampleOptions options;
    options.draws = draws;
    options.metric = metric_named(metric);
    options.type = triplet_type_named(type_of_triplets);
    options.margin = margin;
    if (cutoffs) options.weights = {cutoffs->first, cutoffs->second};
    options.seed = seed;
    PythonMonitor monitor(std::move(progress));
    Mined drawn;
    const Execution how = execution(n_threads, monitor, packing_budget);
    {
        const WithoutGil released(monitor);
        drawn = tripletmine::sample(rows, references, subset, options, how);
    }
    py::object arrays = py::none();
    if (drawn.count == draws) {
        arrays =
            py::make_tuple(to_numpy(std::move(drawn.anchors)), to_numpy(std::move(drawn.positives)),
                           to_numpy(std::move(drawn.negatives)), to_numpy(std::move(drawn.d_ap)),
                           to_numpy(std::move(drawn.d_an)));
    }
    return py::make_tuple(arrays, to_dict(drawn.report));
}

}  // namespace

void add_census(py::module_& module) {
    module.def("census", &census, py::kw_only(), "embeddings"_a, "labels"_a, "ref_emb"_a,
               "ref_labels"_a, "margins"_a, "metric"_a, "groups"_a, "ref_groups"_a, "anchors"_a,
               "n_threads"_a, "progress"_a, "packing_budget"_a);
    module.def("sample", &sample, py::kw_only(), "embeddings"_a, "labels"_a, "ref_emb"_a,
               "ref_labels"_a, "draws"_a, "type_of_triplets"_a, "margin"_a, "metric"_a, "cutoffs"_a,
               "groups"_a, "ref_groups"_a, "anchors"_a, "seed"_a, "n_threads"_a, "progress"_a,
               "packing_budget"_a);
}

}  // namespace tripletmine::python
