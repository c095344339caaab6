# SPDX-License-Identifier: Apache-2.0
"""CPython's own tests of threads."""
import cpython


def test(case):
    cpython.compare(case, ["test_thread", "test_threading", "test_threading_local", "test_context"])
