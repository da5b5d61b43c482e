// Teams: every task once, on one worker at a time, whoever comes in time for it.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "parallel.hpp"
#include "support.hpp"

namespace tripletmine {
namespace {

// Steps of every size in quick succession, so that helpers come early, late and for the wrong step.
void check_steps(Tally& tally, int threads) {
    constexpr int steps = 30000;
    std::int64_t wrong = 0, overlaps = 0, strangers = 0;
    run_team(threads, nullptr, [&](Team& team) {
        const auto size = static_cast<std::size_t>(team.size());
        std::vector<std::atomic<int>> at_work(size);
        std::vector<std::int64_t> done(5);
        std::atomic<std::int64_t> met = 0, unknown = 0;
        Random random(static_cast<std::uint64_t>(threads));
        for (int step = 0; step < steps; ++step) {
            const std::int64_t tasks = random.below(static_cast<std::int64_t>(done.size()) + 1);
            std::fill(done.begin(), done.end(), 0);
            team.for_each(tasks, [&](std::int64_t task, int worker) {
                if (worker < 0 || worker >= team.size()) {
                    ++unknown;
                    return;
                }
                std::atomic<int>& own = at_work[static_cast<std::size_t>(worker)];
                if (own.fetch_add(1) != 0) ++met;
                done[static_cast<std::size_t>(task)] += step + task;
                own.fetch_sub(1);
            });
            // Nobody is at work any more, and plain memory shows what all have done.
            for (const std::atomic<int>& worker : at_work) met += worker.load();
            for (std::int64_t task = 0; task < std::ssize(done); ++task) {
                const std::int64_t expected = task < tasks ? step + task : 0;
                if (done[static_cast<std::size_t>(task)] != expected) ++wrong;
            }
        }
        overlaps = met;
        strangers = unknown;
    });
    const std::string what = std::to_string(threads) + " threads: ";
    tally.check(wrong == 0, what + "a task is not run once in its step");
    tally.check(overlaps == 0, what + "a worker is at two tasks, or at one after its step");
    tally.check(strangers == 0, what + "a worker has no number of the team");
}

// A step is not over before a helper that began a task has ended it.
void check_long_tasks(Tally& tally) {
    using namespace std::chrono_literals;
    std::atomic<int> ended = 0;
    std::atomic<bool> helped = false;
    int seen = 0;
    run_team(2, nullptr, [&](Team& team) {
        if (team.size() == 1) {  // a limit of threads
            helped = true;
            seen = 2;
            return;
        }
        team.for_each(2, [&](std::int64_t, int worker) {
            if (worker == 0) {
                const auto end = std::chrono::steady_clock::now() + 5s;
                while (!helped && std::chrono::steady_clock::now() < end) {
                    std::this_thread::yield();
                }
            } else {
                helped = true;
                std::this_thread::sleep_for(20ms);  // until the other has fallen asleep
            }
            ++ended;
        });
        seen = ended;
    });
    tally.check(helped, "no helper came within five seconds");
    tally.check(seen == 2, "a step ends before its last task does");
}

void check_errors(Tally& tally, int threads) {
    const std::string what = std::to_string(threads) + " threads: ";
    std::string message;
    std::atomic<std::int64_t> begun = 0;
    try {
        run_team(threads, nullptr, [&](Team& team) {
            team.for_each(1'000'000, [&](std::int64_t task, int) {
                ++begun;
                if (task == 100) throw std::runtime_error("task 100");
            });
            throw std::runtime_error("the program went on");
        });
    } catch (const std::runtime_error& error) {
        message = error.what();
    }
    tally.check(message == "task 100", what + "another error than the task's: " + message);
    tally.check(begun < 1'000'000, what + "an error does not end the work");
    try {
        run_team(threads, nullptr, [](Team&) { throw std::runtime_error("program"); });
        message = "nothing";
    } catch (const std::runtime_error& error) {
        message = error.what();
    }
    tally.check(message == "program", what + "another error than the program's: " + message);
}

}  // namespace

void check_teams(Tally& tally) {
    for (const int threads : {1, 2, 3, 5}) {
        check_steps(tally, threads);
        check_errors(tally, threads);
    }
    check_long_tasks(tally);
    // Several callers at once.
    std::vector<Tally> tallies(3);
    std::vector<std::thread> callers;
    for (Tally& own : tallies) callers.emplace_back([&own] { check_steps(own, 2); });
    for (std::thread& caller : callers) caller.join();
    for (const Tally& own : tallies) tally.check(own.failed() == 0, "callers at once");
}

}  // namespace tripletmine
