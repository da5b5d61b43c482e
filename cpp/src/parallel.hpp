// Threads, cancellation and progress. parallel.cpp is the only file that uses OpenMP.
//
// A call runs one serial *program* on the calling thread inside one parallel region; the other
// threads of the team, its helpers, wait for the program to hand out work with for_each. So a call
// reads from top to bottom and opens one region.
//
// There is no barrier: a step of the program ends when its tasks are done, and waits for no helper
// that has not come for one. Where other processes have the cores a helper may get none for
// milliseconds, and the others do meanwhile what it would have done.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>

#include "tripletmine/tripletmine.hpp"

namespace tripletmine {

class Team {
public:
    using Task = std::function<void(std::int64_t task, int worker)>;

    Team(int size, Monitor* monitor);

    int size() const { return size_; }

    // Runs task(0) ... task(tasks - 1), each once, on whichever worker is free. The first exception
    // ends the work and is thrown again here.
    void for_each(std::int64_t tasks, const Task& task);

    // To be called by tasks every millisecond or so: ends the task if the work was stopped, and on
    // the calling thread lets the monitor look (Ctrl-C, progress).
    void poll(int worker);

    // Progress, in pairs.
    void expect(double pairs) { expected_ += pairs; }
    void advance(double pairs) { done_.fetch_add(pairs, std::memory_order_relaxed); }

private:
    friend void run_team(int, Monitor*, const std::function<void(Team&)>&);

    void open();
    void close();
    void dismiss();
    void serve(int worker);
    void work(int worker) noexcept;

    int size_;
    Monitor* monitor_;
    std::chrono::steady_clock::time_point last_look_, next_tick_;
    int polls_to_look_ = 1;
    double expected_ = 0.0;
    std::atomic<double> done_ = 0.0;

    // The gate is odd while it is open, and another number for each step. What the step is about is
    // written while it is closed and no helper is inside.
    alignas(64) std::atomic<std::uint32_t> gate_ = 0;
    alignas(64) std::atomic<std::uint32_t> inside_ = 0;
    const Task* task_ = nullptr;  // null sends the helpers away
    std::int64_t tasks_ = 0;
    alignas(64) std::atomic<std::int64_t> next_ = 0;
    std::atomic<bool> stopped_ = false;
    std::exception_ptr error_;
};

// The threads for a call that may choose (wanted == 0): one, if it has little to do.
int threads_for(int wanted, double multiply_adds);

// Runs program(team) with a team of n_threads (0: default_threads()).
void run_team(int n_threads, Monitor* monitor, const std::function<void(Team&)>& program);

}  // namespace tripletmine
