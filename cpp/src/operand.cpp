#include "operand.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <vector>

namespace tripletmine {
namespace {

// Fewer where rows are long: a task should not take longer than Ctrl-C may.
std::int64_t panels_per_task(std::int64_t dim) {
    constexpr std::int64_t most = 8, elements = 1 << 20;
    return std::clamp<std::int64_t>(elements / (panel_rows * dim), 1, most);
}

// An error bound under which every pair survives, yet finite: no infinity meets another one.
constexpr double unbounded = 1e30;

// Rows whose largest element is smaller than this are coded as zero: their scale would not be a
// normal float32.
constexpr float smallest_coded = 0x1p-100f;

bool of_bfloat16(Format format) {
    return format == Format::bfloat16 || format == Format::bfloat16_pair;
}

// Integers are added up exactly.
bool summation_rounds(const Scorer& scorer) { return !of_codes(scorer.format); }

// Of int16 codes.
double segments_of(std::int64_t depth) {
    return static_cast<double>((depth + segment - 1) / segment);
}

// The nearest bfloat16, as a float32.
float round_to_bfloat16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    return std::bit_cast<float>((bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u);
}

}  // namespace

// Of one panel: a row at a time on its way, then all rows as they will be stored.
struct Operand::Scratch {
    Scratch(std::int64_t dim, std::int64_t depth, Format format, const Projection* projection)
        : exact(static_cast<std::size_t>(of_codes(format) ? 0 : padded(dim))),
          rounded(exact.size()),
          weighted(exact.size()),
          floats(static_cast<std::size_t>(depth *
                                          (of_bfloat16(format) ? panel_rows : coded_together))),
          low(static_cast<std::size_t>(format == Format::bfloat16_pair ? panel_rows * depth : 0)),
          codes(static_cast<std::size_t>(of_codes(format) ? panel_rows * depth * bytes_of(format)
                                                          : 0)),
          root_dim(std::sqrt(static_cast<double>(dim))) {
        if (projection == nullptr) return;
        const Projection::Panels& directions = projection->directions();
        whole = Buffer<float>(panel_rows * directions.depth);
        std::fill_n(whole.data(), panel_rows * directions.depth, 0.0f);
        projected = Buffer<float>(panel_rows * directions.count);
        exact.resize(static_cast<std::size_t>(padded(dim)));
    }
    std::vector<double> exact, rounded;  // v and q
    std::vector<double> weighted;        // q times the roundings of its products
    double low_norm2 = 0.0;              // of the part whose products are left out of scores
    double error = 0.0;                  // ‖v − q‖
    float scale = 1.0f;
    // Row by row; which of them depends on the format. Of codes, `floats` are rows on their way.
    std::vector<float> floats, low;
    std::vector<std::byte> codes;
    double root_dim;
    float scales[panel_rows], rests2[panel_rows];  // of codes
    double along[panel_rows] = {};                 // of rows: c·u
    Buffer<float> whole, projected;                // of a projection: a panel of rows, then these
    double inside2 = 0.0;                          // ‖Qᵀv‖², at least
};

std::int64_t Operand::bytes(std::int64_t size, std::int64_t dim, const Scorer& scorer) {
    return round_up(size, tile_granule) * round_up(dim, scorer.depth_step) *
           bytes_of(scorer.format);
}

Operand::Operand(Team& team, const Dataset& dataset, const KernelSet& kernels, const Scorer& scorer,
                 const ScoreSpace& space, const Origin& origin,
                 std::shared_ptr<const Projection> projection, bool keep)
    : dataset_(dataset),
      kernels_(kernels),
      scorer_(scorer),
      space_(space),
      origin_(origin),
      projection_(std::move(projection)),
      keep_(keep),
      packed_dim_(projection_ ? projection_->size() : dataset.dim()),
      depth_(round_up(packed_dim_, scorer.depth_step)),
      padded_size_(round_up(dataset.size(), tile_granule)),
      panels_(keep ? bytes(dataset.size(), packed_dim_, scorer) : 0),
      near_bias_(padded_size_ + max_register),
      far_bias_(padded_size_ + max_register),
      middle_(padded_size_ + max_register),
      width_(padded_size_ + max_register),
      scale_(padded_size_ + max_register),
      gamma_(summation_rounds(scorer) ? dataset.dim() : 0) {
    for (std::int64_t k = 0; summation_rounds(scorer) && k < dataset.dim(); ++k) {
        const double unit = 0x1p-24, roundings = scorer.roundings(dataset.dim(), k);
        gamma_.data()[k] = roundings * unit / (1.0 - roundings * unit);
    }
    const std::int64_t panels = padded_size_ / panel_rows;
    const std::int64_t of_task = panels_per_task(dataset.dim());
    const std::int64_t tasks = (panels + of_task - 1) / of_task;
    for (std::int64_t position = dataset.size(); position < padded_size_ + max_register;
         ++position) {
        near_bias_.data()[position] = far_bias_.data()[position] = INFINITY;
        middle_.data()[position] = INFINITY;
        width_.data()[position] = scale_.data()[position] = 0.0f;
    }
    team.for_each(tasks, [&](std::int64_t task, int) {
        Scratch scratch(packed_dim_, depth_, scorer.format, projection_.get());
        Buffer<std::byte> passing(keep ? 0 : panel_bytes());
        const std::int64_t end = std::min(panels, (task + 1) * of_task);
        for (std::int64_t panel = task * of_task; panel < end; ++panel) {
            std::byte* to = keep ? panels_.data() + panel * panel_bytes() : passing.data();
            const std::int64_t first = panel * panel_rows;
            const std::int64_t last = std::min(dataset.size(), first + panel_rows);
            switch (scorer.format) {
                case Format::float32:
                    pack_floats(first, to);
                    for (std::int64_t position = first; position < last; ++position) {
                        measure_floats(position, to, scratch);
                        bound_row(position, scratch);
                    }
                    break;
                case Format::int8:
                case Format::int16:
                    pack_codes(first, scratch, to);
                    for (std::int64_t position = first; position < last; ++position) {
                        measure_codes(position, scratch);
                        if (projection_) measure_projected(position, scratch);
                        bound_row(position, scratch);
                    }
                    break;
                case Format::bfloat16:
                case Format::bfloat16_pair:
                    pack_bfloats(first, scratch, to,
                                 [&](std::int64_t position) { bound_row(position, scratch); });
                    break;
            }
        }
    });
}

// Sixteen rows as float32 and what they are to be multiplied by: as they lie, where they are
// float32, their factor is as good as any in float32 and the origin is zero; else a copy,
// multiplied and less the origin already.
struct Operand::Sources {
    const void* rows[panel_rows];
    float factors[panel_rows], rests[panel_rows] = {};  // a factor is the sum of both
    double along[panel_rows] = {};                      // c·u
    std::vector<float> copies;
};

Operand::Sources Operand::sources(std::int64_t first, bool with_bounds) const {
    Sources found;
    const std::int64_t dim = dataset_.dim();
    std::vector<double> exact;
    for (std::int64_t lane = 0; lane < panel_rows; ++lane) {
        const std::int64_t position = first + lane;
        const double factor =
            position < dataset_.size() ? factor_of(dataset_, space_, position) : 0.0;
        const void* own = position < dataset_.size() ? dataset_.float32_row(position) : nullptr;
        const bool as_it_lies = own != nullptr && origin_.point.empty();
        if (as_it_lies && 0x1p-100 < factor && factor < 0x1p100) {
            found.rows[lane] = own;
            found.factors[lane] = static_cast<float>(factor);
            found.rests[lane] =
                static_cast<float>(factor - static_cast<double>(found.factors[lane]));
            continue;
        }
        found.copies.resize(static_cast<std::size_t>(panel_rows * dim));
        float* to = found.copies.data() + lane * dim;
        if (position < dataset_.size()) {
            exact.resize(static_cast<std::size_t>(padded(dim)));
            read_row(position, exact.data(), with_bounds ? &found.along[lane] : nullptr);
            for (std::int64_t k = 0; k < dim; ++k) {
                to[k] = static_cast<float>(exact[static_cast<std::size_t>(k)]);
            }
        }
        found.rows[lane] = to;
        found.factors[lane] = 1.0f;
    }
    return found;
}

// v = u − c of a row, padded; and c·u.
void Operand::read_row(std::int64_t position, double* row, double* along) const {
    tripletmine::read_row(dataset_, space_, origin_, position, row);
    if (along == nullptr || origin_.point.empty()) return;
    kernels_.exact_dot(row, origin_.point.data(), 0, 1, padded(dataset_.dim()), along);
    *along += origin_.norm * origin_.norm;
}

void Operand::pack_floats(std::int64_t first, std::byte* panel) const {
    const Sources from = sources(first, false);
    kernels_.pack_floats(from.rows, from.factors, from.rests, dataset_.dim(),
                         reinterpret_cast<float*>(panel));
}

// Of a row packed so: v, q and how far they are apart.
void Operand::measure_floats(std::int64_t position, const std::byte* panel,
                             Scratch& scratch) const {
    const float* packed = reinterpret_cast<const float*>(panel) + position % panel_rows;
    read_row(position, scratch.exact.data(), &scratch.along[position % panel_rows]);
    for (std::int64_t k = 0; k < dataset_.dim(); ++k) {
        scratch.rounded[static_cast<std::size_t>(k)] = static_cast<double>(packed[k * panel_rows]);
    }
    measure_error(scratch);
}

void Operand::measure_error(Scratch& scratch) const {
    double error2 = 0.0;
    kernels_.exact_squares(scratch.exact.data(), scratch.rounded.data(), 0, 1,
                           padded(dataset_.dim()), &error2);
    scratch.error = std::sqrt(error2);
}

// Also leaves in the scratch what measure_codes asks for.
void Operand::pack_codes(std::int64_t first, Scratch& scratch, std::byte* panel) const {
    if (first >= dataset_.size()) {
        // (Codes of more than a byte have no offset.)
        std::fill_n(panel, panel_bytes(), static_cast<std::byte>(scorer_.offset));
        return;
    }
    Sources from = sources(first, true);
    if (projection_) project(from, scratch);
    scorer_.encode(from.rows, from.factors, packed_dim_, scorer_, smallest_coded,
                   scratch.floats.data(), scratch.codes.data(), scratch.scales, scratch.rests2);
    std::copy(std::begin(from.along), std::end(from.along), std::begin(scratch.along));
    const std::int64_t bytes = depth_ * element_bytes();  // of a row
    for (std::int64_t at = 0; at < bytes; at += row_bytes(), panel += packing_block) {
        constexpr std::int64_t word = 4;
        kernels_.transpose(scratch.codes.data() + at, bytes / word, panel, panel_rows);
    }
}

// Sixteen rows v become Qᵀv.
void Operand::project(Sources& rows, Scratch& scratch) const {
    kernels_.pack_floats(rows.rows, rows.factors, rows.rests, dataset_.dim(), scratch.whole.data());
    projection_->directions().multiply(scratch.whole.data(), scratch.projected.data());
    for (std::int64_t lane = 0; lane < panel_rows; ++lane) {
        rows.rows[lane] = scratch.projected.data() + lane * projection_->directions().count;
        rows.factors[lane] = 1.0f;
    }
}

// Of a row packed so, as codes q times a scale s: how far that is from v = u − c (or, of a
// projected row, from Qᵀv as it was computed).
//
// In float32, t ≈ v/s passes through four roundings, t − q is exact, and the sum R = Σ(t − q)² is
// made in eight parts or more, each off by a rounding for each addition: of at most 2¹⁶ elements,
// none beyond L = levels, and of int16 as long as N = segment_norm·√segments at most (else N =
// L·√d),
//     ‖v − s·q‖ ≤ s·(√R·(1 + 2⁻¹¹) + 2⁻²¹·N)
// All of a row that is too small for codes is left out.
void Operand::measure_codes(std::int64_t position, Scratch& scratch) const {
    const std::int64_t lane = position % panel_rows;
    const double scale = scratch.scales[lane], rest2 = scratch.rests2[lane];
    scratch.scale = scratch.scales[lane];
    const double longest = scorer_.format == Format::int16
                               ? segment_norm * std::sqrt(segments_of(depth_))
                               : scorer_.levels * scratch.root_dim;
    scratch.error = scale > 0.0 ? scale * (std::sqrt(rest2) * (1.0 + 0x1p-11) + 0x1p-21 * longest)
                                : static_cast<double>(smallest_coded) * scratch.root_dim;
}

// Of a projected row p = Qᵀv: how far codes are from what it should be, and how long that is at
// least. v itself passes through three roundings on its way to float32.
void Operand::measure_projected(std::int64_t position, Scratch& scratch) const {
    const float* row =
        scratch.projected.data() + position % panel_rows * projection_->directions().count;
    kernels_.widen_float32(row, packed_dim_, scratch.exact.data());
    double norm2 = 0.0;
    kernels_.exact_dot(scratch.exact.data(), scratch.exact.data(), 0, 1, padded(packed_dim_),
                       &norm2);
    const double length = std::sqrt(length2_of(position, scratch));
    const double off = (projection_->rounding() + 0x1p-22 * (1.0 + projection_->skew())) * length *
                           (1.0 + 0x1p-20) +
                       0x1p-50 * (norm_of(position) + origin_.norm) +
                       static_cast<double>(dataset_.dim()) * scratch.root_dim * 0x1p-120;
    scratch.error += off;
    const double inside = std::max(0.0, std::sqrt(norm2) * (1.0 - 0x1p-30) - off);
    scratch.inside2 = inside * inside;
}

// on_row(position) sees each in the scratch on its way.
template <typename OnRow>
void Operand::pack_bfloats(std::int64_t first, Scratch& scratch, std::byte* panel,
                           OnRow on_row) const {
    const std::int64_t rows = std::clamp<std::int64_t>(dataset_.size() - first, 0, panel_rows);
    if (rows < panel_rows) {
        std::fill(scratch.floats.begin(), scratch.floats.end(), 0.0f);
        std::fill(scratch.low.begin(), scratch.low.end(), 0.0f);
    }
    for (std::int64_t lane = 0; lane < rows; ++lane) {
        round_row(first + lane, lane, scratch);
        on_row(first + lane);
    }
    for (std::int64_t k = 0; k < depth_; k += 32) {
        for (const auto* part : {&scratch.floats, &scratch.low}) {
            if (part->empty()) continue;
            std::byte block[packing_block];
            for (std::int64_t lane = 0; lane < panel_rows; ++lane) {
                for (std::int64_t i = 0; i < 32; ++i) {
                    const float value = (*part)[static_cast<std::size_t>(lane * depth_ + k + i)];
                    const auto bits =
                        static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
                    std::memcpy(block + lane * 64 + i * 2, &bits, sizeof bits);
                }
            }
            kernels_.transpose(block, panel_rows, panel, panel_rows);
            panel += packing_block;
        }
    }
}

// Scales the row to u, and rounds that to what the format can hold of it.
void Operand::round_row(std::int64_t position, std::int64_t lane, Scratch& scratch) const {
    const std::int64_t dim = dataset_.dim();
    double* exact = scratch.exact.data();
    double* rounded = scratch.rounded.data();
    read_row(position, exact, &scratch.along[position % panel_rows]);
    switch (scorer_.format) {
        case Format::float32:
        case Format::int8:
        case Format::int16:
            return;  // have packings of their own
        case Format::bfloat16: {
            float* floats = scratch.floats.data() + lane * depth_;
            for (std::int64_t k = 0; k < dim; ++k) {
                floats[k] = round_to_bfloat16(static_cast<float>(exact[k]));
                rounded[k] = static_cast<double>(floats[k]);
            }
            break;
        }
        case Format::bfloat16_pair: {
            float* floats = scratch.floats.data() + lane * depth_;
            float* low = scratch.low.data() + lane * depth_;
            for (std::int64_t k = 0; k < dim; ++k) {
                const float value = static_cast<float>(exact[k]);
                floats[k] = round_to_bfloat16(value);
                low[k] = round_to_bfloat16(value - floats[k]);
                rounded[k] = static_cast<double>(low[k]);
            }
            kernels_.exact_dot(rounded, rounded, 0, 1, padded(dim), &scratch.low_norm2);
            for (std::int64_t k = 0; k < dim; ++k) rounded[k] += static_cast<double>(floats[k]);
            break;
        }
    }
    measure_error(scratch);
}

// ‖u‖
double Operand::norm_of(std::int64_t position) const {
    const double norm2 = dataset_.norm2(position);
    if (space_.metric == Metric::cosine) return norm2 > 0.0 ? 1.0 : 0.0;
    return std::sqrt(norm2) * space_.scale;
}

// The row's share of what packing adds to |score − true score|, with r = ‖v − q‖ and v2 = ‖v‖²:
//   all         |v_x·v_y − q_x·q_y| ≤ r_x‖v_y‖ + r_y‖v_x‖ + r_x·r_y
//                                    ≤ min(½r²/ε, R·r) + ½ε‖v‖² + ½r²,
//               for 2ab ≤ a²/ε + εb² whatever ε is, with R = 1 + ‖c‖ ≥ ‖v‖
//   floats      where c is zero                                                        ≤ r + ½r²
//   int16       each segment's sum is off by less than 2^segment_shift·s_x·s_y, once more,
//               s_x·s_y ≤ ½s_x² + ½s_y²
//   projected   with v = Qq + e, r = ‖Qᵀv − q‖, η = ‖QᵀQ − 1‖, thus ‖Qᵀe‖ ≤ r + η‖q‖ and
//               ‖q‖ ≤ (1 + η)‖v‖ + r:
//               |v_x·v_y − q_x·q_y| ≤ ‖q_x‖r_y + ‖q_y‖r_x + 3η‖q_x‖‖q_y‖ + ‖e_x‖‖e_y‖, and
//               ‖e‖² ≤ ‖v‖² − ‖Qᵀv‖² + r² + η‖q‖²
double Operand::packing_error(const Scratch& scratch, double r, double v2) const {
    if (!of_codes(scorer_.format) && origin_.point.empty()) return r + 0.5 * r * r;
    const double epsilon = origin_.coarseness;
    const double crossed =
        std::min(0.5 * r * r / epsilon, (1.0 + origin_.norm) * r) + 0.5 * epsilon * v2;
    if (scorer_.format == Format::int16) {
        const double unit = scratch.scale * scratch.scale * (1 << segment_shift);
        return crossed + 0.5 * r * r + 0.5 * segments_of(depth_) * unit;
    }
    if (!projection_) return crossed + 0.5 * r * r;
    const double skew = projection_->skew();
    const double coded = (1.0 + skew) * std::sqrt(v2) + r;
    const double outside2 = std::max(0.0, v2 - scratch.inside2) + r * r + skew * coded * coded;
    return (1.0 + skew) * crossed + r * r + 1.5 * skew * coded * coded + 0.5 * outside2;
}

// The error of a canonical sum, and of what is made of it, in parts of M².
double Operand::canonical_error() const {
    return (2.0 * static_cast<double>(dataset_.dim()) + 32.0) * 0x1p-52;
}

// No less than ‖v‖² = ‖u − c‖².
double Operand::length2_of(std::int64_t position, const Scratch& scratch) const {
    const double norm = norm_of(position), m = norm + origin_.norm;
    const double along = scratch.along[position % panel_rows];
    return std::max(0.0, norm * norm - 2.0 * along + origin_.norm * origin_.norm) +
           canonical_error() * m * m;
}

// The row's share E of the bound |score − true score| ≤ E_x + E_y, and what the sweep makes of it.
//
// With u the true scaled row, ‖u‖ ≤ 1, c the origin, v = u − c, q the packed v, r = ‖v − q‖, M =
// ‖u‖ + ‖c‖ + 2r and V = ‖v‖ + 2r ≥ ‖q‖ + r (with a projection both (1 + η) times that):
//   packing     see above, with r some 2⁻⁵⁰(‖u‖ + ‖c‖) larger, for u − c is rounded in float64
//   low parts   |l_x·l_y|, of pairs of bfloat16                       ≤ ½‖l‖² a row
//   summation   m_k float32 roundings: ≤ Σγ_k|q_x[k]·q_y[k]|           ≤ ½Σγ_k·q[k]² a row,
//               γ_k = m_k·2⁻²⁴/(1 − m_k·2⁻²⁴); (|h| + |l|)² ≤ (1 + 2⁻⁶)q² of pairs of bfloat16
//   canonical   the float64 distance itself, of d terms               ≤ (2d + 32)·2⁻⁵²·M² a row,
//               and b as much again
//   sweep       four operations in float32, of integers three products before: a score passes
//               through four or seven roundings, a bias through four at most (of the middles that
//               candidates are counted by, through three and its own)
//                                                    ≤ 2⁻²⁴·(2.5 or 4·V² + 4.5|b| + 16E) a row
//   underflow   of any float32 operation, flushed to zero or not      ≤ d·2⁻¹²⁰
void Operand::bound_row(std::int64_t position, Scratch& scratch) {
    double rounding = 0.0;
    if (summation_rounds(scorer_)) {
        const double* rounded = scratch.rounded.data();
        double* weighted = scratch.weighted.data();
        for (std::int64_t k = 0; k < dataset_.dim(); ++k)
            weighted[k] = gamma_.data()[k] * rounded[k];
        kernels_.exact_dot(weighted, rounded, 0, 1, padded(dataset_.dim()), &rounding);
    }

    const double dim = static_cast<double>(dataset_.dim());
    const double exact_norm2 = dataset_.norm2(position);
    const double from_origin = norm_of(position) + origin_.norm;
    const double r =
        scratch.error * (1.0 + 0x1p-20) + (origin_.point.empty() ? 0.0 : 0x1p-50 * from_origin);
    const double stretch = (1.0 + (projection_ ? projection_->skew() : 0.0)) * (1.0 + 0x1p-21);
    const double v2 = length2_of(position, scratch);
    const double m = (from_origin + 2.0 * r) * stretch, v = (std::sqrt(v2) + 2.0 * r) * stretch;
    const double canonical = canonical_error() * m * m;
    const double b = space_.bias(exact_norm2) + 0.5 * origin_.norm * origin_.norm -
                     scratch.along[position % panel_rows];

    double error = (packing_error(scratch, r, v2) + 0.5 * scratch.low_norm2) * (1.0 + 0x1p-20) +
                   0.5 * (1.0 + 0x1p-6) * rounding + 2.0 * canonical + dim * 0x1p-120;
    const double roundings = of_codes(scorer_.format) ? 4.0 : 2.5;
    error += 0x1p-24 * (roundings * v * v + 4.5 * std::abs(b) + 16.0 * error);
    const bool trusted = space_.metric != Metric::cosine || exact_norm2 == 0.0 ||
                         exact_norm2 >= smallest_trusted_norm2;
    if (!trusted || !(error < unbounded)) error = unbounded;

    const float near = ScoreSpace::round_down(b - error);
    const float far = ScoreSpace::round_down(-b - error);
    near_bias_.data()[position] = near;
    far_bias_.data()[position] = far;
    // 2E, and what is rounded down.
    width_.data()[position] = -ScoreSpace::round_down(
        std::min(static_cast<double>(near) - b, static_cast<double>(far) + b) - error);
    middle_.data()[position] = static_cast<float>(b);
    const bool shifted = scorer_.format == Format::int16;  // as sums of codes are
    scale_.data()[position] = shifted ? scratch.scale * (1 << segment_shift / 2) : scratch.scale;
}

// Packs some rows, sixteen by sixteen, without their bounds.
void Operand::pack(std::int64_t first, std::int64_t count, std::byte* panels) const {
    std::optional<Scratch> scratch;
    if (scorer_.format != Format::float32) {
        scratch.emplace(packed_dim_, depth_, scorer_.format, projection_.get());
    }
    for (std::int64_t row = first; row < first + count; row += panel_rows) {
        switch (scorer_.format) {
            case Format::float32:
                pack_floats(row, panels);
                break;
            case Format::int8:
            case Format::int16:
                pack_codes(row, *scratch, panels);
                break;
            case Format::bfloat16:
            case Format::bfloat16_pair:
                pack_bfloats(row, *scratch, panels, [](std::int64_t) {});
                break;
        }
        panels += panel_bytes();
    }
}

const std::byte* Operand::col_side(std::int64_t first, std::int64_t count,
                                   Buffer<std::byte>& scratch) const {
    if (keep_) return panels_.data() + first / panel_rows * panel_bytes();
    if (scratch.empty()) scratch = Buffer<std::byte>(count / panel_rows * panel_bytes());
    pack(first, count, scratch.data());
    return scratch.data();
}

Buffer<std::uint8_t> Operand::code_rows(Team& team) const {
    Buffer<std::uint8_t> rows(padded_size_ * depth_);
    constexpr std::int64_t word = 4;
    const std::int64_t at_once = panels_per_task(dataset_.dim()) * panel_rows;
    team.for_each((padded_size_ + at_once - 1) / at_once, [&](std::int64_t task, int worker) {
        team.poll(worker);
        Buffer<std::byte> scratch;
        const std::int64_t end = std::min(padded_size_, (task + 1) * at_once);
        for (std::int64_t first = task * at_once; first < end; first += panel_rows) {
            const std::byte* panel = col_side(first, panel_rows, scratch);
            for (std::int64_t k = 0; k < depth_; k += row_bytes(), panel += packing_block) {
                kernels_.transpose(panel, panel_rows, rows.data() + first * depth_ + k,
                                   depth_ / word);
            }
        }
    });
    return rows;
}

void Operand::fetch_ahead(std::int64_t first, std::int64_t begin, std::int64_t end,
                          std::int64_t parts) const {
    if (keep_) return;
    constexpr std::int64_t line = 64;
    const std::int64_t bytes = dataset_.dim() * static_cast<std::int64_t>(sizeof(float));
    const std::int64_t lines = (bytes + line - 1) / line, of_strip = lines * scorer_.tile_cols;
    const std::int64_t last = std::min(end, parts) * of_strip / parts;
    for (std::int64_t at = begin * of_strip / parts; at < last;) {
        const std::int64_t position = first + at / lines, next = (at / lines + 1) * lines;
        if (position >= dataset_.size()) return;
        const auto* row = static_cast<const std::byte*>(dataset_.float32_row(position));
        if (row == nullptr) return;
        for (; at < std::min(last, next); ++at) __builtin_prefetch(row + at % lines * line);
    }
}

void Operand::row_side(std::int64_t first, std::int64_t count, RowSide& side) const {
    if (side.start.empty()) {
        side.start = Buffer<std::int32_t>(count * (scorer_.short_sums ? blocks() : 1));
    }
    if (scorer_.format == Format::float32) {
        side.panels = col_side(first, count, side.memory);
        return;
    }
    if (side.memory.empty()) {
        side.memory = Buffer<std::byte>(count / panel_rows * panel_bytes());
    }
    Buffer<std::byte> passing(keep_ ? 0 : panel_bytes());
    std::byte* to = side.memory.data();
    side.panels = to;
    for (std::int64_t row = 0; row < std::min(count, padded_size_ - first); row += panel_rows) {
        const std::byte* from = passing.data();
        if (keep_) {
            from = panels_.data() + (first + row) / panel_rows * panel_bytes();
        } else {
            pack(first + row, panel_rows, passing.data());
        }
        std::int32_t* start = side.start.data() + row * (scorer_.short_sums ? blocks() : 1);
        std::fill(start, start + panel_rows, 0);
        for (std::int64_t at = 0; at < panel_bytes(); at += packing_block, to += packing_block) {
            kernels_.transpose(from + at, panel_rows, to, panel_rows);
            if (scorer_.offset != 0) take_offset(to, start);
            if (scorer_.short_sums) start += panel_rows;
        }
    }
}

// Column codes to row codes. `start` takes back what the offset adds to the sums of each row: to
// one int32, or to the two int16 of this block.
void Operand::take_offset(std::byte* block, std::int32_t* start) const {
    constexpr int row_codes = packing_block / panel_rows;
    const int offset = scorer_.offset;  // no byte written could be a part of it
    for (int lane = 0; lane < panel_rows; ++lane, block += row_codes) {
        // Four sums of 16 bits, each of two neighbours of every eight columns' codes.
        std::uint64_t sums = 0;
        for (int i = 0; i < row_codes; i += 8) {
            constexpr std::uint64_t every_other_byte = 0x00ff00ff00ff00ff;
            std::uint64_t codes;
            std::memcpy(&codes, block + i, sizeof codes);
            sums += (codes & every_other_byte) + (codes >> 8 & every_other_byte);
        }
        for (int i = 0; i < row_codes; ++i) {
            block[i] = static_cast<std::byte>(std::to_integer<int>(block[i]) - offset);
        }
        const auto sum = [&](int place) { return static_cast<int>(sums >> 16 * place & 0xffff); };
        const int of_half = offset * row_codes / 2;
        const int first = offset * (of_half - sum(0) - sum(2));
        const int second = offset * (of_half - sum(1) - sum(3));
        if (scorer_.short_sums) {
            start[lane] = static_cast<std::int32_t>((static_cast<std::uint32_t>(first) & 0xffffu) |
                                                    static_cast<std::uint32_t>(second) << 16);
        } else {
            start[lane] += first + second;
        }
    }
}

}  // namespace tripletmine
