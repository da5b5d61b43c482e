// PairScores: coarse scores of single pairs, for those that scores of projected rows let through.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "buffer.hpp"
#include "kernels/kernel_set.hpp"
#include "parallel.hpp"
#include "walk.hpp"

namespace tripletmine {

class PairScores {
public:
    // `pairing` is packed as int8 codes, and these are copied.
    PairScores(Team& team, const KernelSet& kernels, const Pairing& pairing)
        : kernels_(kernels),
          pairing_(pairing),
          depth_(pairing.row_operand->depth()),
          rows_(pairing.row_operand->code_rows(team)),
          cols_(pairing.row_operand == pairing.col_operand ? Buffer<std::uint8_t>()
                                                           : pairing.col_operand->code_rows(team)) {
    }

    const Pairing& pairing() const { return pairing_; }

    // The upper bounds of some pairs of positions, by the operations that the operands' errors
    // count on.
    void upper_bounds(std::span<const PairOfRows> pairs, Sign sign, float* uppers) const {
        const Operand &rows = *pairing_.row_operand, &cols = *pairing_.col_operand;
        const float *row_bias = rows.bias(sign), *col_bias = cols.bias(sign);
        constexpr std::size_t at_once = 64;
        std::int32_t sums[at_once];
        for (std::size_t begin = 0; begin < pairs.size(); begin += at_once) {
            const auto some = pairs.subspan(begin, std::min(at_once, pairs.size() - begin));
            kernels_.code_products(rows_.data(), (cols_.empty() ? rows_ : cols_).data(), depth_,
                                   pairing_.scorer().offset, some.data(),
                                   static_cast<int>(some.size()), sums);
            for (std::size_t i = 0; i < some.size(); ++i) {
                const auto [row, col] = some[i];
                const float score =
                    static_cast<float>(sums[i]) * rows.scale()[row] * cols.scale()[col];
                *uppers++ =
                    (sign == Sign::nearest ? score : -score) - row_bias[row] - col_bias[col];
            }
        }
    }

    float lower_bound(const PairOfRows& pair, float upper) const {
        return upper - pairing_.row_operand->width()[pair.row] -
               pairing_.col_operand->width()[pair.col];
    }

private:
    const KernelSet& kernels_;
    Pairing pairing_;
    std::int64_t depth_;
    Buffer<std::uint8_t> rows_, cols_;  // cols_: empty where they are the rows
};

}  // namespace tripletmine
