#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `make run` runs: an ordinary program over a large dictionary. It knows nothing of Quire.

Builds an index of made-up people, links them, asks it a few hundred thousand questions, and prints
the answers' digest. Needs about 400 MiB.
"""
import hashlib
import random

N_PEOPLE = 550_000
N_QUESTIONS = 150_000


def build(rng):
    people = {}
    towns = [f"town-{i}" for i in range(997)]
    for number in range(N_PEOPLE):
        people[f"person-{number * 7919 % 1_000_003}"] = {
            "town": towns[number % 997],
            "born": 1900 + number % 120,
            "note": f"{rng.getrandbits(128):032x}" + "." * (number % 60),
            "knows": [],
        }
    return people


def main():
    rng = random.Random(2024)
    people = build(rng)
    names = list(people)
    for _ in range(N_PEOPLE // 2):
        a, b = rng.choice(names), rng.choice(names)
        people[a]["knows"].append(b)

    digest = hashlib.sha256()
    # Most questions are about few of them, as it is in life.
    known = sorted(names)[:len(names) // 8]
    for question in range(N_QUESTIONS):
        person = people[rng.choice(known if question % 10 else names)]
        digest.update(person["note"].encode())
        for friend in person["knows"]:
            digest.update(people[friend]["town"].encode())
    by_town = {}
    for person in people.values():
        by_town[person["town"]] = by_town.get(person["town"], 0) + person["born"]
    print(f"{len(people)} people in {len(by_town)} towns")
    print(f"oldest town: {min(by_town, key=lambda town: (by_town[town], town))}")
    print(f"digest of {N_QUESTIONS} answers: {digest.hexdigest()}")


if __name__ == "__main__":
    main()
