# SPDX-License-Identifier: Apache-2.0
"""CPython's own tests of multiprocessing, by fork."""
import cpython

ONLY = ["WithProcessesTestQueue", "WithProcessesTestConnection", "WithProcessesTestHeap",
        "WithProcessesTestProcess", "WithProcessesTestSharedCTypes"]


def test(case):
    cpython.compare(case, ["test_multiprocessing_fork"], only=ONLY)
