# SPDX-License-Identifier: Apache-2.0
"""CPython's own tests of memory: the collector, mmap, buffers, weak references, containers."""
import cpython

MODULES = ["test_gc", "test_mmap", "test_memoryview", "test_bytes", "test_array", "test_list",
           "test_dict", "test_bigmem"]


def test(case):
    cpython.compare(case, MODULES)
