#include "parallel.hpp"

#include <omp.h>
#include <pthread.h>

#include <optional>

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

// The clock is looked at once in so many polls, which come every millisecond or more often.
constexpr std::int64_t polls_per_look = 8;
constexpr auto tick_interval = std::chrono::milliseconds(50);

struct Stopped {};  // ends a task after another one failed; never leaves this file

}  // namespace

int default_threads() { return forked.load() ? 1 : omp_get_max_threads(); }

Team::Team(int size, Monitor* monitor)
    : size_(size), monitor_(monitor), last_tick_(std::chrono::steady_clock::now()) {}

// The one barrier, met by all threads of the team alike.
void Team::synchronise() {
#pragma omp barrier
}

void Team::for_each(std::int64_t tasks, const Task& task) {
    task_ = &task;
    tasks_ = tasks;
    next_.store(0);
    if (size_ > 1 && tasks > 1) {
        synchronise();
        work(0);
        synchronise();
    } else {
        work(0);
    }
    if (error_) std::rethrow_exception(error_);
}

void Team::serve(int worker) {
    const StandardArithmetic guard;
    for (;;) {
        synchronise();
        if (task_ == nullptr) return;
        work(worker);
        synchronise();
    }
}

void Team::dismiss() {
    task_ = nullptr;
    if (size_ > 1) synchronise();
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
    if (worker != 0 || monitor_ == nullptr || ++polls_ % polls_per_look != 0) return;
    const auto now = std::chrono::steady_clock::now();
    if (now - last_tick_ < tick_interval) return;
    last_tick_ = now;
    monitor_->tick(done_.load(std::memory_order_relaxed), expected_);
}

int threads_for(int wanted, double multiply_adds) {
    constexpr double worth_a_team = 8e6;  // less is done before a team has begun
    return wanted == 0 && multiply_adds < worth_a_team ? 1 : wanted;
}

void run_team(int n_threads, Monitor* monitor, const std::function<void(Team&)>& program) {
    const int wanted = forked.load() ? 1 : n_threads > 0 ? n_threads : default_threads();
    std::exception_ptr error;
    const auto conduct = [&](Team& team) {
        const StandardArithmetic guard;
        try {
            program(team);
        } catch (...) {
            error = std::current_exception();
        }
        team.dismiss();
    };
    if (wanted == 1) {
        Team team(1, monitor);
        conduct(team);
    } else {
        std::optional<Team> team;
#pragma omp parallel num_threads(wanted)
        {
#pragma omp master
            team.emplace(omp_get_num_threads(), monitor);  // OpenMP may give fewer
            Team::synchronise();
            if (omp_get_thread_num() == 0) {
                conduct(*team);
            } else {
                team->serve(omp_get_thread_num());
            }
        }
    }
    if (error) std::rethrow_exception(error);
}

}  // namespace tripletmine
