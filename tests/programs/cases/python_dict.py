# SPDX-License-Identifier: Apache-2.0
"""CPython: large dictionaries, lists and cycles, with the cyclic collector on."""

PROGRAM = r"""
import gc, hashlib, random

random.seed(20)
assert gc.isenabled()

class Node:
    def __init__(self, key, peer):
        self.key = key
        self.peer = peer          # a cycle: only the collector can free it

digest = hashlib.sha256()
index = {}
for i in range(40_000):
    index[f"key-{i * 7919 % 1_000_003}"] = [i, str(i) * 200, {"n": i, "half": i / 2}]
numbers = [random.random() for _ in range(60_000)]

# Garbage in cycles, so that the collector walks everything that is alive.
for round in range(2):
    nodes = [Node(i, None) for i in range(15_000)]
    for a, b in zip(nodes, reversed(nodes)):
        a.peer = b
    digest.update(str(sum(node.peer.key for node in nodes)).encode())
    del nodes, a, b
    digest.update(str(gc.collect()).encode())

for key in random.sample(sorted(index), 10_000):
    value = index[key]
    digest.update(f"{key}{value}".encode())
for key in sorted(index)[::3]:
    del index[key]
numbers.sort()
digest.update(repr(numbers[::1000]).encode())
digest.update(str(sum(len(value[1]) for value in index.values())).encode())
print(len(index), digest.hexdigest())
"""


def test(case):
    case.compare([case.python(), "-c", PROGRAM])
