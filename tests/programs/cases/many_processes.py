# SPDX-License-Identifier: Apache-2.0
"""50 small processes at once, each with 1.25 MiB of its own, in 48 MiB; and what their tables cost."""
from harness import MIB

N_PROCESSES, KIB_EACH, BUDGET_MIB = 50, 1280, 48
TABLES_KIB = 480  # of Quire's own for each process


def test(case):
    argv = [case.helper("many"), str(N_PROCESSES), str(KIB_EACH)]
    plain = case.plain(argv)
    case.check(plain.measured.status == 0, f"fails without Quire\n    {plain.tail()}")
    run = case.under(argv, BUDGET_MIB * MIB)
    case.check_same(plain, run)
    case.check_paged(run)
    case.check_bound(run)
    case.check_clean(run)
    tables = run.stats["peak_metadata_bytes"] / 1024 / (N_PROCESSES + 1)
    case.check(0 < tables <= TABLES_KIB,
               f"{tables:.0f} KiB of tables a process; allowed are {TABLES_KIB}")
    case.report(plain, run)
    print(f"{case.name}: tables of {tables:.0f} KiB a process")
