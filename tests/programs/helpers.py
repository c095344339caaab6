# SPDX-License-Identifier: Apache-2.0
"""The C programs of this directory: each checks itself and prints OK.

A helper cycles through SIZE_MIB of memory, so that at BUDGET of it the pages it asks the kernel
to look at have been evicted in between. The table says which need other sizes.
"""
from harness import GRACE_BYTES, MIB

SIZE_MIB = 160
BUDGET_MIB = 40

# name: (size in MiB, budget in MiB)
SPECIAL = {
    "malloc_family": (100, 48),
}

# name: grace in MiB, where the bound is known not to hold as closely as elsewhere (docs/limits.md)
SPECIAL_GRACE = {
    "fork_nss": 24,
}

# C programs that are no tests by themselves: cases run them.
TOOLS = ("ending", "many", "noise", "sparse")


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
    case.check_bound(run, SPECIAL_GRACE.get(case.name, GRACE_BYTES // MIB) * MIB)
    case.check_clean(run)
    case.report(plain, run)
