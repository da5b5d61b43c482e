// The Python module tripletmine._core: NumPy arrays → views, the GIL released, results → NumPy
// arrays.
//
// Nothing else: arguments were checked by the Python layer, which is the only caller. Every wrapper
// has the same shape: views first, then the call in a block without the GIL, then the result.
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "tripletmine/tripletmine.hpp"

namespace py = pybind11;
using namespace py::literals;

namespace {

using tripletmine::DType;
using Int64s = py::array_t<std::int64_t, py::array::c_style>;

// bfloat16 comes as its bits: uint16.
tripletmine::MatrixView matrix_view(const py::array& array) {
    if (array.ndim() != 2) throw std::invalid_argument("expected a matrix");
    const auto dtype = [&] {
        switch (array.dtype().char_()) {
            case 'e':
                return DType::float16;
            case 'H':
                return DType::bfloat16;
            case 'f':
                return DType::float32;
            case 'd':
                return DType::float64;
            default:
                throw std::invalid_argument("expected floating-point numbers");
        }
    }();
    return {array.data(),     dtype,           array.shape(0), array.shape(1),
            array.strides(0), array.strides(1)};
}

std::span<const std::int64_t> int64_view(const std::optional<Int64s>& array) {
    if (!array) return {};
    return {array->data(), static_cast<std::size_t>(array->size())};
}

tripletmine::Population population(std::string_view name, const py::array& matrix,
                                   const std::optional<Int64s>& labels,
                                   const std::optional<Int64s>& groups) {
    return {name, matrix_view(matrix), int64_view(labels), int64_view(groups)};
}

std::optional<tripletmine::Population> population(std::string_view name,
                                                  const std::optional<py::array>& matrix,
                                                  const std::optional<Int64s>& labels,
                                                  const std::optional<Int64s>& groups) {
    if (!matrix) return std::nullopt;
    return population(name, *matrix, labels, groups);
}

// Hands a vector's memory to NumPy.
template <typename Element>
py::array_t<Element> to_numpy(std::vector<Element>&& values) {
    auto* owned = new std::vector<Element>(std::move(values));
    const py::capsule free(owned, [](void* p) { delete static_cast<std::vector<Element>*>(p); });
    return py::array_t<Element>(static_cast<py::ssize_t>(owned->size()), owned->data(), free);
}

// Ctrl-C and progress, on the calling thread.
class PythonMonitor final : public tripletmine::Monitor {
public:
    explicit PythonMonitor(py::object progress) : progress_(std::move(progress)) {}
    void tick(double pairs_done, double pairs_in_all) override {
        const py::gil_scoped_acquire gil;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        if (!progress_.is_none()) {
            progress_(static_cast<std::int64_t>(pairs_done),
                      static_cast<std::int64_t>(pairs_in_all));
        }
    }

private:
    py::object progress_;
};

py::dict to_dict(const tripletmine::Report& report) {
    return py::dict("anchors"_a = report.anchors,
                    "anchors_without_positive"_a = report.anchors_without_positive,
                    "anchors_without_negative"_a = report.anchors_without_negative,
                    "fell_back"_a = report.fell_back, "zero_rows"_a = report.zero_rows,
                    "pairs_considered"_a = report.pairs_considered,
                    "pairs_decided"_a = report.pairs_decided, "seconds"_a = report.seconds,
                    "threads"_a = report.threads,
                    "instruction_set"_a = std::string(report.instruction_set));
}

template <typename Value>
Value named(const char* option, const std::string& name,
            std::initializer_list<std::pair<const char*, Value>> known) {
    for (const auto& [candidate, value] : known) {
        if (name == candidate) return value;
    }
    throw std::invalid_argument(std::string(option) + ": unknown name '" + name + "'");
}

tripletmine::Metric metric_named(const std::string& name) {
    using tripletmine::Metric;
    return named<Metric>("metric", name,
                         {{"cosine", Metric::cosine},
                          {"dot", Metric::dot},
                          {"euclidean", Metric::euclidean},
                          {"sqeuclidean", Metric::sqeuclidean}});
}

tripletmine::Strategy strategy_named(const char* option, const std::string& name) {
    using tripletmine::Strategy;
    return named<Strategy>(option, name,
                           {{"easy", Strategy::easy},
                            {"hard", Strategy::hard},
                            {"semihard", Strategy::semihard},
                            {"random", Strategy::random},
                            {"all", Strategy::all}});
}

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
    using tripletmine::Fallback;
    using tripletmine::TripletType;
    const auto rows = population("embeddings", embeddings, labels, groups);
    const auto references = population("ref_emb", ref_emb, ref_labels, ref_groups);
    std::optional<std::span<const std::int64_t>> subset;
    if (anchors) subset = int64_view(anchors);
    tripletmine::MineOptions options;
    options.positive = strategy_named("pos_strategy", pos_strategy);
    options.negative = strategy_named("neg_strategy", neg_strategy);
    options.metric = metric_named(metric);
    options.fallback = named<Fallback>(
        "fallback", fallback,
        {{"drop", Fallback::drop}, {"easy", Fallback::easy}, {"hard", Fallback::hard}});
    options.type = named<TripletType>("type_of_triplets", type_of_triplets,
                                      {{"all", TripletType::all},
                                       {"hard", TripletType::hard},
                                       {"semihard", TripletType::semihard},
                                       {"easy", TripletType::easy}});
    options.margin = margin;
    options.num_negatives = num_negatives;
    options.range_min = range_min;
    options.positive_range = {pos_range.first, pos_range.second};
    options.negative_range = {neg_range.first, neg_range.second};
    options.max_triplets = max_triplets;
    options.seed = seed;
    PythonMonitor monitor(std::move(progress));
    tripletmine::Mined mined;
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

// (indices (rows * k,), distances (rows * k,), report)
py::tuple nearest(const py::array& x, const std::optional<py::array>& y, std::int64_t k,
                  const std::string& metric, int n_threads, py::object progress,
                  const std::string& isa, std::int64_t packing_budget) {
    const auto rows = population("x", x, std::nullopt, std::nullopt);
    const auto references = population("y", y, std::nullopt, std::nullopt);
    const auto measure = metric_named(metric);
    PythonMonitor monitor(std::move(progress));
    tripletmine::Neighbours neighbours;
    {
        const py::gil_scoped_release release;
        neighbours = tripletmine::nearest(rows, references, k, measure,
                                          {n_threads, isa, &monitor, packing_budget});
    }
    return py::make_tuple(to_numpy(std::move(neighbours.indices)),
                          to_numpy(std::move(neighbours.distances)), to_dict(neighbours.report));
}

void pairwise_distances(const py::array& x, const std::optional<py::array>& y,
                        const std::string& metric, py::array_t<float> out, int n_threads,
                        py::object progress, const std::string& isa) {
    const auto rows = population("x", x, std::nullopt, std::nullopt);
    const auto references = population("y", y, std::nullopt, std::nullopt);
    const auto measure = metric_named(metric);
    float* to = out.mutable_data();
    const auto row_stride = out.strides(0), col_stride = out.strides(1);
    PythonMonitor monitor(std::move(progress));
    {
        const py::gil_scoped_release release;
        tripletmine::pairwise_distances(rows, references, measure, to, row_stride, col_stride,
                                        {n_threads, isa, &monitor});
    }
}

std::vector<std::tuple<std::string, std::string, bool>> instruction_sets() {
    std::vector<std::tuple<std::string, std::string, bool>> sets;
    for (const auto& set : tripletmine::instruction_sets()) {
        sets.emplace_back(set.name, set.description, set.supported);
    }
    return sets;
}

py::dict build_info() {
    return py::dict("compiler"_a = TRIPLETMINE_COMPILER, "build_type"_a = TRIPLETMINE_BUILD_TYPE,
                    "openmp"_a = TRIPLETMINE_OPENMP);
}

}  // namespace

PYBIND11_MODULE(_core, module) {
    module.def("mine", &mine, py::kw_only(), "embeddings"_a, "labels"_a, "ref_emb"_a,
               "ref_labels"_a, "pos_strategy"_a, "neg_strategy"_a, "metric"_a, "margin"_a,
               "type_of_triplets"_a, "fallback"_a, "num_negatives"_a, "range_min"_a, "pos_range"_a,
               "neg_range"_a, "groups"_a, "ref_groups"_a, "anchors"_a, "max_triplets"_a, "seed"_a,
               "n_threads"_a, "progress"_a, "isa"_a, "packing_budget"_a);
    module.def("nearest", &nearest, py::kw_only(), "x"_a, "y"_a, "k"_a, "metric"_a, "n_threads"_a,
               "progress"_a, "isa"_a, "packing_budget"_a);
    module.def("pairwise_distances", &pairwise_distances, py::kw_only(), "x"_a, "y"_a, "metric"_a,
               "out"_a.noconvert(), "n_threads"_a, "progress"_a, "isa"_a);
    module.def("instruction_sets", &instruction_sets);
    module.def("default_threads", &tripletmine::default_threads);
    module.def("build_info", &build_info);
}
