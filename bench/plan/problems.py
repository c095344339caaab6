#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Buffers to plan, as CSV on standard output: problems.py random|tiles|pinwheel NUMBER [SEED].

random    sizes of 1 KiB to 1 MiB, lifetimes of 1 to 500, spread so that some 25 live at a time
tiles     a rectangle of 1 MiB by 2^20 ticks, cut from edge to edge until there are NUMBER pieces:
          the least peak is 1048576. Larger pieces are cut sooner; none is below 1 KiB
pinwheel  the same, but each cut makes a piece in the middle and four around it, so that no line
          cuts through; NUMBER is rounded down to 1 + 4 k
"""
import bisect
import random
import sys

CAPACITY, SPAN, LEAST = 1 << 20, 1 << 20, 1 << 10


def scattered(n, rng):
    last = max(500, n * 10)
    for _ in range(n):
        size, duration = rng.randint(1 << 10, 1 << 20), rng.randint(1, 500)
        start = rng.randint(0, last - duration)
        yield start, start + duration, size


def cut_in_two(tile, rng):
    start, end, low, size = tile
    across, along = size >= 2 * LEAST, end - start >= 2
    if across and (not along or rng.random() < 0.5):
        cut = rng.randint(LEAST, size - LEAST)
        return [(start, end, low, cut), (start, end, low + cut, size - cut)]
    if along:
        cut = rng.randint(start + 1, end - 1)
        return [(start, cut, low, size), (cut, end, low, size)]
    return None


def cut_in_five(tile, rng):
    start, end, low, size = tile
    if end - start < 3 or size < 3 * LEAST:
        return None
    p, q = rng.randint(1, (end - start - 1) // 2), rng.randint(LEAST, (size - LEAST) // 2)
    return [(start, end - p, low, q), (end - p, end, low, size - q),
            (start + p, end, low + size - q, q), (start, start + p, low + q, size - q),
            (start + p, end - p, low + q, size - 2 * q)]


def tiled(n, rng, cut):
    """Cuts a tile chosen by its area, by binary search in prefix sums renewed from time to time."""
    tiles, done, grown = [(0, SPAN, 0, CAPACITY)], [], 0
    more = 1 if cut is cut_in_two else 4
    while len(tiles) + len(done) + more <= n:
        sums, total = [], 0
        for start, end, _, size in tiles:
            total += (end - start) * size
            sums.append(total)
        stale = set()
        for _ in range(max(1, len(tiles) // 4)):
            at = bisect.bisect_right(sums, rng.randrange(total))
            if at in stale or len(tiles) + len(done) + more > n:
                continue
            stale.add(at)
            parts = cut(tiles[at], rng)
            if parts is None:
                done.append(tiles[at])
                tiles[at] = None
            else:
                tiles[at] = parts[0]
                tiles += parts[1:]
        tiles = [tile for tile in tiles if tile is not None]
        grown += 1
    tiles += done
    rng.shuffle(tiles)
    return ((start, end, size) for start, end, _, size in tiles)


def problem(kind, n, seed):
    rng = random.Random(seed)
    if kind == "random":
        return scattered(n, rng)
    return tiled(n, rng, {"tiles": cut_in_two, "pinwheel": cut_in_five}[kind])


def text(kind, n, seed):
    lines = ["id,lower,upper,size"]
    lines += (f"{i},{a},{b},{size}" for i, (a, b, size) in enumerate(problem(kind, n, seed)))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in ("random", "tiles", "pinwheel"):
        sys.exit(__doc__.strip())
    sys.stdout.write(text(sys.argv[1], int(sys.argv[2]), int((sys.argv + ["1"])[3])))
