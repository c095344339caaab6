# SPDX-License-Identifier: Apache-2.0
"""memtester, one loop.

It asks to lock its memory, is told under Quire that more than the budget can't be locked, and goes
on without, as it does for users who may lock nothing. What it finds is compared from there on.
"""
import os

# Its tests by number: all arithmetic, sequential and narrow writes. Left out are those that go
# over the memory 64 to 512 times each with nothing but another bit set.
TESTS = [0, 1, 2, 3, 4, 5, 6, 7, 15, 16]


def test(case):
    mask = sum(1 << number for number in TESTS)
    options = {"env": {**os.environ, "MEMTESTER_TEST_MASK": str(mask)}}
    argv = [case.need("memtester"), "54M", "1"]
    plain = case.measured_plain(argv, **options)
    run = case.under(argv, case.third(plain), **options)
    findings = [each.stdout[each.stdout.index(b"Loop 1/1"):] for each in (plain, run)]
    case.check(run.measured.status == plain.measured.status == 0 and findings[0] == findings[1],
               f"ended with {run.measured.status}\n    {run.tail()}")
    case.check_paged(run)
    case.check_bound(run)
    case.check_clean(run)
    case.report(plain, run)
