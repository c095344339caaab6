# SPDX-License-Identifier: Apache-2.0
"""sort, told to hold a file in memory that is larger than the budget, with two threads."""
import random


def test(case):
    rng = random.Random(4)
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
    with open(case.file("lines"), "w", encoding="ascii") as lines:
        for number in range(120_000):
            lines.write(f"{rng.getrandbits(48):012x} {number} "
                        f"{''.join(rng.choices(alphabet, k=40)) * 12}\n")
    # No temporary files: all of it is sorted in memory.
    plain, run = case.compare([case.need("sort"), "-S", "400M", "--parallel=2", "-o", "sorted",
                               case.file("lines")], outputs=["sorted"])
