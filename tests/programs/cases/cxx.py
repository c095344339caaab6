# SPDX-License-Identifier: Apache-2.0
"""C++: new and delete in all their forms, containers, strings, exceptions, threads."""

SOURCE = r"""
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

struct alignas(256) Wide { uint64_t words[32]; };

static uint64_t mix(uint64_t x) {
    x ^= x >> 31; x *= 0x7fb5d329728ea185; x ^= x >> 27; x *= 0x81dadef4bc2dd44d; return x ^ x >> 33;
}

static std::atomic<int> n_filling{3};

// All are full at the same time, so what the program needs is no matter of luck.
static uint64_t containers(uint64_t seed) {
    std::map<std::string, std::vector<uint64_t>> tree;
    std::unordered_map<uint64_t, std::string> table;
    for (uint64_t i = 0; i < 80000; i++) {
        tree["key-" + std::to_string(mix(i + seed) % 50021)].push_back(i);
        table[mix(i)] = std::string(i % 90, char('a' + i % 26));
    }
    n_filling--;
    while (n_filling > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    uint64_t digest = seed;
    for (auto &[key, values] : tree)
        digest = mix(digest ^ key.size() ^ values.size() ^ values.back());
    for (uint64_t i = 0; i < 80000; i += 3)
        digest = mix(digest ^ table.at(mix(i)).size());
    return digest;
}

static uint64_t forms() {
    std::vector<std::unique_ptr<Wide>> wide;
    uint64_t digest = 0;
    for (uint64_t i = 0; i < 60000; i++) {
        wide.push_back(std::make_unique<Wide>());
        wide.back()->words[i % 32] = i;
        if (uintptr_t(wide.back().get()) % 256) throw std::logic_error("not aligned");
    }
    for (uint64_t i = 0; i < wide.size(); i++) digest = mix(digest ^ wide[i]->words[i % 32]);
    int n_thrown = 0;
    for (int i = 0; i < 1000; i++)
        try { throw std::runtime_error(std::string(500, 'x')); }
        catch (const std::exception &e) { n_thrown += int(std::string(e.what()).size() == 500); }
    volatile size_t huge = size_t(-1) / 4;
    try { delete[] new char[huge]; } catch (const std::bad_alloc &) { n_thrown++; }
    if (new (std::nothrow) char[huge] != nullptr) return 0;
    return digest ^ uint64_t(n_thrown);
}

int main() {
    uint64_t results[3];
    std::vector<std::thread> threads;
    for (uint64_t i = 0; i < 3; i++) threads.emplace_back([&results, i] { results[i] = containers(i); });
    for (auto &thread : threads) thread.join();
    uint64_t digest = forms();
    for (uint64_t result : results) digest = mix(digest ^ result);
    std::printf("%016llx\n", (unsigned long long)digest);
}
"""


def test(case):
    source = case.file("program.cc", SOURCE)
    program = case.file("program")
    built = case.plain([case.need("g++", "clang++"), "-std=c++17", "-O1", source, "-o", program,
                        "-lpthread"])
    case.check(built.measured.status == 0, f"does not compile\n    {built.tail()}")
    case.compare([program])
