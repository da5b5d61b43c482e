// Wrappers of the losses. `gradient` is an array of zeros to be filled, or None.
#include "convert.hpp"

namespace tripletmine::python {
namespace {

using Float64s = py::array_t<double, py::array::c_style>;
using Bytes = py::array_t<std::uint8_t, py::array::c_style>;

Differentiation differentiation(const Float64s& weights, std::optional<py::array>& gradient) {
    Differentiation wanted;
    wanted.weights = {weights.data(), static_cast<std::size_t>(weights.size())};
    if (gradient) wanted.gradient = {gradient->mutable_data(), matrix_view(*gradient).dtype};
    return wanted;
}

// (loss of each triplet, their sum)
py::tuple triplet_loss(const py::array& embeddings, const Int64s& triplets,
                       const std::string& metric, double margin, const Float64s& weights,
                       std::optional<py::array> gradient, int n_threads) {
    const auto rows = population("embeddings", embeddings, std::nullopt, std::nullopt);
    const auto entries = int64_view(triplets);
    const auto measure = metric_named(metric);
    const auto wanted = differentiation(weights, gradient);
    PythonMonitor monitor(py::none{});
    Losses losses;
    const Execution how = execution(n_threads, monitor);
    {
        const WithoutGil released(monitor);
        losses = tripletmine::triplet_loss(rows, entries, measure, margin, wanted, how);
    }
    return py::make_tuple(to_numpy(std::move(losses.each)), losses.sum);
}

// (loss of each pair, their sum)
py::tuple contrastive_loss(const py::array& embeddings, const Int64s& pairs, const Bytes& same,
                           const std::string& metric, double margin, const Float64s& weights,
                           std::optional<py::array> gradient, int n_threads) {
    const auto rows = population("embeddings", embeddings, std::nullopt, std::nullopt);
    const auto entries = int64_view(pairs);
    const std::span<const std::uint8_t> kinds{same.data(), static_cast<std::size_t>(same.size())};
    const auto measure = metric_named(metric);
    const auto wanted = differentiation(weights, gradient);
    PythonMonitor monitor(py::none{});
    Losses losses;
    const Execution how = execution(n_threads, monitor);
    {
        const WithoutGil released(monitor);
        losses = tripletmine::contrastive_loss(rows, entries, kinds, measure, margin, wanted, how);
    }
    return py::make_tuple(to_numpy(std::move(losses.each)), losses.sum);
}

void batch_all_gradient(const py::array& embeddings, const Int64s& labels,
                        const std::string& metric, double margin, double weight, py::array gradient,
                        int n_threads, py::object progress, std::int64_t packing_budget) {
    const auto rows = population("embeddings", embeddings, labels, std::nullopt);
    const auto measure = metric_named(metric);
    const GradientView to{gradient.mutable_data(), matrix_view(gradient).dtype};
    PythonMonitor monitor(std::move(progress));
    const Execution how = execution(n_threads, monitor, packing_budget);
    {
        const WithoutGil released(monitor);
        tripletmine::batch_all_gradient(rows, measure, margin, weight, to, how);
    }
}

}  // namespace

void add_losses(py::module_& module) {
    module.def("triplet_loss", &triplet_loss, py::kw_only(), "embeddings"_a, "triplets"_a,
               "metric"_a, "margin"_a, "weights"_a, "gradient"_a.noconvert(), "n_threads"_a);
    module.def("contrastive_loss", &contrastive_loss, py::kw_only(), "embeddings"_a, "pairs"_a,
               "same"_a, "metric"_a, "margin"_a, "weights"_a, "gradient"_a.noconvert(),
               "n_threads"_a);
    module.def("batch_all_gradient", &batch_all_gradient, py::kw_only(), "embeddings"_a, "labels"_a,
               "metric"_a, "margin"_a, "weight"_a, "gradient"_a.noconvert(), "n_threads"_a,
               "progress"_a, "packing_budget"_a);
}

}  // namespace tripletmine::python
