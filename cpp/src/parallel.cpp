#include "parallel.hpp"

#include <omp.h>
#include <pthread.h>

#include <algorithm>
#include <exception>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tripletmine {
namespace {

// With gcc's OpenMP a team of two hangs in a child forked after its parent used two threads
// (https://gcc.gnu.org/bugzilla/show_bug.cgi?id=60035); one thread works.
std::atomic<bool> forked = false;
[[maybe_unused]] const int fork_handler =
    pthread_atfork(nullptr, nullptr, [] { forked.store(true); });

// IEEE arithmetic, whatever the caller's thread is set to: another library may have switched
// subnormal numbers off or changed the rounding.
class StandardArithmetic {
public:
#if defined(__x86_64__)
    StandardArithmetic() : saved_(_mm_getcsr()) { _mm_setcsr(0x1f80); }
    ~StandardArithmetic() { _mm_setcsr(saved_); }

private:
    unsigned saved_;
#elif defined(__aarch64__)
    StandardArithmetic() {
        asm volatile("mrs %0, fpcr" : "=r"(saved_));
        asm volatile("msr fpcr, %0" : : "r"(std::uint64_t{0}));
    }
    ~StandardArithmetic() { asm volatile("msr fpcr, %0" : : "r"(saved_)); }

private:
    std::uint64_t saved_ = 0;
#endif
public:
    StandardArithmetic(const StandardArithmetic&) = delete;
    StandardArithmetic& operator=(const StandardArithmetic&) = delete;
};

// The clock is looked at once in so many polls, or each time where that takes long.
constexpr int polls_per_look = 8;
constexpr auto long_between_looks = std::chrono::milliseconds(4);
constexpr auto tick_interval = std::chrono::milliseconds(50);

// How long to look before sleeping: longer than most programs are busy between two steps, or than
// it takes to wake a thread; far shorter than a share of a busy core.
constexpr auto patience = std::chrono::microseconds(300);

inline void relax() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Returns once the word is as wanted.
template <typename Wanted>
void await(const std::atomic<std::uint32_t>& word, Wanted wanted) {
    constexpr int looks_per_clock = 16;
    std::uint32_t value = word.load();
    if (wanted(value)) return;
    const auto end = std::chrono::steady_clock::now() + patience;
    do {
        for (int look = 0; look < looks_per_clock; ++look) {
            relax();
            value = word.load();
            if (wanted(value)) return;
        }
    } while (std::chrono::steady_clock::now() < end);
    for (; !wanted(value); value = word.load()) word.wait(value);
}

// gcc's OpenMP ends the process where it cannot make a thread. So that no more are asked for than
// there can be (with a stack of the usual size), those beyond the last team of the calling thread,
// which has a pool of its own and keeps no more, are made for a moment first. Returns how many
// there may be, the calling one among them.
int threads_to_be_had(int wanted) {
    thread_local int had = 1;
    if (wanted == 1) return 1;
    if (wanted <= had) return had = wanted;
    std::atomic<bool> enough = false;
    std::vector<std::thread> threads;
    try {
        while (had + std::ssize(threads) < wanted) {
            threads.emplace_back([&] { enough.wait(false); });
        }
    } catch (const std::exception&) {  // no more
    }
    enough = true;
    enough.notify_all();
    for (std::thread& one : threads) one.join();
    had += static_cast<int>(threads.size());
    return had;
}

struct Stopped {};  // ends a task after another one failed; never leaves this file

}  // namespace

int default_threads() { return forked.load() ? 1 : omp_get_max_threads(); }

Team::Team(int size, Monitor* monitor)
    : size_(size),
      monitor_(monitor),
      last_look_(std::chrono::steady_clock::now()),
      next_tick_(last_look_ + tick_interval) {}

void Team::for_each(std::int64_t tasks, const Task& task) {
    const bool together = size_ > 1 && tasks > 1;
    task_ = &task;
    tasks_ = tasks;
    next_.store(0);
    if (together) open();
    work(0);
    if (together) close();
    if (error_) std::rethrow_exception(error_);
}

void Team::open() {
    gate_.fetch_add(1);
    gate_.notify_all();
}

// Who comes now finds the gate closed; who was earlier is waited for.
void Team::close() {
    gate_.fetch_add(1);
    await(inside_, [](std::uint32_t helpers) { return helpers == 0; });
}

void Team::dismiss() {
    task_ = nullptr;
    open();
}

void Team::serve(int worker) {
    const StandardArithmetic guard;
    std::uint32_t served = 0;
    const auto is_new = [&](std::uint32_t gate) { return gate % 2 == 1 && gate != served; };
    for (bool stays = true; stays;) {
        await(gate_, is_new);
        inside_.fetch_add(1);
        const std::uint32_t gate = gate_.load();  // as it is once the program knows who is inside
        if (is_new(gate)) {
            served = gate;
            stays = task_ != nullptr;
            if (stays) work(worker);
        }
        if (inside_.fetch_sub(1) == 1) inside_.notify_one();
    }
}

void Team::work(int worker) noexcept {
    try {
        for (;;) {
            const std::int64_t task = next_.fetch_add(1);
            if (task >= tasks_) return;
            poll(worker);
            (*task_)(task, worker);
        }
    } catch (const Stopped&) {
    } catch (...) {
        if (!stopped_.exchange(true)) error_ = std::current_exception();
    }
}

void Team::poll(int worker) {
    if (stopped_.load(std::memory_order_relaxed)) throw Stopped{};
    if (worker != 0 || monitor_ == nullptr || --polls_to_look_ > 0) return;
    const auto now = std::chrono::steady_clock::now();
    polls_to_look_ = now - last_look_ > long_between_looks ? 1 : polls_per_look;
    last_look_ = now;
    if (now < next_tick_) return;
    monitor_->tick(done_.load(std::memory_order_relaxed), expected_);
    // What takes long is not asked more often than the work goes on.
    last_look_ = std::chrono::steady_clock::now();
    next_tick_ =
        last_look_ + std::max<std::chrono::steady_clock::duration>(tick_interval, last_look_ - now);
}

int threads_for(int wanted, double multiply_adds) {
    constexpr double worth_a_team = 8e6;  // less is done before a team has begun
    return wanted == 0 && multiply_adds < worth_a_team ? 1 : wanted;
}

void run_team(int n_threads, Monitor* monitor, const std::function<void(Team&)>& program) {
    const int wanted =
        forked.load() ? 1 : threads_to_be_had(n_threads > 0 ? n_threads : default_threads());
    Team team(wanted, monitor);
    std::exception_ptr error;
    const auto conduct = [&] {
        const StandardArithmetic guard;
        try {
            program(team);
        } catch (...) {
            error = std::current_exception();
        }
    };
    if (wanted == 1) {
        conduct();
    } else {
#pragma omp parallel num_threads(wanted)
        {
            if (omp_get_thread_num() == 0) {
                team.size_ = omp_get_num_threads();  // OpenMP may give fewer
                conduct();
                team.dismiss();
            } else {
                team.serve(omp_get_thread_num());
            }
        }
    }
    if (error) std::rethrow_exception(error);
}

}  // namespace tripletmine
