# SPDX-License-Identifier: Apache-2.0
"""CPython's own tests of processes: fork, wait, subprocess, posix_spawn, os."""
import cpython

# Most of the time of these goes into waiting, or they repeat others with another polling call.
LEAVE_OUT = ["test_check_output_timeout", "ProcessTestCaseNoPoll",
             "test_communicate_repeated_call_after_stdout_close"]


def test(case):
    cpython.compare(case, ["test_fork1", "test_subprocess", "test_posix", "test_os"],
                    leave_out=LEAVE_OUT)
