# SPDX-License-Identifier: Apache-2.0
"""What a user may do to a run while it goes on, done at random: limit, park, resume.

A Meddler is a thread that looks for a `quire run` among the descendants of this process, waits for a
moment, and does one of these to it, again and again. A run that it has stopped it continues, always.
What a command answers is checked: it ends, its figures are JSON, or it says in one message why not.
"""
import json
import os
import random
import subprocess
import threading

import harness
import measure

MIB = 1 << 20
PATIENCE_SECONDS = harness.PATIENCE_SECONDS
MOST_PAUSE_SECONDS = 4.0
LEAST_BYTES = 10 * MIB  # a limit
# A run may end, or not have begun, at any time; or stand still, or be too large for a limit.
FAIR_REFUSALS = ("there is no process", "does not belong to a run", "can't do with",
                 "is not parked", "is parked and stopped already", "has lost its keeper",
                 "without an answer for", "could not be stopped", "cannot reach the run")


def runs():
    """Processes that are a `quire run` below this one."""
    found = []
    for pid in measure.descendants(os.getpid()):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if os.path.basename(words[0]) == b"quire" and words[1:2] == [b"run"]:
            found.append((pid, budget_of(words)))
    return found


def budget_of(words):
    """What was said with --ram, bytes."""
    text = words[words.index(b"--ram") + 1] if b"--ram" in words else b""
    text = text.rpartition(b":")[2]
    return int(text) if text.isdigit() else 0


class Meddler(threading.Thread):
    def __init__(self, quire, seed, may_stop=True):
        super().__init__(daemon=True)
        self.quire, self.rng, self.may_stop = quire, random.Random(seed), may_stop
        self.done, self.refused, self.failures = {}, [], []
        self.stopped = threading.Event()

    def command(self, *words):
        """True if it was done, False if it was refused for a fair reason."""
        words = [str(word) for word in words]
        try:
            told = subprocess.run([self.quire, *words, "--json"], capture_output=True, text=True,
                                  check=False, timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.failures.append(f"quire {' '.join(words)} does not end")
            return False
        if told.stdout:
            json.loads(told.stdout)
            self.done[words[0]] = self.done.get(words[0], 0) + 1
            return True
        self.refused.append(f"{' '.join(words)}: {told.stderr.strip()}")
        # The kernel's word on its status may have gone to who reaps orphans: what it said decides.
        if told.stderr.count("quire:") != 1 or not any(
                fair in told.stderr for fair in FAIR_REFUSALS):
            self.failures.append(f"quire {' '.join(words)} ended with {told.returncode} and said "
                                 f"{told.stdout!r} {told.stderr!r}")
        return False

    def meddle(self, pid, budget):
        what = self.rng.choice(("limit", "limit", "park", "stop") if self.may_stop else
                               ("limit", "park"))
        how = self.rng.choice(([], ["--on-demand"]))
        if what == "limit":
            # Never above what it was given: that is what the test holds it to.
            least = min(LEAST_BYTES, budget)
            self.command("limit", pid, self.rng.randint(least, budget) if budget else "64M")
            return
        parked = self.command("park", *(["--stop"] if what == "stop" else []), pid)
        self.stopped.wait(self.rng.uniform(0, MOST_PAUSE_SECONDS / 4))
        if parked or what == "stop":
            self.command("resume", *how, pid)

    def run(self):
        while not self.stopped.wait(self.rng.uniform(0.1, MOST_PAUSE_SECONDS)):
            found = runs()
            if found:
                try:
                    self.meddle(*self.rng.choice(found))
                except ValueError as error:
                    self.failures.append(f"no JSON: {error}")

    def end(self):
        """Stops it; what was wrong with the commands, or None."""
        self.stopped.set()
        self.join()
        return "; ".join(self.failures) or None
