# SPDX-License-Identifier: Apache-2.0
"""CPython with threads and a fork, under other rules for what leaves and what comes along."""

PROGRAM = r"""
import hashlib, os, random, threading

random.seed(3)
index = {i: (str(i) * 40, [i, i + 1]) for i in range(80_000)}
digests = {}

def look(seed):
    rng, digest = random.Random(seed), hashlib.sha256()
    for _ in range(600):
        text, pair = index[int(rng.random() ** 3 * len(index))]
        digest.update(f"{text[:20]}{pair}".encode())
    digests[seed] = digest.hexdigest()

threads = [threading.Thread(target=look, args=(seed,)) for seed in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
child = os.fork()
if child == 0:
    look(2)
    os._exit(digests[2] != "")
print(sorted(digests.items()), os.waitpid(child, 0)[1] >> 8)
print(hashlib.sha256("".join(text for text, _ in index.values()).encode()).hexdigest())
"""

RULES = (("sieve", "cluster"), ("working-set", "none"))


def test(case):
    for policy, prefetch in RULES:
        _, run = case.compare([case.python(), "-c", PROGRAM],
                              extra=("--policy", policy, "--prefetch", prefetch))
        options = run.stats["options"]
        case.check((options["policy"], options["prefetch"]) == (policy, prefetch),
                   "the figures name another rule")
        case.check(prefetch != "none" or run.stats["prefetched_pages"] == 0,
                   "pages came along that nobody asked for")
