#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads what `meson test` left: test_results.py [--failures] testlog.json.

Prints `PASSED FAILED SKIPPED`, or, with --failures, the names and the ends of the output of those
that failed. A run with no tests in it is an error.
"""
import json
import sys

GOOD = ("OK", "EXPECTEDFAIL")
SKIPPED = ("SKIP",)


def main():
    *options, path = sys.argv[1:]
    with open(path, encoding="utf-8") as log:
        tests = [json.loads(line) for line in log if line.strip()]
    if not tests:
        print(f"{path}: no tests were run", file=sys.stderr)
        return 1
    bad = [test for test in tests if test["result"] not in GOOD + SKIPPED]
    n_skipped = sum(test["result"] in SKIPPED for test in tests)
    if "--failures" not in options:
        print(len(tests) - len(bad) - n_skipped, len(bad), n_skipped)
        return 0
    for test in tests:
        if test["result"] in SKIPPED:
            print(f"  skipped: {test['name']}: {test.get('stdout', '').strip()[-200:]}")
    for test in bad:
        print(f"  {test['result']}: {test['name']} ({test['duration']:.0f} s)")
        output = (test.get("stdout", "") + test.get("stderr", "")).strip()
        print("".join(f"      {line}\n" for line in output.splitlines()[-25:]), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
