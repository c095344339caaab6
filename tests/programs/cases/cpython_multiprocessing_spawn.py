# SPDX-License-Identifier: Apache-2.0
"""CPython's own tests of multiprocessing, by spawn: each child is an interpreter of its own."""
import cpython

ONLY = ["WithProcessesTestQueue", "WithProcessesTestConnection", "WithProcessesTestHeap"]


def test(case):
    cpython.compare(case, ["test_multiprocessing_spawn"], only=ONLY)
