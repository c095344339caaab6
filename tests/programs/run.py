#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs one test of suite `programs`: a real program through the real command.

  run.py --list
  run.py --quire PATH [--helpers DIR] NAME

A NAME is a module of cases/, or a C program of this directory (a helper), which checks itself.
Ends with 0: passed, 77: skipped with the reason, 1: failed with the reason.
"""
import argparse
import importlib
import os
import pathlib
import signal
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
import harness  # noqa: E402
import helpers  # noqa: E402


def names():
    cases = [path.stem for path in (HERE / "cases").glob("*.py")]
    return sorted(cases) + sorted(path.stem for path in HERE.glob("*.c")
                                  if path.stem not in helpers.TOOLS)


def run(case):
    if (HERE / "cases" / f"{case.name}.py").exists():
        importlib.import_module(f"cases.{case.name}").test(case)
    else:
        helpers.test(case)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="print the names of all tests")
    parser.add_argument("--quire", default="build/quire", help="the command to test")
    parser.add_argument("--helpers", help="where the C programs were built")
    parser.add_argument("--keep", action="store_true", help="keep the test's directory")
    parser.add_argument("name", nargs="?")
    options = parser.parse_args()
    if options.list:
        print("\n".join(names()))
        return 0
    if options.name not in names():
        parser.error(f"no such test: {options.name}")
    if not os.access(options.quire, os.X_OK):
        parser.error(f"{options.quire} is not there: build first, or say --quire PATH")

    # So that a time-out of the test's own runner still cleans up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    built = options.helpers or pathlib.Path(options.quire).parent / "tests"
    case = harness.Case(options.name, options.quire, built)
    try:
        run(case)
    except harness.Skip as reason:
        print(f"{case.name}: skipped: {reason}")
        return 77
    except harness.Failure as reason:
        print(f"{case.name}: FAILED: {reason}", file=sys.stderr)
        return 1
    finally:
        if options.keep:
            print(f"{case.name}: kept {case.directory}")
        else:
            case.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
