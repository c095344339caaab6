# SPDX-License-Identifier: Apache-2.0
"""memtester, one loop over memory that it locks; Quire pages what can't be locked all the same."""
import os

# Its tests by number: all arithmetic, sequential and narrow writes. Left out are those that go
# over the memory 64 to 512 times each with nothing but another bit set.
TESTS = [0, 1, 2, 3, 4, 5, 6, 7, 15, 16]


def test(case):
    mask = sum(1 << number for number in TESTS)
    case.compare([case.need("memtester"), "64M", "1"], timeout=100,
                 env={**os.environ, "MEMTESTER_TEST_MASK": str(mask)})
