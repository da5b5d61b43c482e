// The Python module tripletmine._core: a table of contents.
//
// Arguments were checked by the Python layer, which is the only caller: here NumPy arrays become
// views, the GIL is released, and results become NumPy arrays. Nothing else.
#include "convert.hpp"

namespace {

namespace py = pybind11;
using namespace py::literals;

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
    tripletmine::python::add_mining(module);
    tripletmine::python::add_distances(module);
    tripletmine::python::add_negatives(module);
    tripletmine::python::add_census(module);
    tripletmine::python::add_losses(module);
    module.def("instruction_sets", &instruction_sets);
    module.def("default_threads", &tripletmine::default_threads);
    module.def("build_info", &build_info);
}
