# SPDX-License-Identifier: Apache-2.0
"""20 GiB of address space, 2 GiB of data, 300 MiB of RAM; and what Quire's own tables cost."""
from harness import MIB

TOUCHED_MIB, RESERVED_GIB, BUDGET_MIB = 2048, 20, 300


def test(case):
    argv = [case.helper("sparse"), RESERVED_GIB, TOUCHED_MIB]
    argv = [str(word) for word in argv]
    run = case.under(argv, BUDGET_MIB * MIB)
    case.check(run.measured.status == 0 and run.stdout.startswith(b"OK"),
               f"ended with {run.measured.status}\n    {run.tail()}")
    case.check_paged(run)
    case.check_bound(run)
    case.check_clean(run)
    metadata = run.stats["peak_metadata_bytes"]
    allowed = 16 * (TOUCHED_MIB * MIB // 4096) + BUDGET_MIB * MIB // 100
    case.check(0 < metadata <= allowed,
               f"{metadata / MIB:.1f} MiB of tables; allowed are {allowed / MIB:.1f}: "
               "16 bytes a page of data and 1 % of the budget")
    print(f"{case.name}: {run.measured.wall_seconds:.1f} s, tables {metadata / MIB:.1f} MiB of "
          f"{allowed / MIB:.1f}, seen {run.measured.peak_anon_bytes / MIB:.0f} MiB")
