# SPDX-License-Identifier: Apache-2.0
"""CPython's own tests of signals, and of what it prints when one kills it."""
import cpython


def test(case):
    # SiginterruptTest waits for 30 seconds.
    cpython.compare(case, ["test_signal", "test_threadsignals"], leave_out=["SiginterruptTest"])
