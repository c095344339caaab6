# SPDX-License-Identifier: Apache-2.0
"""kill -9 of a process of a tree that pages and forks, at any of its system calls or a moment later.

After each: the others go on, and what they have in memory is right; all ends; the counts of the
control block, and of the swap file, are those of who is left; nothing is left behind.
"""
import os
import random

from harness import MIB

BUDGET, SIZE_MIB = 8 * MIB, 6
N_KILLS = int(os.environ.get("QUIRE_TEST_KILLS", "5"))
MOST_DELAY_NS = 400_000
LIVES = {"parent", "child", "grandchild"}


def lives(run):
    results = run.directory / "results"
    return results.read_text().split() if results.exists() else []


def killed_run(case, k, delay_ns):
    run = case.under([case.helper("kill_at"), str(k), str(delay_ns), str(SIZE_MIB), "results"],
                     BUDGET)
    what = f"killed at stop {k}, {delay_ns} ns later"
    case.check(run.measured.status == 0 and run.stdout.startswith(b"OK "),
               f"{what}: ended with {run.measured.status}\n    {run.tail()}")
    case.check_clean(run)
    seen = lives(run)
    case.check(len(seen) == len(set(seen)) and set(seen) <= LIVES,
               f"{what}: results are {seen}")
    n_stops, n_forks = map(int, run.stdout.split()[1:])
    # Who is killed has no result; but the other, of whom there was one since the first fork, does.
    case.check(seen or n_forks == 0, f"{what} and {n_forks} forks: nobody has come to an end")
    return run, seen, n_stops


def test(case):
    seed = int(os.environ.get("QUIRE_TEST_SEED") or random.randrange(1 << 32))
    rng = random.Random(seed)
    run, seen, n_stops = killed_run(case, 0, 0)
    case.check(set(seen) == LIVES, f"without a kill: results are {seen}")
    case.check_paged(run)
    n_lost = 0
    for i in range(N_KILLS):
        # One in each part of its life, every other one between two calls.
        k = int((i + rng.random()) * n_stops / N_KILLS) + 1
        _, seen, _ = killed_run(case, k, rng.randrange(MOST_DELAY_NS) if i % 2 else 0)
        n_lost += len(LIVES - set(seen))
    case.check(n_lost > 0, f"in {N_KILLS} runs nobody was killed")
    print(f"{case.name}: {N_KILLS} kills at some of {n_stops} stops, seed {seed}: "
          f"{n_lost} processes without an end of their own")
