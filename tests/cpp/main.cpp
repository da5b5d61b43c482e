// Teams; then every kernel set that this machine runs, one after the other: primitives, bounds,
// whole calls.
//
// A program of its own, because it also runs where Python does not: in a cross build, under an
// emulator.
//
//     kernel_tests [name ...]    the sets that must have been exercised, else it fails
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/dispatch.hpp"
#include "support.hpp"

namespace tripletmine {
namespace {

int run(const std::vector<std::string_view>& required) {
    std::int64_t passed = 0, failed = 0;
    const auto report = [&](std::string_view subject, const Tally& tally) {
        passed += tally.passed();
        failed += tally.failed();
        std::printf("%s: %lld checks\n", std::string(subject).c_str(),
                    static_cast<long long>(tally.run()));
        std::fflush(stdout);
    };
    Tally teams;
    teams.begin("teams");
    check_teams(teams);
    report("teams", teams);
    std::vector<std::string_view> exercised;
    for (const RegisteredSet& set : registered_sets()) {
        const std::string name(set.info.name);
        if (!set.info.supported) {
            std::printf("%s: compiled, not supported by this machine\n", name.c_str());
            continue;
        }
        Tally tally;
        tally.begin(set.info.name);
        try {
            tally.check(name == set.kernels->name, "registered as " + name);
            tally.check(&choose_kernels(name) == set.kernels, "not chosen by its name");
            check_primitives(tally, *set.kernels);
            check_scorers(tally, *set.kernels);
            check_bounds(tally, *set.kernels);
            check_calls(tally, set.info.name);
        } catch (const std::exception& error) {
            tally.check(false, std::string("exception: ") + error.what());
        }
        exercised.push_back(set.info.name);
        report(name, tally);
    }
    for (const std::string_view name : required) {
        if (std::find(exercised.begin(), exercised.end(), name) != exercised.end()) continue;
        std::fprintf(stderr, "FAILED  %s: required, but not exercised\n",
                     std::string(name).c_str());
        ++failed;
    }
    std::printf("%lld passed, %lld failed\n", static_cast<long long>(passed),
                static_cast<long long>(failed));
    return failed == 0 && !exercised.empty() ? 0 : 1;
}

}  // namespace
}  // namespace tripletmine

int main(int argc, char** argv) { return tripletmine::run({argv + 1, argv + argc}); }
