// What every wrapper of the module uses: NumPy arrays → views, names → options, results → NumPy
// arrays, and the monitor that lets Python look in.
#pragma once

#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <unistd.h>

#include <cxxabi.h>
#include <cstdlib>
#include <initializer_list>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tripletmine/tripletmine.hpp"

namespace tripletmine::python {

namespace py = pybind11;
using namespace py::literals;

using Int64s = py::array_t<std::int64_t, py::array::c_style>;

// bfloat16 comes as its bits: uint16.
inline MatrixView matrix_view(const py::array& array) {
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

inline std::span<const std::int64_t> int64_view(const std::optional<Int64s>& array) {
    if (!array) return {};
    return {array->data(), static_cast<std::size_t>(array->size())};
}

inline Population population(std::string_view name, const py::array& matrix,
                             const std::optional<Int64s>& labels,
                             const std::optional<Int64s>& groups) {
    return {name, matrix_view(matrix), int64_view(labels), int64_view(groups)};
}

inline std::optional<Population> population(std::string_view name,
                                            const std::optional<py::array>& matrix,
                                            const std::optional<Int64s>& labels,
                                            const std::optional<Int64s>& groups) {
    if (!matrix) return std::nullopt;
    return population(name, *matrix, labels, groups);
}

// Hands a vector's memory to NumPy.
template <typename Element, typename Allocator>
py::array_t<Element> to_numpy(std::vector<Element, Allocator>&& values) {
    using Vector = std::vector<Element, Allocator>;
    auto* owned = new Vector(std::move(values));
    const py::capsule free(owned, [](void* p) { delete static_cast<Vector*>(p); });
    return py::array_t<Element>(static_cast<py::ssize_t>(owned->size()), owned->data(), free);
}

// Runs what may wait for the GIL. A Python that has come to its end while a daemon thread was in a
// call does not give it the GIL any more, but makes it leave by way of all its frames, with which
// C++ ends the process as one that failed. Such a thread waits for the end instead. What is run
// keeps no references of its own: they would be dropped on that way, without the GIL.
template <typename Run>
void with_python(Run run) {
#ifdef __GLIBCXX__
    try {
        run();
    } catch (const abi::__forced_unwind&) {
        for (;;) pause();
    }
#else
    run();
#endif
}

// Ctrl-C and progress, on the calling thread. It asks for the GIL with the state that it gave the
// GIL away with: pybind11 would look the state up, and not find it once Python is at its end.
class PythonMonitor final : public Monitor {
public:
    explicit PythonMonitor(py::object progress) : progress_(std::move(progress)) {}

    void release_gil() { state_ = PyEval_SaveThread(); }
    void acquire_gil() {
        with_python([&] { PyEval_RestoreThread(state_); });
    }

    void tick(double pairs_done, double pairs_in_all) override {
        acquire_gil();
        try {
            look(pairs_done, pairs_in_all);
        } catch (...) {
            release_gil();
            throw;
        }
        release_gil();
    }

private:
    void look(double pairs_done, double pairs_in_all) {
        const bool tells = !progress_.is_none() && pairs_in_all > 0;  // else nothing is known yet
        const py::tuple counts = py::make_tuple(static_cast<std::int64_t>(pairs_done),
                                                static_cast<std::int64_t>(pairs_in_all));
        bool fine = true;
        with_python([&] {
            fine = PyErr_CheckSignals() == 0;
            if (!fine || !tells) return;
            PyObject* answer = PyObject_CallObject(progress_.ptr(), counts.ptr());
            fine = answer != nullptr;
            Py_XDECREF(answer);
        });
        if (!fine) throw py::error_already_set();
    }

    py::object progress_;
    PyThreadState* state_ = nullptr;  // while the GIL is given away
};

class WithoutGil {
public:
    explicit WithoutGil(PythonMonitor& monitor) : monitor_(monitor) { monitor_.release_gil(); }
    ~WithoutGil() { monitor_.acquire_gil(); }
    WithoutGil(const WithoutGil&) = delete;
    WithoutGil& operator=(const WithoutGil&) = delete;

private:
    PythonMonitor& monitor_;
};

// How a call is to run. Reads the environment, and so needs the GIL: Python may write it.
inline Execution execution(int n_threads, PythonMonitor& monitor,
                           std::int64_t packing_budget = std::numeric_limits<std::int64_t>::max()) {
    const char* instruction_set = std::getenv("TRIPLETMINE_ISA");
    return {n_threads, &monitor, packing_budget, instruction_set == nullptr ? "" : instruction_set};
}

inline py::dict to_dict(const Report& report) {
    return py::dict(
        "anchors"_a = report.anchors,
        "anchors_without_positive"_a = report.anchors_without_positive,
        "anchors_without_negative"_a = report.anchors_without_negative,
        "fell_back"_a = report.fell_back, "zero_rows"_a = report.zero_rows,
        "pairs_considered"_a = report.pairs_considered, "pairs_decided"_a = report.pairs_decided,
        "seconds"_a = report.seconds, "threads"_a = report.threads,
        "instruction_set"_a = std::string(report.instruction_set), "plan"_a = report.plan);
}

template <typename Value>
Value named(const char* option, const std::string& name,
            std::initializer_list<std::pair<const char*, Value>> known) {
    for (const auto& [candidate, value] : known) {
        if (name == candidate) return value;
    }
    throw std::invalid_argument(std::string(option) + ": unknown name '" + name + "'");
}

inline Metric metric_named(const std::string& name) {
    return named<Metric>("metric", name,
                         {{"cosine", Metric::cosine},
                          {"dot", Metric::dot},
                          {"euclidean", Metric::euclidean},
                          {"sqeuclidean", Metric::sqeuclidean}});
}

inline Strategy strategy_named(const char* option, const std::string& name) {
    return named<Strategy>(option, name,
                           {{"easy", Strategy::easy},
                            {"hard", Strategy::hard},
                            {"semihard", Strategy::semihard},
                            {"random", Strategy::random},
                            {"all", Strategy::all}});
}

inline TripletType triplet_type_named(const std::string& name) {
    return named<TripletType>("type_of_triplets", name,
                              {{"all", TripletType::all},
                               {"hard", TripletType::hard},
                               {"semihard", TripletType::semihard},
                               {"easy", TripletType::easy}});
}

// Each file of wrappers adds its calls to the module.
void add_census(py::module_& module);
void add_mining(py::module_& module);
void add_distances(py::module_& module);
void add_negatives(py::module_& module);
void add_losses(py::module_& module);

}  // namespace tripletmine::python
