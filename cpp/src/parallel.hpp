// Threads, cancellation and progress. parallel.cpp is the only file that uses OpenMP.
//
// A call runs one serial *program* on the calling thread inside one parallel region; the other
// threads of the team wait for the program to hand out work with for_each. So a call reads from top
// to bottom, opens one region, and pays for a barrier, not for a region, at each step.
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

    void serve(int worker);
    void dismiss();
    void work(int worker) noexcept;
    static void synchronise();

    int size_;
    Monitor* monitor_;
    std::chrono::steady_clock::time_point last_tick_;
    std::int64_t polls_ = 0;
    double expected_ = 0.0;
    std::atomic<double> done_ = 0.0;

    const Task* task_ = nullptr;  // null tells the waiting threads to leave
    std::int64_t tasks_ = 0;
    std::atomic<std::int64_t> next_ = 0;
    std::atomic<bool> stopped_ = false;
    std::exception_ptr error_;
};

// The threads for a call that may choose (wanted == 0): one, if it has little to do.
int threads_for(int wanted, double multiply_adds);

// Runs program(team) with a team of n_threads (0: default_threads()).
void run_team(int n_threads, Monitor* monitor, const std::function<void(Team&)>& program);

}  // namespace tripletmine
