# SPDX-License-Identifier: Apache-2.0
"""Data that compresses like real files: repeats near and far, numbers, and noise."""
import random


def write(path, n_bytes, seed=9):
    rng = random.Random(seed)
    words = ["".join(rng.choices("etaoinshrdlucmfwypvbgkqjxz", k=rng.randint(2, 11)))
             for _ in range(5000)]
    blocks = []
    with open(path, "wb") as file:
        while file.tell() < n_bytes:
            kind = rng.random()
            if kind < (0.97 if len(blocks) > 150 else 0.5) and blocks:
                block = rng.choice(blocks)
            elif kind < 0.98:
                block = rng.randbytes(20_000)
            else:
                block = " ".join(rng.choices(words, k=6000)).encode()
            if len(blocks) < 1000:
                blocks.append(block)
            file.write(block)
