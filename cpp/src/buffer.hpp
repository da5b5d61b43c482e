// Buffer: memory for the kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace tripletmine {

// Memory on a cache line's boundary, not initialised. Room for the boundary is part of it: glibc
// seldom finds aligned memory among what was freed, and each call would ask the system for more.
template <typename Element>
class Buffer {
public:
    Buffer() = default;
    explicit Buffer(std::int64_t size)
        : memory_(new std::byte[static_cast<std::size_t>(size) * sizeof(Element) + line]) {}
    Element* data() const {
        const auto place = reinterpret_cast<std::uintptr_t>(memory_.get());
        return reinterpret_cast<Element*>((place + line - 1) / line * line);
    }
    bool empty() const { return memory_ == nullptr; }

private:
    static constexpr std::uintptr_t line = 64;
    std::unique_ptr<std::byte[]> memory_;
};

inline std::int64_t round_up(std::int64_t value, std::int64_t step) {
    return (value + step - 1) / step * step;
}

}  // namespace tripletmine
