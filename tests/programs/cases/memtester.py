# SPDX-License-Identifier: Apache-2.0
"""memtester, one loop: every pattern it has, over locked memory that Quire pages all the same."""


def test(case):
    # It draws a line with backspaces on standard output; what it finds shows in the exit status.
    memtester = case.need("memtester")
    case.compare([memtester, "48M", "1"], timeout=100)
