// Projection: the directions in which rows differ most.
//
// The embeddings of many encoders have a few hundred elements and far fewer directions that matter.
// A row v of score space less the origin is v = Q·Qᵀv + e, with Q an orthonormal basis of some
// directions: codes of the short row Qᵀv are as many times as quick to score, and what they leave
// out of a product is at most ‖e_x‖‖e_y‖ (Cauchy–Schwarz).
#pragma once

#include <cstdint>
#include <memory>

#include "buffer.hpp"
#include "dataset.hpp"
#include "kernels/kernel_set.hpp"
#include "parallel.hpp"
#include "space.hpp"

namespace tripletmine {

class Projection {
public:
    // A basis of at most `most` directions, learned from a sample of the rows, outside of which no
    // more than a part `left` of their mean squared norm lies; null if there is none that short.
    // left == 0 asks for as many as there are.
    static std::shared_ptr<const Projection> learn(Team& team, const Dataset& dataset,
                                                   const ScoreSpace& space, const Origin& origin,
                                                   const KernelSet& kernels, std::int64_t most,
                                                   double left);

    // `directions` lie one after the other, each padded(dim) long: the columns of Q.
    Projection(Team& team, const KernelSet& kernels, std::int64_t dim, std::int64_t size,
               const double* directions);

    std::int64_t size() const { return panels_.size; }
    // At least ‖QᵀQ − 1‖₂, for Q is rounded to float32.
    double skew() const { return skew_; }
    // At most so far, in parts of ‖v‖, is Qᵀv off as it is computed from a row v of float32.
    double rounding() const { return rounding_; }

    // Rows for the column side of float32 tiles, and zeros beyond them.
    struct Panels {
        const Scorer* scorer;
        std::int64_t size, count, depth;
        Buffer<float> memory;

        Panels(const Scorer& fine, std::int64_t rows, std::int64_t dim);
        // Its elements lie panel_rows apart.
        float* row(std::int64_t number) const {
            const std::int64_t lane = number % panel_rows;
            return memory.data() + (number - lane) * depth + lane;
        }
        // Sixteen rows, packed as a panel, times all of these: row by row, `count` apart.
        void multiply(const float* panel, float* products) const;
    };
    // Their product with a row v is Qᵀv.
    const Panels& directions() const { return panels_; }

private:
    Panels panels_;
    double skew_, rounding_;
};

}  // namespace tripletmine
