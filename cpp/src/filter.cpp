// What it costs to look closer, and what it saves: in nanoseconds on one core, about.
#include "filter.hpp"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

#include "operand.hpp"

namespace tripletmine {

const Scorer& scorer_of(const KernelSet& kernels, Precision precision) {
    switch (precision) {
        case Precision::projected:
        case Precision::coarse:
            return kernels.coarse;
        case Precision::medium:
            return kernels.medium;
        case Precision::fine:
            break;
    }
    return kernels.fine;
}

bool FilterCase::has(Precision precision) const {
    constexpr std::int64_t longest_coded = std::int64_t{1} << 16;  // sums of codes fit in int32
    if (precision == Precision::fine) return true;
    if (of_codes(scorer_of(kernels, precision).format) && dim > longest_coded) return false;
    if (precision == Precision::medium) return kernels.medium.score != nullptr;
    // Rows are projected by float32 scores.
    return precision == Precision::coarse || kernels.fine.format == Format::float32;
}

std::optional<Precision> chosen_filter() {
    const char* chosen = std::getenv("TRIPLETMINE_FILTER");
    const std::string_view name = chosen == nullptr ? "" : chosen;
    if (name.empty()) return std::nullopt;
    if (name == "projected") return Precision::projected;
    if (name == "coarse") return Precision::coarse;
    if (name == "medium") return Precision::medium;
    if (name == "fine") return Precision::fine;
    throw std::invalid_argument("TRIPLETMINE_FILTER: found '" + std::string(name) +
                                "', expected 'projected', 'coarse', 'medium' or 'fine'");
}

FilterPlan plan_stages(const FilterCase& asked) {
    const KernelSet& kernels = asked.kernels;
    if (!asked.has(Precision::coarse) || asked.dim < kernels.coarse_pays_from) {
        return {{Precision::fine}};
    }
    // Of a survivor: examined, remembered, perhaps decided.
    const auto dim = static_cast<double>(asked.dim);
    const double of_survivor = 20.0 + 0.1 * dim, of_packed_element = 2.0;
    const double worth_packing =
        of_packed_element * dim / of_survivor * static_cast<double>(asked.rows + asked.cols);
    const auto stage = [&](Precision precision, double saved) {
        return FilterStage{precision, dim * saved / of_survivor, worth_packing};
    };
    const bool has_medium = asked.has(Precision::medium);
    FilterPlan plan{
        stage(Precision::coarse, kernels.coarse_saves - kernels.medium_saves),
        stage(Precision::medium, kernels.medium_saves),
        {Precision::fine},
    };
    if (!has_medium) plan.erase(plan.begin() + 1);
    // Positives are few, and what is packed already does for them. The k-th negative is a low
    // floor, which many coarse scores reach; so medium ones are better if they save nearly as much.
    const bool medium_saves_most = has_medium && kernels.medium_saves > 0.7 * kernels.coarse_saves;
    const auto begins = [&](const FilterStage& one) {
        if (asked.relation == Relation::positives) {
            return asked.packed[static_cast<std::size_t>(one.precision)];
        }
        return asked.k == 1 || one.precision != Precision::coarse || !medium_saves_most;
    };
    const auto first = std::find_if(plan.begin(), plan.end(), begins);
    if (first != plan.end()) plan.erase(plan.begin(), first);
    return plan;
}

std::optional<FewDirections> few_directions(const FilterCase& asked, double packing_budget) {
    // What a pair is spared must make up for the survivors, of which each is scored again. Where
    // several candidates are wanted, floors are lower, and survivors more.
    const double least_spared = asked.k == 1 ? 0.6 : 2.0, of_survivors = 0.5 * least_spared;
    const double left = asked.k == 1 ? 0.12 : 0.06;
    constexpr double learning = 200.0, projecting = 0.011;  // of dim², once and for each row

    const double of_element = asked.kernels.coarse_takes;
    const auto dim = static_cast<double>(asked.dim);
    const auto rows = static_cast<double>(asked.rows), cols = static_cast<double>(asked.cols);
    const double most = std::min(dim / 2.0, dim - least_spared / of_element);
    const double gain = asked.pairs * (dim / 2.0 * of_element - of_survivors);
    const double cost = dim * dim * (learning + projecting * (asked.one_side ? rows : rows + cols));
    // Codes, row by row too, and those of directions: no row is projected twice.
    const auto bytes = [&](std::int64_t size) {
        return static_cast<double>(Operand::bytes(size, asked.dim, asked.kernels.coarse));
    };
    const double packed = 2.5 * (bytes(asked.cols) + (asked.one_side ? 0.0 : bytes(asked.rows)));
    constexpr double margin = 1.25;
    if (asked.relation == Relation::positives || !asked.has(Precision::projected) || most < 1.0 ||
        gain < margin * cost || packed > packing_budget) {
        return std::nullopt;
    }
    return FewDirections{static_cast<std::int64_t>(most), left};
}

FilterStage projected_stage(const FilterCase& asked, std::int64_t directions) {
    const double of_closer = 10.0 + 0.03 * static_cast<double>(asked.dim);
    const auto spared = static_cast<double>(asked.dim - directions);
    return {Precision::projected, spared * asked.kernels.coarse_takes / of_closer, 0.0};
}

}  // namespace tripletmine
