# SPDX-License-Identifier: Apache-2.0
"""CPython's own tests of multiprocessing, by fork."""
import cpython

ONLY = ["WithProcessesTestQueue", "WithProcessesTestConnection", "WithProcessesTestHeap",
        "WithProcessesTestProcess", "WithProcessesTestSharedCTypes"]

# A hundred forks at a time of a process that is paged: what each copies of the pager's tables
# (about 0.5 MiB: docs/limits.md) is more than this budget.
LEAVE_OUT = ["test_many_processes"]


def test(case):
    cpython.compare(case, ["test_multiprocessing_fork"], only=ONLY, leave_out=LEAVE_OUT)
