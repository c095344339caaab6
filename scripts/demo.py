#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `make run` runs: an ordinary program over a large dictionary. It knows nothing of Quire.

Builds an index of made-up people in about 350 MiB, asks it fifty thousand questions, most of
them about a few of the people, and prints the digest of the answers.
"""
import hashlib
import random

N_PEOPLE = 500_000
N_QUESTIONS = 50_000
TOWNS = [f"town-{i}" for i in range(997)]


def build(rng):
    """Name -> "town;born;friend;friend;…;notes", as a program would keep lines of a file."""
    people = {}
    for number in range(N_PEOPLE):
        friends = ";".join(f"person-{rng.randrange(N_PEOPLE)}" for _ in range(number % 8))
        notes = f"{rng.getrandbits(512):0128x}" + "lorem ipsum dolor sit amet " * (number % 20)
        people[f"person-{number}"] = f"{TOWNS[number % 997]};{1900 + number % 120};{friends};{notes}"
    return people


def ask(people, rng):
    """Follows friends of friends; nine questions of ten start at one of the first people."""
    digest = hashlib.sha256()
    for question in range(N_QUESTIONS):
        number = rng.randrange(N_PEOPLE // 20 if question % 10 else N_PEOPLE)
        person = people[f"person-{number}"]
        digest.update(person.encode())
        if question % 10 == 0:
            for friend in person.split(";")[2:-1]:
                digest.update(people.get(friend, "nobody").encode())
    return digest.hexdigest()


def main():
    rng = random.Random(2024)
    people = build(rng)
    print(f"{len(people)} people in {len(set(TOWNS))} towns")
    print(f"digest of {N_QUESTIONS} answers: {ask(people, rng)}")
    born = sum(int(person.split(";", 2)[1]) for person in people.values())
    print(f"born in {born / len(people):.2f} on the average")


if __name__ == "__main__":
    main()
