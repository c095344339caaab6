# SPDX-License-Identifier: Apache-2.0
"""A program that gives up most of its pages, but not all that lie together, and then does nothing:
what is left of them in the swap file is packed closer, and the disk gets back the rest.
"""
import os
import time

from cases.swap_sealed import Running
from harness import MIB, PATIENCE_SECONDS

N_PAGES, KEPT = 8192, 8  # one in so many; pages do not compress
IDLE_BYTES = 8 * MIB  # that the file may hold beyond what is used of it
MOST_BYTES = 2 * (N_PAGES // KEPT) * 4608 + MIB + IDLE_BYTES

PROGRAM = f"""
import mmap, random, sys
def contents(i):
    return random.Random(i).randbytes(4096)
area = mmap.mmap(-1, {N_PAGES} * 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for i in range({N_PAGES}):
    area[i * 4096:(i + 1) * 4096] = contents(i)
print("filled", flush=True)
sys.stdin.readline()
for i in range({N_PAGES}):
    if i % {KEPT}:
        area.madvise(mmap.MADV_DONTNEED, i * 4096, 4096)
print("filled", flush=True)
sys.stdin.readline()
kept = range(0, {N_PAGES}, {KEPT})
print("OK" if all(area[i * 4096:(i + 1) * 4096] == contents(i) for i in kept) else "wrong")
"""


def on_disk(file):
    return os.fstat(file.fileno()).st_blocks * 512


def test(case):
    running = Running(case, program=PROGRAM)
    with running.swap() as file:
        before = on_disk(file)
        case.check(before > MOST_BYTES + MIB, f"the file has only {before} bytes")
        running.go_on()
        running.wait_filled()
        end = time.monotonic() + PATIENCE_SECONDS
        while on_disk(file) > MOST_BYTES and time.monotonic() < end:
            time.sleep(0.05)
        after = on_disk(file)
    case.check(after <= MOST_BYTES, f"the file still has {after} of {before} bytes")
    status, said, out = running.end()
    case.check((status, said, out) == (0, "", b"OK\n"), f"ended with {status}: {said!r}, {out!r}")
    print(f"{case.name}: {before} bytes of file, then {after}")
