# SPDX-License-Identifier: Apache-2.0
"""Addresses of a Linux kernel that its page tables map, drawn at random, and what Quire makes of them."""
import random
import re
import resource
import subprocess

N = 40000
DIRECT_MAP = (0xffff888000000000, 0xffffc88000000000)
IMAGE = (0xffffffff80000000, 0xffffffffa0000000)


def draw(quire, machine, left_out=()):
    """N of the upper half, by rising weight of their ranges, outside of those left out."""
    listed = subprocess.run([*quire, "--map", "--range", "0xffff800000000000-0xffffffffffffffff",
                             *machine], check=False, capture_output=True, text=True).stdout
    ranges = []
    for line in listed.splitlines():
        match = re.match(r"(0x[0-9a-f]+)-(0x[0-9a-f]+) 0x", line)
        if match:
            first, last = int(match.group(1), 16), int(match.group(2), 16)
            if not any(low <= first < high for low, high in left_out):
                ranges.append((first, last))
    source = random.Random(1)
    picked = source.choices(ranges, [min(last - first, 1 << 21) for first, last in ranges], k=N)
    return [first + source.randrange(last - first - 7) & ~7 for first, last in picked]


def children_seconds(command, **options):
    """What it printed, and the processor's time that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            text=True, **options).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return output, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def translate(quire, machine, vas):
    """Physical addresses, None where there are none, and the seconds."""
    output, seconds = children_seconds([*quire, *machine, "-"],
                                       input="".join(f"{va:#x}\n" for va in vas))
    return [None if line.split()[1] == "-" else int(line.split()[1], 0)
            for line in output.splitlines()], seconds
