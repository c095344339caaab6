# SPDX-License-Identifier: Apache-2.0
"""CPython's own tests of memory: the collector, mmap, buffers, weak references, containers."""
import cpython

MODULES = ["test_gc", "test_mmap", "test_memoryview", "test_array", "test_list"]


def test(case):
    cpython.compare(case, MODULES)
