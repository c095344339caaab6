# SPDX-License-Identifier: Apache-2.0
"""A fork of a process whose memory is full of freed objects.

With these settings the pages that they lie on are all there is to give.
"""
from harness import MIB

SIZE_MIB, BUDGET_MIB = 24, 20
SETTINGS = ("--policy", "sieve", "--prefetch", "none")


def test(case):
    argv = [case.helper("freed"), str(SIZE_MIB)]
    plain = case.plain(argv)
    run = case.under(argv, BUDGET_MIB * MIB, SETTINGS)
    case.check_same(plain, run)
    case.check_paged(run)
    case.check_bound(run)
    case.check_clean(run)
    case.report(plain, run)
