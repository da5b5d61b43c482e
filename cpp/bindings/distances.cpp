// Wrappers of the calls that return distances.
#include "convert.hpp"

namespace tripletmine::python {
namespace {

// (indices (rows * k,), distances (rows * k,), report)
py::tuple nearest(const py::array& x, const std::optional<py::array>& y, std::int64_t k,
                  const std::string& metric, int n_threads, py::object progress,
                  std::int64_t packing_budget) {
    const auto rows = population("x", x, std::nullopt, std::nullopt);
    const auto references = population("y", y, std::nullopt, std::nullopt);
    const auto measure = metric_named(metric);
    PythonMonitor monitor(std::move(progress));
    Neighbours neighbours;
    const Execution how = execution(n_threads, monitor, packing_budget);
    {
        const WithoutGil released(monitor);
        neighbours = tripletmine::nearest(rows, references, k, measure, how);
    }
    return py::make_tuple(to_numpy(std::move(neighbours.indices)),
                          to_numpy(std::move(neighbours.distances)), to_dict(neighbours.report));
}

void pairwise_distances(const py::array& x, const std::optional<py::array>& y,
                        const std::string& metric, py::array_t<float> out, int n_threads,
                        py::object progress) {
    const auto rows = population("x", x, std::nullopt, std::nullopt);
    const auto references = population("y", y, std::nullopt, std::nullopt);
    const auto measure = metric_named(metric);
    float* to = out.mutable_data();
    const auto row_stride = out.strides(0), col_stride = out.strides(1);
    PythonMonitor monitor(std::move(progress));
    const Execution how = execution(n_threads, monitor);
    {
        const WithoutGil released(monitor);
        tripletmine::pairwise_distances(rows, references, measure, to, row_stride, col_stride, how);
    }
}

}  // namespace

void add_distances(py::module_& module) {
    module.def("nearest", &nearest, py::kw_only(), "x"_a, "y"_a, "k"_a, "metric"_a, "n_threads"_a,
               "progress"_a, "packing_budget"_a);
    module.def("pairwise_distances", &pairwise_distances, py::kw_only(), "x"_a, "y"_a, "metric"_a,
               "out"_a.noconvert(), "n_threads"_a, "progress"_a);
}

}  // namespace tripletmine::python
