# SPDX-License-Identifier: Apache-2.0
"""The C programs of this directory: each checks itself and prints OK.

A helper cycles through SIZE_MIB of memory, so that at BUDGET of it the pages it asks the kernel
to look at have been evicted in between. The table says which need other figures.
"""
from harness import MIB

SIZE_MIB = 72
BUDGET_MIB = 18

# name: (size, budget), MiB
SPECIAL = {
    # Several processes at a time, each with something of its own.
    "fork_nss": (160, 40),
    "fork_orphan": (160, 40),
    "fork_tree": (160, 40),
    "malloc_family": (100, 48),
    "threads_ended": (40, 12),
}

# C programs that are no tests by themselves: cases run them.
TOOLS = ("ending", "freed", "kill_at", "many", "noise", "phases", "sparse")


def test(case):
    size, budget = SPECIAL.get(case.name, (SIZE_MIB, BUDGET_MIB))
    argv = [case.helper(case.name), str(size)]
    plain = case.plain(argv)
    if plain.measured.status == 77:
        # What the kernel here does not offer at all is nothing that Quire could break.
        print(f"{case.name}: skipped: {plain.stdout.decode().strip()}")
        raise SystemExit(77)
    case.check(plain.measured.status == 0,
               f"fails without Quire: {plain.measured.status}\n    {plain.tail()}")
    run = case.under(argv, budget * MIB)
    case.check_same(plain, run)
    case.check_paged(run)
    case.check_bound(run)
    case.check_clean(run)
    case.report(plain, run)
