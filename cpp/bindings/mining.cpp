// The wrapper of the calls that select triplets: views first, then the call in a block without the
// GIL, then the result.
#include "convert.hpp"

namespace tripletmine::python {
namespace {

// The arguments of mine: views, and what keeps their memory.
class Mining {
public:
    Mining(py::array embeddings, Int64s labels, std::optional<py::array> ref_emb,
           std::optional<Int64s> ref_labels, const std::string& pos_strategy,
           const std::string& neg_strategy, const std::string& metric, std::optional<double> margin,
           const std::string& type_of_triplets, const std::string& fallback,
           std::int64_t num_negatives, std::int64_t range_min, std::pair<double, double> pos_range,
           std::pair<double, double> neg_range, std::optional<Int64s> groups,
           std::optional<Int64s> ref_groups, std::optional<Int64s> anchors, std::uint64_t seed,
           int n_threads, py::object progress, std::int64_t max_triplets,
           std::int64_t packing_budget)
        : embeddings_(std::move(embeddings)),
          labels_(std::move(labels)),
          ref_emb_(std::move(ref_emb)),
          ref_labels_(std::move(ref_labels)),
          groups_(std::move(groups)),
          ref_groups_(std::move(ref_groups)),
          anchors_(std::move(anchors)),
          monitor_(std::move(progress)),
          n_threads_(n_threads),
          packing_budget_(packing_budget) {
        options_.positive = strategy_named("pos_strategy", pos_strategy);
        options_.negative = strategy_named("neg_strategy", neg_strategy);
        options_.metric = metric_named(metric);
        options_.fallback = named<Fallback>(
            "fallback", fallback,
            {{"drop", Fallback::drop}, {"easy", Fallback::easy}, {"hard", Fallback::hard}});
        options_.type = triplet_type_named(type_of_triplets);
        options_.margin = margin;
        options_.num_negatives = num_negatives;
        options_.range_min = range_min;
        options_.positive_range = {pos_range.first, pos_range.second};
        options_.negative_range = {neg_range.first, neg_range.second};
        options_.max_triplets = max_triplets;
        options_.seed = seed;
    }

    // (count, arrays or None, report); None when there are more than max_triplets.
    py::tuple all() {
        const auto rows = population("embeddings", embeddings_, labels_, groups_);
        const auto references = population("ref_emb", ref_emb_, ref_labels_, ref_groups_);
        const Execution how = execution(n_threads_, monitor_, packing_budget_);
        Mined mined;
        {
            const WithoutGil released(monitor_);
            mined = mine(rows, references, subset(), options_, how);
        }
        return to_python(std::move(mined));
    }

    // The same triplets, max_triplets at a time: what next() returns, or None after the last.
    void start() {
        const auto rows = population("embeddings", embeddings_, labels_, groups_);
        const auto references = population("ref_emb", ref_emb_, ref_labels_, ref_groups_);
        const Execution how = execution(n_threads_, monitor_, packing_budget_);
        const WithoutGil released(monitor_);
        blocks_.emplace(rows, references, subset(), options_, how);
    }
    py::object next() {
        std::optional<Mined> mined;
        {
            const WithoutGil released(monitor_);
            mined = blocks_->next();
        }
        return mined ? py::object(to_python(std::move(*mined))) : py::none();
    }

private:
    std::optional<std::span<const std::int64_t>> subset() const {
        if (!anchors_) return std::nullopt;
        return int64_view(anchors_);
    }

    py::tuple to_python(Mined&& mined) const {
        py::object arrays = py::none();
        if (mined.count <= options_.max_triplets) {
            arrays = py::make_tuple(
                to_numpy(std::move(mined.anchors)), to_numpy(std::move(mined.positives)),
                to_numpy(std::move(mined.negatives)), to_numpy(std::move(mined.d_ap)),
                to_numpy(std::move(mined.d_an)), to_numpy(std::move(mined.fell_back)));
        }
        const Report& report = mined.report;  // in the order of MiningReport: quicker than names
        return py::make_tuple(mined.count, arrays,
                              py::make_tuple(report.anchors, report.anchors_without_positive,
                                             report.anchors_without_negative, report.fell_back,
                                             mined.count, report.zero_rows, report.pairs_considered,
                                             report.pairs_decided, report.seconds, report.threads,
                                             std::string(report.instruction_set), report.plan));
    }

    py::array embeddings_;
    Int64s labels_;
    std::optional<py::array> ref_emb_;
    std::optional<Int64s> ref_labels_, groups_, ref_groups_, anchors_;
    PythonMonitor monitor_;
    int n_threads_;
    std::int64_t packing_budget_;
    MineOptions options_;
    std::optional<BlockMiner> blocks_;
};

}  // namespace

void add_mining(py::module_& module) {
    // An ordinary class: pybind11's own metaclass is for static properties.
    const py::metaclass plain(reinterpret_cast<PyObject*>(&PyType_Type));
    py::class_<Mining>(module, "Mining", plain)
        .def(py::init<py::array, Int64s, std::optional<py::array>, std::optional<Int64s>,
                      const std::string&, const std::string&, const std::string&,
                      std::optional<double>, const std::string&, const std::string&, std::int64_t,
                      std::int64_t, std::pair<double, double>, std::pair<double, double>,
                      std::optional<Int64s>, std::optional<Int64s>, std::optional<Int64s>,
                      std::uint64_t, int, py::object, std::int64_t, std::int64_t>(),
             "embeddings"_a, "labels"_a, "ref_emb"_a, "ref_labels"_a, "pos_strategy"_a,
             "neg_strategy"_a, "metric"_a, "margin"_a, "type_of_triplets"_a, "fallback"_a,
             "num_negatives"_a, "range_min"_a, "pos_range"_a, "neg_range"_a, "groups"_a,
             "ref_groups"_a, "anchors"_a, "seed"_a, "n_threads"_a, "progress"_a, "max_triplets"_a,
             "packing_budget"_a)
        .def("all", &Mining::all)
        .def("start", &Mining::start)
        .def("next", &Mining::next);
}

}  // namespace tripletmine::python
